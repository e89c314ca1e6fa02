"""Reports on runs: what is written, from which predictions, and what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from preprocessing import load_ptbxl
from tests.helpers.training_files import CLASSES, small_database, write_untrained
from training.checkpoint import read_card
from twelvelead.commands.report import main as report
from twelvelead.commands.test import main as score
from utils.errors import DataError, UsageError

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    folder = small_database(tmp_path_factory.mktemp("ptbxl"), records=300)
    table = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id")
    table["age"] = np.where(np.arange(300) % 3 == 0, 35.0, 300.0)
    table["device"] = np.where(np.arange(300) % 3 == 0, "CS-12   E", "AT-6 C")
    table["static_noise"] = np.where(np.arange(300) % 3 == 1, " I-V1,  ", None)
    table.to_csv(folder / "ptbxl_database.csv")
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory, database) -> Path:
    """Output folder of a scored run, with the report that the test command wrote."""
    out = tmp_path_factory.mktemp("out")
    fingerprint = load_ptbxl(database).fingerprint
    write_untrained(
        out / "checkpoints" / "ecgnet", "ecgnet", data={"fingerprint": fingerprint}, metrics={"epoch": 2}
    )
    logs = out / "logs" / "ecgnet"
    logs.mkdir(parents=True)
    (logs / "metrics.csv").write_text(
        "epoch,train_loss,val_loss,val_macro_roc_auc\n1,0.7,0.6,\n2,0.5,0.55,0.7\n"
    )
    words = ["--data_dir", database, "--output_dir", out, "--resamples", 20, "--report", "--shap", "fast"]
    score("torch", "ecgnet", [str(word) for word in words])
    return out


@pytest.fixture(scope="module")
def folder(out) -> Path:
    return out / "results" / "ecgnet" / "report"


@pytest.fixture(scope="module")
def facts(folder) -> dict:
    return json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def predictions(out) -> dict:
    return dict(np.load(out / "logs" / "ecgnet" / "predictions.npz"))


def call(*words) -> None:
    report([str(word) for word in words])


def test_report_is_one_page_that_loads_nothing(folder):
    page = (folder / "report.html").read_text()
    assert len(page) < 3_000_000
    assert "Not a medical device" in page and "<caption>" in page
    assert not re.search(r"(src|href)=\"(?!#|data:)|url\((?!#)|@import|https?://", page)
    assert page.count('role="img"') == page.count('aria-label="') - page.count("<nav")


def test_report_is_byte_identical_when_written_and_rebuilt(folder, out, database, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    call("ecgnet", "--data_dir", database, "--output_dir", out, "--resamples", 20, "--shap", "fast")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (tmp_path / "report.json").write_bytes(before["report.json"])
    call(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_report_does_not_score_the_test_records_again(out, database, monkeypatch):
    monkeypatch.setattr("explain.report.scored.predict_dataset", None)
    monkeypatch.setattr("twelvelead.commands.report.load_predictor", None)
    test = (out / "logs" / "ecgnet" / "test.json").read_bytes()
    call("ecgnet", "--data_dir", database, "--output_dir", out, "--resamples", 20, "--shap", "off")
    assert (out / "logs" / "ecgnet" / "test.json").read_bytes() == test


def test_report_sweep_is_of_the_right_class(folder, predictions):
    table = pd.read_csv(folder / "threshold_sweep.csv").set_index(["class", "threshold"])
    for column, name in enumerate(CLASSES):
        assert len(table.loc[name]) == 101
        y, p = predictions["label"][:, column], predictions["probability"][:, column]
        for threshold in (0.0, 0.25, 0.5, 0.7):
            row, answer = table.loc[(name, threshold)], p >= np.float32(threshold)
            expected = sk.precision_recall_fscore_support(y, answer, average="binary", zero_division=0)
            np.testing.assert_allclose(row[["recall", "f1"]], expected[1:3], atol=1e-5)
            if answer.any():
                assert row["precision"] == pytest.approx(expected[0], abs=1e-5)
            specificity = sk.recall_score(1 - y, ~answer, zero_division=0)
            assert row["specificity"] == pytest.approx(specificity, abs=1e-5)
            assert row["accuracy"] == pytest.approx(sk.accuracy_score(y, answer), abs=1e-5)


def test_report_scores_are_those_of_scikit_learn_and_of_the_test(facts, predictions, out):
    test = json.loads((out / "logs" / "ecgnet" / "test.json").read_text())
    by_key = {row["key"]: row for row in facts["scores"]}
    assert by_key["macro_roc_auc"]["point"] == test["metrics"]["macro_roc_auc"]
    for column, row in enumerate(facts["per_class"]):
        y, p = predictions["label"][:, column], predictions["probability"][:, column]
        assert row["roc_auc"]["point"] == pytest.approx(sk.roc_auc_score(y, p))
        assert row["auprc"]["point"] == pytest.approx(sk.average_precision_score(y, p))
        assert row["brier"] == pytest.approx(sk.brier_score_loss(y, p))
        matrix = sk.confusion_matrix(y, p >= 0.5).ravel().tolist()
        assert [row[k] for k in ("tn", "fp", "fn", "tp")] == matrix
        curve = facts["roc"][column]
        assert sk.auc(curve["x"], curve["y"]) == pytest.approx(row["roc_auc"]["point"], abs=1e-3)


def test_report_calibration_bins_hold_every_record(facts, predictions):
    for column, bins in enumerate(facts["calibration"]["before"]["bins"]):
        count = np.array([b["count"] for b in bins])
        share = np.array([b["observed"]["point"] for b in bins])
        assert count.sum() == len(predictions["label"])
        assert (count * share).sum() == pytest.approx(predictions["label"][:, column].sum())
        mean = np.array([b["mean"] for b in bins])
        ece = (count * np.abs(mean - share)).sum() / count.sum()
        assert ece == pytest.approx(facts["per_class"][column]["ece"], abs=1e-4)


def test_report_failures_are_every_error_with_its_record(folder, predictions):
    table = pd.read_csv(folder / "failures.csv")
    wrong = (predictions["probability"] >= 0.5) != predictions["label"].astype(bool)
    assert len(table) == wrong.sum()
    rows = {identifier: row for row, identifier in enumerate(predictions["ecg_id"])}
    for line in table.itertuples():
        row, column = rows[line.ecg_id], CLASSES.index(table.loc[line.Index, "class"])
        assert wrong[row, column] and predictions["patient_id"][row] == line.patient
        assert line.margin == pytest.approx(predictions["probability"][row, column] - 0.5, abs=1e-5)


def test_report_counts_subgroups(facts, database, predictions):
    table = pd.read_csv(database / "ptbxl_database.csv", index_col="ecg_id").loc[predictions["ecg_id"]]
    counted = {(row["grouping"], row["group"]): row["records"] for row in facts["subgroups"]}
    assert counted["age", "under 40"] == (table["age"] == 35).sum()
    assert counted["age", "80 and older"] == (table["age"] == 300).sum()
    assert counted["sex", "female"] == (table["sex"] == 1).sum()
    assert counted["device", "CS-12 E"] == table["device"].str.startswith("CS").sum()
    assert counted["static noise", "noted"] == table["static_noise"].notna().sum()
    assert not any(grouping == "pacemaker" for grouping, _ in counted)


def test_report_importance_of_leads_says_how_stable_it_is(folder):
    table = pd.read_csv(folder / "lead_importance.csv")
    assert (table.groupby("class").size() == 12).all() and len(table)
    np.testing.assert_allclose(table["cv"], table["error"] / table["mean"], rtol=0.02)
    verdicts = np.where(table["cv"] < 0.25, "STABLE", np.where(table["cv"] < 0.5, "OK", "NOISY"))
    assert (table["verdict"] == verdicts).all()


def test_report_on_other_splits_says_what_its_scores_are_worth(out, database, capsys):
    where = ("--data_dir", database, "--output_dir", out, "--resamples", 20)
    call("ecgnet", "--split", "train", *where)
    said = capsys.readouterr().out
    assert "note: The model was trained on these records" in said and "report_train" in said
    page = (out / "results" / "ecgnet" / "report_train" / "report.html").read_text()
    assert "The model was trained on these records" in page and "folds 1-8" in page
    call("ecgnet", "--split", "val", *where)
    found = json.loads((out / "results" / "ecgnet" / "report_val" / "report.json").read_text())
    assert found["records"] == 30 and "chosen on these records" in found["notes"][0]


def test_report_without_data_and_metrics_says_what_is_missing(out, tmp_path, capsys):
    copy = tmp_path / "out"
    for name in ("checkpoints/ecgnet", "logs/ecgnet"):
        (copy / name).mkdir(parents=True)
        for path in (out / name).iterdir():
            if path.is_file() and path.name != "metrics.csv":
                (copy / name / path.name).write_bytes(path.read_bytes())
    call("ecgnet", "--output_dir", copy, "--resamples", 20)
    assert "no subgroups and no pictures" in capsys.readouterr().out
    page = (copy / "results" / "ecgnet" / "report" / "report.html").read_text()
    assert "There is no metrics.csv of this run" in page and "Subgroups" not in page
    (copy / "logs" / "ecgnet" / "predictions.npz").unlink()
    with pytest.raises(DataError, match=r"has test.json, but not predictions.npz: score the run again"):
        call("ecgnet", "--output_dir", copy)
    (copy / "logs" / "ecgnet" / "test.json").unlink()
    with pytest.raises(UsageError, match=r"no stored predictions .* --split val"):
        call("ecgnet", "--output_dir", copy)
    (copy / "checkpoints" / "ecgnet" / "card.json").unlink()
    with pytest.raises(UsageError, match="has weights, but no card"):
        call(copy / "checkpoints" / "ecgnet")


def test_report_takes_no_predictions_of_other_weights(out, database, tmp_path):
    write_untrained(tmp_path / "checkpoints" / "ecgnet", "ecgnet", metrics={"epoch": 2}, thresholds=[0.4] * 5)
    (tmp_path / "logs" / "ecgnet").mkdir(parents=True)
    for name in ("test.json", "predictions.npz"):
        (tmp_path / "logs" / "ecgnet" / name).write_bytes((out / "logs" / "ecgnet" / name).read_bytes())
    test = json.loads((out / "logs" / "ecgnet" / "test.json").read_text())
    assert test["checkpoint"]["weights_sha256"] == read_card(out / "checkpoints" / "ecgnet").weights_sha256
    test["checkpoint"]["weights_sha256"] = "0" * 64
    (tmp_path / "logs" / "ecgnet" / "test.json").write_text(json.dumps(test))
    with pytest.raises(UsageError, match="have no stored predictions"):
        call("ecgnet", "--output_dir", tmp_path, "--data_dir", database)


def test_report_refuses_other_records(out, tmp_path):
    fewer = small_database(tmp_path / "fewer", 100)
    with pytest.raises(DataError, match=r"was scored on records that .* does not have"):
        call("ecgnet", "--data_dir", fewer, "--output_dir", out)


def test_report_refuses_damaged_json(tmp_path):
    (tmp_path / "report.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="is not a report of format 1"):
        call(tmp_path)


def test_report_compares_runs_on_the_same_records_only(out, database, tmp_path, capsys):
    for name, thresholds in (("first", 0.5), ("second", 0.4)):
        more = {"thresholds": [thresholds] * 5, "config": {"lr": thresholds}}
        write_untrained(tmp_path / "checkpoints" / name, "ecgnet", **more)
        score("torch", "ecgnet", [*_words(database, tmp_path), "--run", name])
    call("first", "second", *_words(database, tmp_path))
    page = next((tmp_path / "results" / "compare").glob("*/compare.html"))
    assert "first" in page.read_text() and "0.000 [0.000, 0.000]" in page.read_text()
    assert (tmp_path / "results" / "second" / "report" / "report.html").is_file()
    score("torch", "ecgnet", [*_words(database, tmp_path), "--run", "second", "--limit", "20"])
    with pytest.raises(UsageError, match=r"scored on different records .* --intersection"):
        call("first", "second", *_words(database, tmp_path))
    call("first", "second", *_words(database, tmp_path), "--intersection")
    assert "20 records in common, of up to 30" in page.read_text()


def _words(database, out) -> list[str]:
    return ["--data_dir", str(database), "--output_dir", str(out), "--resamples", "10"]
