"""Numbers of a report on made-up predictions: exclusive classes, wrong labels, curves, refused tasks."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from explain.report import Scored, write_report
from explain.report.charts import Line, chart, ecg
from explain.report.disagreement import label_noise
from explain.report.facts import digest, picture
from explain.report.numbers import pr_curve, roc_curve
from tests.helpers.training_files import CLASSES, card_of
from utils.ecg import LEADS
from utils.errors import DataError, UsageError

RECORDS = 200


def scored(multilabel=True, **changes) -> Scored:
    rng = np.random.default_rng(0)
    answer = rng.integers(len(CLASSES), size=RECORDS)
    labels = (answer[:, None] == np.arange(len(CLASSES))).astype(np.uint8)
    p = rng.dirichlet(np.ones(len(CLASSES)), RECORDS) * 0.7 + 0.3 * labels
    card = card_of({"name": "ecgnet"}, "torch", multilabel=multilabel)
    values = (np.arange(RECORDS), np.arange(RECORDS) // 2, labels, p.astype(np.float32))
    return replace(Scored("made_up", card, "test", "fold 10", *values), **changes)


def test_report_on_exclusive_classes_takes_the_most_probable(tmp_path):
    given = scored(multilabel=False)
    write_report(given, tmp_path, resamples=10)
    facts = json.loads((tmp_path / "report.json").read_text())
    answer = given.probabilities.argmax(axis=1)
    expected = sk.confusion_matrix(given.labels.argmax(axis=1), answer)
    assert facts["most_probable"]["matrix"] == expected.tolist()
    assert [row["tp"] for row in facts["per_class"]] == np.diag(expected).tolist()
    assert len(facts["failures"]) == 2 * (RECORDS - np.diag(expected).sum())
    assert all((row["margin"] >= 0) == (row["label"] == 0) for row in facts["failures"])
    assert facts["thresholds"] is None and facts["per_class"][0]["threshold"] is None
    assert "for the most probable class" in (tmp_path / "report.html").read_text()


def test_report_curves_have_the_area_of_all_records():
    given = scored()
    for column in range(len(CLASSES)):
        y, p = given.labels[:, column], given.probabilities[:, column]
        roc, pr = roc_curve(y, p), pr_curve(y, p)
        assert len(roc["x"]) <= 170 and roc["x"][0] == roc["y"][0] == 0 and roc["x"][-1] == roc["y"][-1] == 1
        assert sk.auc(roc["x"], roc["y"]) == pytest.approx(sk.roc_auc_score(y, p), abs=2e-3)
        assert pr["x"][-1] == 1 and pr["y"][-1] == pytest.approx(y.mean(), abs=1e-2)


def test_report_label_noise_finds_changed_labels():
    given = scored()
    labels = given.labels.copy()
    p = np.where(labels == 1, 0.9, 0.1) + np.random.default_rng(1).normal(0, 0.03, labels.shape)
    changed = [3, 50, 120]
    p[changed, 0] = np.where(labels[changed, 0] == 1, 0.99, 0.01)
    labels[changed, 0] ^= 1
    found = label_noise(given.ids, given.patients, labels, p.clip(0, 1), CLASSES, np.full(RECORDS, 7))
    assert {row["ecg_id"] for row in found["records"][:3]} == set(changed)
    assert all(row["fold"] == 7 and row["class"] == CLASSES[0] for row in found["records"][:3])
    assert found["macro_roc_auc"] < found["macro_roc_auc_without"] == 1


def test_report_digest_names_the_records_in_any_order():
    given = scored()
    order = np.random.default_rng(2).permutation(RECORDS)
    parts = {name: getattr(given, name)[order] for name in ("ids", "patients", "labels", "probabilities")}
    assert digest(given) == digest(replace(given, **parts))
    assert digest(given) != digest(replace(given, labels=1 - given.labels))


def test_report_picture_has_the_trace_in_microvolts():
    signal = np.zeros((1000, 12))
    signal[:, 5] = np.linspace(-1, 1, 1000)
    shown = picture(signal, LEADS, 100)
    assert len(shown["leads"]["I"]) == 250 and set(shown["leads"]["I"]) == {0}
    np.testing.assert_allclose(shown["leads"]["AVF"], 1000 * signal[250:500, 5], atol=0.6)
    assert picture(np.repeat(signal, 5, axis=0), LEADS, 500)["rate"] == 100
    svg = str(ecg(shown, "Record <1>"))
    assert svg.count("<path") == 12 and "Record &lt;1&gt;" in svg and ">aVF</text>" in svg


def test_report_chart_breaks_where_a_value_is_missing():
    svg = str(chart([Line([0, 0.5, 0.6, 1], [0.1, None, 0.3, 0.4])], "words", "x", "y"))
    line = svg.split('<path d="')[1].split('"')[0]
    assert line.count("M") == 2 and line.count("L") == 1


def test_report_curves_of_a_single_epoch_are_points(tmp_path):
    metrics = tmp_path / "metrics.csv"
    metrics.write_text("epoch,train_loss,val_loss,val_macro_roc_auc\n1,0.7,0.6,0.8\n")
    write_report(scored(), tmp_path, metrics_csv=metrics, resamples=10)
    page = (tmp_path / "report.html").read_text()
    training = page.split('<h2 id="training">')[1].split("</section>")[0]
    assert training.count("<circle") == 3 and "over 1 epoch<" in training
    assert re.findall(r">(\d\.?\d*)</text>", training)[:3] == ["0", "1", "2"]


def test_report_refuses_other_tasks_and_shapes():
    given = scored()
    card = replace(given.card, kind="rpeaks")
    with pytest.raises(UsageError, match="reports are written for multilabel and multiclass classification"):
        replace(given, card=card)
    with pytest.raises(DataError, match="do not fit 200 records of 5 classes"):
        replace(given, labels=given.labels[:, :4])
