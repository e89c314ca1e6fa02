"""Scores of R-peaks: golden CPSC2019 scores, and properties of the matching."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.errors import DataError
from utils.rpeak_scores import cpsc2019_score, match_peaks, rpeak_scores, tolerance_curve

PEAKS = st.lists(st.integers(0, 5000), unique=True, max_size=30).map(
    lambda peaks: np.array(sorted(peaks), int)
)


@given(PEAKS, PEAKS, st.integers(0, 100))
def test_match_peaks_pairs_one_to_one_within_the_tolerance(reference, found, tolerance):
    pairs = match_peaks(reference, found, tolerance)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert (np.abs(reference[pairs[:, 0]] - found[pairs[:, 1]]) <= tolerance).all()
    np.testing.assert_array_equal(
        np.sort(match_peaks(found, reference, tolerance)[:, 0]), np.sort(pairs[:, 1])
    )


@given(PEAKS, st.integers(0, 20))
def test_match_peaks_finds_every_peak_that_moved_a_little(reference, shift):
    reference = reference * 100
    assert len(match_peaks(reference, reference + shift, 20)) == len(reference)


@given(st.lists(st.tuples(PEAKS, PEAKS), min_size=1, max_size=4))
def test_rpeak_scores_count_every_peak_once(records):
    references, found = zip(*records, strict=True)
    for score in rpeak_scores(references, found, 500, resamples=10).values():
        assert score["tp"] + score["fn"] == sum(map(len, references))
        assert score["tp"] + score["fp"] == sum(map(len, found))
        if score["tp"]:
            assert score["f1_low"] <= score["f1_high"]


def test_rpeak_scores_of_a_case_by_hand():
    score = rpeak_scores([np.array([100, 600, 1100])], [np.array([110, 300, 1140])], 500, (75, 25))
    assert score["75"] == pytest.approx(
        {
            "sensitivity": 1 / 3,
            "ppv": 1 / 3,
            "f1": 1 / 3,
            "f1_low": 1 / 3,
            "f1_high": 1 / 3,
            "tp": 1,
            "fp": 2,
            "fn": 2,
            "median_error_ms": 20,
        }
    )
    assert rpeak_scores([np.array([100])], [np.array([113])], 500, (25,))["25"]["tp"] == 0


def test_spans_leave_out_peaks_of_both_sides():
    score = rpeak_scores([np.array([10, 500, 990])], [np.array([12, 500, 700])], 100, (75,), [(250, 750)])[
        "75"
    ]
    assert (score["tp"], score["fp"], score["fn"]) == (1, 1, 0)


def test_records_of_one_patient_are_resampled_together():
    references, found = [np.array([100])] * 4, [np.array([100])] * 2 + [np.array([], int)] * 2
    by_record = rpeak_scores(references, found, 500, (75,))["75"]
    by_patient = rpeak_scores(references, found, 500, (75,), patients=["a"] * 4)["75"]
    assert by_record["f1_low"] < by_patient["f1_low"] == by_patient["f1"]


def test_rpeak_scores_refuse_what_does_not_belong_together():
    with pytest.raises(DataError, match="2 reference records, 1 found"):
        rpeak_scores([np.array([1])] * 2, [np.array([1])], 500)
    with pytest.raises(DataError, match="not ascending"):
        match_peaks(np.array([5, 3]), np.array([1]), 2)


def test_cpsc2019_score_equals_that_of_torch_ecg():
    """Version 0.0.33 gave 1, 0.3, 0.7 and 0 for these records: no error, one missed, one false, several."""
    references = [np.arange(300, 4701, 400), np.arange(350, 4551, 420), np.arange(400, 4581, 380)]
    references.append(np.arange(300, 4401, 410))
    found = [
        references[0] + 5,
        np.delete(references[1], 3 - 1),
        np.sort(np.append(references[2], 600)),
        np.array([300, 777, 1120, 1555, 1940, 2760, 3580, 4400]),
    ]
    np.testing.assert_allclose(cpsc2019_score(references, found, 500), [1, 0.3, 0.7, 0])


def test_cpsc2019_score_ignores_the_ends_of_a_record():
    reference = np.array([100, 1000, 2000])
    assert cpsc2019_score([reference], [reference[1:]], 500) == [1]
    assert cpsc2019_score([reference], [np.array([1000, 2000, 4950])], 500) == [1]
    assert cpsc2019_score([reference], [np.array([])], 500) == [0]


@given(st.lists(st.tuples(PEAKS, PEAKS), min_size=1, max_size=3))
def test_tolerance_curve_never_falls_and_holds_the_scores(records):
    references, found = zip(*records, strict=True)
    curve = tolerance_curve(references, found, 500, (0, 10, 50, 150), resamples=10)
    assert (np.diff(curve["tp"]) >= 0).all() and (np.diff(curve["fp"]) <= 0).all()
    one = rpeak_scores(references, found, 500, (50,), resamples=10)["50"]
    for name, value in one.items():
        np.testing.assert_equal(curve[name][2], value)
