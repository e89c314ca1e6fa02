"""Sanity checks of attribution maps: random weights, other seeds, sums, sparseness."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from attribution.metrics.agreement import correlation, gini
from attribution.sanity import checks as sanity_checks
from attribution.sanity.checks import Subject
from attribution.sanity.randomization import layer_groups, randomized
from explain.engine.classifier import load_classifier
from explain.methods import Settings, explain, register_method
from explain.methods.registry import METHODS
from models_torch import create_model
from tests.helpers.attribution_waves import SAMPLES, STAGES, beats, small_resnet, trained_checkpoint
from utils.errors import DataError, TwelveLeadError

pytestmark = pytest.mark.torch
ROOT = Path(__file__).resolve().parents[2]
SMALL_MAPS = arrays(np.float64, (3, 12), elements=st.integers(-3, 3).map(float))  # full of ties


# ---- similarity and sparseness -------------------------------------------------------------------


@given(SMALL_MAPS, SMALL_MAPS)
def test_rank_correlation_equals_scipy(first, second):
    got = correlation(first.reshape(3, 4, 3), second.reshape(3, 4, 3))
    for a, b, value in zip(first, second, got, strict=True):
        if len(set(a)) == 1 or len(set(b)) == 1:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


@given(SMALL_MAPS, st.floats(1e-30, 1e30))
def test_rank_correlation_depends_on_order_alone(maps, scale):
    varied = np.ptp(maps, axis=1) > 0
    assert correlation(maps, scale * np.exp(maps))[varied] == pytest.approx(1)
    assert correlation(maps, -scale * maps)[varied] == pytest.approx(-1)
    assert correlation(maps, scale * maps, ranks=False)[varied] == pytest.approx(1)


def test_pearson_correlation_depends_on_values():
    a, b = np.array([[0.0, 1, 2, 3]]), np.array([[0.0, 1, 2, 12]])
    assert correlation(a, b)[0] == pytest.approx(1)
    assert correlation(a, b, ranks=False)[0] == pytest.approx(np.corrcoef(a[0], b[0])[0, 1])


def test_gini_of_known_maps():
    maps = np.zeros((4, 10))
    maps[0], maps[1, 3], maps[3] = -2.0, 5.0, np.arange(10)
    # by the mean absolute difference over twice the mean
    pairs = np.abs(np.subtract.outer(maps[3], maps[3])).mean() / (2 * maps[3].mean())
    assert gini(maps) == pytest.approx([0, 0.9, np.nan, pairs], nan_ok=True)
    assert gini(1e-30 * maps) == pytest.approx(gini(maps), nan_ok=True)


# ---- the model's weights -------------------------------------------------------------------------


def tensors(model):
    return [t.detach().clone() for t in (*model.parameters(), *model.buffers())]


def test_layer_groups_of_a_network_with_stages():
    model = small_resnet()
    groups = layer_groups(model)
    assert [g.name for g in groups] == STAGES and [g.index for g in groups] == [*range(6)]
    assert groups[0].layers == ("head",)
    assert groups[-1].layers == ("backbone.conv1", "backbone.bn1")
    assert "backbone.layer3.0.downsample.1" in groups[2].layers
    # every parameter and every statistic of a batch norm, once
    grouped = [id(t) for g in groups for t in g.tensors]
    floats = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    assert sorted(grouped) == sorted(map(id, floats))


def test_layer_groups_of_any_other_network():
    model = create_model("ecgnet", samples=200, filters=4, stem_kernels=[15], blocks=6, lstm_units=4)
    groups = layer_groups(model)
    assert [g.name for g in groups] == ["head", "part5", "part4", "part3", "part2", "part1"]
    assert (
        groups[0].layers == ("head",) and groups[1].layers[-1] == "lstm" and groups[-1].layers[0] == "stem.0"
    )
    sizes = [len(g.layers) for g in groups[1:]]
    assert max(sizes) - min(sizes) <= 1
    two = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    assert [(g.name, g.layers) for g in layer_groups(two)] == [("head", ("2",)), ("part1", ("0",))]
    with pytest.raises(TwelveLeadError, match="no parameters"):
        layer_groups(torch.nn.ReLU())


def test_randomized_model_is_restored_bit_for_bit():
    model = small_resnet()
    x = torch.randn(3, SAMPLES, 1)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):  # as after training
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    before, outputs = tensors(model), model(x)
    groups = layer_groups(model)
    head = None
    for depth in range(1, len(groups) + 1):
        with randomized(groups[:depth], seed=1):
            for group in groups:
                same = [torch.equal(t, b) for t in group.tensors for b in [before_of(t, model, before)]]
                assert all(same) == (group.index >= depth)
            # what is there are the same values in another order
            assert torch.equal(
                model.head.weight.flatten().sort()[0],
                before_of(model.head.weight, model, before).flatten().sort()[0],
            )
            head = model.head.weight.clone() if head is None else head
            assert torch.equal(model.head.weight, head)  # a cascade keeps what it has changed
            assert not torch.allclose(model(x), outputs)
        assert all(map(torch.equal, tensors(model), before))
    with randomized(groups[:1], seed=2):
        assert not torch.equal(model.head.weight, head)
    with pytest.raises(KeyboardInterrupt), randomized(groups):
        raise KeyboardInterrupt
    assert all(map(torch.equal, tensors(model), before)) and torch.equal(model(x), outputs)


def before_of(tensor, model, before):
    """The copy that was made of one of a model's tensors."""
    return next(
        b for t, b in zip((*model.parameters(), *model.buffers()), before, strict=True) if t is tensor
    )


KERAS = """
import numpy as np
import models_tf
import keras
import torch
from attribution.sanity.randomization import layer_groups, randomized

model = models_tf.create_model(
    "imle_net", samples=100, filters=2, lstm_units=2, attention_units=2, blocks=[1, 1], num_classes=3
)
for layer in model.layers:  # as after training
    layer.set_weights([w + np.random.default_rng(0).uniform(0.1, 0.5, w.shape) for w in layer.get_weights()])
model = keras.Model(model.input, [model.output, model.get_layer("rhythm_lstm").output])  # as for Grad-CAM
groups = layer_groups(torch.nn.Sequential(model))
print([g.name for g in groups], groups[0].layers, groups[1].layers)
assert sum(len(g.tensors) for g in groups) == len(model.weights)
x = np.random.default_rng(0).standard_normal((2, 100, 12)).astype(np.float32)
answer = lambda: model(x, training=False)[0].detach().numpy()
before, weights = answer(), model.get_weights()
for depth in range(1, len(groups) + 1):
    with randomized(groups[:depth]):
        changed = [not np.array_equal(a, b) for a, b in zip(weights, model.get_weights())]
        sizes = [len(g.tensors) for g in groups[:depth]]
        assert sum(changed) <= sum(sizes) and not np.array_equal(answer(), before)
    assert all(map(np.array_equal, weights, model.get_weights())) and np.array_equal(answer(), before)
names = [v.path for v, c in zip(model.weights, changed) if c]
assert any("moving_variance" in n for n in names) and any("lstm" in n for n in names), names
"""


@pytest.mark.tf
def test_randomized_keras_model_is_restored():
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    words = [sys.executable, "-c", KERAS]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    names, *_ = done.stdout.strip().splitlines()
    assert names == (
        "['head', 'part5', 'part4', 'part3', 'part2', 'part1'] ('head',) "
        "('rhythm_attention', 'channel_attention')"
    )


# ---- the checks ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A model that has learned, and one of another seed that has hardly begun."""
    folder = tmp_path_factory.mktemp("models")
    return [trained_checkpoint(folder / "seed0"), trained_checkpoint(folder / "seed1", 1, steps=3)]


@pytest.fixture(scope="module")
def classifier(checkpoints):
    return load_classifier(checkpoints[0])


@pytest.fixture
def invented():
    """Methods that exist only here."""

    def edges(classifier, x, targets, settings):
        """Looks at the signal and never at the model."""
        return np.abs(np.diff(x, axis=1, prepend=0))

    def shaky(classifier, x, targets, settings):
        """Half signal, half noise."""
        noise = [settings.generator(i).standard_normal(x.shape[1:]) for i in range(len(x))]
        return x + x.std() * np.stack(noise)

    for name, function, uses in (("edges", edges, ()), ("shaky", shaky, ("seed",))):
        register_method(name, uses=uses)(function)
    yield
    for name in ("edges", "shaky"):
        METHODS.remove(name)


def subject(classifier, method, count=6, **settings):
    signals, labels = beats(40, seed=9)
    x = classifier.standardize(signals[labels == 1][:count])
    targets = np.ones(len(x), dtype=np.int64)
    settings = Settings(
        seeds=np.arange(len(x)) + 100, n_samples=40, n_baselines=5, segment_ms=100, **settings
    )
    return Subject(
        classifier, method, x, targets, settings, explain(classifier, method, x, targets, settings)
    )


def means(columns):
    return {(c.metric, c.sign): np.nanmean(c.scores) for c in columns}


def test_trained_network_separates_the_classes(classifier):
    signals, labels = beats(40, seed=9)
    assert (classifier.logits(classifier.standardize(signals)).argmax(axis=1) == labels).mean() > 0.9


def test_randomization_keeps_maps_of_a_method_that_ignores_the_model(classifier, invented):
    groups = layer_groups(classifier.module)
    columns = sanity_checks.randomization_columns(subject(classifier, "edges"), groups, independent=True)
    assert {c.metric for c in columns} == {
        *(f"randomization_{name}" for name in STAGES),
        *(f"randomization_only_{name}" for name in STAGES[1:]),
    }
    assert all(c.scores == pytest.approx(1) and len(c.scores) == 6 for c in columns)


@pytest.mark.parametrize(
    "method", ["saliency", "gradcam", "integrated_gradients", "deep_lift", "lrp", "kernel_shap"]
)
def test_randomization_changes_maps_of_a_method_that_explains_the_model(classifier, method):
    about = subject(classifier, method)
    before, logits = tensors(classifier.module), classifier.logits(about.x)
    columns = sanity_checks.randomization_columns(about, layer_groups(classifier.module))
    similarity = means(columns)
    assert similarity["randomization_stem", "absolute"] < 0.6
    assert abs(similarity["randomization_stem", "signed"]) < 0.6
    assert all(map(torch.equal, tensors(classifier.module), before))
    assert np.array_equal(classifier.logits(about.x), logits)
    again = sanity_checks.randomization_columns(about, layer_groups(classifier.module)[:2])
    for first, second in zip(columns, again, strict=False):  # the same weights, drawn again
        assert np.array_equal(first.scores, second.scores, equal_nan=True)


def test_seed_stability(classifier, invented):
    assert sanity_checks.seed_columns(subject(classifier, "saliency")) == []
    about = subject(classifier, "shaky", seed=4)
    stable = means(sanity_checks.seed_columns(about, seeds=2))
    assert stable["seed_stability_pearson", "signed"] == pytest.approx(0.5, abs=0.15)
    others = [
        explain(classifier, "shaky", about.x, about.targets, replace(about.settings, seed=s)) for s in (5, 6)
    ]
    three = [correlation(a, b) for a, b in ((about.maps, others[0]), (about.maps, others[1]), others)]
    assert stable["seed_stability", "signed"] == pytest.approx(np.mean(three))
    noise = means(sanity_checks.seed_columns(subject(classifier, "random_baseline")))
    assert all(abs(value) < 0.1 for value in noise.values()) and len(noise) == 4


@pytest.mark.parametrize("baselines", ["noise", "windows"])
@pytest.mark.parametrize("method", ["deep_lift", "deep_shap", "lrp", "kernel_shap"])
def test_completeness_of_methods_that_promise_a_sum(classifier, method, baselines):
    pool = classifier.standardize(beats(30, seed=3)[0]) if baselines == "windows" else None
    about = subject(classifier, method, baselines=pool)
    (column,) = sanity_checks.completeness_columns(about)
    assert (column.metric, column.sign) == ("completeness_error", "signed")
    assert (column.scores < 0.02).all()
    (double,) = sanity_checks.completeness_columns(replace(about, maps=2 * about.maps))
    assert double.scores == pytest.approx(1, abs=0.05)


def test_completeness_of_integrated_gradients_improves_with_steps(classifier):
    errors = [
        means(sanity_checks.completeness_columns(subject(classifier, "integrated_gradients", ig_steps=steps)))
        for steps in (3, 300)
    ]
    few, many = (e["completeness_error", "signed"] for e in errors)
    assert many < 0.2 * few


def test_completeness_of_methods_without_a_promise(classifier):
    assert sanity_checks.completeness_columns(subject(classifier, "saliency")) == []


def test_check_reproducible_refuses_maps_of_another_model(classifier, checkpoints):
    about = subject(classifier, "saliency")
    sanity_checks.check_reproducible(about)
    other = replace(about, classifier=load_classifier(checkpoints[1]))
    with pytest.raises(DataError, match=r"saliency map of window 100 .* --overwrite"):
        sanity_checks.check_reproducible(other)
