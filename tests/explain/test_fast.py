"""Fast copies of models: the same answers, by fewer multiplications."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from explain.engine.fast import TOLERANCE, FastCopy, fast_copy, speed_up
from explain.engine.frequency_convolution import FrequencyConvolution, along_time, is_cheaper
from explain.engine.shared_layers import share_layers
from explain.methods.perturbation import _outputs, lime_masks, segments
from tests.helpers.attribution_golden import arrays, classifier, full_model, narrow_model, ours
from tests.helpers.attribution_models import TORCH, small_classifier, small_signals

pytestmark = pytest.mark.torch


def largest_error(outputs, expected):
    """Relative to the largest of the expected values."""
    return float((outputs - expected).abs().max() / expected.abs().max())


# ---- convolutions in the frequency domain --------------------------------------------------------


@settings(max_examples=40)
@given(
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.integers(1, 11),
    stride=st.integers(1, 4),
    padding=st.integers(0, 6),
    length=st.integers(12, 140),
    leads=st.sampled_from([0, 1, 3]),
    bias=st.booleans(),
    planned=st.integers(1, 200),
)
def test_frequency_convolution_is_a_convolution(
    channels, kernel, stride, padding, length, leads, bias, planned
):
    torch.manual_seed(0)
    if leads:
        layer = nn.Conv2d(*channels, (1, kernel), (1, stride), (0, padding), bias=bias)
        x = torch.randn(2, channels[0], leads, length)
    else:
        layer, x = (
            nn.Conv1d(*channels, kernel, stride, padding, bias=bias),
            torch.randn(2, channels[0], length),
        )
    assert along_time(layer)
    with torch.no_grad():
        expected = layer(x)
        outputs = FrequencyConvolution(layer, planned)(x)
    assert outputs.shape == expected.shape
    assert largest_error(outputs, expected) < 1e-5


def test_frequency_convolution_takes_only_plain_convolutions_along_time():
    for layer in (
        nn.Conv1d(4, 4, 3, dilation=2),
        nn.Conv1d(4, 4, 3, groups=2),
        nn.Conv1d(4, 4, 3, padding=1, padding_mode="circular"),
        nn.Conv1d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, (3, 3)),
        nn.Conv2d(4, 4, (1, 3), padding=(1, 0)),
        nn.Conv2d(4, 4, (1, 3), stride=(2, 1)),
        nn.Linear(4, 4),
    ):
        assert not along_time(layer), layer
    wide, narrow = nn.Conv1d(512, 512, 7, padding=3), nn.Conv1d(16, 16, 7, padding=3)
    assert is_cheaper(wide, 90) and not is_cheaper(narrow, 90) and not is_cheaper(nn.Conv1d(512, 512, 1), 90)


# ---- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TORCH)
def test_fast_copy_equals_its_model(name):
    subject, x = small_classifier(name), torch.from_numpy(small_signals(5))
    before = {key: value.clone() for key, value in subject.module.state_dict().items()}
    expected = subject.module(x)
    speed_up(subject)
    outputs = subject.fast(x)
    assert largest_error(outputs, expected) < TOLERANCE
    assert largest_error(subject.fast(x[:1]), expected[:1]) < TOLERANCE
    if isinstance(subject.fast, FastCopy):
        assert outputs.is_inference()
        folded = [m for m in subject.fast.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        norms = [m for m in subject.module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert len(folded) < len(norms) or name == "ecginceptionnet"  # it joins branches in between
    assert torch.equal(subject.module(x), expected)  # the model itself is as it was
    assert all(torch.equal(value, before[key]) for key, value in subject.module.state_dict().items())
    assert not any(m.inplace for m in subject.module.modules() if isinstance(m, nn.ReLU))


def test_fast_copy_of_the_full_network():
    golden = arrays()
    subject, x = classifier(full_model(4, 2880, 1, seed=0)), ours(golden["x"])[:2]
    speed_up(subject)
    np.testing.assert_allclose(
        subject.logits(x), golden["full/logits"], rtol=0, atol=1e-5 * np.abs(golden["full/logits"]).max()
    )
    kinds = [type(part) for part in subject.fast.modules()]
    assert kinds.count(FrequencyConvolution) == 11 and not kinds.count(nn.BatchNorm2d)


def test_fast_copy_of_a_crop_model():
    from models_torch import create_model

    torch.manual_seed(0)
    model = create_model("resnet18", num_classes=3, samples=80, leads=2, widths=(4, 4, 8, 8)).eval()
    subject = classifier(model, crop=80, samples=200)
    x = torch.randn(3, 200, 2)
    expected = subject.module(x)
    speed_up(subject)
    assert isinstance(subject.fast, FastCopy) and largest_error(subject.fast(x), expected) < TOLERANCE


def test_fast_copy_without_layers_to_fold_is_the_module():
    module = nn.Sequential(nn.Flatten(), nn.Linear(20, 2)).eval()
    assert fast_copy(module, torch.randn(2, 10, 2)) is module


class Forked(nn.Module):
    """A convolution whose output goes to a batch norm and around it; a ReLU whose input is used again."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU()
        nn.init.constant_(self.bn.running_mean, 0.5)

    def forward(self, x):
        y = self.conv(x.transpose(1, 2))
        return (self.relu(self.bn(y)) + y).mean(dim=2)


def test_fast_copy_leaves_unfoldable_layers():
    torch.manual_seed(0)
    module, x = Forked().eval(), torch.randn(4, 30, 2)
    with torch.no_grad():
        expected = module(x)
        assert largest_error(fast_copy(module, x)(x), expected) < TOLERANCE


def test_fast_copy_is_renewed_for_new_weights():
    subject, x = small_classifier("resnet18"), torch.from_numpy(small_signals())
    speed_up(subject)
    with torch.no_grad():
        subject.module.head.weight.neg_()
    assert largest_error(subject.fast(x), subject.module(x)) > 0.1
    speed_up(subject)
    assert largest_error(subject.fast(x), subject.module(x)) < TOLERANCE


# ---- early layers, shared by all masks -----------------------------------------------------------


def rows_seen(layer, job):
    """Rows that a layer computes while a job runs, and what the job gives."""
    seen = []
    hook = layer.register_forward_hook(lambda _m, x, _y: seen.append(len(x[0])))
    try:
        return job(), sum(seen)
    finally:
        hook.remove()


def test_shared_layers_equal_the_whole_model():
    golden, subject = arrays(), classifier(narrow_model())
    x, target, ids = ours(golden["x"])[3], int(golden["y"][3]), segments(2880, 1, 24)
    masks = lime_masks(500, 120, np.random.default_rng(0))
    expected = _outputs(subject, x, target, masks, ids, 32)
    speed_up(subject)
    _outputs(subject, x, target, masks, ids, 32)  # looks for the cut
    early = subject.fast.model.backbone.layer1[0].conv1
    late = subject.fast.model.backbone.layer2[0].conv1
    outputs, asked = rows_seen(early, lambda: _outputs(subject, x, target, masks, ids, 32))
    assert asked <= 64 + 16  # 64 versions, and one dummy for each of 16 batches, instead of 500
    assert rows_seen(late, lambda: _outputs(subject, x, target, masks, ids, 32))[1] == 500
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    shared = share_layers(subject.module, subject.fast.model, torch.from_numpy(ids), 500)
    assert shared.layer is subject.fast.model.backbone.layer1 and shared.width == 6


@pytest.mark.parametrize("length", [5, 40])
@pytest.mark.parametrize("name", TORCH)
def test_shared_layers_keep_the_outputs(name, length):
    subject, x = small_classifier(name), small_signals(1)[0]
    ids = segments(160, 3, length)
    masks = lime_masks(90, int(ids.max()) + 1, np.random.default_rng(0))
    expected = _outputs(subject, x, 1, masks, ids, 32)
    speed_up(subject)
    outputs = _outputs(subject, x, 1, masks, ids, 32)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=2e-5 * max(np.abs(expected).max(), 1))


class Skipping(nn.Module):
    """Early layers, and a head that looks at the signal too."""

    def __init__(self):
        super().__init__()
        self.early = nn.Conv1d(1, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        early = self.early(x.transpose(1, 2)).relu().mean(dim=2)
        return self.head(early) * (1 + x.abs().mean(dim=(1, 2)))[:, None]


def test_shared_layers_refuse_a_cut_with_a_bypass():
    torch.manual_seed(0)
    module, ids = Skipping().eval(), torch.from_numpy(segments(200, 1, 20))
    with torch.inference_mode():
        assert share_layers(module, module, ids, 500) is None


def test_shared_layers_none_for_few_masks_short_signals_and_mixed_leads():
    subject = classifier(narrow_model())
    speed_up(subject)
    arguments = subject.module, subject.fast.model
    assert share_layers(*arguments, torch.from_numpy(segments(2880, 1, 24)), 10) is None
    assert share_layers(*arguments, torch.from_numpy(segments(50, 1, 24)), 500) is None
    mixed = small_classifier("resnet18 lead-aware")
    speed_up(mixed)
    ids = torch.from_numpy(segments(160, 3, 40))
    assert share_layers(mixed.module, mixed.fast.model, ids, 500) is None
