"""inference.py: one recording or a folder of them, what is written and what is refused."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import inference
from databases.wfdb_files import import_wfdb
from tests.helpers.ptbxl_files import write_record
from tests.helpers.training_files import CLASSES, call, write_untrained
from training import load_predictor
from utils.ecg import DISPLAY_NAMES
from utils.errors import DataError, TwelveLeadError, UsageError

wfdb = import_wfdb()


def ecg(seconds=10.0, rate=100, seed=0):
    """Twelve leads in whole microvolts, limb leads from I and II; beats with a little noise and drift."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    phase = time * 1.2 % 1
    beat = np.exp(-(((phase - 0.4) / 0.03) ** 2)) + 0.2 * np.exp(-(((phase - 0.7) / 0.08) ** 2))
    own = beat[:, None] * rng.uniform(400, 900, 8) + 30 * np.sin(time)[:, None]
    own += rng.normal(0, 5, own.shape)
    one, two = 2 * np.rint(own[:, 0] / 2), 2 * np.rint(own[:, 1] / 2)  # even, so that halves are whole
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.column_stack([*limb, np.rint(own[:, 2:])]).astype("<i2")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """An output folder with a PyTorch model of ten seconds."""
    folder = tmp_path_factory.mktemp("out")
    write_untrained(folder / "checkpoints" / "ecgnet", "ecgnet", samples=1000)
    return folder


@pytest.fixture
def record(tmp_path):
    write_record(tmp_path / "rec", ecg(), 100)
    return tmp_path / "rec"


def ask(out, source, *words, model="ecgnet"):
    words = ["--dir", source, "--model", model, "--output_dir", out, *words]
    return call(inference.main, "inference.py", *words)


def write_csv(path, values, names=DISPLAY_NAMES):
    np.savetxt(path, values, delimiter=",", header=",".join(names), comments="", fmt="%.3f")


def prediction_of(out, name, model="ecgnet"):
    return json.loads((out / "results" / model / name / "prediction.json").read_text())


def probabilities(prediction):
    return [c["probability"] for c in prediction["classes"]]


def test_inference_of_a_wfdb_record(out, record, capsys):
    assert ask(out, record) == 0
    prediction = prediction_of(out, "rec")
    signals = wfdb.rdrecord(str(record)).p_signal
    predictor = load_predictor("ecgnet", out)
    expected = predictor.predict(signals[None])[0]
    np.testing.assert_allclose(probabilities(prediction), expected, atol=1e-6)
    assert [c["class"] for c in prediction["classes"]] == CLASSES
    calibrated = predictor.predict(signals[None], calibrated=True)[0]
    for i, c in enumerate(prediction["classes"]):
        assert c["threshold"] == 0.5 and c["positive"] == (expected[i] >= 0.5)
        assert c["calibrated"] == pytest.approx(calibrated[i], abs=1e-6)
    assert prediction["record"] == "rec" and prediction["model"] == "ecgnet"
    assert "Not a medical device" in prediction["notice"]
    written = sorted(p.name for p in (out / "results" / "ecgnet" / "rec").iterdir())
    assert written == ["ecg.png", "prediction.json", "settings.yaml"]  # this model has no attention
    text = capsys.readouterr().out
    assert f"NORM     {expected[3]:.3f}" in text and "threshold 0.500" in text
    assert "ecg.png" in text and "Not a medical device" in text


def test_csv_npy_and_microvolts_give_the_same_answer(out, record, tmp_path):
    ask(out, record, "--no_pictures")
    expected = probabilities(prediction_of(out, "rec"))
    write_csv(tmp_path / "mv.csv", ecg() / 1000)
    write_csv(tmp_path / "uv.csv", ecg())
    np.save(tmp_path / "array.npy", ecg() / 1000)
    rate = ["--sampling_rate", 100, "--no_pictures"]
    ask(out, tmp_path / "mv.csv", *rate, "--units", "mV")
    ask(out, tmp_path / "uv.csv", *rate, "--units", "uV")
    ask(out, tmp_path / "array.npy", *rate, "--units", "mV", "--leads", ",".join(DISPLAY_NAMES))
    for name in ("mv", "uv", "array"):
        np.testing.assert_allclose(probabilities(prediction_of(out, name)), expected, atol=1e-5)
    with pytest.raises(TwelveLeadError, match="unit"):  # a thousand times too large
        ask(out, tmp_path / "uv.csv", *rate, "--units", "mV")


def test_inference_resamples_500_hz_for_a_100_hz_model(out, tmp_path, capsys):
    write_record(tmp_path / "fast", ecg(rate=500), 500)
    assert ask(out, tmp_path / "fast", "--no_pictures") == 0
    assert "500 Hz -> 100 Hz with an anti-aliasing FIR" in capsys.readouterr().out
    notes = prediction_of(out, "fast")["notes"]
    assert any("500 Hz -> 100 Hz" in note for note in notes)


def test_inference_names_a_lead_lost_in_part_wherever_the_answer_is(out, tmp_path, capsys):
    """V3 on the rail for 3 s once turned an infarction into a normal ECG, in silence."""
    signals = ecg(seconds=14, seed=3)
    signals[500:800, 8] = 5000
    write_record(tmp_path / "rail", signals, 100)
    write_record(tmp_path / "good", ecg(seconds=14, seed=3), 100)
    warning = "WARNING: lead V3, 5 to 8 s: stuck far off its baseline at 5 mV."
    assert ask(out, tmp_path / "rail", "--start", 2) == 0
    assert f"\n{warning}\n" in capsys.readouterr().out
    prediction = prediction_of(out, "rail")
    assert warning in prediction["notes"] and prediction["quality"] == [
        {"lead": "V3", "start_s": 5.0, "end_s": 8.0, "kind": "rail", "detail": "at 5 mV"}
    ]
    assert ask(out, tmp_path / "good", "--start", 2) == 0
    assert prediction_of(out, "good")["quality"] == [] and "WARNING: lead" not in capsys.readouterr().out
    pictures = [
        np.asarray(Image.open(out / "results" / "ecgnet" / name / "ecg.png")) for name in ("rail", "good")
    ]
    painted, plain = ((np.abs(p.astype(int) - [252, 223, 183]).max(axis=2) < 8).sum() for p in pictures)
    assert painted > 10_000 > 100 > plain  # 75 x 14 mm of paint
    assert ask(out, tmp_path) == 0
    with open(out / "results" / "ecgnet" / "predictions.csv", newline="") as file:
        rows = {row["record"]: row["warnings"] for row in csv.DictReader(file)}
    assert warning in rows["rail"] and "WARNING: lead" not in rows["good"]


def test_inference_filters_mains_on_request(out, tmp_path, capsys):
    signals = ecg(rate=500, seed=4).astype(float)
    signals[:, 9] += 300 * np.cos(2 * np.pi * 50 * np.arange(5000) / 500)
    write_record(tmp_path / "hum", np.rint(signals).astype("<i2"), 500)
    ask(out, tmp_path / "hum", "--no_pictures")
    assert "WARNING: lead V4, 0 to 10 s: mains interference of 50 Hz, up to 0.3 mV" in capsys.readouterr().out
    ask(out, tmp_path / "hum", "--no_pictures", "--notch", 50)
    text = capsys.readouterr().out
    assert "WARNING: lead" not in text and "50 Hz were filtered out with --notch 50" in text


def test_inference_refuses_five_seconds(out, tmp_path):
    write_record(tmp_path / "short", ecg(seconds=5), 100)
    with pytest.raises(DataError, match="10 s are needed"):
        ask(out, tmp_path / "short")
    assert not (out / "results" / "ecgnet" / "short").exists()


def test_record_without_a_rate_asks_for_it(out, tmp_path, capsys):
    write_record(tmp_path / "rec", ecg(), 100)
    header = (tmp_path / "rec.hea").read_text()
    (tmp_path / "rec.hea").write_text(header.replace("rec 12 100 1000", "rec 12"))
    with pytest.raises(UsageError, match="does not say its sampling rate; give it in Hz"):
        ask(out, tmp_path / "rec")
    assert ask(out, tmp_path / "rec", "--sampling_rate", 100, "--no_pictures") == 0
    assert "note: Sampling rate 100 Hz as given with --sampling_rate." in capsys.readouterr().out


def test_fault_outside_the_part_is_a_note_of_the_prediction(out, tmp_path):
    samples = ecg(seconds=30)
    samples[2500:2600] = -32768  # "no sample here"
    write_record(tmp_path / "rec", samples, 100)
    assert ask(out, tmp_path / "rec", "--start", 5, "--no_pictures") == 0
    notes = prediction_of(out, "rec")["notes"]
    assert any("Outside the part used: all leads, 25 to 26 s: no values" in note for note in notes)
    with pytest.raises(DataError, match=r"missing values.*the first at sample 2500 \(25\.000 s\)"):
        ask(out, tmp_path / "rec", "--start", 18)


def test_start_chooses_the_part(out, tmp_path, capsys):
    write_record(tmp_path / "long", ecg(seconds=14), 100)
    ask(out, tmp_path / "long", "--start", 3, "--no_pictures")
    expected = load_predictor("ecgnet", out).predict(ecg(seconds=14)[None, 300:1300] / 1000)[0]
    np.testing.assert_allclose(probabilities(prediction_of(out, "long")), expected, atol=1e-6)


def test_inference_refuses_eight_leads(out, tmp_path):
    names = ["II", "V1", "V2", "V3", "V4", "V5", "V6", "aVR"]
    columns = [DISPLAY_NAMES.index(n) for n in names]
    write_csv(tmp_path / "eight.csv", ecg()[:, columns] / 1000, names)
    with pytest.raises(DataError, match=r"lead.*\bI\b"):
        ask(out, tmp_path / "eight.csv", "--sampling_rate", 100, "--units", "mV")


def test_inference_names_absent_paths(out, tmp_path, capsys):
    with pytest.raises(DataError, match="nothing does not exist"):
        ask(out, tmp_path / "nothing")
    with pytest.raises(DataError, match="no recording in this folder"):
        ask(out, tmp_path)
    with pytest.raises(SystemExit) as ended:
        call(inference.main, "inference.py", "--model", "ecgnet")
    assert ended.value.code == 2 and "--dir" in capsys.readouterr().err


def test_inference_answers_an_unknown_model_with_the_nearest(out, record):
    with pytest.raises(UsageError, match="no trained model 'ecgnett': did you mean 'ecgnet'") as caught:
        ask(out, record, model="ecgnett")
    assert caught.value.exit_code == 2


def test_inference_of_a_folder_names_broken_records(out, tmp_path, capsys):
    folder = tmp_path / "in"
    for k in range(2):
        write_record(folder / "ward" / f"good{k}", ecg(seed=k), 100)
    write_record(folder / "cut", ecg(), 100)
    (folder / "cut.dat").write_bytes((folder / "cut.dat").read_bytes()[:100])
    write_csv(folder / "bare.csv", ecg() / 1000)
    (folder / "notes.txt").write_text("not a recording")
    assert ask(out, folder) == 1
    with open(out / "results" / "ecgnet" / "predictions.csv", newline="") as file:
        rows = {row["record"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"ward/good0", "ward/good1", "cut", "bare"}
    for k in range(2):
        saved = probabilities(prediction_of(out, f"ward/good{k}"))
        np.testing.assert_allclose([float(rows[f"ward/good{k}"][name]) for name in CLASSES], saved, atol=1e-6)
        assert not rows[f"ward/good{k}"]["error"]
        assert (out / "results" / "ecgnet" / "ward" / f"good{k}" / "ecg.png").stat().st_size > 1000
    assert "cut.dat" in rows["cut"]["error"] and not rows["cut"]["NORM"]
    assert "--sampling_rate" in rows["bare"]["error"]  # a rate that is missing in one file stops no other
    text = capsys.readouterr()
    assert "2 of 4 recordings predicted" in text.out and text.err.count("error: ") == 2


def test_predictions_escape_file_names_that_look_like_formulas(out, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("=1+1", "plain"):
        write_csv(tmp_path / "in" / f"{name}.csv", ecg() / 1000)
    assert ask(out, tmp_path / "in", "--no_pictures", "--sampling_rate", 100, "--units", "mV") == 0
    lines = (out / "results" / "ecgnet" / "predictions.csv").read_text().splitlines()
    assert sorted(line.split(",")[0] for line in lines) == ["'=1+1", "plain", "record"]


def test_inference_of_two_files_of_one_name_keeps_both_results(out, tmp_path):
    write_csv(tmp_path / "x.csv", ecg(seed=1) / 1000)
    write_record(tmp_path / "x", ecg(seed=2), 100)
    assert ask(out, tmp_path, "--sampling_rate", 100, "--units", "mV", "--no_pictures") == 0
    assert probabilities(prediction_of(out, "x.csv")) != probabilities(prediction_of(out, "x.hea"))


@pytest.mark.tf
def test_settings_repeat_the_prediction(out, tmp_path, capsys):
    write_record(tmp_path / "rec", ecg(), 100)
    ask(out, tmp_path / "rec", "--no_pictures")
    first, before = prediction_of(out, "rec"), capsys.readouterr().out
    settings = out / "results" / "ecgnet" / "rec" / "settings.yaml"
    assert call(inference.main, "inference.py", "--config", settings) == 0
    assert prediction_of(out, "rec") == first and capsys.readouterr().out == before


def test_imle_net_explains_itself(tmp_path):
    write_untrained(tmp_path / "checkpoints" / "imle_net", "imle_net", samples=1000)
    write_record(tmp_path / "rec", ecg(), 100)
    ask(tmp_path, tmp_path / "rec", model="imle_net")
    folder = tmp_path / "results" / "imle_net" / "rec"
    names = {"prediction.json", "ecg.png", "channels.png", "channels.html", "attention.npz", "settings.yaml"}
    assert {p.name for p in folder.iterdir()} == names
    assert "Not a medical device" in (folder / "channels.html").read_text()
    maps = np.load(folder / "attention.npz")
    assert maps["beat"].shape[:2] == maps["rhythm"].shape == (12, 20) and maps["channel"].shape == (12,)
    assert maps["heat"].shape == (1000, 12) and maps["leads"].tolist() == list(DISPLAY_NAMES)
    for name in ("beat", "rhythm", "channel"):
        np.testing.assert_allclose(maps[name].sum(axis=-1), 1, atol=1e-5)
    assert maps["heat"].sum() == pytest.approx(1, abs=1e-5) and maps["heat"].min() >= 0
    np.testing.assert_allclose(maps["heat"].sum(axis=0), maps["channel"], atol=1e-5)
    strongest = prediction_of(tmp_path, "rec", "imle_net")["strongest_attention"]
    assert strongest[0]["share"] == pytest.approx((maps["rhythm"] * maps["channel"][:, None]).max(), abs=1e-6)
    expected = load_predictor("imle_net", tmp_path).predict(ecg()[None] / 1000)[0]
    np.testing.assert_allclose(probabilities(prediction_of(tmp_path, "rec", "imle_net")), expected, atol=1e-5)


@pytest.mark.tf
def test_mi_model_gives_one_answer(tmp_path):
    mi = {"classes": ["ASMI", "IMI", "NORM"], "task": "mi", "multilabel": False}
    write_untrained(tmp_path / "checkpoints" / "imle_net_mi", "imle_net", samples=1000, **mi)
    write_record(tmp_path / "rec", ecg(), 100)
    ask(tmp_path, tmp_path / "rec", model="imle_net_mi")
    prediction = prediction_of(tmp_path, "rec", "imle_net_mi")
    assert [c["class"] for c in prediction["classes"]] == mi["classes"]
    assert sum(probabilities(prediction)) == pytest.approx(1, abs=1e-5)
    positive = [c["positive"] for c in prediction["classes"]]
    assert sum(positive) == 1 and positive.index(True) == int(np.argmax(probabilities(prediction)))
    assert (tmp_path / "results" / "imle_net_mi" / "rec" / "channels.html").exists()
