"""Augmenters: one contract for all that are registered, and what each of them does."""

import json

import numpy as np
import pytest

from preprocessing.transforms import AugmenterManager, list_augmenters
from preprocessing.transforms.augmentation import FLAGS, Augmentation
from preprocessing.transforms.augmenters import StretchCompressOffline
from preprocessing.transforms.augmenters.base import build_augmenters
from utils.errors import DataError, UsageError

MIXING = ["cutmix", "label_smooth", "mixup"]


def batch(records=12, samples=400, leads=3, classes=4, seed=0):
    """Signals, soft labels of records, labels of each sample and of every fourth one."""
    rng = np.random.default_rng(seed)
    arrays = (
        rng.normal(size=(records, samples, leads)),
        rng.integers(0, 2, (records, classes)),
        rng.integers(0, 2, (records, samples, 2)),
        rng.integers(0, 2, (records, samples // 4, 1)),
    )
    arrays = tuple(array.astype(np.float32) for array in arrays)
    for array in arrays:
        array.flags.writeable = False
    return arrays


def manager(name, seed=1, channels_first=False, **options):
    return AugmenterManager.from_config({"fs": 100, name: options}, seed=seed, channels_first=channels_first)


@pytest.mark.parametrize("name", list_augmenters())
def test_contract_of_every_augmenter(name):
    arrays = batch()
    before = [array.copy() for array in arrays]
    result = manager(name)(*arrays)
    assert len(result) == len(arrays)
    for given, kept, augmented in zip(arrays, before, result, strict=True):
        np.testing.assert_array_equal(given, kept, err_msg="changed its input")
        assert augmented.shape == given.shape and augmented.dtype == given.dtype
        assert np.isfinite(augmented).all()
    for one, two in zip(result, manager(name)(*arrays), strict=True):
        np.testing.assert_array_equal(one, two, err_msg="the same seed gives another batch")
    assert any(
        not np.array_equal(one, two) for one, two in zip(result, manager(name, seed=2)(*arrays), strict=True)
    ), "another seed gives the same batch"
    first = manager(name, channels_first=True)(arrays[0].swapaxes(1, 2).copy(), *arrays[1:])
    np.testing.assert_array_equal(first[0].swapaxes(1, 2), result[0], err_msg="depends on the layout")
    signals, label = manager(name)(arrays[0])
    assert label is None and signals.shape == arrays[0].shape
    assert manager(name)(arrays[0].astype(np.float64))[0].dtype == np.float64


@pytest.mark.parametrize("name", list_augmenters())
def test_frameworks_get_the_same_batch(name):
    torch = pytest.importorskip("torch")
    arrays = batch()
    tensors = [torch.tensor(array) for array in arrays]
    for expected, tensor in zip(manager(name)(*arrays), manager(name)(*tensors), strict=True):
        assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32
        tolerance = 1e-6 if name == "random_renormalize" else 0  # means are summed in another order
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=0, atol=tolerance)
    for tensor, array in zip(tensors, arrays, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array, err_msg="changed its input")


@pytest.mark.parametrize("name", list_augmenters())
def test_stored_state_continues_exactly(name):
    arrays = batch()
    whole = manager(name)
    whole(*arrays)
    state = json.loads(json.dumps(whole.state))
    expected = whole(*arrays)
    resumed = manager(name, seed=99)
    resumed.load_state(state)
    for one, two in zip(resumed(*arrays), expected, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", list_augmenters())
def test_class_numbers_are_refused_where_labels_are_mixed(name):
    signals, *_ = batch()
    for numbers in (np.arange(12), np.zeros((12, 4), np.int64)):
        if name in MIXING:
            with pytest.raises(UsageError, match=rf"{name} cannot take labels of int64 .*can: .*random_flip"):
                manager(name)(signals, numbers)
        else:
            np.testing.assert_array_equal(manager(name)(signals, numbers)[1], numbers)


@pytest.mark.parametrize(
    "name", [n for n in list_augmenters() if n not in ("scale", "noise", "shift", "lead_dropout")]
)
def test_probability_zero_changes_nothing(name):
    arrays = batch()
    for given, augmented in zip(arrays, manager(name, prob=0)(*arrays), strict=True):
        np.testing.assert_array_equal(augmented, given)


def test_rows_are_chosen_with_their_probability():
    signals = np.ones((4000, 2, 4), np.float32)
    flipped, _ = manager("random_flip", prob=(0.25, 0.5))(signals)
    negative = flipped[:, 0] < 0
    assert np.array_equal(negative, flipped[:, 1] < 0)
    chosen = negative.any(axis=1).mean()
    assert abs(chosen - 0.25 * (1 - 0.5**4)) < 0.03 and abs(negative.mean() - 0.125) < 0.02
    options = {"prob": 0.05, "per_channel": False}
    few = [manager("random_flip", seed=seed, **options)(signals[:8])[0][:, 0, 0] < 0 for seed in range(600)]
    assert abs(np.sum(few) / 600 - 0.4) < 0.1  # rounding a count to whole records would give 0.55


def test_wander_is_slow_and_in_proportion_to_the_lead():
    time = np.arange(4000) / 100
    spikes = ((np.arange(4000) % 80) == 0).astype(np.float32)
    signals = np.stack([spikes, 10 * spikes], axis=-1)[None].repeat(200, axis=0)
    quiet = {"gaussian": [[0, 0]], "ampl_ratio": [[0.2, 0.2, 0.2, 0.2]], "prob": 1}
    added = manager("baseline_wander", **quiet)(signals)[0] - signals
    assert 8 < added[..., 1].std() / added[..., 0].std() < 12
    assert added[..., 0].std() == pytest.approx(0.2 * np.sqrt(2), rel=0.1)
    frequencies = np.fft.rfftfreq(4000, 0.01)
    power = (np.abs(np.fft.rfft(added[..., 0] * np.hanning(4000))) ** 2).mean(axis=0)
    assert power[frequencies > 0.5].sum() < 1e-3 * power.sum()
    noisy = (
        manager("baseline_wander", ampl_ratio=[[0] * 4], gaussian=[[0.5, 0.1]], prob=1)(signals)[0] - signals
    )
    assert noisy[..., 1].mean() == pytest.approx(5, rel=0.01) and noisy[..., 1].std() == pytest.approx(
        1, rel=0.02
    )
    alone = manager("baseline_wander", prob=0.5)(signals)[0] - signals
    assert 0.15 < (np.ptp(alone, axis=1) == 0).mean() < 0.35
    assert len(time) == 4000


def test_wander_needs_a_rate():
    with pytest.raises(UsageError, match="baseline_wander needs a sampling rate: give fs"):
        AugmenterManager.from_config({"baseline_wander": {}})(batch()[0])


def test_cutmix_mixes_labels_by_the_part_that_each_record_has():
    records, samples = 40, 300
    signals = np.arange(records, dtype=np.float32)[:, None, None].repeat(samples, 1)
    label = np.eye(records, dtype=np.float32)
    mask, slow = (np.repeat(label[:, None], n, axis=1) for n in (samples, samples // 3))
    x, y, m, s = manager("cutmix", prob=1, num_mix=2)(signals, label, mask, slow)
    share = np.stack([(x[..., 0] == i).mean(axis=1) for i in range(records)], axis=1)
    assert (share > 0).sum(axis=1).max() > 2
    one, own, *_ = manager("cutmix", prob=1)(signals, label)
    share = np.stack([(one[..., 0] == i).mean(axis=1) for i in range(records)], axis=1)
    np.testing.assert_allclose(own, share, atol=1e-6)
    assert ((share > 0) & (share < 1)).any()
    np.testing.assert_array_equal(
        m.argmax(axis=-1), x[..., 0], err_msg="the mask is not cut where the signal is"
    )
    assert set(np.unique(m)) == set(np.unique(s)) == {0, 1}
    np.testing.assert_array_equal(s.argmax(axis=-1), x[:, 1::3, 0])
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)


def test_mixup_mixes_signals_and_labels_alike():
    signals, _, mask, _ = batch()
    label = np.eye(12, dtype=np.float32)
    x, y, m = manager("mixup", alpha=1, prob=0.5)(signals, label, mask)
    np.testing.assert_allclose(x, np.tensordot(y, signals, axes=1), atol=1e-5)
    assert ((y > 0) & (y < 1)).any() and (y.max(axis=1) == 1).any()
    np.testing.assert_array_equal(m, mask)


def test_masked_samples_become_the_value():
    signals = np.full((300, 1000, 2), 2, np.float32)
    x, _ = manager("random_masking", prob=(1, 0.15), mask_value=5)(signals)
    masked = x == 5
    assert set(np.unique(x)) == {2, 5} and np.array_equal(masked[..., 0], masked[..., 1])
    assert 0.12 < masked.mean() < 0.16  # stretches overlap
    edges = np.diff(masked[..., 0].astype(int), axis=1)
    first = [np.flatnonzero(row == 1)[0] for row in edges if (row == 1).any()]
    last = [np.flatnonzero(row == -1) for row in edges]
    widths = [e[e > f][0] - f for f, e in zip(first, last, strict=False) if (e > f).any()]
    assert min(widths) >= 8


def test_critical_points_are_masked_at_their_place():
    signals = np.ones((50, 5000, 1), np.float32)
    points = [[1000, 2000, 4000]] * 49 + [[]]
    am = AugmenterManager.from_config({"fs": 500, "random_masking": {"prob": [1, 1]}})
    x, _ = am(signals, critical_points=points)
    assert (x[:49, [1000, 2000, 4000]] == 0).all() and (x[49] == 1).all()
    assert (x[:, :900] == 1).all() and 3 * 38 < (x[:49] == 0).sum() / 49 < 3 * 92
    half, _ = AugmenterManager.from_config({"fs": 500, "random_masking": {"prob": [1, 0.5]}})(
        signals, critical_points=points
    )
    assert 0.3 < (half[:49, [1000, 2000, 4000]] == 0).mean() < 0.7
    with pytest.raises(UsageError, match="critical points of 2 records for 50"):
        am(signals, critical_points=[[1], [2]])


def test_renormalized_records_have_the_mean_and_spread_that_was_drawn():
    signals = 3 + 7 * batch(400)[0]
    x, _ = manager("random_renormalize", prob=1, mean=(1, 3), std=(0.5, 0.7))(signals)
    assert abs(x.mean(axis=(1, 2)).mean() - 2) < 0.05 and x.mean(axis=(1, 2)).std() == pytest.approx(
        0.3, rel=0.2
    )
    assert abs(x.std(axis=(1, 2)).mean() - 0.6) < 0.01
    ranges = [[i, i] for i in range(3)]
    leads, _ = manager("random_renormalize", prob=1, mean=ranges, std=(1, 1), per_channel=True)(signals)
    np.testing.assert_allclose(leads.mean(axis=1), np.tile([0, 1, 2], (400, 1)), atol=1e-5)
    np.testing.assert_allclose(leads.std(axis=1), 1, rtol=1e-5)


def test_stretching_moves_signals_and_masks_together():
    time = np.arange(2000)
    signals = np.exp(-0.5 * ((time - 600) / 20) ** 2)[None, :, None].astype(np.float32).repeat(200, 0)
    mask = (signals > 0.5).astype(np.float32)
    x, m, quarter = manager("stretch_compress", ratio=10, prob=1)(signals, mask, mask[:, 2::4])
    place = x[..., 0].argmax(axis=1)
    factor = (place - 999.5) / (600 - 999.5)
    assert 0.3 < (factor > 1).mean() < 0.7 and 0.05 < np.abs(factor - 1).mean() < 0.15
    assert np.abs(factor - 1).max() <= 0.2 + 0.01
    assert set(np.unique(m)) == set(np.unique(quarter)) == {0, 1}
    center = (m[..., 0] * time).sum(axis=1) / m[..., 0].sum(axis=1)
    np.testing.assert_allclose(center, place, atol=1.5)
    center = (quarter[..., 0] * time[2::4]).sum(axis=1) / quarter[..., 0].sum(axis=1)
    np.testing.assert_allclose(center, place, atol=4)
    ones, _ = manager("stretch_compress", prob=1)(np.ones_like(signals))
    compressed = factor < 1
    assert (x.max(axis=(1, 2)) > 0.99).all() and compressed.any()
    assert ((ones == 0).any(axis=(1, 2)) == (ones[:, 0, 0] == 0)).all()


def test_labels_are_smoothed_towards_equal_probabilities():
    signals, label, *_ = batch()
    smooth = manager("label_smooth", smoothing=0.2, prob=1)(signals, label)[1]
    np.testing.assert_allclose(smooth, label * 0.8 + 0.2 / 4, rtol=1e-6)
    half = manager("label_smooth", smoothing=0.2, prob=1, toward=0.5)(signals, label)[1]
    np.testing.assert_allclose(half, label * 0.8 + 0.1, rtol=1e-6)


def test_offline_windows_cover_a_record_and_keep_their_labels():
    time = np.arange(5000)
    signal = np.stack([np.sin(time / 40), np.cos(time / 40)], axis=-1)
    windows = StretchCompressOffline(prob=0)(600, signal, time)
    assert [w[2:] for w in windows] == [(s, s + 600) for s in range(0, 4401, 300)]
    np.testing.assert_array_equal(windows[3][0], signal[900:1500])
    np.testing.assert_array_equal(windows[3][1], time[900:1500])
    rng = np.random.default_rng(3)
    stretched = StretchCompressOffline(ratio=10, prob=1)(600, signal, time, rng=rng, critical_points=[2500])
    lengths = np.array([end - start for *_, start, end in stretched])
    assert ((lengths >= 540) & (lengths <= 660)).all() and len(set(lengths)) > 3
    for window, labels, start, end in stretched:
        assert window.shape == (600, 2) and start <= labels[0] and labels[-1] < end
        np.testing.assert_allclose(window[20:-20, 0], np.sin(labels[20:-20] / 40), atol=0.03)
    starts = np.array([start for *_, start, _ in stretched])
    assert np.diff(starts)[(starts[:-1] <= 2500) & (starts[:-1] + 600 > 2500)].max() <= 90
    with pytest.raises(UsageError, match="seglen 6000 must be from 2 to the 5000 samples"):
        StretchCompressOffline()(6000, signal)


def test_manager_of_the_published_readme():
    names = (
        "baseline_wander label_smooth mixup random_flip random_masking random_renormalize stretch_compress"
    )
    config = {"random": False, "fs": 500, **{name: {} for name in names.split()}}
    before = json.dumps(config)
    am = AugmenterManager.from_config(config, channels_first=True)
    rng = np.random.default_rng(0)
    sig, label, mask = (rng.random(s, dtype=np.float32) for s in ((2, 12, 5000), (2, 26), (2, 5000, 1)))
    out = am.forward(sig, label, mask)
    assert [o.shape for o in out] == [(2, 12, 5000), (2, 26), (2, 5000, 1)] and json.dumps(config) == before
    assert [step.name for step in am.steps] == names.split()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mixupp": {}}, "unknown augmenter 'mixupp': did you mean 'mixup'"),
        ({"mixup": {"alfa": 1}}, "mixup: unknown option 'alfa': did you mean 'alpha'"),
        ({"mixup": {"alpha": 0}}, "alpha must be a number above 0"),
        ({"cutmix": {"prob": 2}}, "prob must be a number at least 0 and at most 1, not 2"),
        ({"random_flip": {"prob": [0.1, 0.2, 0.3]}}, "prob must be 2 numbers"),
        ({"random_masking": {"mask_width": [0.2, 0.1]}}, "must be (shortest, longest)"),
        ({"baseline_wander": {"fs": 500, "bw_fs": [1, 2]}}, "ampl_ratio must be 2 numbers"),
        ({"random_renormalize": {"std": [-1, 1]}}, "std must be numbers"),
    ],
)
def test_configurations_that_cannot_be_right(config, message):
    with pytest.raises(UsageError) as error:
        AugmenterManager.from_config(config)
    assert message in str(error.value)


def test_batches_that_are_none_are_refused():
    signals, label, *_ = batch()
    am = manager("random_flip")
    for wrong in (signals[0], signals[:0], signals[:, :0], signals.astype(np.int64)):
        with pytest.raises(DataError, match="take a batch of floats"):
            am(wrong)
    with pytest.raises(DataError, match="12 records, but 3 labels or masks"):
        am(signals, label[:3])
    with pytest.raises(DataError, match="would have 400 leads: use channels_first=True"):
        am(signals.swapaxes(1, 2))
    for wrong in ([1.0], None, "signals"):
        with pytest.raises(UsageError, match="NumPy arrays or PyTorch tensors"):
            am(wrong)
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match="all of one kind, not Tensor, ndarray"):
        am(torch.ones(12, 50, 3), label)


@pytest.mark.parametrize("name", list_augmenters())
def test_records_of_one_sample_stay_finite(name):
    signals, label, *_ = batch()
    x, y = manager(name)(signals[:, :1], label)
    assert x.shape == (12, 1, 3) and np.isfinite(x).all() and y.shape == label.shape


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_are_short_for_augmenters(flag):
    signals, label, *_ = batch()
    name, option = FLAGS[flag]
    word = f"{name}:{option}=0.3" + ":prob=1" * (name == "mixup")
    short, long = Augmentation(**{flag: 0.3}), Augmentation(augment=(word,))
    assert short.steps == long.steps == build_augmenters([word])
    for one, two in zip(*(a(signals, label, np.random.default_rng(0)) for a in (short, long)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_flags_give_the_numbers_they_always_gave():
    signals, label, mask, _ = batch()
    options = {"shift": 0.5, "scale": 0.2, "noise": 0.3, "lead_dropout": 0.2, "mixup": 0.4}
    for target, aligned in ((label, False), (mask, True)):
        x, y = Augmentation(**options)(signals, target, np.random.default_rng(7), aligned)
        expected = _before_augmenters(signals, target, np.random.default_rng(7), aligned, **options)
        np.testing.assert_array_equal(x, expected[0])
        np.testing.assert_array_equal(y, expected[1])


def _before_augmenters(signals, targets, rng, aligned, shift, scale, noise, lead_dropout, mixup):
    """What the flags did before augmenters had names."""
    records, samples, leads = signals.shape
    steps = rng.integers(0, max(1, round(shift * samples)), records)
    signals, rolled = (
        np.stack([np.roll(x, s, axis=0) for x, s in zip(array, steps, strict=True)])
        for array in (signals, targets)
    )
    targets = rolled if aligned else targets
    signals = signals * rng.uniform(1 - scale, 1 + scale, (records, 1, 1))
    level = noise * rng.random((records, 1, 1))
    signals = signals + level * rng.standard_normal(signals.shape, dtype=np.float32)
    signals = signals * (rng.random((records, 1, leads)) >= lead_dropout)
    weight = rng.beta(mixup, mixup)
    partner = rng.permutation(records)
    signals = weight * signals + (1 - weight) * signals[partner]
    targets = weight * targets + (1 - weight) * targets[partner]
    return signals.astype(np.float32), targets.astype(np.float32)
