"""Splits as data: k-fold keeps patients whole and labels balanced; leakage is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from databases.ptbxl import read_database, read_statements
from preprocessing.dataset import Dataset
from preprocessing.splits import check_patients, kfold, resplit, strata, subsample
from preprocessing.targets.ptbxl import build_labels
from tests.helpers.window_files import tiny_windows
from utils.errors import DataError, UsageError


@st.composite
def cohorts(draw, exclusive: bool = False):
    """Patients, labels and a number of folds."""
    folds = draw(st.integers(3, 6))
    sizes = draw(st.lists(st.integers(1, 4), min_size=folds, max_size=40))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    patients = rng.permutation(np.repeat(rng.permutation(1000)[: len(sizes)], sizes))
    classes = draw(st.integers(1, 5))
    if exclusive:  # one class per patient
        names, codes = np.unique(patients, return_inverse=True)
        labels = np.eye(classes, dtype=np.uint8)[rng.integers(0, classes, len(names))][codes]
    else:
        labels = (rng.random((len(patients), classes)) < rng.random(classes)).astype(np.uint8)
    return patients, labels, folds


def of(patients, labels, splits):
    """A dataset of records without a signal."""
    return Dataset(
        signals=np.zeros((len(patients), 1, 1), np.float32),
        targets=labels,
        classes=[f"class {number}" for number in range(labels.shape[1])],
        ids=np.arange(len(patients)),
        patients=patients,
        splits=splits,
        sampling_rate=10,
        leads=("I",),
    )


def parts(patients, labels, folds, seed=0):
    """Splits of every fold, (folds, N)."""
    return np.stack([kfold(patients, labels, folds, fold, seed) for fold in range(1, folds + 1)])


@given(cohorts())
def test_kfold_keeps_patients_whole_and_tests_each_record_once(cohort):
    patients, labels, folds = cohort
    splits = parts(patients, labels, folds)
    assert ((splits == "test").sum(axis=0) == 1).all()
    assert ((splits == "val").sum(axis=0) == 1).all()
    for split in splits:
        assert set(split) == {"train", "val", "test"}
        for patient in set(patients.tolist()):
            assert len(set(split[patients == patient])) == 1
    validated = np.roll(np.arange(folds), -1)  # the fold after the test fold is for validation
    np.testing.assert_array_equal(splits == "val", (splits == "test")[validated])


@given(cohorts(exclusive=True))
def test_kfold_balances_exclusive_classes(cohort):
    """No fold has more of a class than another by more than the largest patient has."""
    patients, labels, folds = cohort
    splits = parts(patients, labels, folds)
    largest = np.bincount(np.unique(patients, return_inverse=True)[1]).max()
    empty = len(set(patients.tolist())) < 2 * folds  # patients that have to fill empty folds are not free
    for column in labels.T:
        counts = np.array([(column[split == "test"]).sum() for split in splits])
        assert np.ptp(counts) <= largest * (folds if empty else 1)


@given(cohorts(), st.integers(0, 3))
def test_kfold_is_deterministic_and_ignores_the_order_of_records(cohort, seed):
    patients, labels, folds = cohort
    first = parts(patients, labels, folds, seed)
    np.testing.assert_array_equal(first, parts(patients, labels, folds, seed))
    order = np.random.default_rng(seed).permutation(len(patients))
    np.testing.assert_array_equal(first[:, order], parts(patients[order], labels[order], folds, seed))
    texts = patients.astype(str)
    np.testing.assert_array_equal(first, parts(texts, labels, folds, seed))


def test_kfold_depends_on_its_seed():
    patients = np.arange(60)
    labels = np.eye(3, dtype=np.uint8)[patients % 3]
    assert (kfold(patients, labels, 5, 1, 0) != kfold(patients, labels, 5, 1, 1)).any()


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [
        (2, 1, "--folds must be at least 3, not 2"),
        (5, 0, "--fold must be from 1 to 5, not 0"),
        (5, 6, "--fold must be from 1 to 5, not 6"),
        (7, 1, "6 patients cannot be divided into 7 folds: use fewer --folds"),
    ],
)
def test_kfold_refuses_impossible_numbers(folds, fold, message):
    with pytest.raises(UsageError, match=message):
        kfold(np.arange(12) // 2, np.ones((12, 1)), folds, fold)


@given(cohorts(), st.sampled_from([0.1, 0.34, 0.5, 0.9]))
def test_subsample_keeps_whole_patients_and_all_test_records(cohort, fraction):
    patients, labels, folds = cohort
    dataset = of(patients, labels, splits=kfold(patients, labels, folds, 1))
    part = subsample(dataset, fraction, 3)
    assert part.ids[part.splits == "test"].tolist() == dataset.ids[dataset.splits == "test"].tolist()
    assert set(part.splits) == {"train", "val", "test"}
    for patient in set(part.patients.tolist()):
        assert (part.patients == patient).sum() == (dataset.patients == patient).sum()
    again = subsample(dataset.take(np.arange(len(dataset))[::-1]), fraction, 3)
    assert sorted(again.ids.tolist()) == part.ids.tolist() == sorted(part.ids.tolist())


def test_subsample_keeps_the_shares_of_the_labels():
    patients = np.arange(1200) // 2
    labels = np.eye(4, dtype=np.uint8)[np.minimum(patients % 8, 3)]  # 1/8, 1/8, 1/8, 5/8
    splits = np.where(patients % 10 == 0, "test", np.where(patients % 10 == 1, "val", "train"))
    dataset = of(patients, labels, splits=splits)
    part = subsample(dataset, 0.25)
    for split in ("train", "val"):
        before, after = labels[splits == split].sum(axis=0), part.split(split).targets.sum(axis=0)
        np.testing.assert_allclose(after, before * 0.25, atol=2)
    assert part.split_names["train"] == "25 % of training records" != part.split_names["test"]
    assert part.fingerprint != subsample(dataset, 0.25, 1).fingerprint != dataset.fingerprint
    assert subsample(dataset, 1.0) is dataset
    with pytest.raises(UsageError, match="--subsample_frac must be above 0 and at most 1, not 0"):
        subsample(dataset, 0)


def test_kfold_of_all_of_ptbxl(whole_ptbxl):
    """Ten folds: each superclass within one record of a tenth, each fold within 3 % of a tenth."""
    table = read_database(whole_ptbxl)
    targets = build_labels(table, read_statements(whole_ptbxl))
    patients = table["patient_id"].to_numpy()[targets.rows]
    tests = parts(patients, targets.values, 10) == "test"
    counts = tests.astype(int) @ targets.values
    assert np.abs(counts - targets.values.sum(axis=0) / 10).max() <= 1
    assert np.abs(tests.sum(axis=1) / (len(patients) / 10) - 1).max() < 0.03


def mask_dataset() -> Dataset:
    """Twelve records of six patients with masks of the classes 0, 1 and 2 over time."""
    masks = np.zeros((12, 20), dtype=np.int64)
    masks[::2, 3:6], masks[::3, 10:12] = 1, 2
    ids = np.arange(12)
    return Dataset(
        signals=np.zeros((12, 20, 2), np.float32),
        targets=masks,
        classes=["none", "P", "QRS"],
        ids=ids,
        patients=ids // 2,
        splits=["train"] * 12,
        sampling_rate=10,
        leads=("I", "II"),
        kind="segmentation",
    )


def test_resplit_names_the_folds_and_follows_any_targets():
    data = resplit(mask_dataset(), 4, 4)
    assert data.split_names == {"train": "the other 2 folds", "val": "fold 1 of 4", "test": "fold 4 of 4"}
    check_patients(data)
    np.testing.assert_array_equal(strata(data)[:4].astype(int), [[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 1]])
    columns = (data.targets[..., None] == np.arange(3)).astype(np.uint8)
    parts = dataclasses.replace(data, targets=columns, kind="multilabel_segmentation")
    np.testing.assert_array_equal(strata(parts), strata(data))
    values = dataclasses.replace(data, targets=np.zeros(12), kind="regression")
    assert strata(values).shape == (12, 0) and set(resplit(values, 3, 1).splits) == {"train", "val", "test"}
    windows = resplit(
        dataclasses.replace(tiny_windows(), selection="test", settings={"reference": True}), 3, 2
    )
    assert windows.selection == "val" and windows.settings == {}
    assert pd.Series(windows.splits).groupby(windows.patients).nunique().max() == 1


def test_check_patients_names_them_and_warns_of_a_published_selection(caplog):
    data = dataclasses.replace(mask_dataset(), splits=["train", "test"] * 6, name="toy", task="waves")
    with pytest.raises(
        DataError, match=r"toy, task waves: 6 patients in more than one split: patient leakage"
    ):
        check_patients(data)
    check_patients(dataclasses.replace(data, settings={"reference": True}))
    assert "its results are optimistic" in caplog.text
