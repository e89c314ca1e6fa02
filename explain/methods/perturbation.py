"""LIME and KernelSHAP: what happens to the logit when stretches of a lead are silenced.

Both switch segments of every lead off (to zero, the mean of a standardized signal), read the logit of the
target for several hundred such inputs and fit a linear model to which segments were on. A coefficient stands
for all samples of its segment; it is not divided by their number.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import lstsq
from torch import Tensor, nn

from explain.engine.classifier import Classifier
from explain.engine.fast import FastCopy
from explain.engine.shared_layers import SharedLayers, share_layers
from explain.methods.completeness import rise
from explain.methods.registry import Settings, register_method

LASSO_ALPHA = 0.01  # of scikit-learn's objective, with intercept
KERNEL_WIDTH = 1.0  # of LIME's exponential kernel on the cosine distance
_CUT_OFF = 1e-10  # of singular values, relative to the largest
ANCHOR_WEIGHT = 1e6  # of the whole and the silenced input in KernelSHAP: the sum of the map is f(x) - f(0)


def segments(samples: int, leads: int, length: int) -> np.ndarray:
    """Cut every lead into segments, (samples, leads)."""
    each = -(-samples // length)
    return (np.arange(samples) // length)[:, None] + each * np.arange(leads)


def lime_masks(count: int, number: int, random: np.random.Generator) -> np.ndarray:
    """Draw LIME's perturbations: a fair coin for each segment, (count, number)."""
    return random.integers(0, 2, (count, number)).astype(bool)


def kernel_shap_masks(count: int, number: int, random: np.random.Generator) -> np.ndarray:
    """Draw KernelSHAP's perturbations: everything, nothing, then sets whose sizes follow the Shapley kernel.

    Returns shape (count, number).

    Lundberg and Lee, "A unified approach to interpreting model predictions", 2017, arXiv:1705.07874.
    """
    masks = np.zeros((count, number), bool)
    masks[:1] = True
    if number < 2 or count < 3:
        return masks
    sizes = np.arange(1, number)
    share = 1 / (sizes * (number - sizes))
    drawn = random.choice(sizes, count - 2, p=share / share.sum())
    order = random.random((count - 2, number)).argsort(axis=1).argsort(axis=1)
    masks[2:] = order < drawn[:, None]
    return masks


def similarity_weights(x: np.ndarray, masks: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Weights of LIME's perturbations, by the cosine of the angle to the whole input.

    Shapes: x (T, leads), masks (n, segments), ids (T, leads) -> (n,).
    """
    energy = np.bincount(ids.ravel(), (x.astype(np.float64) ** 2).ravel(), masks.shape[1])
    # the cosine of x and z*x is |z*x| / |x|: both hold the same samples, or zero
    cosine = np.sqrt(masks @ energy / max(energy.sum(), np.finfo(float).tiny))
    return np.exp(-((1 - cosine) ** 2) / (2 * KERNEL_WIDTH**2))


def fit_lime(masks: np.ndarray, outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fit LIME's linear model, a weighted lasso.

    Shapes: masks (n, segments), outputs (n,), weights (n,) -> (segments,).

    Ribeiro et al., "Why should I trust you?", KDD 2016, doi:10.1145/2939672.2939778.
    """
    if np.ptp(outputs) == 0:  # a model that does not care: nothing to fit
        return np.zeros(masks.shape[1])
    from sklearn.exceptions import ConvergenceWarning  # only here: its import takes longer than most maps
    from sklearn.linear_model import Lasso

    model = Lasso(alpha=LASSO_ALPHA, max_iter=10_000)
    with warnings.catch_warnings():
        # logits of thousands with fewer perturbations than segments: the 10,000th step is as good as any
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(masks.astype(np.float64), outputs.astype(np.float64), weights).coef_


def fit_kernel_shap(masks: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Fit KernelSHAP's linear model, weighted least squares through the whole and the silenced input.

    Shapes: masks (n, segments), outputs (n,) -> (segments,).
    """
    weights = np.ones(len(masks))
    weights[:2] = ANCHOR_WEIGHT
    root = np.sqrt(weights)
    outputs = outputs.astype(np.float64)
    # centered, so that the intercept does not count where the solution of least norm is sought
    design = (masks - np.average(masks, axis=0, weights=weights)) * root[:, None]
    # below the cut-off nothing is left of a direction but what the large weights rounded away
    return lstsq(design, (outputs - np.average(outputs, weights=weights)) * root, cond=_CUT_OFF)[0]


_SHARED: weakref.WeakKeyDictionary[nn.Module, dict[tuple, SharedLayers | None]] = weakref.WeakKeyDictionary()


def _shared_layers(classifier: Classifier, ids: Tensor, count: int) -> SharedLayers | None:
    """Cut of the fast copy of a model, determined once for each copy, segments and number of masks."""
    copy = classifier.fast
    if not isinstance(copy, FastCopy):
        return None
    known = _SHARED.setdefault(copy, {})
    key = (*ids.shape, int(ids.max()), count)
    if key not in known:
        known[key] = share_layers(classifier.module, copy.model, ids, count)
    return known[key]


def _outputs(
    classifier: Classifier, x: np.ndarray, target: int, masks: np.ndarray, ids: np.ndarray, batch_size: int
) -> np.ndarray:
    """Logit of the target for each perturbed input."""
    signal, segment_ids = classifier.tensor(x), torch.from_numpy(ids).to(classifier.device)
    shared = _shared_layers(classifier, segment_ids, len(masks))
    rows = []
    with torch.inference_mode():
        table = shared.table(signal, segment_ids, batch_size) if shared else None
        for part in torch.from_numpy(masks).to(signal.device).split(batch_size):
            if shared and table is not None:
                logits = shared.logits(table, signal[None], part)
            else:
                logits = classifier.fast(signal * part[:, segment_ids])
            rows.append(logits[:, target].float().cpu().numpy())
    return np.concatenate(rows)


def _maps(
    classifier: Classifier,
    x: np.ndarray,
    targets: np.ndarray,
    settings: Settings,
    draw: Callable[[int, int, np.random.Generator], np.ndarray],
    fit: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    ids = segments(x.shape[1], x.shape[2], _segment_length(classifier, settings))
    maps = np.empty(x.shape, np.float32)
    for index, (signal, target) in enumerate(zip(x, targets, strict=True)):
        masks = draw(settings.n_samples, int(ids.max()) + 1, settings.generator(index))
        outputs = _outputs(classifier, signal, int(target), masks, ids, settings.batch_size)
        maps[index] = fit(signal, masks, outputs, ids)[ids]
    return maps


def _segment_length(classifier: Classifier, settings: Settings) -> int:
    length = settings.segment_samples or round(settings.segment_ms * classifier.sampling_rate / 1000)
    return max(1, length)


def _sums_of_segments(classifier: Classifier, maps: np.ndarray, settings: Settings) -> np.ndarray:
    """Sums of the coefficients: a map repeats each of them over its segment."""
    return maps[:, :: _segment_length(classifier, settings)].sum(axis=(1, 2), dtype=np.float64)


_USES = ("seed", "n_samples", "segment_ms", "segment_samples")


@register_method("lime", uses=_USES)
def lime(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """LIME with a lasso on silenced segments.

    Ribeiro et al., "Why should I trust you?", KDD 2016, doi:10.1145/2939672.2939778.
    """

    def fit(signal: np.ndarray, masks: np.ndarray, outputs: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return fit_lime(masks, outputs, similarity_weights(signal, masks, ids))

    return _maps(classifier, x, targets, settings, lime_masks, fit)


@register_method("kernel_shap", uses=_USES, promised=rise, sums=_sums_of_segments)
def kernel_shap(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """KernelSHAP on silenced segments.

    Lundberg and Lee, "A unified approach to interpreting model predictions", 2017, arXiv:1705.07874.
    """

    def fit(_signal: np.ndarray, masks: np.ndarray, outputs: np.ndarray, _ids: np.ndarray) -> np.ndarray:
        return fit_kernel_shap(masks, outputs)

    return _maps(classifier, x, targets, settings, kernel_shap_masks, fit)
