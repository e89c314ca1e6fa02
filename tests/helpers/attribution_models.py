"""Small classifiers of every architecture, and what must hold for all of them.

``python -m tests.helpers.attribution_models NAME ...`` runs the checks on Keras models, which are explained
on Keras' PyTorch backend: that takes a process of its own where the tests run on another one.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch

from explain.engine.classifier import Classifier, FeatureLayer, load_classifier
from explain.methods import CannotExplain, Settings, explain, list_methods
from models_tf import list_models as list_keras
from models_tf import model_info as keras_info
from models_torch import list_models as list_torch
from models_torch import model_info as torch_info
from tests.helpers.attribution_golden import classifier
from utils.model_registry import ModelCase


def _cases(names: list[str], info: Any) -> dict[str, ModelCase]:
    """Cases of the registered classifiers that read 160 samples of 3 leads."""
    cases = {
        f"{name} {case.name}".strip(): case for name in names for case in info(name).cases if not case.columns
    }
    return {name: c for name, c in cases.items() if (c.options["samples"], c.options["leads"]) == (160, 3)}


TORCH = _cases(list_torch(), torch_info)
KERAS = _cases(list_keras(), keras_info)
KERAS["imle_net on crops"] = ModelCase({**KERAS["imle_net"].options, "samples": 80}, parameters=0)
# what these methods need, and which of the small models have it
CANNOT = {
    "attention": {*TORCH, *KERAS} - {"imle_net", "imle_net on crops"},
    "prototypes": {*TORCH, *KERAS} - {"protoecgnet", "protoecgnet rhythm", "protoecgnet_fusion"},
    "random_baseline": set(),
    **{name: {"minirocket"} for name in ("saliency", "input_gradient", "integrated_gradients", "gradcam")},
    **{name: {"net1d", "s4", "minirocket"} for name in ("guided_backprop", "guided_gradcam")},  # no ReLU
}
# a cosine with the zero vector; counts
NOT_SMOOTH = {"protoecgnet", "protoecgnet rhythm", "protoecgnet_fusion", "minirocket"}


def small_classifier(name: str) -> Classifier:
    """A classifier with random weights whose kernels are not all of one kind."""
    architecture, options = name.split(" ")[0], {**TORCH, **KERAS}[name].options
    torch.manual_seed(0)
    if name in KERAS:
        import keras

        from models_tf import create_model

        keras.utils.set_random_seed(0)
        model = create_model(architecture, num_classes=3, **options)
        crops = {"samples": 160, "crop": 80} if name.endswith("crops") else {}
        return classifier(model, sampling_rate=100, name=name, **crops)
    from models_torch import create_model

    model = create_model(architecture, num_classes=3, **options)
    for module in model.modules():  # batch norm as after training
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return classifier(model.eval(), sampling_rate=100, name=name)


def small_signals(count: int = 3) -> np.ndarray:
    """Standardized noise with slow waves, (count, 160, 3)."""
    noise = np.random.default_rng(1).standard_normal((count, 160, 3))
    return (noise + np.sin(np.arange(160) / 9)[:, None]).astype(np.float32)


SETTINGS = Settings(
    seed=3, seeds=np.array([7, 70, 700]), ig_steps=30, n_samples=20, segment_samples=20, n_baselines=2
)
TARGETS = np.array([0, 2, 1])


def check(name: str) -> None:
    """Everything that must hold for a classifier, whatever it is."""
    subject, x = small_classifier(name), small_signals()
    check_logits(subject, x)
    maps = check_methods(name, subject, x)
    if name not in NOT_SMOOTH:
        check_gradients(subject, x, maps)
    if name not in CANNOT["gradcam"]:
        check_columns(subject)


def check_logits(subject: Classifier, x: np.ndarray) -> None:
    """Logits are those of the model, one row does not depend on another, and no weight wants a gradient."""
    logits = subject.logits(x)
    assert logits.shape == (3, 3)
    np.testing.assert_allclose(
        logits, np.concatenate([subject.logits(row[None]) for row in x]), rtol=0, atol=1e-5
    )
    assert not any(p.requires_grad for p in subject.module.parameters())
    assert not any(m.training for m in subject.module.modules() if isinstance(m, torch.nn.BatchNorm1d))
    if subject.framework == "keras":
        starts = [0, 40, 80] if subject.crop else [0]
        windows = [x[:, s : s + (subject.crop or 160)] for s in starts]
        with torch.no_grad():
            chances = np.stack([subject.predictor.model(w, training=False).numpy() for w in windows])
        expected = np.log(chances / (1 - chances)).mean(axis=0)  # the inverse of the head's sigmoid
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


def check_methods(name: str, subject: Classifier, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every method gives maps or says why not, and leaves model and input as they were."""
    before, logits = {k: v.clone() for k, v in subject.module.state_dict().items()}, subject.logits(x)
    frozen, maps = x.copy(), {}
    frozen.flags.writeable = False
    for method in list_methods():
        try:
            maps[method] = explain(subject, method, frozen, TARGETS, SETTINGS)
        except CannotExplain as error:
            assert len(str(error)) > 40
            assert name in CANNOT.get(method, {name}), f"{method}: {error}"
            continue
        assert name not in CANNOT.get(method, ()), f"{method} explained {name}"
        assert maps[method].shape == x.shape and maps[method].dtype == np.float32
        # guided_gradcam may be zero everywhere; so is LIME's lasso where the logits hardly move
        may_be_zero = method in ("guided_gradcam", "lime")
        assert may_be_zero or np.abs(maps[method]).max() > 0, f"{method}: nothing but zeros"
        again = explain(
            subject,
            method,
            x[:, ::-1][:, ::-1],  # not contiguous
            TARGETS,
            Settings(**{**vars(SETTINGS), "batch_size": 2}),
        )
        scale = np.abs(maps[method]).max()
        np.testing.assert_allclose(again, maps[method], rtol=0, atol=1e-4 * scale, err_msg=method)
    np.testing.assert_array_equal(frozen, x)
    np.testing.assert_array_equal(subject.logits(x), logits)
    for key, value in subject.module.state_dict().items():
        assert torch.equal(value, before[key]) and not value.requires_grad, key
    hooks = [module for module in subject.module.modules() if module._forward_hooks or module._backward_hooks]
    assert not hooks
    return maps


def check_gradients(subject: Classifier, x: np.ndarray, maps: dict[str, np.ndarray]) -> None:
    """Saliency is the slope of the logit along a line, and integrated gradients add up to its rise."""
    rows, step = np.arange(3), 1e-4
    direction = x * np.random.default_rng(2).standard_normal(x.shape).astype(np.float32)
    rise = subject.logits(x + step * direction) - subject.logits(x - step * direction)
    slope = (maps["saliency"] * direction).sum(axis=(1, 2))
    np.testing.assert_allclose(
        rise[rows, TARGETS] / (2 * step), slope, rtol=0.1, atol=0.05 * np.abs(slope).max()
    )
    np.testing.assert_array_equal(maps["input_gradient"], x * maps["saliency"])
    rise = (subject.logits(x) - subject.logits(np.zeros_like(x)))[rows, TARGETS]
    fine = explain(subject, "integrated_gradients", x, TARGETS, Settings(ig_steps=300, batch_size=100))
    np.testing.assert_allclose(fine.sum(axis=(1, 2)), rise, rtol=0, atol=0.01 * np.abs(rise).max())


def check_columns(subject: Classifier) -> None:
    """What a column of Grad-CAM's layer sees lies where the map puts the column, in time and in leads."""
    x = subject.tensor(small_signals(1)).requires_grad_(True)
    maps, _ = subject.feature_maps(x)
    assert len(maps) == len(subject.feature_layers) > 0
    for layer, values in zip(subject.feature_layers, maps, strict=True):
        arranged = layer.arrange(values)
        rows, _, height, windows, columns = arranged.shape
        assert rows == len(subject._starts) and height in (1, 3)
        for place in list(np.ndindex(height, windows, columns))[:: 1 + height * windows * columns // 20]:
            lead, window, column = place
            (gradient,) = torch.autograd.grad(
                arranged[0, :, lead, window, column].sum(), x, retain_graph=True, allow_unused=True
            )
            seen = gradient[0].numpy() != 0
            shown = _shown(subject, layer, arranged, place)
            assert shown.any()
            reads_parts = (
                windows > 1
            )  # then a column sees nothing of the other windows, and is not drawn there
            if height > 1:
                assert not seen[:, np.arange(3) != lead].any() and not shown[:, np.arange(3) != lead].any()
            if reads_parts:
                inside = _shown(subject, layer, arranged, (lead, window, slice(None)))
                assert not (seen & ~inside).any() and not (shown & ~inside).any()
            assert not seen.any() or (seen & shown).any()


def _shown(subject: Classifier, layer: FeatureLayer, arranged: torch.Tensor, place: tuple) -> np.ndarray:
    """Samples that get something of these columns, (160, 3)."""
    values = torch.zeros(arranged.shape[0], *arranged.shape[2:])
    values[(0, *place)] = 1
    return subject.lay_out(layer, values)[0].numpy() > 0


def check_checkpoint() -> None:
    """A shipped IMLE-Net (crops, exclusive classes) gives the logits of its probabilities."""
    subject = load_classifier("imle_net_mi")
    assert sys.modules["keras"].backend.backend() == "torch"
    assert (subject.name, subject.framework, subject.crop) == ("imle_net_mi", "keras", 250)
    assert not subject.multilabel and subject.attention is not None
    x = subject.standardize(np.random.default_rng(0).standard_normal((1, 1000, 12)))
    chances = [subject.predictor._forward(x[:, start : start + 250]) for start in range(0, 751, 125)]
    expected = np.mean([np.log(c) - np.log(c).mean() for c in chances], axis=0)
    logits = subject.logits(x)
    np.testing.assert_allclose(logits - logits.mean(), expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(subject.probabilities(logits).sum(), 1, rtol=1e-6)


def main() -> None:
    """Check a checkpoint, then the Keras models named on the command line; the first failure ends it."""
    check_checkpoint()  # first: it sets the backend, whatever the environment asks for
    print("checked checkpoint", flush=True)
    for name in sys.argv[1:]:
        check(name)
        print(f"checked {name}", flush=True)


if __name__ == "__main__":
    main()
