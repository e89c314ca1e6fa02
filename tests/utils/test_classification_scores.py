"""Scores of decisions and of wave boundaries: goldens, properties, and what cannot be scored."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef

from utils.classification_scores import classification_scores, decision_scores, table_counts
from utils.delineation_scores import delineation_scores, mean_of_boundaries, sample_jaccard, waves_of_mask
from utils.errors import DataError

FOLDER = Path(__file__).parents[1] / "goldens"
GOLDEN_NAMES = {
    "sensitivity": "sens", "specificity": "spec", "ppv": "prec", "npv": "npv", "accuracy": "acc",
    "balanced_accuracy": "ba", "f1": "f1", "jaccard": "jac", "fowlkes_mallows": "fm", "mcc": "phi",
    "informedness": "bm", "markedness": "mk", "fnr": "fnr", "fpr": "fpr", "fdr": "fdr", "for": "for",
    "plr": "plr", "nlr": "nlr", "dor": "dor", "prevalence_threshold": "pt",
    "roc_auc": "auroc", "auprc": "auprc",
}  # fmt: skip
WAVES = {"P": 1, "QRS": 2, "T": 3}


@pytest.fixture(scope="module")
def arrays():
    with np.load(FOLDER / "score_goldens.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def values():
    return json.loads((FOLDER / "score_goldens.json").read_text())


# --- decisions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize("weights", [None, np.arange(1, 6)])
def test_classification_scores_equal_the_goldens(arrays, values, threshold, weights):
    golden = values[f"clf/multilabel_thr{threshold}_{'now' if weights is None else 'w12345'}"]
    probabilities = arrays["probabilities"]
    scores = classification_scores(arrays["labels"], probabilities >= threshold, probabilities, weights)
    assert set(scores) == set(GOLDEN_NAMES)
    for name, other in GOLDEN_NAMES.items():
        np.testing.assert_allclose(scores[name]["classes"], golden[other], rtol=1e-9, err_msg=name)
        if np.isfinite(scores[name]["classes"]).all():
            assert scores[name]["macro"] == pytest.approx(golden[f"macro_{other}"]), name


def test_classification_scores_of_class_numbers_equal_the_goldens(arrays, values):
    golden = values["clf/categorical"]
    scores = classification_scores(arrays["class_labels"], arrays["class_decisions"])
    for name in scores:
        np.testing.assert_allclose(scores[name]["classes"], golden[GOLDEN_NAMES[name]], rtol=1e-9)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_table_counts_count_every_record_once(pairs):
    labels, decisions = np.array(pairs).T[:, :, None]
    counts = table_counts(labels, decisions)
    assert sum(int(count[0]) for count in counts.values()) == len(pairs)
    score = decision_scores(**counts)
    if 0 < labels.sum() < len(pairs) and 0 < decisions.sum() < len(pairs):
        assert score["mcc"][0] == pytest.approx(
            matthews_corrcoef(labels.ravel(), decisions.ravel()), abs=1e-12
        )
    swapped = decision_scores(counts["tn"], counts["fn"], counts["fp"], counts["tp"])
    np.testing.assert_allclose(swapped["sensitivity"], score["specificity"])


def test_score_that_is_undefined_is_nan_and_left_out_of_the_mean():
    labels = np.array([[1, 0], [0, 0], [1, 0]])
    scores = classification_scores(labels, labels)
    np.testing.assert_array_equal(scores["sensitivity"]["classes"], [1, np.nan])
    assert scores["sensitivity"]["macro"] == 1
    assert np.isnan(scores["dor"]["macro"])


@pytest.mark.parametrize(
    ("labels", "decisions", "weights", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 3)), None, r"shape \(3, 2\), decisions \(3, 3\)"),
        (np.zeros((3, 2)), np.full((3, 2), 0.4), None, "decisions must be 0 or 1: apply thresholds"),
        (np.zeros((3, 2)), np.zeros((3, 2)), [1, 0], "2 numbers above 0"),
    ],
)
def test_classification_scores_say_what_they_cannot_take(labels, decisions, weights, message):
    with pytest.raises(DataError, match=message):
        classification_scores(labels, decisions, class_weights=weights)


# --- waves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [0.15, 0.02])
def test_delineation_scores_equal_the_goldens(arrays, values, tolerance):
    golden = values[f"wave/tol{tolerance}"]
    masks = [arrays[name].reshape(-1, 5000) for name in ("reference_masks", "found_masks")]
    reference, found = ([waves_of_mask(mask, WAVES) for mask in part] for part in masks)
    scores = delineation_scores(reference, found, 500, tolerance)
    for kind, other in (("P", "pwave"), ("QRS", "qrs"), ("T", "twave")):
        for end in ("onset", "offset"):
            score, key = scores[f"{kind} {end}"], f"{other}_{end}"
            assert score["sensitivity"] == pytest.approx(golden["sensitivity"][key], abs=1e-7)
            assert score["ppv"] == pytest.approx(golden["precision"][key], abs=1e-7)
            assert score["f1"] == pytest.approx(golden["f1_score"][key], abs=1e-6)
            assert score["mean_error_ms"] == pytest.approx(golden["mean_error"][key])
            assert score["sd_error_ms"] == pytest.approx(golden["standard_deviation"][key])
        jaccard = sample_jaccard(*(arrays[name] for name in ("reference_masks", "found_masks")), WAVES[kind])
        assert jaccard == pytest.approx(golden["jaccard"][other])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_waves_of_mask_cover_the_mask(mask):
    waves = waves_of_mask(np.array(mask), WAVES)
    covered = np.zeros(len(mask), int)
    for kind, number in WAVES.items():
        for first, last in waves[kind]:
            covered[first : last + 1] += number
    np.testing.assert_array_equal(covered, mask)


def test_delineation_scores_say_what_they_cannot_take():
    with pytest.raises(DataError, match="1 records with reference waves, 0 with found ones"):
        delineation_scores([{}], [], 500)
    with pytest.raises(DataError, match=r"waves P have shape \(2,\)"):
        delineation_scores([{"P": np.array([1, 2])}], [{}], 500)
    with pytest.raises(DataError, match="one class for each sample"):
        waves_of_mask(np.zeros((2, 3)), WAVES)
    assert np.isnan(sample_jaccard(np.zeros(3), np.zeros(3), 1))


# --- intervals --------------------------------------------------------------------------------------------


def test_classification_scores_have_intervals_over_patients(arrays):
    probabilities, labels = arrays["probabilities"], arrays["labels"]
    patients = np.arange(len(labels)) // 2
    how = {"probabilities": probabilities, "patients": patients, "resamples": 60}
    scores = classification_scores(labels, probabilities >= 0.5, **how)
    plain = classification_scores(labels, probabilities >= 0.5, probabilities)
    assert scores.keys() == plain.keys()
    for name, score in scores.items():
        np.testing.assert_array_equal(score["classes"], plain[name]["classes"])
        assert score["macro_low"] <= score["macro"] <= score["macro_high"], name
        assert (score["classes_low"] <= score["classes_high"]).all()
    # one resample by hand: the records of the drawn patients, as often as they were drawn
    drawn = np.random.default_rng(0).multinomial(100, np.full(100, 0.01), 60)
    answers = probabilities >= 0.5
    repeated = [(np.repeat(labels, row[patients], 0), np.repeat(answers, row[patients], 0)) for row in drawn]
    f1 = [classification_scores(*part)["f1"]["macro"] for part in repeated]
    low, high = np.quantile(f1, [0.025, 0.975])
    assert (scores["f1"]["macro_low"], scores["f1"]["macro_high"]) == pytest.approx((low, high))


def test_delineation_scores_take_a_tolerance_for_each_boundary_and_have_intervals():
    waves = {"P": np.array([[100, 140], [600, 640]])}
    moved = {"P": np.array([[105, 170], [605, 645]])}
    scores = delineation_scores(
        [waves, waves], [moved, waves], 500, {"P onset": 0.009, "P offset": 0.02}, ["a", "b"], 200
    )
    assert scores["P onset"]["f1"] == 0.5 and scores["P offset"]["f1"] == 0.75
    assert (scores["P onset"]["f1_low"], scores["P onset"]["f1_high"]) == (0, 1)
    mean = mean_of_boundaries(scores)
    assert mean["f1"] == pytest.approx(0.625) and mean["mean_error_ms"] == pytest.approx((0 + 10 / 3) / 2)
    with pytest.raises(DataError, match="no tolerance for P offset"):
        delineation_scores([waves], [waves], 500, {"P onset": 0.1})
