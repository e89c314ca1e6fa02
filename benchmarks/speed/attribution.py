"""CPU time of LIME and KernelSHAP beside the plain way: Captum's, one masked signal a forward pass.

The study's full-width ResNet-18 with its 8.7 million parameters on a window of MIT-BIH (8 s at 360 Hz, 120
segments), on one thread. Both ways are timed in turn in the same process, so that other jobs on the machine
slow down both. Ours makes the study's 500 masks a window; Captum's way, whose time is proportional to them,
fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.speed.machine import cpu_seconds
from benchmarks.speed.options import SpeedOptions
from benchmarks.speed.worker import measured

METHODS = ("lime", "kernel_shap")
_SIZES, _COMPARED_MASKS = {"masks": 500, "plain_masks": 100, "rounds": 5}, 200
_SEGMENT, _RATE = 24, 360


def _subject() -> tuple[Any, np.ndarray, int]:
    """Classifier with a fast copy, standardized window (T, 1) and target."""
    import torch

    from explain.engine.fast import speed_up
    from tests.helpers import attribution_golden as golden

    torch.set_num_threads(1)
    classifier = golden.classifier(golden.full_model(4, 2880, 1, seed=0), _RATE)
    speed_up(classifier)
    arrays = golden.arrays()
    return classifier, golden.ours(arrays["x"])[0], int(arrays["y"][0])


def _captum(method: str, module: Any, masks: np.ndarray | None = None) -> Any:
    """Captum's explainer as the study sets it up; `masks` replaces its random masks."""
    import torch
    from captum._utils.models.linear_model import SkLearnLasso
    from captum.attr import KernelShap, Lime

    def given(_inputs: Any, **_settings: Any) -> Iterator[Any]:
        for mask in masks if masks is not None else ():
            yield torch.from_numpy(mask)[None].long()

    explainer = Lime(module, SkLearnLasso(alpha=0.01)) if method == "lime" else KernelShap(module)
    if masks is not None:
        explainer.perturb_func = given
        if method == "kernel_shap":
            explainer.interpretable_model = _DoubleLeastSquares()
    return explainer


class _DoubleLeastSquares:
    """The linear model of Captum's KernelSHAP in double precision, which weights of 1 and 10^6 need."""

    def fit(self, loader: Any) -> None:
        from sklearn.linear_model import LinearRegression

        masks, outputs, weights = (part.double().numpy() for part in next(iter(loader)))
        self.coefficients = LinearRegression().fit(masks, outputs, sample_weight=weights).coef_

    def representation(self) -> Any:
        import torch

        return torch.from_numpy(self.coefficients)


def times(method: str, masks: int, plain_masks: int, rounds: int) -> dict[str, Any]:
    """Time both ways in turn in this process, after a warm-up of each."""
    import torch

    from explain.methods import Settings, explain

    classifier, x, target = _subject()
    segment_of = torch.arange(len(x))[None, :, None] // _SEGMENT
    captum = _captum(method, classifier.module)

    def plain(count: int) -> None:
        signal = torch.from_numpy(x)[None]
        captum.attribute(signal, target=target, feature_mask=segment_of, n_samples=count)

    def ours(count: int) -> None:
        settings = Settings(n_samples=count, segment_samples=_SEGMENT)
        explain(classifier, method, x[None], np.array([target]), settings)

    jobs: dict[str, tuple[Callable[[int], None], int]] = {
        "ours": (ours, masks),
        "plain": (plain, plain_masks),
    }
    seconds: dict[str, Any] = {name: [] for name in jobs}
    ours(masks)  # finds the cut for this number of masks
    plain(8)
    for _ in range(rounds):
        for name, (job, count) in jobs.items():
            seconds[name].append(cpu_seconds(partial(job, count)) / count)
    return seconds


def agreement(method: str, masks: int) -> dict[str, Any]:
    """Compare both ways on the same masks."""
    import torch

    from explain.methods import perturbation as ours

    classifier, x, target = _subject()
    ids = ours.segments(len(x), 1, _SEGMENT)
    draw = ours.lime_masks if method == "lime" else ours.kernel_shap_masks
    drawn = draw(masks, int(ids.max()) + 1, np.random.default_rng(0))
    outputs = ours._outputs(classifier, x, target, drawn, ids, 32)
    if method == "lime":
        coefficients = ours.fit_lime(drawn, outputs, ours.similarity_weights(x, drawn, ids))
    else:
        coefficients = ours.fit_kernel_shap(drawn, outputs)
    signal = torch.from_numpy(x)[None]
    expected = (
        _captum(method, classifier.module, drawn)
        .attribute(signal, target=target, feature_mask=torch.from_numpy(ids)[None], n_samples=masks)[0]
        .numpy()
    )
    with torch.no_grad():
        single = [classifier.module(signal * torch.from_numpy(mask[ids]))[0, target].item() for mask in drawn]
    return {
        "masks": masks,
        "coefficients": float(np.abs(coefficients[ids] - expected).max() / np.abs(expected).max()),
        "logits": float(np.abs(outputs - single).max() / np.abs(single).max()),
    }


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure both methods, each in a fresh process on one thread."""
    module, report = "attribution", {}
    for method in METHODS:
        timed = measured(f"{module}:times", method=method, **_SIZES)
        ratios = np.array(timed["plain"]) / np.array(timed["ours"])
        report[method] = {
            "cpu_ms_per_mask": {name: [round(1e3 * s, 3) for s in timed[name]] for name in ("ours", "plain")},
            "ratio": round(float(np.median(ratios)), 2),
            "ratios": [round(float(ratio), 2) for ratio in ratios],
            "peak_rss_mb": timed["peak_rss_mb"],
            "difference": measured(f"{module}:agreement", method=method, masks=_COMPARED_MASKS),
        }
    return {**_SIZES, "methods": report}
