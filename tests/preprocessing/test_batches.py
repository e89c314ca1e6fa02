"""Batches, augmentation and learning rate depend on (seed, epoch, batch) alone."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing import Standardizer
from preprocessing.batches import Batches
from preprocessing.dataset import Dataset
from preprocessing.signals import ScaledSignals
from preprocessing.transforms.augmentation import Augmentation
from training.config import TrainConfig
from training.loops.schedule import learning_rate
from training.tasks import create_task

EVERYTHING = Augmentation(shift=1.0, scale=0.2, noise=0.3, lead_dropout=0.2, mixup=0.4)


def dataset(records=11, samples=40, classes=3, lazy=True):
    rng = np.random.default_rng(0)
    stored = rng.integers(-2000, 2000, (records, samples, 12)).astype(np.int16)
    ids = np.arange(records)
    return Dataset(
        signals=ScaledSignals(stored) if lazy else (stored / np.float32(1000)),
        targets=rng.integers(0, 2, (records, classes)),
        classes=[f"c{i}" for i in range(classes)],
        ids=ids,
        patients=ids,
        splits=["train"] * records,
        sampling_rate=100,
    )


def batches(size=4, **options):
    options = {"seed": 3, "shuffle": True, "augmentation": EVERYTHING, **options}
    return Batches(dataset(), Standardizer(0.1, 0.5), size, **options)


def test_plain_batches_are_the_standardized_records_in_order():
    data = dataset()
    plain = Batches(data, Standardizer(0.1, 0.5), 4)
    assert len(plain) == 3
    signals, labels = (np.concatenate(parts) for parts in zip(*plain.epoch(5), strict=True))
    np.testing.assert_allclose(signals, (data.signals[:] - 0.1) / 0.5, rtol=1e-6, atol=1e-6)
    assert signals.dtype == labels.dtype == np.float32
    np.testing.assert_array_equal(labels, data.targets)


def test_batch_can_be_asked_for_alone_and_again():
    in_turn = [list(batches().epoch(e)) for e in range(2)]
    for epoch, index in [(1, 2), (0, 1), (1, 0), (1, 2)]:
        for a, b in zip(batches().batch(epoch, index), in_turn[epoch][index], strict=True):
            np.testing.assert_array_equal(a, b)
    rest = list(batches().epoch(1, start=1))
    assert len(rest) == 2
    np.testing.assert_array_equal(rest[0][0], in_turn[1][1][0])


def test_epoch_seed_and_batch_each_change_the_numbers():
    first = batches().batch(0, 0)[0]
    assert not np.array_equal(first, batches().batch(1, 0)[0])
    assert not np.array_equal(first, batches(seed=4).batch(0, 0)[0])
    orders = [batches(size=99, augmentation=None).batch(epoch, 0)[0][:, 0, 0].tolist() for epoch in (0, 1)]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])
    still = Batches(dataset(8), Standardizer(0, 1), 4, augmentation=Augmentation(noise=0.5))
    noise = [still.batch(0, i)[0] - Batches(dataset(8), Standardizer(0, 1), 4).batch(0, i)[0] for i in (0, 1)]
    assert not np.allclose(noise[0], noise[1])


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 13), seed=st.integers(0, 99), epoch=st.integers(0, 99), shuffle=st.booleans())
def test_epoch_holds_every_record_once(size, seed, epoch, shuffle):
    data = dataset()
    data.targets[:] = 0
    names = [str(i) for i in range(11)]
    marked = dataclasses.replace(data, targets=np.eye(11, dtype=np.uint8), classes=names)
    made = Batches(marked, Standardizer(0, 1), size, seed=seed, shuffle=shuffle)
    labels = [y for _, y in made.epoch(epoch)]
    assert len(labels) == len(made) and all(1 <= len(y) <= size for y in labels)
    assert sorted(np.concatenate(labels).argmax(axis=1)) == list(range(11))


@settings(max_examples=30, deadline=None)
@given(
    records=st.integers(1, 5),
    crop=st.sampled_from([0, 1, 17, 40]),
    shift=st.floats(0, 1),
    scale=st.floats(0, 1),
    noise=st.floats(0, 2),
    lead_dropout=st.floats(0, 0.99),
    mixup=st.one_of(st.just(0.0), st.floats(0.05, 5)),
    smoothing=st.floats(0, 0.9),
    seed=st.integers(0, 2**32),
)
def test_augmentation_keeps_shapes_types_inputs_and_label_bounds(records, seed, smoothing, **options):
    rng = np.random.default_rng(seed)
    signals = rng.normal(size=(records, 40, 12)).astype(np.float32)
    labels = rng.integers(0, 2, (records, 3)).astype(np.float32) * np.float32(1 - smoothing) + smoothing / 2
    labels = labels.astype(np.float32)
    before = signals.copy(), labels.copy()
    signals.flags.writeable = labels.flags.writeable = False
    x, y = Augmentation(**options)(signals, labels, rng)
    assert x.shape == (records, options["crop"] or 40, 12) and y.shape == labels.shape
    assert x.dtype == y.dtype == np.float32 and np.isfinite(x).all()
    assert (y >= -1e-6).all() and (y <= 1 + 1e-6).all()
    np.testing.assert_array_equal(signals, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_augmentations_do_what_they_say():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 40, 12)).astype(np.float32)
    y = np.eye(6, dtype=np.float32)

    def augmented(**options):
        return Augmentation(**options)(x, y, np.random.default_rng(2))

    crop = augmented(crop=10)[0]
    assert all(any(np.array_equal(crop[i], x[i, s : s + 10]) for s in range(31)) for i in range(6))
    assert len({tuple(c[:, 0]) for c in crop}) == 6
    shifted = augmented(shift=1.0)[0]
    assert all(any(np.array_equal(shifted[i], np.roll(x[i], s, axis=0)) for s in range(40)) for i in range(6))
    assert not np.array_equal(shifted, x)
    factor = augmented(scale=0.2)[0] / x
    np.testing.assert_allclose(factor, factor[:, :1, :1].repeat(40, 1).repeat(12, 2), rtol=1e-4)
    assert factor.min() >= 0.8 - 1e-4 and factor.max() <= 1.2 + 1e-4 and np.ptp(factor[:, 0, 0]) > 0.01
    silenced = (augmented(lead_dropout=0.5)[0] == 0).all(axis=1)
    assert 0.2 < silenced.mean() < 0.8
    mixed, labels = augmented(mixup=1.0)
    np.testing.assert_allclose(mixed, np.tensordot(labels, x, axes=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    assert ((labels > 0) & (labels < 1)).any()
    same = Augmentation()(x, y, rng)
    assert np.array_equal(same[0], x) and np.array_equal(same[1], y)


@pytest.mark.parametrize(("multilabel", "low", "high"), [(True, 0.05, 0.95), (False, 0.025, 0.925)])
def test_label_smoothing(multilabel, low, high):
    data = dataset(classes=4)
    task = create_task("multilabel" if multilabel else "multiclass", data.classes)
    made = Batches(data, Standardizer(0, 1), 99, encode=partial(task.encode, smoothing=0.1))
    expected = np.where(data.targets, high, low)
    np.testing.assert_allclose(made.batch(0, 0)[1], expected, rtol=1e-6)


def test_learning_rate_constant():
    config = TrainConfig(lr=0.25, epochs=3)
    assert {learning_rate(config, step, 7) for step in range(40)} == {0.25}


def test_learning_rate_cosine_with_warm_up():
    config = TrainConfig(lr=0.1, epochs=10, schedule="cosine", warmup_epochs=2)
    rates = [learning_rate(config, step, 5) for step in range(60)]
    np.testing.assert_allclose(rates[:10], 0.1 * np.arange(1, 11) / 11)
    assert rates[10] == pytest.approx(0.1)
    assert rates[30] == pytest.approx(0.1 * (0.001 + 0.999 * 0.5))  # half of the 40 steps after warm-up
    assert np.all(np.diff(rates[:11]) > 0) and np.all(np.diff(rates[10:51]) < 0)
    np.testing.assert_allclose(rates[50:], 1e-4)


def test_log_loss():
    labels = np.array([[1, 0], [0, 1]])
    p = np.array([[0.8, 0.3], [0.25, 1.0]])
    multilabel, multiclass = (create_task(kind, ["a", "b"]) for kind in ("multilabel", "multiclass"))
    binary = -np.log([0.8, 0.7, 0.75, 1 - 1e-7]).mean()
    assert multilabel.validation_loss(labels, p) == pytest.approx(binary, rel=1e-6)
    assert multiclass.validation_loss(labels, p) == pytest.approx(-np.log(0.8) / 2, rel=1e-5)
