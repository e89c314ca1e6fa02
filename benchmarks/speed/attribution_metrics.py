"""CPU time of the perturbation metrics, compared with one forward pass a step.

Windows, maps and weights are those of the golden values: windows of MIT-BIH and a narrow ResNet-18 that was
trained on it. The full-width network of the study is made from it by repeating every channel, which leaves
its answers as they are, so that both have the same curves. The plain way is the reference's: for every map
a Python search for patches that do not overlap, then one pass a patch; for every map its own subsets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.speed.machine import cpu_seconds
from benchmarks.speed.options import SpeedOptions
from benchmarks.speed.plain_metrics import plain_faithfulness, plain_region
from benchmarks.speed.worker import both_ways

NETWORKS = {"narrow": (8, 16, 32, 64), "full": (64, 128, 256, 512)}
METHODS = ("saliency", "integrated_gradients", "deep_shap")  # no two patches of equal relevance
_WINDOWS = {"narrow": [0, 3, 4], "full": [0]}
SIGNS = ("signed", "absolute")
ORDERS = ("morf", "lerf")
_RATE = 360


def widened(model: Any, times: int) -> Any:
    """Repeat every channel of a ResNet-18; its outputs stay the same."""
    import torch

    import models_torch

    config = {key: value for key, value in model.config.items() if key != "name"}
    config["widths"] = [times * width for width in config["widths"]]
    wide = models_torch.create_model("resnet18", **config)
    weights = {}
    for name, value in model.state_dict().items():
        repeats = [1] * value.dim()
        shape = wide.state_dict()[name].shape
        for axis in range(value.dim()):
            repeats[axis] = shape[axis] // value.shape[axis]
        inputs = repeats[1] if value.dim() > 1 else 1
        weights[name] = torch.tile(value, repeats) / inputs if value.dim() else value
    wide.load_state_dict(weights)
    return wide.eval()


def _subject(
    network: str, windows: Sequence[int]
) -> tuple[Any, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Classifier, standardized windows, targets and maps."""
    import torch

    from tests.helpers import attribution_golden as golden

    torch.set_num_threads(1)
    model = golden.narrow_model()
    if network == "full":
        model = widened(model, NETWORKS["full"][0] // NETWORKS["narrow"][0])
    arrays, rows = golden.arrays(), list(windows)
    maps = {name: golden.ours(arrays[f"a/{name}"])[rows] for name in METHODS}
    return golden.classifier(model, _RATE), golden.ours(arrays["x"])[rows], arrays["y"][rows], maps


def _curves(maps: dict[str, np.ndarray]) -> Iterator[tuple[str, str, str]]:
    return ((method, sign, order) for method in maps for sign in SIGNS for order in ORDERS)


def _scores(windows: Any, maps: dict[str, np.ndarray], metrics: list[str]) -> dict[str, Any]:
    """Scores of the maps of each method by sign and metric."""
    from attribution.metrics.perturbation import measure_controls, perturbation_scores

    controls = measure_controls(windows, metrics)
    return {
        method: perturbation_scores(windows, values, controls, metrics, SIGNS)
        for method, values in maps.items()
    }


def region(network: str, plain: bool, reference: bool, windows: list[int]) -> dict[str, Any]:
    """Time region perturbation of all methods, signs and orders."""
    from attribution.metrics.perturbed_inputs import PerturbationSettings, PerturbedInputs
    from explain.engine.fast import speed_up

    classifier, x, targets, maps = _subject(network, windows)
    settings = PerturbationSettings.published() if reference else PerturbationSettings()
    count = len(list(_curves(maps))) * len(windows)
    if plain:
        patch = 16 if reference else round(settings.patch_ms * _RATE / 1000)
        regions = 100 if reference else round(settings.coverage * x[0].size / patch)
        passes = _counted(classifier, "module")

        def job() -> np.ndarray:
            scores = []
            for method, sign, order in _curves(maps):
                for signal, target, values in zip(x, targets, maps[method], strict=True):
                    values = np.abs(values) if sign == "absolute" else values
                    values = values / np.abs(values).max() if reference else values.astype(np.float64)
                    arguments = (values[:, 0], patch, regions, order == "morf", reference)
                    scores.append(plain_region(classifier, signal, int(target), *arguments))
            return np.array(scores)
    else:
        speed_up(classifier)
        passes = _counted(classifier, "fast")

        def job() -> np.ndarray:
            metrics = [f"region_perturbation_{order}" for order in ORDERS]
            scores = _scores(PerturbedInputs(classifier, x, targets, settings), maps, metrics)
            return np.concatenate([scores[m][s, f"region_perturbation_{o}"] for m, s, o in _curves(maps)])

    results: list[np.ndarray] = []
    seconds = cpu_seconds(lambda: results.append(job()))
    return {"seconds": seconds / count, "passes": passes() / count, "scores": results[0].tolist()}


def faithfulness(network: str, plain: bool, windows: list[int], methods: list[str]) -> dict[str, Any]:
    """Time the faithfulness correlation of methods with both signs."""
    from attribution.metrics.perturbed_inputs import PerturbationSettings, PerturbedInputs
    from explain.engine.fast import speed_up

    classifier, x, targets, maps = _subject(network, windows)
    maps = {name: maps[name] for name in methods}
    settings = PerturbationSettings.published()
    metric, count = "faithfulness_correlation", len(methods) * len(SIGNS) * len(windows)
    if not plain:
        speed_up(classifier)
    passes = _counted(classifier, "module" if plain else "fast")

    def job() -> np.ndarray:
        if plain:
            scores = [
                plain_faithfulness(
                    classifier, x, targets, np.abs(maps[m]) if s == "absolute" else maps[m], settings
                )
                for m in methods
                for s in SIGNS
            ]
            return np.concatenate(scores)
        by_method = _scores(PerturbedInputs(classifier, x, targets, settings), maps, [metric])
        return np.concatenate([by_method[m][s, metric] for m in methods for s in SIGNS])

    results: list[np.ndarray] = []
    seconds = cpu_seconds(lambda: results.append(job()))
    return {"seconds": seconds / count, "passes": passes() / count, "scores": results[0].tolist()}


def _counted(classifier: Any, name: str) -> Any:
    """Count the rows that a module of the classifier is asked about from now on."""
    module, rows = getattr(classifier, name), []
    module.register_forward_pre_hook(lambda _module, inputs: rows.append(len(inputs[0])))
    return lambda: sum(rows)


def _compared(ours: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    difference = np.abs(np.array(ours["scores"]) - np.array(plain["scores"]))
    entry: dict[str, Any] = {"scores": len(difference)}
    entry |= _rounded(mean_difference=difference.mean(), max_difference=difference.max())
    entry |= _rounded(ratio=plain["seconds"] / ours["seconds"])
    for name, side in (("ours", ours), ("plain", plain)):
        figures = {key: side[key] for key in ("passes", "peak_rss_mb")}
        entry[name] = _rounded(cpu_ms=1e3 * side["seconds"], **figures)
    return entry


def _rounded(**figures: float) -> dict[str, float]:
    """Four digits are enough."""
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure ours and the plain way in turn, each time in a fresh process on one thread."""
    module, report = "attribution_metrics", {}
    for network, rows in _WINDOWS.items():
        entry, common = {}, {"network": network, "windows": rows}
        for name, reference in (("region", False), ("region_reference", True)):
            entry[name] = _compared(**both_ways(f"{module}:region", reference=reference, **common))
        for name, methods in (("faithfulness", list(METHODS)), ("faithfulness_one_method", [METHODS[0]])):
            entry[name] = _compared(**both_ways(f"{module}:faithfulness", methods=methods, **common))
        report[network] = {"windows": len(rows), **entry}
    return {"methods": list(METHODS), "networks": report}
