"""Lazily scaled signals, the dataset class and the standardizer, on arrays."""

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from databases.ptbxl import splits_of_folds
from preprocessing import Dataset, Standardizer, fit_standardizer
from preprocessing.assembly import cross_split_duplicates
from preprocessing.signals import ScaledSignals, waveform_digest
from preprocessing.splits import check_patients
from utils.ecg import LEADS
from utils.errors import DataError, UsageError

RAW = np.random.default_rng(3).integers(-32767, 32768, (9, 20, 12)).astype(np.int16)
MILLIVOLTS = (RAW.astype(np.float64) / 1000).astype(np.float32)


def dataset(raw: np.ndarray = RAW, folds: list[int] | None = None, lazy: bool = True) -> Dataset:
    count = len(raw)
    return Dataset(
        signals=ScaledSignals(raw) if lazy else (raw / 1000).astype(np.float32),
        targets=np.eye(count, 3, dtype=np.uint8),
        classes=["A", "B", "C"],
        ids=np.arange(count) + 100,
        patients=np.arange(count) + 500,
        splits=splits_of_folds(folds or [1] * count),
        sampling_rate=100,
        leads=LEADS[: raw.shape[2]],
        digests=np.array([waveform_digest(samples) for samples in raw]),
    )


ROWS = st.one_of(
    st.integers(-9, 8),
    st.slices(9),
    st.lists(st.integers(-9, 8), max_size=12),
    st.lists(st.integers(-9, 8), max_size=12).map(lambda i: np.array(i, dtype=np.int32)),
    arrays(bool, 9),
)


REST = st.one_of(
    st.none(),
    st.tuples(st.slices(20)),
    st.tuples(st.slices(20), st.integers(0, 11)),
    st.just((...,)),
    st.tuples(st.just(...), st.integers(0, 11)),
    st.tuples(st.slices(20), st.just(...)),
    st.tuples(st.slices(20), st.just(...), st.slices(12)),
)


@given(ROWS, REST)
def test_indexing_is_numpys_and_gives_millivolts(rows, rest):
    signals = ScaledSignals(RAW)
    index = np.array(rows, dtype=np.int64) if isinstance(rows, list) else rows  # NumPy reads [] as floats
    key, plain_key = (rows, index) if rest is None else ((rows, *rest), (index, *rest))
    result = signals[key]
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, MILLIVOLTS[plain_key])


@pytest.mark.parametrize(
    "key",
    [
        ...,
        (),
        (..., 0),
        (..., slice(3), 0),
        (..., 2, slice(None), 0),
        (slice(2, 7, 2), [0, 3]),
        (slice(None), slice(None), np.array([5, 1])),
        (slice(None), np.array([1, 2]), np.array([3, 4])),
        (np.array([[0, 1], [2, 3]]), slice(None), 0),
        (2, 3, 4),
    ],
    ids=str,
)
def test_keys_that_do_not_begin_with_plain_records(key):
    result = ScaledSignals(RAW)[key]
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, MILLIVOLTS[key])
    raw = ScaledSignals(RAW).raw(key)
    np.testing.assert_array_equal(raw, RAW[key])
    assert not np.may_share_memory(raw, RAW)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (([0, 1], [2, 3]), r"choose records first: signals\[rows\]\[:, times\]"),
        ((np.array([0, 1]), slice(None), np.array([2])), "choose records first"),
        ((np.ones(9, bool), ..., [1]), "choose records first"),
        ((4, slice(None), [1, 2]), "choose records first"),
        ((None, 0), "new axes"),
        ((..., 0, ...), "single ellipsis"),
        ((0, 0, 0, 0), "too many indices"),
    ],
)
def test_keys_whose_meaning_is_in_doubt_are_refused(key, message):
    with pytest.raises(IndexError, match=message):
        ScaledSignals(RAW)[key]


@given(st.lists(st.integers(0, 8), max_size=8), st.data())
def test_subset_of_a_subset_reads_nothing(first, data):
    second = data.draw(st.lists(st.integers(0, len(first) - 1), max_size=8) if first else st.just([]))
    chosen = dataset().take(first).take(second)
    rows = np.array(first, dtype=int)[np.array(second, dtype=int)]
    np.testing.assert_array_equal(chosen.signals[:], MILLIVOLTS[rows])
    np.testing.assert_array_equal(chosen.ids, rows + 100)
    np.testing.assert_array_equal(chosen.labels, np.eye(9, 3)[rows])


def test_signals_look_like_an_array():
    signals = ScaledSignals(RAW)
    assert (signals.shape, signals.ndim, len(signals), signals.dtype) == ((9, 20, 12), 3, 9, np.float32)
    np.testing.assert_array_equal(np.asarray(signals), MILLIVOLTS)
    assert np.asarray(signals, dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.stack(list(signals)), MILLIVOLTS)
    with pytest.raises(IndexError):
        signals[9]
    with pytest.raises(TypeError):
        signals[0] = 0
    changed = signals[0]
    changed[:] = 0  # a copy
    np.testing.assert_array_equal(signals[0], MILLIVOLTS[0])
    with pytest.raises(TypeError, match="int16"):
        ScaledSignals(MILLIVOLTS)


def test_splits_follow_the_folds():
    folds = np.arange(1, 11)
    assert splits_of_folds(folds).tolist() == ["train"] * 8 + ["val", "test"]
    data = dataset(folds=[1, 8, 9, 10, 9, 10, 10, 2, 3])
    assert data.split("train").ids.tolist() == [100, 101, 107, 108]
    assert data.split("val").ids.tolist() == [102, 104]
    assert data.split("test").ids.tolist() == [103, 105, 106]
    with pytest.raises(UsageError, match="did you mean 'val'"):
        data.split("vali")
    with pytest.raises(UsageError, match="has no val split; it has train"):
        data.split("train").split("val")


def test_select_is_seeded_sorted_and_at_most_all():
    data = dataset()
    chosen = data.select(4, seed=1).ids
    assert len(set(chosen)) == 4
    assert chosen.tolist() == sorted(chosen)
    assert chosen.tolist() == data.select(4, seed=1).ids.tolist()
    assert len({tuple(data.select(4, seed=s).ids) for s in range(20)}) > 5
    assert len(data.select(None)) == len(data.select(100)) == 9
    with pytest.raises(UsageError, match="at least 1"):
        data.select(0)


def test_fingerprint_sees_every_part_and_nothing_else():
    reference = dataset().fingerprint
    assert dataset(RAW.copy()).fingerprint == reference
    changed = RAW.copy()
    changed[4, 7, 3] += 1
    assert dataset(changed).fingerprint != reference
    assert dataset(folds=[1] * 8 + [9]).fingerprint != reference
    assert dataset().take([1, 0, *range(2, 9)]).fingerprint != reference
    other = dataset()
    other.targets = 1 - other.targets
    assert other.fingerprint != reference
    without = dataset()
    without.digests = None
    assert without.fingerprint == reference


def test_targets_of_other_kinds_have_any_shape_and_count():
    masks = np.random.default_rng(0).integers(0, 3, (9, 20, 12))
    data = dataclasses.replace(dataset(), targets=masks, kind="segmentation")
    assert data.targets.dtype == masks.dtype and not data.multilabel
    np.testing.assert_array_equal(data.take([4, 2]).targets, masks[[4, 2]])
    other = dataclasses.replace(data, targets=masks + (np.arange(9) == 8)[:, None, None])
    assert len({dataset().fingerprint, data.fingerprint, other.fingerprint}) == 3
    assert data.counts() == {"train": {"records": 9, "patients": 9}}
    with pytest.raises(UsageError, match=r"targets are \(8, 20, 12\), expected \(9, 20, 12\)"):
        dataclasses.replace(data, targets=masks[:8])


def test_text_ids_and_patients():
    names = [f"r{i}" for i in range(9)]
    data = dataclasses.replace(dataset(), ids=names, patients=names)
    assert data.take([3]).ids.tolist() == ["r3"] and data.fingerprint != dataset().fingerprint
    assert data.take([]).ids.dtype.kind == "U" and dataset().take([]).ids.dtype == np.int64


def test_shapes_must_agree():
    with pytest.raises(UsageError, match="targets are"):
        Dataset(ScaledSignals(RAW), np.zeros((9, 2)), ["A"], range(9), range(9), ["train"] * 9, 100)
    with pytest.raises(UsageError, match="patients is"):
        Dataset(ScaledSignals(RAW), np.zeros((9, 1)), ["A"], range(9), range(8), ["train"] * 9, 100)


def test_duplicates_count_across_splits_only():
    raw = RAW.copy()
    raw[1] = raw[0]
    assert cross_split_duplicates(dataset(raw)) == []
    assert cross_split_duplicates(dataset(raw, [1, 10, 1, 1, 1, 1, 1, 1, 1])) == [(100, 101)]


def test_patients_across_splits_are_listed():
    data = dataset(folds=[1, 9, 10, 1, 1, 1, 1, 1, 1])
    check_patients(data)
    data.patients[:2] = 7
    with pytest.raises(DataError, match=r"1 patients in more than one split: patient leakage \(patients 7\)"):
        check_patients(data)


# ---------------------------------------------------------------- standardizer


@given(
    arrays(
        np.int16,
        st.tuples(st.integers(1, 70), st.integers(1, 6), st.just(2)),
        elements=st.integers(-32767, 32767),
    )
)
def test_moments_are_exact(raw):
    values = [Fraction(int(v), 1000) for v in raw.ravel()]
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    if variance == 0:
        with pytest.raises(DataError, match="std must be > 0"):
            fit_standardizer(dataset(raw))
        return
    scale = fit_standardizer(dataset(raw))
    assert scale.mean == pytest.approx(float(mean), rel=1e-15, abs=1e-300)
    assert scale.std == pytest.approx(float(variance) ** 0.5, rel=1e-15)


@given(st.permutations(range(9)))
def test_standardizer_does_not_depend_on_the_order(order):
    assert fit_standardizer(dataset().take(list(order))) == fit_standardizer(dataset())


def test_standardizer_agrees_with_numpy_and_centers():
    exact = fit_standardizer(dataset())
    plain = RAW.astype(np.float64) / 1000
    assert exact.mean == pytest.approx(plain.mean(), rel=1e-12)
    assert exact.std == pytest.approx(plain.std(), rel=1e-12)
    eager = fit_standardizer(dataset(lazy=False))  # float32 values carry their rounding
    assert eager.std == pytest.approx(exact.std, rel=1e-6)
    scaled = exact(dataset().signals)
    assert scaled.dtype == np.float32
    assert scaled.mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
    assert scaled.std(dtype=np.float64) == pytest.approx(1, abs=1e-6)


def test_standardizer_leaves_its_input_alone_and_takes_any_view():
    signals = MILLIVOLTS.copy()
    signals.flags.writeable = False
    scale = Standardizer(0.25, 0.5)
    np.testing.assert_array_equal(scale(signals[::2, :, ::-1]), (MILLIVOLTS[::2, :, ::-1] - 0.25) * 2)


@given(st.floats(-10, 10), st.floats(1e-6, 10))
def test_standardizer_round_trips_through_json(mean, std):
    scale = Standardizer(mean, std)
    assert Standardizer.from_json(json.loads(json.dumps(scale.to_json()))) == scale


@pytest.mark.parametrize(
    "card", [{}, {"mean": 0}, {"mean": "x", "std": 1}, {"mean": None, "std": 1}, None, [0, 1]]
)
def test_standardizer_names_a_broken_card(card):
    with pytest.raises(DataError, match="'mean' and 'std'"):
        Standardizer.from_json(card)


@pytest.mark.parametrize(("mean", "std"), [(0, 0), (0, -1), (float("nan"), 1), (0, float("inf"))])
def test_standardizer_refuses_impossible_numbers(mean, std):
    with pytest.raises(DataError, match="std must be > 0"):
        Standardizer(mean, std)


def test_standardizer_needs_records():
    with pytest.raises(DataError, match="no training record"):
        fit_standardizer(dataset().take([]))
    with pytest.raises(UsageError, match="training split only"):
        fit_standardizer(dataset(folds=[1] * 8 + [10]))
