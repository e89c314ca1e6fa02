"""What deep_lift, deep_shap and lrp share: a model is run while every call on an activation is intercepted.

These methods replace the gradient of some operations. Hooks on modules see modules only; the models here call
``functional.relu``, Keras calls ``torch.relu``, and a hook that never fires leaves a map that looks right and
is not. `Interceptor` sees every call of PyTorch, from modules and functions alike. It follows what depends on
the input, and lets nothing pass that `calls` does not list.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from explain.engine.classifier import Classifier
from explain.methods import calls
from explain.methods.calls import KINDS, REASONS, call_name, out_of_place
from explain.methods.registry import CannotExplain

# kinds of call that take one activation, not several
_ONE_ACTIVATION = ("scale", "mix", "normalize", "ramp", "curve", "peak")


class Interceptor(TorchFunctionMode):
    """Sees every call that the model makes on what depends on its input, and replaces or refuses it.

    Each kind of call in `calls.KINDS` has a method, ``_kind(func, args, kwargs) -> result``. A subclass adds
    ``_ramp``, ``_curve`` and ``_peak``, and overrides those that autograd does not do right.

    ``method``: name of the attribution method, for messages.
    ``classifier``: the model to explain.
    """

    def __init__(self, method: str, classifier: Classifier):
        super().__init__()
        self.method, self.classifier = method, classifier
        self.refusal = ""  # why the method does not apply, once it is known

    def run(self, x: Tensor) -> Tensor:
        """Logits of the model, with replaced gradients; x (B, T, leads) -> (B, C)."""
        self.follow(x)
        try:
            with self, torch.enable_grad():
                return self.classifier.module(x)
        except CannotExplain:
            raise CannotExplain(self.refusal) from None  # Keras wraps the text in the layer's arguments

    def follow(self, result: Any) -> Any:
        """Mark what depends on the input."""
        for leaf in _leaves(result):
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                leaf._followed_by = self
        return result

    def follows(self, value: Any) -> bool:
        return isinstance(value, Tensor) and getattr(value, "_followed_by", None) is self

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if not args and "input" in kwargs:
            args = (kwargs.pop("input"),)
        active = [leaf for leaf in _leaves((args, kwargs)) if self.follows(leaf)]
        name = call_name(func)
        kind = KINDS.get(name)
        if not active or kind == "read":
            return func(*args, **kwargs)
        reason = self._objection(name, kind, args, kwargs, active)
        if reason is not None:
            self.refuse(func, reason)
        handle = getattr(self, f"_{kind}")
        plain = out_of_place(func)
        if plain is None:
            result = self.follow(handle(func, args, kwargs))
        else:  # work on a copy, so that nobody's input changes behind them, and put the result back
            followed = self.follows(args[0])
            copy = self.follow(self._move(Tensor.clone, args[:1], {})) if followed else args[0].clone()
            result = self._put_back(args[0], self.follow(handle(plain, (copy, *args[1:]), kwargs)))
        if not all(map(self.follows, _leaves(result))):
            self.refuse(func, calls.HIDDEN)
        return result

    def _objection(self, name: str, kind: str | None, args: tuple, kwargs: dict, active: list) -> str | None:
        """Why a call cannot be passed on; None where all is well. ``active``: what depends on the input."""
        if kind is None or kwargs.get("rounding_mode"):
            return REASONS.get(name, calls.UNKNOWN)
        divides = kind == "scale" and "div" in name
        if kind in _ONE_ACTIVATION and len(active) > 1:
            return calls.QUOTIENT if divides else calls.PRODUCT
        if kind in _ONE_ACTIVATION and active[0] is not args[0]:
            if divides:
                return calls.DIVISION
            if kind != "scale" and "matmul" not in name:
                return calls.WEIGHTS
        trains = {"normalize": (5, False), "drop": (2, True)}
        if kind in trains:
            place, default = trains[kind]
            if args[place] if len(args) > place else kwargs.get("training", default):
                return calls.TRAINING
        return None

    def refuse(self, func: Callable, reason: str) -> NoReturn:
        self.refusal = (
            f"{self.method} cannot explain {self.classifier.name}: it calls "
            f"{resolve_name(func) or repr(func)}{self._place()}, and {reason}; take a method that needs "
            "gradients alone (integrated_gradients, input_gradient, saliency) or none (lime, kernel_shap)"
        )
        raise CannotExplain(self.refusal)

    def _place(self) -> str:
        """The layer that makes the present call, from the Python frames above; empty for the model itself."""
        module = self.classifier.module
        names = {id(layer): name for name, layer in module.named_modules()}
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            layer = frame.f_locals.get("self")
            if isinstance(layer, nn.Module) and layer is not module:
                name = getattr(layer, "name", None) or names.get(id(layer), "")
                return f" in layer '{name}' ({type(layer).__name__})"
            frame = frame.f_back
        return ""

    def _move(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Pass a call on to autograd."""
        return func(*args, **kwargs)

    _join = _add = _scale = _normalize = _mix = _drop = _move

    def _passed(
        self, x: Tensor, value: Tensor, rule: Callable[..., tuple[Tensor, ...]], in_place: bool
    ) -> Tensor:
        """Finish a call that may work in place, as ``relu(x, inplace=True)``."""
        if not in_place:
            return replaced(value, rule, x)
        copy = self.follow(self._move(Tensor.clone, (x,), {}))
        return self._put_back(x, self.follow(replaced(value, rule, copy)))

    def _put_back(self, target: Tensor, result: Tensor) -> Tensor:
        """Write the result of an in-place call into what it changes."""
        return target.copy_(result)


class _Replaced(torch.autograd.Function):
    """A value whose backward pass is a given function."""

    @staticmethod
    def forward(ctx, value, rule, *inputs):
        ctx.rule = rule
        ctx.save_for_backward(*inputs)  # PyTorch then notices where one is changed in place
        return value()

    @staticmethod
    def backward(ctx, signal):
        return None, None, *ctx.rule(signal, *ctx.saved_tensors)


def replaced(value: Tensor, rule: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> Tensor:
    """Give a value another backward pass."""
    value = value.detach()
    return _Replaced.apply(lambda: value.clone() if value._is_view() else value, rule, *inputs)


def check_sums(method: str, classifier: Classifier, maps: np.ndarray, promised: np.ndarray) -> np.ndarray:
    """Refuse maps that do not add up: the last guard, where a model has kept something from the interceptor.

    Shapes: maps (B, T, leads), promised (B,) -> (B, T, leads).
    """
    sums = maps.sum(axis=(1, 2), dtype=np.float64)
    allowed = 0.01 * np.abs(promised) + 1e-4 * np.abs(maps).sum(axis=(1, 2), dtype=np.float64) + 1e-6
    bad = np.flatnonzero(~(np.abs(sums - promised) <= allowed))
    if len(bad):
        raise CannotExplain(
            f"{method} cannot explain {classifier.name}: the map of window {bad[0]} sums to "
            f"{sums[bad[0]]:.4g}, not to {promised[bad[0]]:.4g}; a layer must be working across windows, "
            "have a gradient of its own or leave the range of float32; take integrated_gradients, lime or "
            "kernel_shap"
        )
    return maps.astype(np.float32)


def _leaves(value: Any) -> Iterator[Any]:
    """Single values inside tuples, lists and dicts."""
    if isinstance(value, tuple | list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    else:
        yield value
