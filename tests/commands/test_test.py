"""test.py and torch_test.py: what is scored, written, printed and refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from preprocessing import load_ptbxl
from tests.helpers.ptbxl_files import CODES
from tests.helpers.training_files import CLASSES, ROOT, card_of, small_database, write_untrained
from training import load_predictor
from training.checkpoint import read_card, write_checkpoint
from training.evaluate import score
from twelvelead.commands.test import main
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.metrics import evaluate


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"), records=300)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, database):
    out = tmp_path_factory.mktemp("out")
    fingerprint = load_ptbxl(database).fingerprint
    more = {"data": {"fingerprint": fingerprint}, "metrics": {"epoch": 3}}
    write_untrained(out / "checkpoints" / "ecgnet", "ecgnet", **more)
    return out


def score_torch(out, database, *words):
    words = ["--data_dir", database, "--output_dir", out, "--resamples", 20, *words]
    main("torch", "ecgnet", [str(word) for word in words])


def report_of(out, run="ecgnet"):
    text = (out / "logs" / run / "test.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    return json.loads(text)


def test_report_table_and_predictions(trained, database, capsys):
    score_torch(trained, database)
    report = report_of(trained)
    test = load_ptbxl(database).split("test")
    assert (report["records"], report["split"], report["times_scored"]) == (30, "fold 10", 1)
    assert report["trained_on_this_data"] is True and report["checkpoint"]["epoch"] == 3
    saved = np.load(trained / "logs" / "ecgnet" / "predictions.npz")
    np.testing.assert_array_equal(saved["ecg_id"], test.ecg_ids)
    np.testing.assert_array_equal(saved["patient_id"], test.patient_ids)
    np.testing.assert_array_equal(saved["label"], test.labels)
    assert saved["classes"].tolist() == CLASSES
    predictor = load_predictor("ecgnet", trained)
    np.testing.assert_allclose(saved["probability"], predictor.predict(test.signals), atol=1e-6)
    metrics = evaluate(saved["label"], saved["probability"], CLASSES, [0.5] * 5)
    assert report["metrics"]["macro_roc_auc"] == pytest.approx(metrics["macro_roc_auc"], abs=1e-9)
    bounds = report["bootstrap"]["intervals"]["macro_roc_auc"]
    assert bounds["low"] < report["metrics"]["macro_roc_auc"] < bounds["high"]
    assert report["bootstrap"]["resamples"] == 20 and report["bootstrap"]["patients"] == 15
    text = capsys.readouterr().out
    assert (
        f"macro ROC-AUC{metrics['macro_roc_auc']:35.4f}  [{bounds['low']:.4f}, {bounds['high']:.4f}]" in text
    )
    for name in CLASSES:
        assert f"ROC-AUC {name}" in text
    assert "20 resamples of 15 patients" in text and "of fold 10, scored 1 time" in text
    assert "note: the model was not trained" not in text


def test_scoring_again_is_counted_and_changes_no_choice(trained, database, capsys):
    card = read_card(trained / "checkpoints" / "ecgnet")
    before = report_of(trained)["times_scored"] if (trained / "logs").exists() else 0
    score_torch(trained, database, "--seed", 1)
    score_torch(trained, database, "--seed", 1)
    report = report_of(trained)
    assert report["times_scored"] == before + 2
    assert f"scored {before + 2} time" in capsys.readouterr().out
    assert read_card(trained / "checkpoints" / "ecgnet") == card


def test_limit_is_said_in_the_report(trained, database):
    score_torch(trained, database, "--limit", 12)
    assert (report_of(trained)["records"], report_of(trained)["limit"]) == (12, 12)


def test_thresholds_come_from_the_card(trained, database):
    test = load_ptbxl(database).split("test")
    predictor = load_predictor("ecgnet", trained)
    p = predictor.predict(test.signals)
    share = test.labels.mean()
    for threshold, expected in [(0.0, share), (1.0, 1 - share)]:
        predictor.decision = {"thresholds": [threshold] * 5}
        metrics = score(predictor, test, p, 5)["metrics"]
        assert metrics["mean_accuracy_at_thresholds"] == pytest.approx(expected)


def test_calibration_is_reported_with_its_effect(trained, database, capsys):
    score_torch(trained, database)
    report, text = report_of(trained), capsys.readouterr().out
    after, saved = report["calibrated"], np.load(trained / "logs" / "ecgnet" / "predictions.npz")
    expected = evaluate(
        saved["label"], load_predictor("ecgnet", trained).calibrator(saved["probability"]), CLASSES
    )
    assert after["metrics"]["ece"] == report["ece_calibrated"]
    for name, title in (("ece", "ECE"), ("brier", "Brier score"), ("log_loss", "log loss")):
        change = after["differences"][name]
        assert after["metrics"][name] == pytest.approx(expected[name], abs=1e-6)
        assert change["difference"] == pytest.approx(expected[name] - report["metrics"][name], abs=1e-6)
        assert change["low"] <= change["high"]
        for line in (title, f"{title}, calibrated", f"{title}, change by calibration"):
            assert f"\n{line} " in text
    for name in ("brier", "log_loss"):
        for intervals in (report["bootstrap"]["intervals"], after["intervals"]):
            assert intervals[name]["low"] < intervals[name]["point"] < intervals[name]["high"]


def test_calibrator_that_changes_nothing_is_left_out(database, tmp_path, capsys):
    same = {"method": "identity", "slope": [1.0] * 5, "intercept": [0.0] * 5, "cross_validation": None}
    write_untrained(tmp_path / "checkpoints" / "ecgnet", "ecgnet", calibration=same)
    assert load_predictor("ecgnet", tmp_path).calibrator is None
    score_torch(tmp_path, database)
    assert "calibrated" not in report_of(tmp_path) and "calibrated" not in capsys.readouterr().out


def test_class_that_is_absent_is_undefined_and_listed(trained, tmp_path, capsys):
    codes = [dict(c) for c in CODES]  # without LVH, which is the only hypertrophy
    codes[3] = {"NORM": 100.0, "SR": 0.0}
    database = small_database(tmp_path / "data", 100, codes=codes)
    score_torch(trained, database)
    report = report_of(trained)
    assert report["metrics"]["undefined_classes"] == ["HYP"]
    assert report["metrics"]["class_roc_auc"]["HYP"] is None
    assert report["bootstrap"]["intervals"]["class_roc_auc"]["HYP"] is None
    known = [v for v in report["metrics"]["class_roc_auc"].values() if v is not None]
    assert report["metrics"]["macro_roc_auc"] == pytest.approx(np.mean(known))
    text = capsys.readouterr().out
    assert "undefined here (no positive or no negative record): HYP" in text
    assert "note: the model was not trained on this copy of the data" in text
    assert report["trained_on_this_data"] is False


def test_scoring_one_record_says_what_cannot_be_computed(trained, database, capsys):
    score_torch(trained, database, "--limit", 1, "--batchsize", 1)
    report = report_of(trained)
    assert report["records"] == 1 and report["metrics"]["macro_roc_auc"] is None
    assert report["metrics"]["undefined_classes"] == CLASSES
    text = capsys.readouterr().out
    assert "no intervals: no class has both positive and negative records" in text
    assert np.load(trained / "logs" / "ecgnet" / "predictions.npz")["probability"].shape == (1, 5)


def test_class_of_one_patient_leaves_the_values_without_intervals(trained, database):
    test = load_ptbxl(database).split("test").take(np.arange(30))
    test.targets = np.zeros_like(test.targets)
    test.targets[[0, 3]] = 1
    test.patients = np.where(np.arange(30) < 4, 1, 2)
    predictor = load_predictor("ecgnet", trained)
    result = score(predictor, test, predictor.predict(test.signals), 50)
    assert 0 <= result["metrics"]["macro_roc_auc"] <= 1
    if "impossible" in result["bootstrap"]:
        assert "no intervals: " in predictor.task.table({"metrics": result["metrics"], **result})
    else:
        assert result["bootstrap"]["rejected"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "ecgnett"], "unknown model 'ecgnett': did you mean 'ecgnet'"),
        (
            ["--model", "imle_net"],
            "'imle_net' is a Keras model: use python train.py to train it, python test.py",
        ),
        (["--run", "nothing"], "no trained model 'nothing'"),
        (["--model", "resnet101"], "no trained model 'resnet101'"),
        (["--batchsize", 0], "--batchsize must be at least 1"),
        (["--resamples", 1], "--resamples must be at least 2"),
        (["--limit", -3], "--limit must not be negative"),
        (["--model", "resnet101", "--run", "keras"], "was trained with keras: use python test.py"),
    ],
)
def test_scoring_wrong_usage_ends_with_a_message(trained, database, words, message, monkeypatch):
    if "keras" in words:  # the answer needs the card only
        card = card_of({"name": "mousavi", "num_classes": 5, "samples": 200, "leads": 12}, "keras")
        write_checkpoint(trained / "checkpoints" / "keras", card, lambda path: path.write_bytes(b"x"))
        monkeypatch.setattr("training.predictor.Predictor", lambda *_: pytest.fail("loaded it"))
    with pytest.raises(UsageError) as caught:
        score_torch(trained, database, *words)
    assert message in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize("folder", [True, False])
def test_model_may_be_a_run_or_the_folder_of_a_checkpoint(database, tmp_path, folder):
    path = write_untrained(tmp_path / "checkpoints" / "mine", "ecgnet")
    score_torch(tmp_path, database, "--model", path if folder else "mine", "--limit", 5)
    report = report_of(tmp_path, "mine")
    assert report["model"] == "ecgnet" and report["settings"]["model"] == "ecgnet"


def test_checkpoint_of_another_architecture_under_this_name(trained, database, tmp_path):
    os.symlink(trained / "checkpoints" / "ecgnet", tmp_path / "resnet101")
    (tmp_path / "checkpoints").mkdir()
    os.rename(tmp_path / "resnet101", tmp_path / "checkpoints" / "resnet101")
    with pytest.raises(UsageError, match="holds 'ecgnet', not 'resnet101'"):
        score_torch(tmp_path, database, "--model", "resnet101")


def test_data_that_do_not_fit_the_model(trained, database, tmp_path):
    write_untrained(tmp_path / "checkpoints" / "ecgnet", "ecgnet", classes=["A", "B"])
    with pytest.raises(UsageError, match=r"knows \['A', 'B'\], but .* has"):
        score_torch(tmp_path, database)
    long = small_database(tmp_path / "long", 60, seconds=3)
    with pytest.raises(
        DataError, match=r"signals of shape \(\d+, 300, 12\) do not fit 'ecgnet'.*2 s at 100 Hz"
    ):
        score_torch(trained, long)
    with pytest.raises(TwelveLeadError, match="nothing"):
        score_torch(trained, tmp_path / "nothing")


@pytest.mark.parametrize(("script", "model"), [("test.py", "mousavi"), ("torch_test.py", "ecgnet")])
def test_scripts_score_runs(database, tmp_path, script, model):
    write_untrained(tmp_path / "checkpoints" / model, model, config={"data_dir": str(database)})
    words = ["--model", model, "--output_dir", str(tmp_path), "--resamples", "5", "--batchsize", "8"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, script, *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "macro ROC-AUC" in done.stdout and "predictions.npz" in done.stdout
    assert report_of(tmp_path, model)["command"] == f"python {script} {' '.join(words)}"


def test_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main("torch", "ecgnet", ["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert "example: python torch_test.py --model ecgnet" in text
    assert {"ecgnet", "resnet101", "protoecgnet"} <= set(text.replace(",", " ").split())
