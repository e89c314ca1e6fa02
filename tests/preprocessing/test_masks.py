"""Annotations as masks along time: peaks, windows, steps and weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.targets import IGNORED
from preprocessing.targets.masks import (
    border_weights,
    cut_windows,
    ignore_outside,
    mark_peaks,
    scaled,
    thin_out,
    window_starts,
)
from utils.errors import UsageError


@given(st.integers(0, 5000), st.integers(1, 700), st.integers(1, 700))
def test_windows_cover_each_sample_of_a_record_and_begin_inside(samples, length, hop):
    hop = min(hop, length)
    starts = window_starts(samples, length, hop)
    covered = np.zeros(samples + length, dtype=int)
    for start in starts:
        covered[start : start + length] += 1
    assert (covered[:samples] > 0).all() and (starts < max(samples, 1)).all()
    if hop == length:
        assert (covered <= 1).all()
    assert len(starts) == (0 if samples == 0 else len(starts))


@given(st.lists(st.integers(0, 999), max_size=20), st.integers(0, 80))
def test_mask_of_peaks_is_what_the_distance_to_the_nearest_says(peaks, reach):
    mask = mark_peaks(peaks, 1000, reach)
    distance = np.abs(np.subtract.outer(np.arange(1000), np.array(peaks, dtype=int))).min(
        axis=1, initial=10**6
    )
    np.testing.assert_array_equal(mask, distance <= reach)


def test_windows_of_a_mask_are_filled_behind_the_record():
    mask = np.arange(7, dtype=np.int8)
    cut = cut_windows(mask, np.array([0, 4]), 5)
    assert cut.tolist() == [[0, 1, 2, 3, 4], [4, 5, 6, IGNORED, IGNORED]]
    assert ignore_outside(mask, 2, 5).tolist() == [IGNORED, IGNORED, 2, 3, 4, IGNORED, IGNORED]
    assert thin_out(cut, 2).tolist() == [[1, 3], [5, IGNORED]] and thin_out(cut, 1).tolist() == cut.tolist()
    with pytest.raises(UsageError, match="'reduction' is 6: choose 1 to 5"):
        thin_out(cut, 6)


def test_positions_follow_the_rate_and_absent_boundaries_stay():
    assert scaled(np.array([-1, 0, 5, 500]), 500, 100).tolist() == [-1, 0, 1, 100]
    assert scaled(np.array([3]), 360, 360).tolist() == [3]


def test_weights_rise_in_the_foreground_and_at_its_borders_alone():
    mask = np.zeros(1000, np.int8)
    mask[400:700] = 1
    mask[950:] = IGNORED
    weights = border_weights(mask, 100, foreground=2, border=5, width=0.1)
    time = np.arange(1000)
    bells = sum(np.exp(-(((time - border) / 10) ** 2)) for border in (400, 700))
    expected = np.where(mask == 1, 2, 1) + 5 * bells
    expected[950:] = 0
    np.testing.assert_allclose(weights, expected, atol=2e-5)
