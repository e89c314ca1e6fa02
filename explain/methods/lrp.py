"""Layer-wise relevance propagation that conserves relevance, also with batch norm and residual sums."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explain.engine.classifier import Classifier
from explain.methods.calls import call_name
from explain.methods.completeness import logit
from explain.methods.registry import Settings, register_method
from explain.methods.rules import Interceptor, check_sums, replaced

_BIASED = frozenset(["conv1d", "conv2d", "conv3d", "linear"])  # calls with a bias as third argument
_FLOOR = 1e-6  # see `_sizes`
GAMMA = 0.25  # see `lrp`

Step = Callable[[Tensor, bool], Tensor]  # (contributions, absolute) -> contributions, without constants


@dataclass(frozen=True)
class _Unit:
    """An affine map from activations to the values of units: a mixing operation and what merges with it.

    ``sources``: activations that the mixing operation takes.
    ``mix``: (sources, absolute) -> sums of contributions, or of their absolute values; constants
        left out.
    ``steps``: what follows it and maps each unit to one unit: batch norm, scales, layout.
    """

    sources: tuple[Tensor, ...]
    mix: Callable[[tuple[Tensor, ...], bool], Tensor]
    steps: tuple[Step, ...] = ()

    def sums(self, inputs: tuple[Tensor, ...], absolute: bool) -> Tensor:
        """Contributions to each unit, added up."""
        total = self.mix(inputs, absolute)
        for step in self.steps:
            total = step(total, absolute)
        return total

    def relevance(
        self, arriving: Tensor, value: Tensor, inputs: tuple[Tensor, ...], gamma: float
    ) -> tuple[Tensor, ...]:
        """Share out what arrives at the units among their inputs.

        An input with the contribution z to a unit gets ``up z`` if z is positive and ``down |z|`` otherwise.
        Summed over the units that is two backward passes: through the map, and through the map with absolute
        weights.
        """
        plain = tuple(x.detach().requires_grad_() for x in inputs)
        size = tuple(_sizes(x.detach()).requires_grad_() for x in inputs)
        with torch.enable_grad():
            signed, total = self.sums(plain, absolute=False), self.sums(size, absolute=True)
        p, n = ((total + sign * signed).detach() / 2 for sign in (1, -1))
        up, down = _shares(arriving, value, p, n, gamma)
        by_sign = torch.autograd.grad(signed, plain, (up - down) / 2)
        by_size = torch.autograd.grad(total, size, (up + down) / 2)
        parts = zip(plain, by_sign, size, by_size, strict=True)
        return tuple((x * a + s * b).detach() for x, a, s, b in parts)


def _shares(arriving: Tensor, value: Tensor, p: Tensor, n: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Relevance for each positive and each negative contribution of 1; see `lrp` for the rule."""
    bias = value - (p - n)
    rising = value >= 0
    favored, against = torch.where(rising, p, n), torch.where(rising, n, p)
    helping = torch.where(rising, bias, -bias).clamp(min=0)
    each = _ratio(arriving, value.abs() + gamma * (favored + helping))
    left = _ratio(arriving - each * ((1 + gamma) * favored - against), p + n)  # the bias's part, by size
    with_value, against_value = (1 + gamma) * each + left, left - each
    return torch.where(rising, with_value, against_value), torch.where(rising, against_value, with_value)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Quotient, 0 where the denominator is."""
    return torch.where(below > 0, above / torch.where(below > 0, below, 1.0), 0.0)


def _sizes(x: Tensor) -> Tensor:
    """Absolute values, and a millionth of the row's largest more.

    So a unit whose inputs are all silent, lit up by its bias alone, has somewhere to send its relevance.
    """
    size = x.abs()
    return size + _FLOOR * size.amax(tuple(range(1, x.ndim)), keepdim=True).clamp(min=1e-12)


class RelevanceRule(Interceptor):
    """Runs a model so that its backward pass carries relevance instead of gradients.

    Every tensor that comes out of a `_Unit` holds it, so that what follows (batch norm, say) can merge.

    ``method``: name of the attribution method, for messages.
    ``classifier``: the model to explain.
    """

    def __init__(self, method: str, classifier: Classifier, gamma: float):
        super().__init__(method, classifier)
        self.gamma = gamma
        self.curves = 0  # calls so far that are not affine

    def _objection(self, name: str, kind: str | None, args: tuple, kwargs: dict, active: list) -> str | None:
        if kind == "curve":  # sigmoid gives 0.5 for nothing: whose is that?
            return "relevance can only pass curves that rise through zero"
        return super()._objection(name, kind, args, kwargs, active)

    def _ramp(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        self.curves += 1
        x, copy = args[0], args[0].detach().clone()
        with torch.no_grad():
            value = func(copy, *args[1:], **kwargs)
        return self._passed(x, value, lambda relevance, _: (relevance,), in_place=value is copy)

    def _peak(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        self.curves += 1
        return func(*args, **kwargs)  # autograd sends all of it to the maximum

    def _move(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        (x,) = self._active(args, kwargs)
        same = func(*args, **kwargs)
        if same is x or getattr(x, "_unit", None) is None:
            return same
        return self._then(x, func, args, kwargs, lambda t, absolute: func(*_swap(args, x, t), **kwargs))

    def _scale(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        (x,) = self._active(args, kwargs)

        def step(t: Tensor, absolute: bool) -> Tensor:
            scaled = func(*_swap(args, x, t), **_swap(kwargs, x, t))
            return scaled.abs() if absolute else scaled

        return self._then(x, func, args, kwargs, step)

    def _normalize(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        x = args[0]
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        given = dict(zip(names, args, strict=False)) | kwargs
        slope = (given["running_var"] + given.get("eps", 1e-5)).rsqrt()
        if given.get("weight") is not None:
            slope = slope * given["weight"]
        slope = slope.view(1, -1, *[1] * (x.ndim - 2))
        return self._then(x, func, args, kwargs, lambda t, absolute: t * (slope.abs() if absolute else slope))

    def _add(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        active = self._active(args, kwargs)
        terms = [*args, *(kwargs[name] for name in ("other",) if name in kwargs)]
        rest = {name: value for name, value in kwargs.items() if name == "alpha"}
        if len(active) == 1:
            (x,) = active
            zeroed = [1.0 if term is x else 0.0 for term in terms]
            slope = func(*(torch.tensor(term, device=x.device) for term in zeroed), **rest)
            value = func(*terms, **rest)

            def step(t: Tensor, absolute: bool) -> Tensor:
                return (t * (slope.abs() if absolute else slope)).expand_as(value)

            return self._then(x, func, args, kwargs, step)

        def mix(inputs: tuple[Tensor, ...], absolute: bool) -> Tensor:
            a, b = inputs
            if not absolute:
                return func(a, b, **rest)
            return func(a, torch.zeros_like(b), **rest).abs() + func(torch.zeros_like(a), b, **rest).abs()

        return self._joined(func, args, kwargs, _Unit(tuple(active), mix))

    def _mix(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        (x,) = self._active(args, kwargs)
        linear, named = list(args), dict(kwargs)
        if call_name(func) in _BIASED:
            named.pop("bias", None)
            linear[2:3] = [None] * len(linear[2:3])

        def mix(inputs: tuple[Tensor, ...], absolute: bool) -> Tensor:
            def argument(value: Any) -> Any:
                if value is x:
                    return inputs[0]
                return value.abs() if absolute and isinstance(value, Tensor) else value

            return func(*map(argument, linear), **{name: argument(value) for name, value in named.items()})

        return self._joined(func, args, kwargs, _Unit((x,), mix))

    def _put_back(self, target: Tensor, result: Tensor) -> Tensor:
        super()._put_back(target, result)
        target._unit = getattr(result, "_unit", None)
        return target

    def _active(self, args: tuple, kwargs: dict) -> list[Tensor]:
        return [value for value in (*args, *kwargs.values()) if self.follows(value)]

    def _then(self, x: Tensor, func: Callable, args: tuple, kwargs: dict, step: Step) -> Tensor:
        """Merge a step with the unit that it follows; else it is a unit of one input."""
        unit = getattr(x, "_unit", None) or _Unit((x,), lambda inputs, absolute: inputs[0])
        return self._joined(func, args, kwargs, dataclasses.replace(unit, steps=(*unit.steps, step)))

    def _joined(self, func: Callable, args: tuple, kwargs: dict, unit: _Unit) -> Tensor:
        """Run a call, and let relevance flow from it to the sources of the unit."""
        curves = self.curves
        with torch.no_grad():
            value = func(*args, **kwargs)

        def rule(arriving: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
            # after the last curve all is affine, down to the logit: contributions are relevance
            return unit.relevance(arriving, value, inputs, 0.0 if curves == self.curves else self.gamma)

        result = replaced(value, rule, *unit.sources)
        result._unit = unit
        return result


def _swap(values: Any, old: Tensor, new: Tensor) -> Any:
    """Arguments of a call with one tensor replaced."""
    if isinstance(values, dict):
        return {name: new if value is old else value for name, value in values.items()}
    return tuple(new if value is old else value for value in values)


@register_method("lrp", promised=logit)
def lrp(classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings) -> np.ndarray:
    """Layer-wise relevance propagation: the logit, shared out among inputs layer by layer.

    A map sums to the logit (within 1 %, or the method refuses). One forward pass, and one backward pass that
    runs each layer twice. The model is read as units, each an affine function of activations: the value of a
    unit is p - n + b, with p and n the sums of its positive and negative contributions (weight x activation)
    and b its bias. What follows a convolution, a linear layer, a mean or a sum without mixing (batch norm,
    scales, constants, changes of layout) belongs to the unit: batch norm is merged with its convolution.

    =====================  ===================================================================================
    layer                  rule
    =====================  ===================================================================================
    hidden units           gamma rule, gamma = 0.25: of the relevance R of a unit with a value v >= 0, a
                           contribution z gets (1 + gamma) z R / D if z > 0 and z R / D if z < 0, with
                           D = v + gamma (p + max(b, 0)); a unit with v < 0 mirrors that
    the bias               its part, what is then left of R, goes to the same inputs in proportion to abs(z)
    residual sums          units with two contributions, the values of the branches
    units after the last   gamma = 0: what an activation contributes to the logit is its relevance; the bias
    curve (the head)       as above
    ReLU and its kin       pass relevance on
    max-pooling            passes it to the maximum
    concatenation, layout  pass it to where the number came from
    =====================  ===================================================================================

    D is never smaller than what the unit's value and gamma times its favorable part make it, so relevance
    does not blow up where contributions cancel (the reference's 1e-9 rule does), and nothing is copied at
    sums. Relevance is signed: negative where an input lowers the logit, by a negative weight in the
    head or by a contribution against its unit. A smaller gamma comes nearer to gradient x input, a larger one
    silences what lowers it.

    Bach et al., On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
    Propagation, PLoS ONE 10(7), 2015, doi:10.1371/journal.pone.0130140. Gamma rule: Montavon et al.,
    Layer-Wise Relevance Propagation: An Overview, 2019, doi:10.1007/978-3-030-28954-6_10. Conservation at
    residual sums: Otsuki et al., ECCV 2024, arXiv:2407.09115.
    """
    inputs = classifier.tensor(x).requires_grad_()
    logits = RelevanceRule("lrp", classifier, GAMMA).run(inputs)
    explained = logits.gather(1, torch.as_tensor(targets, device=logits.device)[:, None])[:, 0]
    maps = torch.autograd.grad(explained, inputs, explained.detach())[0].cpu().numpy()
    return check_sums("lrp", classifier, maps, explained.detach().double().cpu().numpy())
