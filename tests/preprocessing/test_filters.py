"""Baseline removal, by itself and as the first step of standardization."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing import Dataset, Standardizer, fit_standardizer
from preprocessing.batches import Batches
from preprocessing.signals import ScaledSignals
from preprocessing.transforms import standardize
from preprocessing.transforms.filters import remove_baseline
from utils.ecg import LEADS
from utils.errors import DataError, UsageError

GOLDENS = Path(__file__).parents[1] / "goldens" / "proto_goldens.npz"


def signals(records=5, samples=300, leads=3, seed=0):
    return np.random.default_rng(seed).standard_normal((records, samples, leads))


def dataset(raw, sampling_rate=100):
    n = len(raw)
    return Dataset(
        ScaledSignals(raw) if raw.dtype == np.int16 else raw,
        np.zeros((n, 2)), ["A", "B"], np.arange(n), np.arange(n), ["train"] * n, sampling_rate,
        leads=LEADS[: raw.shape[2]],
    )  # fmt: skip


RAW = (signals(70, 250) * 300 + 400).astype(np.int16)


# ---------------------------------------------------------------- the filter


def test_filter_equals_the_references():
    with np.load(GOLDENS) as goldens:
        given_mv, expected = goldens["filter_in"], goldens["filter_out"]
    result = remove_baseline(given_mv, 100)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)  # the goldens are rounded to float32


@pytest.mark.parametrize("sampling_rate", [100, 500, 257.5])
def test_frequencies_that_go_and_stay(sampling_rate):
    time = np.arange(int(40 * sampling_rate)) / sampling_rate
    middle = slice(len(time) // 4, -len(time) // 4)

    def gain(frequency):
        wave = np.sin(2 * np.pi * frequency * time)
        filtered = remove_baseline(wave[:, None], sampling_rate)[:, 0]
        # zero phase: what comes out is a multiple of what went in
        factor = filtered[middle] @ wave[middle] / (wave[middle] @ wave[middle])
        np.testing.assert_allclose(filtered[middle], factor * wave[middle], atol=2e-3)
        return factor

    # A first-order filter applied twice: f^2 / (f^2 + cutoff^2), but for the warping near half the rate
    for frequency in (0.1, 0.5, 1, 5):
        assert gain(frequency) == pytest.approx(frequency**2 / (frequency**2 + 0.25), abs=2e-3)


def test_offset_and_drift_are_removed():
    assert abs(remove_baseline(np.full((1000, 12), 7.0), 100)).max() < 1e-12
    slope = 0.5  # mV/s
    left = abs(remove_baseline(slope * np.arange(1000)[:, None] / 100 + np.full(12, 7.0), 100))
    assert left[200:-200].max() < 1e-3
    assert left.max() < slope / (2 * np.pi * 0.5)  # at the ends, less than what one time constant brings


def test_filter_of_another_cutoff_and_order():
    wave = np.sin(2 * np.pi * 0.5 * np.arange(50_000) / 500)[:, None]
    gains = [
        abs(remove_baseline(wave, 500, *how)[20_000:30_000]).max()
        for how in ((0.5,), (0.05,), (0.5, 4), (1, 4))
    ]
    np.testing.assert_allclose(gains, [0.5, 100 / 101, 0.5, 1 / 257], atol=0.005)


@given(st.integers(7, 60), st.integers(1, 4), st.integers(1, 3))
def test_filter_treats_each_lead_of_each_record_by_itself(samples, records, leads):
    many = signals(records, samples, leads).astype(np.float32)
    before = many.copy()
    together = remove_baseline(many, 100)
    np.testing.assert_array_equal(many, before)
    assert together.shape == many.shape
    for record in range(records):
        for lead in range(leads):
            alone = remove_baseline(many[record, :, lead : lead + 1], 100)
            np.testing.assert_array_equal(alone[:, 0], together[record, :, lead])
    np.testing.assert_array_equal(remove_baseline(many[None], 100)[0], together)
    np.testing.assert_array_equal(remove_baseline(many[::-1, :, ::-1], 100), together[::-1, :, ::-1])


def test_filter_of_no_record_gives_no_record():
    assert remove_baseline(np.empty((0, 100, 12)), 100).shape == (0, 100, 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((100, 0), "cut-off 0 Hz at 100 Hz"),
        ((100, -1), "cut-off -1 Hz"),
        ((100, 50), "cut-off 50 Hz at 100 Hz"),
        ((100, float("nan")), "cut-off nan"),
        ((0,), "at 0 Hz"),
        ((100, 0.5, 0), "order 0"),
    ],
)
def test_filters_that_are_impossible_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        remove_baseline(signals(), *arguments)


@pytest.mark.parametrize(("samples", "order"), [(0, 1), (1, 1), (6, 1), (15, 4)])
def test_records_too_short(samples, order):
    with pytest.raises(DataError, match=f"records of {samples} samples are too short"):
        remove_baseline(np.zeros((2, samples, 12)), 100, order=order)
    assert np.isfinite(remove_baseline(np.zeros((2, 3 * (order + 1) + 1, 12)), 100, order=order)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_named(value):
    bad = signals()
    bad[3, 17, 2] = value
    with pytest.raises(DataError, match=r"^record 3, lead 2 .*NaN or infinite"):
        remove_baseline(bad, 100)
    with pytest.raises(DataError, match=r"^lead 2 .*NaN or infinite"):
        remove_baseline(bad[3], 100)
    with pytest.raises(DataError, match="no time axis"):
        remove_baseline(bad[0, :, 0], 100)


# ---------------------------------------------------------------- the standardizer


def test_highpass_comes_first():
    millivolts = signals().astype(np.float32) + 5
    scale = Standardizer(0.25, 0.5, 0.5, 100)
    expected = (remove_baseline(millivolts, 100).astype(np.float32) - 0.25) * 2
    np.testing.assert_array_equal(scale(millivolts), expected)
    assert scale(millivolts).dtype == np.float32
    np.testing.assert_array_equal(Standardizer(0.25, 0.5)(millivolts), (millivolts - 0.25) * 2)


@pytest.mark.parametrize("size", [1, 3, 70])
def test_batches_of_any_size_hold_the_same_bits(size):
    data = dataset(RAW)
    scale = fit_standardizer(data, 0.5)
    whole = scale(data.signals)
    batches = Batches(data, scale, size)
    made = [batches.batch(0, i)[0] for i in range(len(batches))]
    np.testing.assert_array_equal(np.concatenate(made), whole)


def test_cards_without_highpass_are_as_they_were():
    assert Standardizer(0.25, 0.5).to_json() == {"mean": 0.25, "std": 0.5}
    assert Standardizer.from_json({"mean": 0.25, "std": 0.5}) == Standardizer(0.25, 0.5)


@given(st.floats(-10, 10), st.floats(1e-6, 10), st.floats(0.01, 40), st.sampled_from([100, 500]))
def test_standardizer_survives_json(mean, std, highpass, sampling_rate):
    scale = Standardizer(mean, std, highpass, sampling_rate)
    assert scale.to_json().keys() == {"mean", "std", "highpass", "sampling_rate"}
    assert Standardizer.from_json(json.loads(json.dumps(scale.to_json()))) == scale


@pytest.mark.parametrize(
    "filter_part",
    [
        {"highpass": 0.5}, {"sampling_rate": 100}, {"highpass": -1, "sampling_rate": 100},
        {"highpass": 50, "sampling_rate": 100}, {"highpass": float("nan"), "sampling_rate": 100},
        {"highpass": "x", "sampling_rate": 100}, {"highpass": 0.5, "sampling_rate": None},
        {"highpass": 0.5, "sampling_rate": float("inf")},
    ],
)  # fmt: skip
def test_standardizer_of_a_broken_card_is_refused(filter_part):
    with pytest.raises(DataError, match=r"'highpass'.*'sampling_rate'"):
        Standardizer.from_json({"mean": 0, "std": 1} | filter_part)


def test_fitted_on_the_filtered_samples():
    data = dataset(RAW)
    scale = fit_standardizer(data, 0.5)
    filtered = remove_baseline(RAW / 1000, 100)
    assert (scale.highpass, scale.sampling_rate) == (0.5, 100)
    assert scale.mean == pytest.approx(filtered.mean(), abs=1e-7)
    assert scale.std == pytest.approx(filtered.std(), rel=1e-6)
    standardized = scale(data.signals).astype(np.float64)
    assert (standardized.mean(), standardized.std()) == pytest.approx((0, 1), abs=1e-6)
    assert fit_standardizer(dataset(RAW / 1000), 0.5).std == pytest.approx(scale.std, rel=1e-6)
    assert fit_standardizer(dataset(RAW, 500), 0.5).std > scale.std  # at 500 Hz it lets more through
    assert fit_standardizer(data) == fit_standardizer(data, 0.0) == fit_standardizer(data, highpass=0)


@settings(max_examples=20)
@given(st.permutations(range(len(RAW))), st.integers(1, 100))
def test_standardizer_depends_on_neither_order_nor_blocks(order, block):
    with pytest.MonkeyPatch.context() as patch:
        expected = fit_standardizer(dataset(RAW), 0.5)
        patch.setattr(standardize, "_BLOCK", block)
        assert fit_standardizer(dataset(RAW[np.array(order)]), 0.5) == expected


def test_standardizer_says_what_cannot_be_fitted():
    data = dataset(RAW)
    with pytest.raises(UsageError, match="cut-off 60 Hz at 100 Hz"):
        fit_standardizer(data, 60)
    with pytest.raises(DataError, match="leaves nothing"):
        fit_standardizer(dataset(np.full((3, 200, 2), 700, np.int16)), 0.5)
    with pytest.raises(DataError, match="no training record"):
        fit_standardizer(data.take([]), 0.5)
    data.splits[3] = "val"
    with pytest.raises(UsageError, match="training split only"):
        fit_standardizer(data, 0.5)
