"""Scored runs: which are found, their tables, and the records that they get wrong."""

import json

import numpy as np
import pytest

from explorer.scored import (
    KINDS,
    ScoredRun,
    class_table,
    curves,
    error_counts,
    find_errors,
    find_scored,
    headlines,
    predictions_of,
    thresholds_of,
    training_curves,
    usual_run,
    wrong_records,
)
from training.predictions import ROWS, Predictions
from utils.errors import DataError, UsageError

ROW = ROWS / "ptbxl" / "resnet1d_wang"


@pytest.fixture
def published():
    """A committed row with its predictions."""
    return ScoredRun("resnet1d_wang", ROW, "ptbxl")


@pytest.fixture
def four():
    """Four records of two classes with thresholds 0.5 and 0.2."""
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.uint8)
    chances = np.array([[0.9, 0.1], [0.4, 0.3], [0.1, 0.05], [0.6, 0.19]])
    return Predictions("run", np.array([11, 12, 13, 14]), np.arange(4), labels, chances, ("A", "B"))


def test_runs_of_this_computer_come_before_committed_rows(tmp_path):
    folder = tmp_path / "logs" / "mine"
    folder.mkdir(parents=True)
    for name in ("test.json", "predictions.npz"):
        (folder / name).write_bytes((ROW / name).read_bytes())
    runs = find_scored(tmp_path)
    assert runs[0].label == "mine" and runs[0].origin == "logs"
    labels = [run.label for run in runs[1:]]
    assert "resnet1d_wang (published, ptbxl)" in labels
    assert "mousavi (not shipped, ptbxl)" in labels
    (folder / "predictions.npz").unlink()
    assert "mine" not in [run.name for run in find_scored(tmp_path)]


def test_reports_are_read_once_for_the_list(tmp_path, monkeypatch):
    read = []
    report = ScoredRun.report
    monkeypatch.setattr(ScoredRun, "report", lambda run: read.append(run.folder) or report(run))
    runs = find_scored(tmp_path)
    usual_run(runs, {"other"})
    assert len(read) == len(set(read)) >= len(runs) > 5


def test_run_shown_first_has_the_weights_of_the_page(tmp_path):
    runs = find_scored(tmp_path)
    assert runs[usual_run(runs, {"other"})].label == "resnet1d_wang (published, ptbxl)"
    last = runs[-1]
    assert not last.shipped and usual_run(runs, {last.weights}) == len(runs) - 1


def test_tables_hold_the_scores_of_the_file_with_their_intervals(published):
    report = published.report()
    (title, value, interval), *_ = headlines(report)
    assert (
        title == "macro ROC-AUC"
        and value == f"{report['metrics']['macro_roc_auc']:.4f}"
        and " to " in interval
    )
    table = class_table(report).set_index("class")
    assert table.loc["MI", "ROC-AUC"] == round(report["metrics"]["class_roc_auc"]["MI"], 4)
    low, high = map(float, table.loc["MI", "95 % interval"].split(" to "))
    assert low < table.loc["MI", "ROC-AUC"] < high
    assert set(training_curves(published)) == {"Loss", "Score"}


def test_curves_of_a_class_agree_with_its_score(published):
    predictions = predictions_of(published)
    roc = curves(predictions, "MI")["ROC"]
    area = np.trapezoid(roc["sensitivity"], roc["1 - specificity"])
    assert area == pytest.approx(published.report()["metrics"]["class_roc_auc"]["MI"], abs=1e-6)
    with pytest.raises(UsageError, match="no curves"):
        curves(predictions.take(np.flatnonzero(predictions.labels[:, 2] == 1)), "MI")


def test_errors_are_ordered_by_their_distance_from_the_threshold(four):
    thresholds = np.array([0.5, 0.2])
    listed = {
        kind: [(row["record"], row["class"]) for _, row in find_errors(four, thresholds, kind).iterrows()]
        for kind in KINDS
    }
    assert listed["nearest to the threshold"][0] == (14, "B") and len(listed["nearest to the threshold"]) == 8
    assert listed["false negatives"] == [(13, "B"), (12, "A")]
    assert listed["false positives"] == [(12, "B"), (14, "A")]
    assert listed["farthest on the wrong side"] == [(13, "B"), (12, "A"), (12, "B"), (14, "A")]
    assert find_errors(four, thresholds, "false positives", "A")["record"].tolist() == [14]
    assert find_errors(four, thresholds, "false negatives", most=1)["margin"].tolist() == [-0.15]
    with pytest.raises(UsageError, match="unknown class"):
        find_errors(four, thresholds, "false positives", "C")


def test_records_that_are_wrong_agree_with_their_counts(four):
    thresholds = np.array([0.5, 0.2])
    assert wrong_records(four, thresholds) == [12, 13, 14]
    assert wrong_records(four, thresholds, "B") == [12, 13]
    counts = error_counts(four, thresholds).set_index("class")
    assert counts.loc["A"].tolist()[:4] == [1, 1, 1, 1] and counts.loc["B", "sensitivity"] == 0


def test_accuracy_of_the_file_follows_from_the_counts(published):
    predictions = predictions_of(published)
    counts = error_counts(predictions, thresholds_of(published, predictions.classes)).set_index("class")
    right = counts["true positives"] + counts["true negatives"]
    expected = published.report()["metrics"]["class_accuracy_at_thresholds"]
    assert (right / len(predictions.ids)).to_dict() == pytest.approx(expected)


def test_report_that_is_damaged_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "test.json").write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(DataError, match="score the run again"):
        ScoredRun("x", tmp_path, "logs").report()
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="not a table of epochs"):
        training_curves(ScoredRun("x", tmp_path, "logs"))
