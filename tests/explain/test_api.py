"""One call explains any checkpoint; methods from elsewhere are called like ours."""

import os
import subprocess
import sys

import numpy as np
import pytest

import explain
from explain.engine.classifier import Classifier, load_classifier
from explain.methods import completeness, get_method, list_methods
from explain.methods import explain as compute_maps
from explain.methods.registry import METHODS
from explain.names import method_title, row_title
from tests.conftest import ROOT
from tests.helpers.attribution_models import small_classifier, small_signals
from tests.helpers.training_files import SAMPLES, write_untrained
from training import load_predictor
from utils.errors import DataError, UsageError

NOISE = 0.3 * np.random.default_rng(0).standard_normal((2, 1000, 12)).astype(np.float32)


@pytest.fixture
def toy():
    """A method that somebody else registers: the signal itself, for the classes it is told."""

    @explain.register_method("toy", "Toy signal", uses=("seed",))
    def toy(classifier, x, targets, settings):
        return x * (1 + targets[:, None, None])

    yield "toy"
    METHODS.remove("toy")


def test_explain_import_needs_no_framework():
    code = (
        "import sys, explain; assert not {'torch', 'keras', 'sklearn'} & set(sys.modules); explain.Settings"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.torch
def test_explain_gives_maps_of_the_most_probable_or_named_classes():
    predictor = load_predictor("ecgnet")
    maps = explain.explain(predictor, NOISE, "saliency")
    assert maps.shape == NOISE.shape and maps.dtype == np.float32
    best = predictor.predict(NOISE).argmax(axis=1)
    classifier = Classifier(predictor, "ecgnet")
    x = predictor.standardize(NOISE)
    np.testing.assert_array_equal(maps, compute_maps(classifier, "saliency", x, best))
    by_name = explain.explain("ecgnet", NOISE, "saliency", classes=["MI", 3])
    np.testing.assert_array_equal(by_name, compute_maps(classifier, "saliency", x, np.array([2, 3])))
    one = explain.explain(predictor, NOISE, "saliency", classes="MI")
    np.testing.assert_array_equal(one[0], by_name[0])
    lime = explain.explain(predictor, NOISE[:1], "lime", n_samples=20, seed=3)
    np.testing.assert_array_equal(lime, explain.explain(predictor, NOISE[:1], "lime", n_samples=20, seed=3))


@pytest.mark.torch
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "salency"}, UsageError, "unknown attribution method 'salency': did you mean 'saliency'"),
        ({"classes": "MII"}, UsageError, "unknown class 'MII': did you mean 'MI'"),
        ({"classes": 5}, UsageError, "unknown class '5'"),
        ({"classes": ["MI"]}, UsageError, "one for each of 2 records, not 1"),
        (
            {"ig_step": 3},
            UsageError,
            "unknown setting 'ig_step' of attribution methods: did you mean 'ig_steps'",
        ),
        ({"signals_mv": NOISE[:, :500]}, DataError, r"\(2, 500, 12\)"),
        ({"method": "attention"}, explain.CannotExplain, "'ecgnet' has none"),
        ({"method": "prototypes"}, explain.CannotExplain, "'ecgnet' has none"),
    ],
)
def test_explain_errors_name_the_problem(change, error, message):
    with pytest.raises(error, match=message):
        explain.explain(**{"predictor": "ecgnet", "signals_mv": NOISE, "method": "saliency", **change})


@pytest.mark.tf
def test_explain_keras_model_gives_the_same_on_any_backend(tmp_path):
    """The backend of this session stays: what needs PyTorch's runs in another process."""
    folder = write_untrained(tmp_path / "mousavi", "mousavi")
    predictor, signals = load_predictor(folder), NOISE[:, :SAMPLES]
    maps = explain.explain(predictor, signals, "saliency", classes="MI")
    code = (
        "import sys, numpy as np, explain\n"
        "maps = explain.explain(sys.argv[1], np.load(sys.argv[2]), 'saliency', classes='MI')\n"
        "np.save(sys.argv[3], maps)"
    )
    np.save(tmp_path / "signals.npy", signals)
    command = [sys.executable, "-c", code, folder, tmp_path / "signals.npy", tmp_path / "maps.npy"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"KERAS_BACKEND": "torch"}, check=True)
    expected = np.load(tmp_path / "maps.npy")
    assert maps.shape == signals.shape and np.abs(maps).max() > 0
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    with pytest.raises(explain.CannotExplain, match="'mousavi' has none"):
        explain.explain(predictor, signals, "prototypes")


@pytest.mark.tf
def test_explain_by_attention_on_any_backend():
    predictor = load_predictor("imle_net")
    maps = explain.explain(predictor, NOISE, "attention")
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), 1, rtol=1e-5)
    assert (maps >= 0).all()
    levels = predictor.model.attention(predictor.standardize(NOISE))
    np.testing.assert_array_equal(maps, levels["heatmap"].astype(np.float32))
    assert explain.explain(predictor, NOISE, "random_baseline").shape == NOISE.shape


@pytest.mark.torch
@pytest.mark.parametrize("name", ["protoecgnet", "protoecgnet rhythm", "protoecgnet_fusion"])
def test_prototypes_map_adds_up_to_the_logit(name):
    classifier, x, targets = small_classifier(name), small_signals(), np.array([0, 2, 1])
    maps = compute_maps(classifier, "prototypes", x, targets)
    result = completeness(classifier, "prototypes", x, targets, maps)
    np.testing.assert_allclose(result.sums, result.promised, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(maps, maps[:, :, :1].repeat(3, axis=2))
    if name == "protoecgnet rhythm":  # looks at the record as a whole
        np.testing.assert_allclose(maps, maps[:, :1].repeat(160, axis=1), rtol=1e-5, atol=1e-9)
    else:
        assert maps[0].std() > 0


@pytest.mark.torch
def test_explain_by_prototypes_of_shipped_weights():
    predictor = load_predictor("protoecgnet_rhythm")
    maps = explain.explain(predictor, NOISE[:1], "prototypes")
    assert maps.shape == (1, 1000, 12) and np.isfinite(maps).all()


@pytest.mark.torch
def test_completeness_says_how_much_of_the_logit_is_missing():
    classifier, x, targets = small_classifier("resnet18"), small_signals(), np.array([0, 2, 1])
    coarse, fine = (explain.Settings(ig_steps=steps) for steps in (2, 300))
    found = []
    for settings in (coarse, fine):
        maps = compute_maps(classifier, "integrated_gradients", x, targets, settings)
        found.append(completeness(classifier, "integrated_gradients", x, targets, maps, settings))
    assert found[0].errors.shape == (3,) and found[1].errors.max() < found[0].errors.max()
    assert str(found[1]).startswith("completeness error: median ") and "%" in str(found[1])
    maps = compute_maps(classifier, "saliency", x, targets)
    assert completeness(classifier, "saliency", x, targets, maps) is None
    for name in ("deep_lift", "deep_shap", "lrp", "kernel_shap"):
        settings = explain.Settings(n_samples=200, segment_samples=20, n_baselines=2, seeds=np.arange(3))
        maps = compute_maps(classifier, name, x, targets, settings)
        assert completeness(classifier, name, x, targets, maps, settings).errors.max() < 0.02, name


# ---- methods from elsewhere ----------------------------------------------------------------------


@pytest.mark.torch
def test_method_from_elsewhere_is_one_registration(toy):
    assert toy in list_methods() and get_method(toy).title == "Toy signal"
    assert method_title(toy) == "Toy signal" and row_title(toy, "absolute") == "Toy signal (abs)"
    maps = explain.explain("ecgnet", NOISE, toy, classes=[0, 1])
    x = load_predictor("ecgnet").standardize(NOISE)
    np.testing.assert_array_equal(maps, x * np.array([1, 2])[:, None, None])
    with pytest.raises(
        UsageError, match=rf"two modules register the attribution method 'toy': {__name__} and a.b"
    ):
        METHODS.register("toy", get_method(toy), module="a.b")
    with pytest.raises(UsageError, match="uses unknown setting 'seeed': did you mean 'seed'"):
        explain.register_method("other", uses=("seeed",))


@pytest.mark.torch
def test_methods_have_titles():
    assert all(get_method(name).title != name for name in list_methods())
    assert load_classifier("ecgnet").attention is None
