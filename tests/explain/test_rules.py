"""DeepLIFT, DeepSHAP and LRP: rules by hand, sums on any network, and what must be refused."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from explain.engine.classifier import use_torch_backend
from explain.methods import CannotExplain, Settings, explain, lrp
from tests.helpers.attribution_models import TARGETS, small_classifier, small_signals
from tests.helpers.attribution_sums import METHODS, assert_complete, error, noise, plain
from tests.helpers.training_files import ROOT

pytestmark = pytest.mark.torch


# ---- rules by hand ---------------------------------------------------------------------------------


def test_lrp_of_a_linear_layer_spreads_its_bias_by_size():
    linear = nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[2.0, -1.0]]))
        linear.bias.fill_(3.0)
    subject = plain(nn.Sequential(nn.Flatten(), linear), samples=2, leads=1, num_classes=1)
    x = np.array([[[2.0], [4.0]]], np.float32)  # contributions 4 and -4, bias 3
    np.testing.assert_allclose(explain(subject, "lrp", x, [0])[0, :, 0], [4 + 1.5, -4 + 1.5], rtol=1e-5)
    np.testing.assert_allclose(explain(subject, "deep_lift", x, [0])[0, :, 0], [4, -4], rtol=1e-5)


def test_lrp_of_a_hidden_unit_favors_agreeing_inputs():
    hidden, head = nn.Linear(2, 1), nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor([[3.0, -1.0]]))
        hidden.bias.fill_(1.0)
        head.weight.fill_(-2.0)
    net = nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), head)
    x = np.ones((1, 2, 1), np.float32)  # contributions 3 and -1, bias 1: value 3, relevance -6
    down = 3 + lrp.GAMMA * 4
    direct = np.array([(1 + lrp.GAMMA) * 3, -1]) * -6 / down
    bias = (-6 - direct.sum()) * np.array([3, 1]) / 4
    maps = explain(plain(net, samples=2, leads=1, num_classes=1), "lrp", x, [0])
    np.testing.assert_allclose(maps[0, :, 0], direct + bias, rtol=1e-5)


class Block(nn.Module):
    """A residual block with batch norm, or the same function with batch norm folded into the convolutions."""

    def __init__(self, folded):
        super().__init__()
        torch.manual_seed(3)
        self.folded = folded
        self.convs = nn.ModuleList([nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(4), nn.BatchNorm1d(4)])
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            for conv, norm in zip(self.convs, self.norms, strict=True):
                norm.weight.normal_()  # some scales are negative
                norm.bias.normal_()
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2)
                if folded:
                    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
                    conv.weight.mul_(scale[:, None, None])
                    conv.bias.copy_((conv.bias - norm.running_mean) * scale + norm.bias)
                    norm.weight.fill_(0)

    def forward(self, signals):
        x = signals.transpose(1, 2)
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = conv(x) if self.folded else norm(conv(x))
            x = functional.relu(y + x if index else y)
        return self.head(x.mean(dim=2))


@pytest.mark.parametrize("method", ["lrp", "deep_lift"])
def test_batch_norm_merges_with_its_convolution(method):
    x, targets = noise(3, 16, 2), np.array([0, 1, 2])
    folded, block = plain(Block(folded=True)), plain(Block(folded=False))
    np.testing.assert_allclose(folded.logits(x), block.logits(x), rtol=1e-4, atol=1e-5)
    expected = explain(folded, method, x, targets)
    assert error(explain(block, method, x, targets), expected) < 1e-4


def test_lrp_of_a_sum_splits_relevance():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 1, bias=False)

        def forward(self, signals):
            x = functional.relu(signals.flatten(1))
            for _ in range(20):  # copies would be 2 ** 20
                x = functional.relu(x + 0.5 * x)
            return self.head(x)

    subject = plain(Twice(), samples=4, leads=1, num_classes=1)
    x = np.abs(noise(1, 4, 1)) + 0.1
    expected = x[0, :, 0] * subject.module.head.weight[0].numpy() * 1.5**20
    np.testing.assert_allclose(explain(subject, "lrp", x, [0])[0, :, 0], expected, rtol=1e-4)


# ---- any network -----------------------------------------------------------------------------------

RAMPS = (
    functional.relu,
    torch.relu,
    torch.Tensor.relu,
    torch.relu_,
    torch.tanh,
    functional.elu,
    lambda x: functional.leaky_relu(x, 0.2, True),
    lambda x: functional.relu(x, inplace=True),
    lambda x: functional.hardtanh(x, -1.0, 1.5),
    nn.PReLU(2),
)
CURVES = (torch.sigmoid, torch.square, functional.softplus, lambda x: x.clamp(min=-0.5), torch.abs)


def added(x, y):
    x += y
    return x


def scaled(x, y):
    x = x.clone()
    x.mul_(0.5).add_(y)
    return x


# each step takes what there is (B, 2, T) and the one before, and a convolution's weights
STEPS = {
    "conv": lambda x, before, w: functional.conv1d(x, w, padding=1),
    "norm": lambda x, before, w: functional.batch_norm(
        x, w[0, :, 0], w[0, :, 0] ** 2 + 0.5, w[1, :, 1], w[1, :, 2]
    ),
    "keras norm": lambda x, before, w: (x - w[0, :, :1]).mul_(w[1, :, :1]).add_(w[1, :, 1:2]),
    "residual": lambda x, before, w: x + before,
    "in place": lambda x, before, w: added(x.clone(), before),
    "difference": lambda x, before, w: torch.sub(x, before, alpha=0.5),
    "constant": lambda x, before, w: 1.5 - x / 2,
    "statement": lambda x, before, w: scaled(x, before),
    "concatenation": lambda x, before, w: functional.conv1d(
        torch.cat([x, before], dim=1), torch.cat([w, w.flip(2)], dim=1), bias=w[0, :, 0], padding=1
    ),
    "dense": lambda x, before, w: torch.matmul(x.transpose(1, 2), w[:, :, 0]).permute(0, 2, 1),
    "peaks": lambda x, before, w: functional.max_pool1d(x, 3, stride=1, padding=1),
    "peaks by two": lambda x, before, w: torch.max_pool1d(x, 2).repeat(1, 1, 2),
    "peaks, padded": lambda x, before, w: functional.max_pool1d(
        functional.pad(x, (0, 2), value=-np.inf), 3, 1
    ),
    "average": lambda x, before, w: functional.avg_pool1d(x, 3, 1, 1),
    "dropout": lambda x, before, w: functional.dropout(x, 0.5, False),
    "halves": lambda x, before, w: torch.stack(x.chunk(2, dim=1)[::-1], dim=1).flatten(1, 2),
    "part": lambda x, before, w: torch.cat([x[..., :4], before[..., 4:]], dim=-1),
    **{f"ramp {i}": lambda x, before, w, f=f: f(x.clone()) for i, f in enumerate(RAMPS)},
}
MORE_STEPS = {**STEPS, **{f"curve {i}": lambda x, before, w, f=f: f(x) for i, f in enumerate(CURVES)}}


class Drawn(nn.Module):
    """Steps one after another, then the mean and a linear layer."""

    def __init__(self, names, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.names = names
        self.weights = torch.randn(len(names), 2, 2, 3, generator=generator) * 0.7
        self.head = nn.Linear(2, 3)
        with torch.no_grad():
            self.head.weight.normal_(generator=generator)
            self.head.bias.normal_(generator=generator)

    def forward(self, signals):
        x = before = signals.transpose(1, 2)
        for name, weights in zip(self.names, self.weights, strict=True):
            x, before = MORE_STEPS[name](x, before, weights), x
        return self.head(x.mean(dim=-1))


@settings(max_examples=40, deadline=None)
@given(names=st.lists(st.sampled_from(sorted(MORE_STEPS)), max_size=9), seed=st.integers(0, 99))
def test_deep_lift_is_complete_for_any_network(names, seed):
    subject = plain(Drawn(names, seed), samples=8)
    x, baselines, targets = noise(3, 8, 2, seed=seed), noise(3, 8, 2, seed=seed + 1), np.array([2, 0, 1])
    for method in ("deep_lift", "deep_shap"):
        assert_complete(subject, method, x, targets, baselines)


@settings(max_examples=40, deadline=None)
@given(names=st.lists(st.sampled_from(sorted(STEPS)), max_size=9), seed=st.integers(0, 99))
def test_lrp_is_complete_for_any_network(names, seed):
    subject = plain(Drawn(names, seed), samples=8)
    x = noise(3, 8, 2, seed=seed)
    assert_complete(subject, "lrp", x, np.array([2, 0, 1]), x, relative=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_rules_of_all_layers_do_not_depend_on_the_batch(method):
    names = [name for pair in zip(sorted(STEPS), ["conv"] * len(STEPS), strict=True) for name in pair]
    subject, x, targets = plain(Drawn(names, 5)), noise(4, 16, 2), np.array([0, 2, 1, 1])
    keys = np.array([4, 5, 6, 7])
    together = explain(subject, method, x, targets, Settings(seeds=keys, n_baselines=3))
    for row in range(4):
        options = Settings(seeds=keys[row : row + 1], n_baselines=3, batch_size=2)
        alone = explain(subject, method, x[row : row + 1], targets[row : row + 1], options)
        assert error(together[row : row + 1], alone) < 1e-4


# ---- this repository's networks --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "resnet18 lead-aware", "resnet101", "protoecgnet_trunk"])
@pytest.mark.parametrize("method", METHODS)
def test_rules_are_complete_for_residual_networks(name, method):
    subject, x = small_classifier(name), small_signals()
    weights = {key: value.clone() for key, value in subject.module.state_dict().items()}
    assert_complete(subject, method, x, TARGETS, small_signals(5)[3:])
    assert all(torch.equal(value, weights[key]) for key, value in subject.module.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ecgnet", r"calls torch\.lstm in layer 'lstm' \(LSTM\), and a recurrent layer multiplies"),
        ("protoecgnet", "quotient of two activations|relevance can only pass curves that rise through zero"),
    ],
)
def test_rules_name_the_layer_without_a_rule(method, name, reason):
    with pytest.raises(
        CannotExplain, match=f"{method} cannot explain {name}: it .*({reason}).*integrated_grad"
    ):
        explain(small_classifier(name), method, small_signals(), TARGETS)


def check_keras() -> None:
    """Runs in a process of its own, as Keras' backend is chosen once."""
    use_torch_backend()
    x, baselines = small_signals(), small_signals(5)[3:]
    rajpurkar = small_classifier("rajpurkar")
    for method in METHODS:
        assert_complete(rajpurkar, method, x, TARGETS, baselines)
    for name, reason in {
        "imle_net on crops": r"softmax in layer 'beat_attention' \(AttentionPool\), and softmax divides",
        "mousavi": r"in layer 'forward_lstm\w*' \(LSTM\), and (it is the product|relevance can only)",
    }.items():
        subject = small_classifier(name)
        for method in METHODS:
            with pytest.raises(CannotExplain, match=f"^{method} cannot explain {name}: .*{reason}"):
                explain(subject, method, x, TARGETS)
    print("checked")


@pytest.mark.tf
def test_rules_on_keras_models():
    command = [sys.executable, "-c", "import tests.explain.test_rules as t; t.check_keras()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("checked\n")


# ---- what must not pass ----------------------------------------------------------------------------


class OwnGradient(torch.autograd.Function):
    """Doubles, and says that it trebles."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 3


def gated(x):
    return torch.relu(x) * torch.sigmoid(x)


WITHOUT_RULE = {
    "gate": (gated, "product of two activations|curves that rise through zero"),
    "mask": (lambda x: x * (x > 0), r"torch\.Tensor\.(__gt__|gt), and no rule is known"),
    "where": (lambda x: torch.where(x.isnan(), 0, x), "no rule is known"),
    "ratio": (lambda x: x / (x + 9), "quotient of two activations"),
    "inverse": (lambda x: 1 / (x + 9), "division by an activation"),
    "rounded": (lambda x: torch.div(x, 0.1, rounding_mode="floor"), "no rule is known"),
    "spread": (lambda x: functional.layer_norm(x, (4,)), "their own spread"),
    "batch's spread": (lambda x: functional.batch_norm(x, None, None, training=True), "training mode"),
    "dropout": (lambda x: functional.dropout(x, 0.5), "training mode"),
    "own weights": (
        lambda x: functional.linear(torch.ones(1, 4), x @ torch.ones(4, 4)),
        "depend on the input",
    ),
    "similarity": (lambda x: x @ x.T @ x, "product of two activations"),
    "detached": (lambda x: x.detach() + 0 * x, "hides the input"),
    "whole numbers": (lambda x: x.to(torch.int64).float() + x, "hides the input"),
    "running sum": (lambda x: x.cumsum(1), "no rule is known"),
    "attention": (lambda x: torch.softmax(x, 1), "softmax divides"),
    "other windows": (lambda x: x - x.mean(dim=0), "sums to"),
    "own gradient": (OwnGradient.apply, "sums to"),
}


@pytest.mark.parametrize("method", ["deep_lift", "lrp"])
@pytest.mark.parametrize("name", WITHOUT_RULE)
def test_rules_refuse_unknown_calls(method, name):
    call, reason = WITHOUT_RULE[name]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, signals):
            return self.head(call(torch.relu(signals.flatten(1) + 1)))

    torch.manual_seed(0)
    subject = plain(Net(), samples=4, leads=1, num_classes=2)
    with pytest.raises(CannotExplain, match=reason):
        explain(subject, method, np.array([1, 3, 9], np.float32)[:, None, None] * noise(3, 4, 1), [0, 1, 1])


@pytest.mark.parametrize(
    ("features", "reason"), [(5, "does not hold the windows along the first axis"), (6, "sums to")]
)
def test_deep_lift_needs_its_pairs_along_the_first_axis(features, reason):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(features, 2)

        def forward(self, signals):
            return self.head(torch.relu(signals.flatten(1).T - 0.2).T)

    subject = plain(Net(), samples=features, leads=1, num_classes=2)
    with pytest.raises(CannotExplain, match=reason):
        explain(subject, "deep_lift", noise(3, features, 1), [0, 1, 1])
