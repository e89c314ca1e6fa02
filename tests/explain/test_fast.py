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


def largest_error(given_, wanted):
    """Relative to the largest of the wanted values."""
    return float((given_ - wanted).abs().max() / wanted.abs().max())


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
        wanted = layer(x)
        given_ = FrequencyConvolution(layer, planned)(x)
    assert given_.shape == wanted.shape
    assert largest_error(given_, wanted) < 1e-5


def test_only_plain_convolutions_along_time_qualify():
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
def test_a_copy_answers_like_its_model(name):
    subject, x = small_classifier(name), torch.from_numpy(small_signals(5))
    before = {key: value.clone() for key, value in subject.module.state_dict().items()}
    wanted = subject.module(x)
    speed_up(subject)
    given_ = subject.fast(x)
    assert largest_error(given_, wanted) < TOLERANCE
    assert largest_error(subject.fast(x[:1]), wanted[:1]) < TOLERANCE
    if isinstance(subject.fast, FastCopy):
        assert given_.is_inference()
        folded = [m for m in subject.fast.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert len(folded) < sum(
            isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in subject.module.modules()
        )
    assert torch.equal(subject.module(x), wanted)  # the model itself is as it was
    assert all(torch.equal(value, before[key]) for key, value in subject.module.state_dict().items())
    assert not any(m.inplace for m in subject.module.modules() if isinstance(m, nn.ReLU))


def test_the_studys_network():
    golden = arrays()
    subject, x = classifier(full_model(4, 2880, 1, seed=0)), ours(golden["x"])[:2]
    speed_up(subject)
    np.testing.assert_allclose(
        subject.logits(x), golden["full/logits"], rtol=0, atol=1e-5 * np.abs(golden["full/logits"]).max()
    )
    kinds = [type(part) for part in subject.fast.modules()]
    assert kinds.count(FrequencyConvolution) == 11 and not kinds.count(nn.BatchNorm2d)


def test_a_crop_model_is_copied_too():
    from models_torch import create_model

    torch.manual_seed(0)
    model = create_model("resnet18", num_classes=3, samples=80, leads=2, widths=(4, 4, 8, 8)).eval()
    subject = classifier(model, crop=80, samples=200)
    x = torch.randn(3, 200, 2)
    wanted = subject.module(x)
    speed_up(subject)
    assert isinstance(subject.fast, FastCopy) and largest_error(subject.fast(x), wanted) < TOLERANCE


def test_nothing_to_fold_is_the_module_itself():
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


def test_what_cannot_be_folded_is_left_alone():
    torch.manual_seed(0)
    module, x = Forked().eval(), torch.randn(4, 30, 2)
    with torch.no_grad():
        wanted = module(x)
        assert largest_error(fast_copy(module, x)(x), wanted) < TOLERANCE


def test_new_weights_need_a_new_copy():
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


def test_masked_windows_share_their_early_layers():
    golden, subject = arrays(), classifier(narrow_model())
    x, target, ids = ours(golden["x"])[3], int(golden["y"][3]), segments(2880, 1, 24)
    masks = lime_masks(500, 120, np.random.default_rng(0))
    wanted = _outputs(subject, x, target, masks, ids, 32)
    speed_up(subject)
    _outputs(subject, x, target, masks, ids, 32)  # looks for the cut
    early = subject.fast.model.backbone.layer1[0].conv1
    late = subject.fast.model.backbone.layer2[0].conv1
    given_, asked = rows_seen(early, lambda: _outputs(subject, x, target, masks, ids, 32))
    assert asked <= 64 + 16  # 64 versions, and one dummy for each of 16 batches, instead of 500
    assert rows_seen(late, lambda: _outputs(subject, x, target, masks, ids, 32))[1] == 500
    np.testing.assert_allclose(given_, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    shared = share_layers(subject.module, subject.fast.model, torch.from_numpy(ids), 500)
    assert shared.layer is subject.fast.model.backbone.layer1 and shared.width == 6


@pytest.mark.parametrize("length", [5, 40])
@pytest.mark.parametrize("name", TORCH)
def test_sharing_changes_no_answer(name, length):
    subject, x = small_classifier(name), small_signals(1)[0]
    ids = segments(160, 3, length)
    masks = lime_masks(90, int(ids.max()) + 1, np.random.default_rng(0))
    wanted = _outputs(subject, x, 1, masks, ids, 32)
    speed_up(subject)
    given_ = _outputs(subject, x, 1, masks, ids, 32)
    np.testing.assert_allclose(given_, wanted, rtol=0, atol=2e-5 * max(np.abs(wanted).max(), 1))


class Skipping(nn.Module):
    """Early layers, and a head that looks at the signal too."""

    def __init__(self):
        super().__init__()
        self.early = nn.Conv1d(1, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        early = self.early(x.transpose(1, 2)).relu().mean(dim=2)
        return self.head(early) * (1 + x.abs().mean(dim=(1, 2)))[:, None]


def test_a_cut_that_would_miss_something_is_not_made():
    torch.manual_seed(0)
    module, ids = Skipping().eval(), torch.from_numpy(segments(200, 1, 20))
    with torch.inference_mode():
        assert share_layers(module, module, ids, 500) is None


def test_few_masks_short_signals_and_mixed_leads_share_nothing():
    subject = classifier(narrow_model())
    speed_up(subject)
    arguments = subject.module, subject.fast.model
    assert share_layers(*arguments, torch.from_numpy(segments(2880, 1, 24)), 10) is None
    assert share_layers(*arguments, torch.from_numpy(segments(50, 1, 24)), 500) is None
    mixed = small_classifier("resnet18 lead-aware")
    speed_up(mixed)
    ids = torch.from_numpy(segments(160, 3, 40))
    assert share_layers(mixed.module, mixed.fast.model, ids, 500) is None
