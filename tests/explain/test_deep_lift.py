"""DeepLIFT, DeepSHAP and LRP: the reference's numbers, Captum's, baselines, and a bump that must be found."""

import captum.attr
import numpy as np
import pytest
import torch
from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule
from torch import nn
from torch.nn import functional

from explain.methods import CannotExplain, Settings, deep_lift, explain, lrp
from explain.methods.calls import call_name
from explain.methods.rules import replaced
from tests.helpers.attribution_golden import arrays, classifier, full_model, narrow_model, ours
from tests.helpers.attribution_sums import METHODS, assert_complete, error, noise, plain, promised_sums
from utils.errors import UsageError

pytestmark = pytest.mark.torch


# ---- the reference ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow():
    return classifier(narrow_model())


def test_deep_lift_equals_the_reference(narrow):
    golden = arrays()
    maps = explain(narrow, "deep_lift", ours(golden["x"]), golden["y"])
    assert error(maps, ours(golden["a/deep_lift"])) < 1e-5


def test_deep_lift_of_the_full_network_equals_the_reference():
    golden = arrays()
    full, x, y = classifier(full_model(4, 2880, 1, seed=0)), ours(golden["x"])[:1], golden["y"][:1]
    assert error(explain(full, "deep_lift", x, y), ours(golden["full/deep_lift"])) < 1e-4
    assert_complete(full, "lrp", x, y, x, relative=0.01)


def test_deep_shap_is_complete_where_the_reference_is_not(narrow, monkeypatch):
    golden = arrays()
    x, y = ours(golden["x"])[:1], golden["y"][:1]
    baselines, reference = ours(golden["deep_shap_baselines_sample0"]), ours(golden["a/deep_shap"])[:1]
    assert_complete(narrow, "deep_shap", x, y, baselines)
    expected = promised_sums(narrow, "deep_shap", x, y, baselines)
    assert abs(reference.sum() - expected[0]) > 5  # 9.18 instead of 2.91

    # Captum drops its own rule for a max-pooling that stands right behind a ReLU, and takes the gradient
    def gradient(self, func, args, kwargs):
        pool = getattr(functional, call_name(func))
        result, places = pool(args[0].detach(), *args[1:], **{**kwargs, "return_indices": True})
        (x, _), (place, _) = self.pairs(args[0]), self.pairs(places)

        def rule(m, _):
            m = m[: len(place)].flatten(2)
            return (
                self.filled(
                    torch.zeros_like(x).flatten(2).scatter_add_(-1, place.flatten(2), m).view(x.shape)
                ),
            )

        return replaced(result, rule, args[0])

    monkeypatch.setattr(deep_lift.RescaleRule, "_peak", gradient)
    with pytest.raises(CannotExplain, match=r"sums to 9\.179, not to 2\.909"):
        explain(narrow, "deep_shap", x, y, Settings(baselines=baselines))
    monkeypatch.setattr(deep_lift, "check_sums", lambda method, subject, maps, expected: maps)
    assert error(explain(narrow, "deep_shap", x, y, Settings(baselines=baselines)), reference) < 1e-5


def test_lrp_conserves_relevance_where_the_reference_explodes(narrow):
    golden = arrays()
    x, y = ours(golden["x"]), golden["y"]
    maps = assert_complete(narrow, "lrp", x, y, x, relative=0.01)
    logits = golden["logits"][np.arange(6), y]
    assert (np.abs(maps).sum(axis=(1, 2)) < 2 * np.abs(logits)).all()
    assert (np.abs(golden["a/lrp"]).max(axis=(1, 2, 3)) > 1e6).all()


# ---- Captum, on networks made of modules -----------------------------------------------------------


class FromSignals(nn.Sequential):
    """A network on (B, leads, T)."""

    def forward(self, signals):
        return super().forward(signals.transpose(1, 2))


def modules(*first):
    torch.manual_seed(1)
    norm = nn.BatchNorm1d(6)
    norm.running_var.uniform_(0.5, 2)
    norm.running_mean.uniform_(-1, 1)
    start = [nn.Conv1d(2, 6, 3, padding=1), *first, norm, nn.ReLU(), nn.Conv1d(6, 4, 3, stride=2), nn.ELU()]
    middle = [nn.AdaptiveAvgPool1d(3), nn.Flatten(), nn.Linear(12, 5), nn.Sigmoid(), nn.Linear(5, 4)]
    end = [nn.LeakyReLU(0.1), nn.Linear(4, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3)]
    return FromSignals(*start, *middle, *end).eval().requires_grad_(False)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_deep_lift_and_deep_shap_equal_captum():
    x, baselines, targets = noise(4, 16, 2), noise(5, 16, 2, seed=1), np.array([0, 1, 2, 2])
    signals, classes = torch.from_numpy(x), torch.from_numpy(targets)
    net = modules()
    theirs = captum.attr.DeepLift(net).attribute(signals.requires_grad_(), target=classes)
    assert error(explain(plain(net), "deep_lift", x, targets), theirs.detach().numpy()) < 1e-4

    net = modules(nn.MaxPool1d(2))
    theirs = captum.attr.DeepLiftShap(net).attribute(signals, torch.from_numpy(baselines), target=classes)
    maps = explain(plain(net), "deep_shap", x, targets, Settings(baselines=baselines, batch_size=7))
    assert error(maps, theirs.detach().numpy()) < 1e-4


class Flat(nn.Sequential):
    """A network on (B, leads T)."""

    def forward(self, signals):
        return super().forward(signals.flatten(1))


def test_lrp_equals_captums_gamma_rule_for_positive_activations_without_bias():
    torch.manual_seed(0)
    layers = [nn.Linear(8, 12, bias=False), nn.Linear(12, 6, bias=False), nn.Linear(6, 3, bias=False)]
    net = Flat(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).requires_grad_(False)
    x, targets = np.abs(noise(5, 4, 2)), np.array([0, 1, 2, 1, 0])
    ours_ = explain(plain(net, samples=4), "lrp", x, targets)
    for layer, rule in zip(layers, [GammaRule(gamma=lrp.GAMMA)] * 2 + [EpsilonRule(epsilon=0)], strict=True):
        layer.rule = rule
    theirs = captum.attr.LRP(net).attribute(
        torch.from_numpy(x).requires_grad_(), target=torch.from_numpy(targets)
    )
    assert error(ours_, theirs.detach().numpy()) < 1e-4


# ---- baselines of deep_shap ------------------------------------------------------------------------


def test_baselines_are_drawn_for_each_window():
    pool = noise(6, 16, 2, seed=9)
    few = Settings(seed=1, seeds=np.array([3, 8]), baselines=pool, n_baselines=4)
    drawn = [deep_lift._draw(few, index, (16, 2)) for index in range(2)]
    places = [[int(np.flatnonzero((pool == row).all(axis=(1, 2)))[0]) for row in rows] for rows in drawn]
    assert [len(set(rows)) for rows in places] == [4, 4] and places[0] != places[1]
    alone = Settings(seed=1, seeds=np.array([8]), baselines=pool, n_baselines=4)
    np.testing.assert_array_equal(deep_lift._draw(alone, 0, (16, 2)), drawn[1])
    many = Settings(baselines=pool, n_baselines=25)
    np.testing.assert_array_equal(deep_lift._draw(many, 0, (16, 2)), pool)


def test_baselines_are_white_noise_without_windows():
    values = deep_lift._draw(Settings(n_baselines=25), 0, (1000, 2))
    assert values.shape == (25, 1000, 2) and values.dtype == np.float32
    assert abs(values.mean()) < 0.02 and abs(values.std() - 1) < 0.02


@pytest.mark.parametrize("shape", [(0, 16, 2), (5, 16, 1), (5, 15, 2), (16, 2)])
def test_baselines_of_another_shape_are_refused(shape):
    with pytest.raises(UsageError, match=r"baselines of the windows' shape \(n, 16, 2\)"):
        explain(plain(modules()), "deep_shap", noise(1, 16, 2), [0], Settings(baselines=np.zeros(shape)))


def test_deep_lift_of_the_baseline_is_zero():
    x = noise(2, 16, 2)
    maps = explain(plain(modules()), "deep_shap", x[:1], [0], Settings(baselines=x[:1]))
    assert not maps.any()


# ---- relevance lies where the evidence is ----------------------------------------------------------


class Detector(nn.Module):
    """Functional ReLU, overlapping max-pooling and a residual sum with batch norm."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(2, 8, 9, padding=4, bias=False)
        self.bn1 = nn.BatchNorm1d(8)
        self.conv2 = nn.Conv1d(8, 8, 9, padding=4, bias=False)
        self.bn2 = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 2)

    def forward(self, signals):
        x = functional.relu(self.bn1(self.conv1(signals.transpose(1, 2))))
        x = functional.max_pool1d(x, 3, stride=2, padding=1)
        return self.head(functional.relu(x + self.bn2(self.conv2(x))).mean(dim=2))


def bumps(count, seed):
    """Noise with a bump in one lead: upwards in class 1, downwards in class 0; and where it is."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((count, 96, 2)).astype(np.float32) * 0.3
    classes, mask = random.integers(0, 2, count), np.zeros(x.shape, bool)
    for row, (start, lead) in enumerate(
        zip(random.integers(0, 80, count), random.integers(0, 2, count), strict=True)
    ):
        x[row, start : start + 17, lead] += (classes[row] * 4 - 2) * np.exp(-((np.arange(-8, 9) / 3) ** 2))
        mask[row, start : start + 17, lead] = True
    return x, classes, mask


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    net = Detector()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for step in range(60):
        x, classes, _ = bumps(32, seed=step)
        optimizer.zero_grad()
        functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(classes)).backward()
        optimizer.step()
    return plain(net, samples=96, num_classes=2)


@pytest.mark.parametrize("method", METHODS)
def test_deep_lift_methods_find_an_injected_bump(detector, method):
    x, classes, mask = bumps(30, seed=1000)
    assert (detector.logits(x).argmax(axis=1) == classes).all()
    train = Settings(baselines=bumps(8, seed=2000)[0])
    maps = explain(detector, method, x, classes, train)
    assert (np.abs(maps) * mask).sum() / np.abs(maps).sum() > 4 * mask.mean()
    highest = maps.reshape(30, -1).argmax(axis=1)
    assert mask.reshape(30, -1)[np.arange(30), highest].mean() > 0.9
    # it speaks for its class and against the other one
    other = explain(detector, method, x, 1 - classes, train)
    assert ((maps * mask).sum(axis=(1, 2)) > 0).all() and ((other * mask).sum(axis=(1, 2)) < 0).all()
