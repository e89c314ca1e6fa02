"""Types of outputs: required fields, joining, scores, and what tasks and predictors make of them."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.training_files import CLASSES, SAMPLES, write_untrained
from training import load_predictor
from training.tasks import Task, create_task
from utils.classification_scores import classification_scores
from utils.delineation_scores import delineation_scores, waves_of_mask
from utils.errors import DataError, UsageError
from utils.outputs import ClassOutputs, LabelOutputs, PeakOutputs, TagOutputs, WaveOutputs
from utils.rpeak_scores import rpeak_scores


def made(kind, records=4, seed=0):
    """Outputs of a kind, and labels that `scores` takes."""
    rng, ids = np.random.default_rng(seed), np.array([f"r{i}" for i in range(records)])
    p, steps = rng.random((records, 3)), rng.random((records, 50, 3))
    peaks = tuple(np.unique(rng.integers(0, 50, 5)) for _ in ids)
    if kind is ClassOutputs:
        return ClassOutputs(ids, "abc", p, p.argmax(1)), rng.integers(0, 3, records)
    if kind is LabelOutputs:
        return LabelOutputs(ids, "abc", p, p >= 0.4, np.full(3, 0.4)), rng.integers(0, 2, (records, 3))
    if kind is TagOutputs:
        return TagOutputs(ids, "abc", steps, steps >= 0.5, 50), rng.integers(-1, 2, (records, 50, 3))
    if kind is WaveOutputs:
        mask = rng.integers(0, 3, (records, 5)).repeat(10, axis=1)
        return WaveOutputs(ids, "abc", steps, mask, 50.0, "a"), np.roll(mask, 2, axis=1)
    return PeakOutputs(ids, "a", steps[..., :1], peaks, 50), [peak + 1 for peak in peaks]


KINDS = [ClassOutputs, LabelOutputs, TagOutputs, WaveOutputs, PeakOutputs]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_joined_from_parts_equal_the_whole(kind):
    whole, labels = made(kind, 7)
    tables = [
        {
            f.name: value if f.name == "classes" or f.metadata.get("shared") else value[part]
            for f in dataclasses.fields(kind)
            for value in [getattr(whole, f.name)]
        }
        for part in (slice(0, 3), slice(3, 7))
    ]
    joined = kind.concatenate([kind(**table) for table in tables])
    for field in dataclasses.fields(kind):
        np.testing.assert_equal(getattr(joined, field.name), getattr(whole, field.name))
    assert len(joined) == 7
    np.testing.assert_equal(joined.scores(labels), whole.scores(labels))
    others = ("a", "x", "y") if len(whole.classes) == 3 else ("x",)
    with pytest.raises(DataError, match="parts differ in their classes"):
        kind.concatenate([whole, dataclasses.replace(whole, classes=others)])
    with pytest.raises(DataError, match="nothing to join"):
        kind.concatenate([])


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_refuse_fields_that_cannot_be(kind):
    whole, _ = made(kind)
    name = kind.__name__
    wrong = [
        ({"records": np.zeros((4, 1))}, "records must be a list of ids"),
        ({"records": np.arange(3)}, "must be floats of shape"),
        ({"classes": ("a",) * len(whole.classes) if len(whole.classes) > 1 else ()}, "different names"),
        ({"probabilities": whole.probabilities + 1}, "a probability of record r0 is not in"),
        ({"probabilities": np.full_like(whole.probabilities, np.nan)}, "a probability of record r0"),
        ({"probabilities": (whole.probabilities > 0.5).astype(int)}, "must be floats"),
    ]
    for field in dataclasses.fields(kind):
        if field.name in ("decisions", "mask"):
            answer = getattr(whole, field.name)
            wrong += [
                ({field.name: answer[:, None]}, f"{field.name} must have the shape"),
                ({field.name: answer.astype(int) + 3}, f"{field.name} must be whole numbers from 0"),
                ({field.name: answer * 0.5}, f"{field.name} must be whole numbers"),
            ]
        wrong += [({"rate": 0}, "rate must be a number above 0 Hz")] if field.name == "rate" else []
    if kind is LabelOutputs:
        wrong.append(({"thresholds": [0.5, 0.5, 2]}, "thresholds must be 3 probabilities"))
    if kind is WaveOutputs:
        wrong.append(({"background": "none"}, "background 'none' is not a class"))
    if kind is PeakOutputs:
        wrong.append(({"peaks": whole.peaks[:2]}, "2 lists of peaks for 4 records"))
        wrong.append(({"peaks": [np.array([3, 2])] * 4}, "peaks of record r0 are not ascending"))
    for changes, message in wrong:
        with pytest.raises(DataError, match=f"{name}: .*{message}"):
            dataclasses.replace(whole, **changes)
    with pytest.raises(dataclasses.FrozenInstanceError):
        whole.records = whole.records


@given(st.integers(0, 10**6))
def test_outputs_scores_are_those_of_the_functions(seed):
    patients = ["a", "a", "b", "c"]
    how = {"resamples": 5}
    labels_of = {kind: made(kind, seed=seed) for kind in KINDS}
    one, labels = labels_of[LabelOutputs]
    expected = classification_scores(
        labels, one.decisions, one.probabilities, patients=np.array(patients), **how
    )
    np.testing.assert_equal(one.scores(labels, patients, **how), expected)
    one, labels = labels_of[ClassOutputs]
    each = classification_scores(np.eye(3, dtype=int)[labels], np.eye(3, dtype=int)[one.decisions])
    np.testing.assert_equal(one.scores(labels)["f1"], each["f1"])
    one, labels = labels_of[TagOutputs]
    counted = (labels >= 0).all(-1)
    each = classification_scores(labels[counted], one.decisions[counted])
    np.testing.assert_equal(one.scores(labels, patients, **how)["f1"]["classes"], each["f1"]["classes"])
    one, labels = labels_of[WaveOutputs]
    kinds = {"b": 1, "c": 2}
    waves = [[waves_of_mask(row, kinds) for row in mask] for mask in (labels, one.mask)]
    expected = delineation_scores(*waves, 50, 0.1, patients, 5)
    np.testing.assert_equal(one.scores(labels, patients, tolerance_s=0.1, **how)["boundaries"], expected)
    one, labels = labels_of[PeakOutputs]
    np.testing.assert_equal(one.scores(labels, **how), rpeak_scores(labels, one.peaks, 50, **how))


def test_outputs_of_tasks():
    p = np.array([[0.7, 0.3], [0.2, 0.8]], np.float32)
    decision = {"thresholds": [0.8, 0.1]}
    labels = create_task("multilabel", ["x", "y"]).outputs(p, decision, ["r1", "r2"])
    np.testing.assert_array_equal(labels.decisions, [[0, 1], [0, 1]])
    assert labels.records.tolist() == ["r1", "r2"] and labels.thresholds.tolist() == [0.8, 0.1]
    np.testing.assert_array_equal(create_task("multiclass", ["x", "y"]).outputs(p).decisions, [0, 1])
    steps = p.repeat(3, axis=0).reshape(1, 6, 2)
    waves = create_task("segmentation", ["background", "P"]).outputs(steps)
    assert waves.background == "background" and waves.waves[0]["P"].tolist() == [[3, 5]]
    tags = create_task("multilabel_segmentation", ["x", "y"]).outputs(steps)
    np.testing.assert_array_equal(tags.decisions, steps >= 0.5)

    class Own(Task):
        kind, select_on = "own", "score"

        def score(self, targets, predictions, decision=None):
            return {}

    with pytest.raises(UsageError, match="task own has no type of outputs"):
        Own(["x"]).outputs(p)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_outputs_are_scored_in_reports(kind):
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 40)
    targets = np.eye(3, dtype=int)[rng.integers(0, 3, 40)]
    split = SimpleNamespace(targets=targets, patients=np.arange(40), ids=np.arange(40))
    decision = {"thresholds": [0.2, 0.3, 0.4]}
    report = create_task(kind, ["x", "y", "z"]).report(split, p, decision, resamples=10)
    answer = p >= [0.2, 0.3, 0.4] if kind == "multilabel" else np.eye(3)[p.argmax(1)]
    expected = classification_scores(targets, answer, p)["mcc"]
    assert report["decision_scores"]["mcc"]["macro"] == expected["macro"]
    assert list(report["decision_scores"]["mcc"]["classes"].values()) == expected["classes"].tolist()
    assert len(report["decision_scores"]) == 22


@pytest.mark.torch
def test_outputs_of_a_predictor(tmp_path):
    predictor = load_predictor(write_untrained(tmp_path / "run", "ecgnet"))
    signals = np.random.default_rng(0).normal(0, 0.3, (3, SAMPLES, 12)).astype(np.float32)
    outputs = predictor.answer(signals, ["a", "b", "c"])
    assert isinstance(outputs, LabelOutputs) and outputs.classes == tuple(CLASSES)
    np.testing.assert_array_equal(outputs.probabilities, predictor.predict(signals))
    np.testing.assert_array_equal(outputs.decisions, outputs.probabilities >= 0.5)
    assert outputs.records.tolist() == ["a", "b", "c"]
