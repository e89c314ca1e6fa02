"""R-peaks, waves, tags and RR intervals by the ordinary commands, on small parts of real databases."""

import csv
import json
import shutil

import pytest

from tests.helpers.command_lines import run_lines
from training.checkpoint import ROOT
from utils.files import read_json

pytestmark = [pytest.mark.torch, pytest.mark.slow]
SMALL = json.dumps({"channels": [4, 6, 8], "stem_kernel": 5, "kernel": 5, "head_kernel": 1})
SHORT = "--epochs 1 --threads 1 --batchsize 16"
RR = json.dumps({"units": 8})
TAGS = json.dumps({"rnn_units": [4], "head_units": [4]})
SHIPPED = ROOT / "checkpoints" / "pretrained"


@pytest.fixture(scope="module")
def folder(shared_data, tmp_path_factory):
    """Eight records of LUDB, and the other small databases beside them."""
    folder = tmp_path_factory.mktemp("along_time")
    (folder / "ludb" / "data").mkdir(parents=True)
    shutil.copy(shared_data / "ludb" / "ludb.csv", folder / "ludb")
    for record in (1, 2, 3, 4, 61, 62, 71, 72):
        for path in (shared_data / "ludb" / "data").glob(f"{record}.*"):
            shutil.copy(path, folder / "ludb" / "data")
    for name in ("mitdb", "cpsc2021"):
        (folder / name).symlink_to(shared_data / name)
    (folder / "records").symlink_to(next((shared_data / "ptbxl" / "records100").iterdir()))
    return folder


@pytest.fixture(scope="module")
def record(folder):
    return sorted((folder / "records").glob("*.hea"))[0]


def test_waves_and_peaks_are_trained_scored_and_predicted_lead_by_lead(folder, record):
    waves = f"--model unet --model_config '{SMALL}' --database ludb --data_dir ludb --task waves_by_lead"
    peaks = f"--model unet --model_config '{SMALL}' --database mitdb --data_dir mitdb --also ludb=ludb"
    lines = [
        f"python torch_train.py {waves} --run w --sampling_rate 100 {SHORT} --preprocess normalize",
        "python torch_test.py --model unet --run w --resamples 20",
        f"python inference.py --model w --dir {record}",
        f"python torch_train.py {peaks} --task qrs_by_lead --run r {SHORT} --augment bursts",
        "python torch_test.py --model unet --run r --resamples 20",
        f"python inference.py --model r --no_pictures --dir {record.parent}/0000*",
    ]
    done = run_lines(lines, folder)
    assert "val macro F1 of boundaries" in done[0].out and "F1 QRS onset, 40 ms" in done[1].out
    card = read_json(folder / "checkpoints" / "w" / "card.json")
    assert card["task"] == {"name": "waves_by_lead", "kind": "waves"} and card["inputs"]["leads"] == ["ECG"]
    report = read_json(folder / "logs" / "w" / "test.json")
    assert report["records"] == 24 and report["bootstrap"]["patients"] == 2
    results = folder / "results" / "w" / record.stem
    assert {path.name for path in results.iterdir()} >= {"ecg.png", "prediction.json", "waves.csv"}
    assert list(read_json(results / "prediction.json")["leads"])[3] == "aVR"
    assert "  aVR " in done[2].out and "Not a medical device" in done[2].out
    assert "qrs_by_lead: R-peak; DS1 of mitdb and" in done[3].out and "F1 within 25 ms" in done[4].out
    data = read_json(folder / "checkpoints" / "r" / "card.json")["data"]
    assert data["records"]["train"] == 2 * 181 + 4 * 12
    prediction = read_json(folder / "results" / "r" / record.stem / "prediction.json")
    assert len(prediction["leads"]) == 12 and "heart_rate_bpm" in prediction


def test_rr_intervals_by_a_crf_and_tags_by_steps_are_trained_and_scored(folder, record):
    data = "--database cpsc2021 --data_dir cpsc2021"
    rr = f"--model rrlstm --model_config '{RR}' {data} --task rr_lstm"
    tags = f"--model ecg_seq_lab --model_config '{TAGS}' {data} --task main"
    lines = [
        f"python torch_train.py {rr} --run rr {SHORT}",
        "python torch_test.py --model rrlstm --run rr --resamples 20",
        f"python inference.py --model rr --dir {record}",
        f"python torch_train.py {tags} --run tags --sampling_rate 200 --limit 16 {SHORT}",
        "python torch_test.py --model ecg_seq_lab --run tags --limit 16 --resamples 20",
        f"python inference.py --model tags --dir {record}",
    ]
    done = run_lines(lines, folder, check=False)
    assert [part.code for part in done] == [0, 0, 2, 0, 0, 2], [part.err for part in done]
    assert "val macro F1 over intervals" in done[0].out and "macro F1 over intervals" in done[1].out
    card = read_json(folder / "checkpoints" / "rr" / "card.json")
    assert card["task"]["kind"] == "rr" and card["outputs"]["classes"] == ["none", "AF"]
    assert "reads RR intervals, not recordings" in done[2].err
    decision = read_json(folder / "checkpoints" / "tags" / "card.json")["outputs"]["decision"]
    assert decision["reduction"] == 8 and len(decision["thresholds"]) == 1
    assert "macro F1 of steps" in done[4].out and "reads the leads" in done[5].err


@pytest.mark.skipif(not (SHIPPED / "rpeaks").is_dir(), reason="the weights are not there")
def test_shipped_models_are_found_by_their_task(folder, record):
    two_leads = sorted((folder / "mitdb").glob("*.hea"))[0]
    lines = [
        f"python inference.py --task rpeaks --dir {record}",
        f"python inference.py --task waves --dir {record} --no_pictures",
        f"python inference.py --task sleep --dir {record}",
        f"python inference.py --task waves --model rpeaks --dir {record}",
        f"python inference.py --task rpeaks --dir {two_leads}",
    ]
    done = run_lines(lines, folder, check=False)
    assert [part.code for part in done] == [0, 0, 2, 2, 0], [part.err for part in done]
    with open(folder / "results" / "rpeaks" / record.stem / "rpeaks.csv", encoding="utf-8") as file:
        peaks = list(csv.DictReader(file))
    together = [float(row["time_s"]) for row in peaks if row["lead"] == "all"]
    assert 5 <= len(together) <= 20 and together == sorted(together)
    assert {row["lead"] for row in peaks} >= {"all", "II", "aVR"}
    with open(folder / "results" / "waves" / record.stem / "waves.csv", encoding="utf-8") as file:
        waves = [row for row in csv.DictReader(file) if row["lead"] == "II" and row["wave"] == "QRS"]
    assert abs(len(waves) - len(together)) <= 1
    assert "no shipped model has task 'sleep'" in done[2].err
    assert "model 'rpeaks' was trained on task qrs_by_lead (rpeaks), not waves" in done[3].err
    results = folder / "results" / "rpeaks" / two_leads.stem
    assert len(read_json(results / "prediction.json")["leads"]) == 2 and (results / "ecg.png").is_file()
