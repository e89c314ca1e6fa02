"""DeepLIFT (rescale rule) and DeepSHAP: the difference to a baseline, passed back layer by layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from explain.engine.classifier import Classifier
from explain.methods.calls import call_name
from explain.methods.completeness import logit, rise
from explain.methods.registry import Settings, register_method
from explain.methods.rules import Interceptor, check_sums, replaced
from utils.errors import UsageError

_EPSILON = 1e-10  # below this difference of inputs a slope is the derivative


class RescaleRule(Interceptor):
    """Runs a model on baselines and windows; the gradient of the baselines' rows are DeepLIFT's multipliers.

    A batch holds the baselines of P pairs, then W windows; a window may be in several pairs and goes through
    the model once. In the backward pass the pairs' rows carry the multipliers m, the windows' rows zeros.
    Linear operations hand m on as autograd does it. A function y of one number turns m into
    m (y - y0) / (x - x0). In max-pooling the difference of a maximum goes to the position of the larger of
    the two maxima; where that is the baseline's and shared by several positions, to that of x.

    ``method``: name of the attribution method, for messages.
    ``classifier``: the model to explain.
    ``owners`` (P,): the window of each pair; every window has one.
    """

    def __init__(self, method: str, classifier: Classifier, owners: Tensor):
        super().__init__(method, classifier)
        self.owners, self.windows = owners, int(owners.max()) + 1

    def pairs(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Windows and baselines of the pairs, row by row.

        Shapes: batch (k (P + W) -> x, x0 (k P, ...).
        """
        rows = batch.detach().unflatten(0, (len(self.owners) + self.windows, -1))
        count = len(self.owners)
        return rows[count:][self.owners].flatten(0, 1), rows[:count].flatten(0, 1)

    def filled(self, m: Tensor) -> Tensor:
        """Add the windows' zeros to the pairs' multipliers.

        Shapes: m (k P, ...) -> (k (P + W).
        """
        return torch.cat([m, m.new_zeros(len(m) // len(self.owners) * self.windows, *m.shape[1:])])

    def _objection(self, name: str, kind: str | None, args: tuple, kwargs: dict, active: list) -> str | None:
        if kind in ("ramp", "curve", "peak") and len(args[0]) % (len(self.owners) + self.windows):
            return "its input does not hold the windows along the first axis"
        return super()._objection(name, kind, args, kwargs, active)

    def _curve(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        batch, rest = args[0], args[1:]
        copy = batch.detach().clone()
        with torch.no_grad():
            result = func(copy, *rest, **kwargs)
        in_place = result is copy
        (x, x0), (y, y0) = self.pairs(batch), self.pairs(result)
        difference = x - x0
        small = difference.abs() < _EPSILON
        slopes = (y - y0) / torch.where(small, 1.0, difference)
        if small.any():
            leaf = x.clone().requires_grad_()
            derivative = torch.autograd.grad(func(leaf.clone(), *rest, **kwargs).sum(), leaf)[0]
            slopes = torch.where(small, derivative.nan_to_num(0.0, 0.0, 0.0), slopes)

        def rule(m: Tensor, _: Tensor) -> tuple[Tensor]:
            return (self.filled(m[: len(slopes)] * slopes),)

        return self._passed(batch, result, rule, in_place)

    _ramp = _curve

    def _peak(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        batch, name = args[0], call_name(func)
        with torch.no_grad():
            pool = getattr(functional, name)
            result, places = pool(batch.detach(), *args[1:], **{**kwargs, "return_indices": True})
        axis = batch.ndim - int(name[-2])  # places count over the last one, two or three axes
        (x, x0), (y, y0), (place, place0) = map(self.pairs, (batch, result, places))
        shape, difference = x.shape, (x - x0).flatten(axis)
        gained, place, place0 = ((y - y0).flatten(axis), place.flatten(axis), place0.flatten(axis))
        tied = x0.flatten(axis).gather(-1, place) == y0.flatten(axis)
        receiver = torch.where((gained > 0) | tied, place, place0)

        def rule(m: Tensor, _: Tensor) -> tuple[Tensor]:
            m = m[: len(gained)].flatten(axis)
            received = torch.zeros_like(difference).scatter_add_(-1, receiver, m * gained)
            derivative = torch.zeros_like(difference).scatter_add_(-1, place, m)
            small = ~(difference.abs() >= _EPSILON)  # true also beside padding, where it is inf - inf
            slopes = torch.where(small, derivative, received / torch.where(small, 1.0, difference))
            return (self.filled(slopes.view(shape)),)

        return replaced(result, rule, batch)


def _contributions(
    method: str,
    classifier: Classifier,
    x: np.ndarray,
    baselines: np.ndarray,
    owners: np.ndarray,
    targets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Maps of P pairs of a window and a baseline, and f(x) - f(x0): one forward and one backward pass."""
    batch = classifier.tensor(np.concatenate([baselines, x])).requires_grad_()
    rule = RescaleRule(method, classifier, torch.as_tensor(owners, device=batch.device))
    logits = rule.run(batch)
    classes = torch.as_tensor(np.concatenate([targets[owners], targets]), device=logits.device)
    explained = logits.gather(1, classes[:, None])[:, 0]
    multipliers = torch.autograd.grad(explained[: len(owners)].sum(), batch)[0][: len(owners)]
    values = explained.detach().double().cpu().numpy()
    differences = values[len(owners) :][owners] - values[: len(owners)]
    return multipliers.cpu().numpy() * (x[owners] - baselines), differences


@register_method("deep_lift", promised=rise)
def deep_lift(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """DeepLIFT with the rescale rule against the zero signal (the mean, for standardized windows).

    A map sums to f(x) - f(0). One forward and one backward pass over the windows and as many zero signals.

    Shrikumar et al., Learning Important Features Through Propagating Activation Differences, ICML 2017,
    arXiv:1704.02685; the rescale rule as in Ancona et al., ICLR 2018, arXiv:1711.06104.
    """
    maps, promised = _contributions("deep_lift", classifier, x, np.zeros_like(x), np.arange(len(x)), targets)
    return check_sums("deep_lift", classifier, maps, promised)


def _rise_above_baselines(
    classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings
) -> np.ndarray:
    """f(x) less the mean of f over the very baselines that deep_shap draws for that window."""
    means = []
    for row, target in enumerate(targets):
        logits = classifier.logits(_draw(settings, row, x.shape[1:]), settings.batch_size)
        means.append(logits[:, target].mean(dtype=np.float64))
    return logit(classifier, x, targets, settings) - np.array(means)


@register_method("deep_shap", uses=("seed", "baselines", "n_baselines"), promised=_rise_above_baselines)
def deep_shap(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """DeepSHAP: DeepLIFT against several baselines, averaged.

    A map sums to f(x) minus the mean of f over the baselines. They are drawn for each window: training
    windows without replacement (all of them where there are fewer than ``n_baselines``), so that a map says
    what makes this ECG differ from others; or white noise, which is what the reference compares with and no
    ECG looks like.

    Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017, arXiv:1705.07874.
    """
    drawn = [_draw(settings, index, x.shape[1:]) for index in range(len(x))]
    counts = np.array([len(baselines) for baselines in drawn])
    owners, baselines = np.repeat(np.arange(len(x)), counts), np.concatenate(drawn)
    maps, promised = np.zeros(x.shape), np.zeros(len(x))
    for start in range(0, len(owners), settings.batch_size):
        part = slice(start, start + settings.batch_size)
        first, last = owners[part][[0, -1]]
        rows = slice(first, last + 1)
        values, differences = _contributions(
            "deep_shap", classifier, x[rows], baselines[part], owners[part] - first, targets[rows]
        )
        np.add.at(maps, owners[part], values)
        np.add.at(promised, owners[part], differences)
    return check_sums("deep_shap", classifier, maps / counts[:, None, None], promised / counts)


def _draw(settings: Settings, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """Baselines of one window of a batch, shape (n, T, leads)."""
    generator = settings.generator(index)
    pool = settings.baselines
    if pool is None:
        return generator.standard_normal((settings.n_baselines, *shape), dtype=np.float32)
    if pool.ndim != 3 or pool.shape[1:] != shape or not len(pool):
        raise UsageError(
            f"deep_shap needs baselines of the windows' shape (n, {shape[0]}, {shape[1]}), not {pool.shape}"
        )
    count = min(settings.n_baselines, len(pool))
    return np.asarray(pool[np.sort(generator.choice(len(pool), count, replace=False))], dtype=np.float32)
