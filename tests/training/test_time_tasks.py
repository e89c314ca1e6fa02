"""Tasks along time: decoding of peaks and waves, scores with ignored samples, tags and RR intervals."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from preprocessing.batches import Weighted
from preprocessing.targets import IGNORED
from training.tasks import create_task
from training.tasks.boundary_scores import peaks_of_mask
from training.tasks.decoding import (
    PeakDecoder,
    clean_waves,
    frequent_enough,
    one_between,
    peaks_of,
    stretches,
)
from utils.delineation_scores import waves_of_mask
from utils.errors import DataError

RATE = 100
WAVES = ["background", "P", "QRS", "T"]
probabilities = hnp.arrays(
    np.float64, st.integers(0, 300), elements=st.sampled_from([0.0, 0.4, 0.6, 0.9, 1.0])
)


@dataclass
class Records:
    """What tasks read of a dataset."""

    targets: np.ndarray
    signals: np.ndarray
    patients: np.ndarray
    task: str = "toy"
    selection: str = "val"

    split_names = {"train": "some", "val": "others", "test": "the rest"}  # noqa: RUF012

    def __len__(self):
        return len(self.targets)


def records(targets: np.ndarray, samples: int) -> Records:
    return Records(targets, np.zeros((len(targets), samples, 1)), np.arange(len(targets)))


# ---- peaks ---------------------------------------------------------------------------------------


@given(probabilities, st.lists(st.integers(0, 300), max_size=8))
def test_peaks_do_not_depend_on_how_a_record_is_cut(values, cuts):
    decoder = PeakDecoder(RATE)
    pieces = np.split(values, sorted(cut for cut in cuts if cut <= len(values)))
    found = np.concatenate([*(decoder.feed(piece) for piece in pieces), decoder.finish()])
    np.testing.assert_array_equal(found, peaks_of(values, RATE))


@given(probabilities)
def test_peaks_lie_in_stretches_above_the_threshold_and_apart(values):
    found = peaks_of(values, RATE)
    assert (np.diff(found) >= 0.2 * RATE).all()
    for first, last in stretches(values >= 0.5).tolist():
        inside = (found >= first) & (found <= last)
        assert inside.sum() <= 1 and not (inside.any() and last - first + 1 < 0.02 * RATE)
    assert len(found) <= len(stretches(values >= 0.5))


@given(st.lists(st.integers(20, 60), min_size=1, max_size=12), st.integers(2, 6))
def test_peaks_of_a_mask_are_found_again(intervals, reach):
    peaks = np.cumsum(intervals)
    mask = np.zeros(peaks[-1] + 20, np.int8)
    for peak in peaks:
        mask[peak - reach : peak + reach + 1] = 1
    np.testing.assert_array_equal(peaks_of_mask(mask), peaks)
    np.testing.assert_allclose(peaks_of(mask, RATE), peaks)


def peak_targets() -> np.ndarray:
    """Two records with a peak a second, of which the first 2 s are not annotated."""
    targets = np.zeros((2, 1000, 1), np.int8)
    for peak in range(50, 1000, 100):
        targets[:, peak - 5 : peak + 6] = 1
    targets[:, :200] = IGNORED
    return targets


def test_rpeaks_task_scores_within_tolerances_and_without_what_is_ignored():
    task, targets = create_task("rpeaks", ["R-peak"], RATE), peak_targets()
    perfect = (targets == 1).astype(float)
    perfect[:, 100:106] = 0.9  # where nobody marked peaks
    assert task.score(targets, perfect) == {
        **{"mean_f1": 1.0, "f1_150ms": 1.0, "f1_75ms": 1.0, "f1_25ms": 1.0, "tp": 16, "fp": 0, "fn": 0}
    }
    late = np.roll((targets == 1).astype(float), 5, axis=1)  # by 50 ms
    scores = task.score(targets, late)
    assert (scores["f1_150ms"], scores["f1_75ms"], scores["f1_25ms"]) == (1.0, 1.0, 0.0)
    perfect[0, 300:310] = 0.8
    perfect[1, 745:756] = 0
    assert [task.score(targets, perfect)[name] for name in ("tp", "fp", "fn")] == [15, 1, 1]
    encoded = task.encode(targets)
    assert isinstance(encoded, Weighted) and encoded.weights[:, :200].max() == 0
    assert encoded.labels.sum() == 2 * 8 * 11


def test_rpeaks_threshold_is_chosen_by_what_is_found_not_by_where_it_lies():
    """Above 0.6 peaks lie better, within 25 ms, but every eighth one is missed."""
    task, targets = create_task("rpeaks", ["R-peak"], RATE), peak_targets()
    skewed = np.where(targets == 1, 0.9, 0.0)
    middles = np.flatnonzero(targets[0, :, 0] == 1).reshape(8, -1).mean(axis=1).astype(int)
    for middle in middles:
        skewed[:, middle + 4 : middle + 16] = 0.6
    skewed[:, middles[0] - 5 : middles[0] + 16] = 0.6
    decision = task.fit_decision(records(targets, 1000), skewed)
    assert decision["threshold"] <= 0.6
    scores = [task.score(targets, skewed, {**decision, "threshold": t}) for t in (decision["threshold"], 0.8)]
    assert scores[0]["f1_75ms"] == 1 > scores[1]["f1_75ms"] and scores[0]["mean_f1"] < scores[1]["mean_f1"]


def test_rpeaks_task_fits_a_threshold_and_describes_peaks():
    task, targets = create_task("rpeaks", ["R-peak"], RATE), peak_targets()
    quiet = np.where(targets == 1, 0.35, 0.25)
    decision = task.fit_decision(records(targets, 1000), quiet)
    assert decision["threshold"] == 0.3
    assert task.score(targets, quiet, decision)["mean_f1"] == 1.0
    assert task.decode(quiet, decision).sum() == 16
    described = task.describe(quiet[0], decision, RATE)
    assert (
        described["peaks"] == [2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5] and described["heart_rate_bpm"] == 60
    )
    assert task.lines(described) == ["  8 R-peaks, 60 / min"]
    report = task.report(records(targets, 1000), quiet, decision, resamples=20)
    assert report["bootstrap"]["intervals"]["mean_f1"] == {"low": 1.0, "high": 1.0}
    assert report["bootstrap"]["patients"] == 2
    assert "F1 within 25 ms" in task.table(report) and "16 found, 0 false, 0 missed" in task.table(report)
    task.check_decision(decision, "card.json")
    for wrong in ({"threshold": -1}, {"threshold": "0.5"}, {"other": 1}, {"reduction": 1.5}):
        with pytest.raises(DataError, match=r"card.json: 'decision' has no valid"):
            task.check_decision(wrong, "card.json")


def test_rpeaks_of_steps_are_those_of_samples():
    task = create_task("rpeaks", ["R-peak"], 8 * RATE)
    task.reduction = 8
    targets = peak_targets()
    assert task.score(targets, (targets == 1).astype(float))["f1_25ms"] == 1.0
    decision = task.fit_decision(records(targets, 8000), (targets == 1).astype(float))
    assert decision["reduction"] == 8
    assert task.describe((targets[0] == 1).astype(float), decision, 8 * RATE)["peaks"][0] == 2.5
    assert task.output_shape(targets, 8000) == (1000, 1)
    joined = task.join([np.ones((1, 500, 1)), np.zeros((1, 500, 1))], [0, 4000], 8000)
    assert joined.shape == (1, 1000, 1) and joined[0, :, 0].tolist() == [1.0] * 500 + [0.0] * 500


def test_rpeaks_task_refuses_records_without_a_peak_and_other_shapes():
    task, targets = create_task("rpeaks", ["R-peak"], RATE), peak_targets()
    task.check_data(records(targets, 1000), records(targets, 1000))
    with pytest.raises(DataError, match="toy: others has no R-peak"):
        task.check_data(records(targets, 1000), records(np.minimum(targets, 0), 1000))
    with pytest.raises(DataError, match="must be \\(records, steps, 1\\) for 900 samples"):
        task.check_data(records(targets, 900), records(targets, 1000))
    with pytest.raises(DataError, match="do not fit"):
        task.score(targets, np.zeros((2, 999, 1)))


# ---- waves ---------------------------------------------------------------------------------------


def wave_mask() -> np.ndarray:
    """Three beats of P, QRS and T in 4 s; half a second at either end is not annotated."""
    mask = np.zeros(400, np.int8)
    for beat in (100, 200, 300):
        mask[beat - 20 : beat - 10], mask[beat - 4 : beat + 5], mask[beat + 20 : beat + 40] = 1, 2, 3
    mask[:50] = mask[350:] = IGNORED
    return mask


def one_hot(mask: np.ndarray) -> np.ndarray:
    return np.eye(len(WAVES))[np.maximum(mask, 0)]


masks = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), max_size=20).map(
    lambda runs: np.repeat([number for number, _ in runs] or [0], [length for _, length in runs] or [5])
)


@given(masks, st.floats(0, 0.1), st.floats(0, 0.1))
def test_cleaned_waves_are_long_and_apart_and_cover_what_was_kept(mask, shortest, gap):
    waves = stretches(mask == 1)
    np.testing.assert_array_equal(waves, waves_of_mask(mask, {"P": 1})["P"])
    found = clean_waves(waves, RATE, shortest, gap)
    lengths = found[:, 1] - found[:, 0] + 1
    assert (lengths >= shortest * RATE).all()
    assert (found[1:, 0] - found[:-1, 1] - 1 >= gap * RATE).all()
    covered = np.zeros(len(mask), bool)
    for first, last in found.tolist():
        covered[first : last + 1] = True
    assert all(
        covered[first : last + 1].all()
        for first, last in waves.tolist()
        if last - first + 1 >= shortest * RATE
    )
    np.testing.assert_array_equal(clean_waves(found, RATE, shortest, gap), found)


@given(masks)
def test_waves_are_at_most_one_of_a_kind_in_a_beat(mask):
    task = create_task("waves", WAVES, RATE)
    found = task.waves(one_hot(mask))
    middles = found["QRS"].mean(axis=1)
    for kind in ("P", "T"):
        beats = np.searchsorted(middles, found[kind].mean(axis=1))
        assert len(set(beats.tolist())) == len(beats)
    every = {"least_p_share": 0.0}  # else waves that were dropped make others rare
    again = one_hot(task.decode(one_hot(mask)[None], every)[0])
    np.testing.assert_array_equal(task.decode(again[None], every), task.decode(one_hot(mask)[None], every))


def test_waves_that_remain_are_the_more_probable_ones():
    waves = np.array([[10, 19], [30, 39], [60, 69]])
    sums = np.r_[0.0, np.cumsum(np.r_[np.full(25, 0.5), np.full(75, 0.9)])]
    assert one_between(waves, np.array([50.0]), sums).tolist() == [[30, 39], [60, 69]]


def test_waves_that_few_beats_around_have_are_dropped():
    borders = np.arange(100.0, 2100.0, 100.0)  # 20 beats, the first half of them with a wave before each
    waves = np.stack([borders[:10] - 30, borders[:10] - 20], axis=1).astype(int)
    stray = np.array([[1770, 1780]])
    both = np.concatenate([waves, stray])
    assert frequent_enough(both, borders, 0.6).tolist() == waves.tolist()[:9]
    assert frequent_enough(both, borders, 0.0).tolist() == both.tolist()
    assert frequent_enough(both, borders, 0.6, reach=0).tolist() == both.tolist()
    assert frequent_enough(stray, borders[:1], 0.6).tolist() == stray.tolist()
    task = create_task("waves", WAVES, RATE)
    masks = np.zeros((2, 2200), int)
    for border in borders.astype(int).tolist():
        masks[:, border - 4 : border + 5] = 2
    for border in borders[:6].astype(int).tolist():
        masks[0, border - 20 : border - 10] = 1
    masks[1, 1480:1490] = 1
    found = [task.waves(one_hot(mask))["P"].tolist() for mask in masks]
    assert len(found[0]) >= 4 and found[1] == []
    assert len(task.waves(one_hot(masks[1]), {"merge_s": 0.03})["P"]) == 1  # cards of old know no share


def test_waves_task_scores_boundaries_and_can_answer_without_a_p_wave():
    task = create_task("waves", WAVES, RATE)
    targets = np.stack([wave_mask(), wave_mask()])
    perfect = one_hot(targets)
    scores = task.score(targets, perfect)
    assert scores["macro_f1"] == 1.0 and scores["boundaries"]["P onset"]["tp"] == 6
    assert scores["boundaries"]["T offset"]["mean_error_ms"] == 0.0
    np.testing.assert_array_equal(task.decode(perfect), np.maximum(targets, 0))
    targets[0][targets[0] == 1] = 0  # this lead has no P wave: each that is found is false
    scores = task.score(targets, perfect)
    assert [scores["boundaries"]["P onset"][name] for name in ("tp", "fp", "fn")] == [3, 3, 0]
    assert task.score(targets, one_hot(targets))["macro_f1"] == 1.0
    late = np.roll(one_hot(targets), 5, axis=1)  # by 50 ms, beyond the 40 ms of QRS
    scores = task.score(targets, late)["boundaries"]
    assert (
        scores["P onset"]["f1"] == 1.0
        and scores["QRS onset"]["f1"] == 0.0
        and scores["T offset"]["f1"] == 1.0
    )
    assert scores["T onset"]["mean_error_ms"] == 50.0
    outside = one_hot(targets)
    outside[:, 10:30] = np.eye(4)[3]  # before what is annotated
    assert task.score(targets, outside)["macro_f1"] == 1.0


def test_waves_without_a_marked_boundary_are_not_judged_there():
    task, mask = create_task("waves", WAVES, RATE), wave_mask()
    mask[196:200] = IGNORED  # the second QRS has no marked onset
    scores = task.score(mask[None], one_hot(wave_mask())[None])["boundaries"]
    assert [scores["QRS onset"][name] for name in ("tp", "fp", "fn")] == [2, 0, 0]
    assert [scores["QRS offset"][name] for name in ("tp", "fp", "fn")] == [3, 0, 0]


def test_waves_task_reports_over_patients_and_describes_segments():
    task, targets = create_task("waves", WAVES, RATE), np.stack([wave_mask(), wave_mask()])
    decision = task.fit_decision(records(targets, 400), one_hot(targets))
    task.check_decision(decision, "card.json")
    report = task.report(records(targets, 400), one_hot(targets), decision, resamples=20)
    assert [interval["high"] for interval in report["bootstrap"]["intervals"].values()] == [1.0] * 7
    assert "macro F1 of boundaries" in task.table(report) and "F1 QRS onset, 40 ms" in task.table(report)
    described = task.describe(one_hot(wave_mask()), decision, RATE)
    assert described["segments"][0] == {"class": "P", "start_s": 0.8, "end_s": 0.89}
    assert task.summary(described) == {"P": 3, "QRS": 3, "T": 3}


def test_waves_task_refuses_a_class_that_is_never_there_and_masks_of_another_length():
    task, targets = create_task("waves", WAVES, RATE), np.stack([wave_mask(), wave_mask()])
    task.check_data(records(targets, 400), records(targets, 400))
    without = np.where(targets == 3, 0, targets)
    with pytest.raises(DataError, match="no training record has T: it cannot be learned"):
        task.check_data(records(without, 400), records(targets, 400))
    with pytest.raises(DataError, match="do not have one value for each of 500 samples"):
        task.check_data(records(targets, 500), records(targets, 400))
    with pytest.raises(DataError, match=r"masks of shape .* do not fit predictions"):
        task.score(targets, one_hot(targets)[:, 1:])
    with pytest.raises(DataError, match="the first class must be the background, not 'P'"):
        create_task("waves", WAVES[1:], RATE).check_data(records(targets, 400), records(targets, 400))
    nothing = np.full((2, 400), IGNORED, np.int8)
    assert task.score(nothing, one_hot(targets))["macro_f1"] == 0.0


# ---- tags ----------------------------------------------------------------------------------------


def tags() -> np.ndarray:
    """Two records of 100 steps: AF in the second half, the last ten without weight."""
    targets = np.zeros((2, 100, 2), np.float16)
    targets[:, 50:, 0], targets[:, :90, 1] = 1, 2.5
    return targets


def test_tagging_task_scores_weighted_steps_and_fits_thresholds():
    task, targets = create_task("tagging", ["AF"], RATE), tags()
    task.check_data(records(targets, 800), records(targets, 800))
    quiet = np.where(targets[..., :1] > 0, 0.4, 0.2).astype(np.float32)
    quiet[:, 90:] = 0  # without weight, so not judged
    decision = task.fit_decision(records(targets, 800), quiet)
    assert decision == {"thresholds": [0.4]} or decision == {"thresholds": [0.3]}
    assert task.score(targets, quiet, decision) == {"macro_f1": 1.0, "class_f1": {"AF": 1.0}}
    assert task.score(targets, quiet)["macro_f1"] == 0.0
    encoded = task.encode(targets)
    assert encoded.labels.shape == (2, 100, 1) and encoded.weights.max() == 2.5
    task.reduction = 8
    segments = task.describe(quiet[0], decision, 800)["segments"]
    assert segments == [{"class": "AF", "start_s": 0.5, "end_s": 0.9}]
    report = task.report(records(targets, 800), quiet, decision, resamples=20)
    assert "macro F1 of steps" in task.table(report)
    with pytest.raises(DataError, match="has no step of any class"):
        task.check_data(records(targets, 800), records(targets * [0, 1], 800))
    with pytest.raises(DataError, match="1 classes and 1 weight"):
        task.check_data(records(targets[..., :1], 800), records(targets, 800))
    for wrong in ({"thresholds": [2]}, {"thresholds": None}, {"thresholds": [0.5, 0.5]}):
        with pytest.raises(DataError, match="'thresholds' must be a probability for each class"):
            task.check_decision(wrong, "card.json")


@given(hnp.arrays(np.int8, st.tuples(st.just(2), st.integers(1, 40)), elements=st.integers(0, 1)))
def test_rr_task_keeps_episodes_of_five_intervals_or_more(answer):
    task = create_task("rr", ["none", "AF"])
    decoded = task.decode(np.eye(2)[answer])
    for before, after in zip(answer, decoded, strict=True):
        long = [(a, b) for a, b in stretches(before == 1).tolist() if b - a + 1 >= min(5, len(before))]
        assert stretches(after == 1).tolist() == [list(pair) for pair in long]


def test_rr_task_describes_episodes():
    task = create_task("rr", ["none", "AF"])
    prediction = np.eye(2)[np.r_[np.zeros(10, int), np.ones(6, int), 0, 1, 1]]
    described = task.describe(prediction, None, RATE)
    assert described == {"episodes": [{"class": "AF", "first": 10, "last": 15}]}
    assert task.lines(described) == ["  AF       RR intervals 10 to 15"] and task.summary(described) == {
        "AF": 1
    }
    targets = np.r_[np.zeros(10, int), np.ones(6, int), [IGNORED] * 3][None]
    assert task.score(targets, prediction[None])["macro_dice"] == 1.0
