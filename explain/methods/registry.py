"""The registry of attribution methods; the windows that a method gets, and the maps it gives, are checked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np

from explain.engine.classifier import Classifier
from explain.names import TITLES
from utils.config import check_values, option
from utils.errors import DataError, TwelveLeadError, UsageError, nearest
from utils.registry import Registry


class CannotExplain(TwelveLeadError):
    """A method that does not apply to a model; the message says why and what to take instead."""


@dataclass(frozen=True, eq=False)
class Settings:
    """Options of the methods. Every method takes what it `uses` and ignores the rest."""

    seed: int = option(0, "seed of everything random", min=0)
    seeds: np.ndarray | None = option(
        None,
        "one number for each window, its row in the file, shape (B,): a window's random numbers come from "
        "(seed, number), so that its map does not depend on the batch; 0, 1, 2, ... where missing",
    )
    batch_size: int = option(32, "rows of one forward pass; changes speed and memory, not the maps", min=1)
    ig_steps: int = option(50, "Gauss-Legendre nodes of integrated_gradients", min=1)
    upsampling: str = option(
        "centered",
        "how gradcam and guided_gradcam bring the coarse map to the samples: centered, each column at the "
        "middle of its samples and a straight line between; nearest, the reference's staircase",
        choices=("centered", "nearest"),
    )
    n_samples: int = option(
        500, "perturbed inputs of lime and kernel_shap: the whole and the silenced one, then others", min=2
    )
    segment_ms: float = option(64.0, "length of a segment of lime and kernel_shap in milliseconds", above=0)
    segment_samples: int = option(0, "the same in samples (the reference's way); 0 takes segment_ms", min=0)
    baselines: np.ndarray | None = option(
        None,
        "standardized training windows that deep_shap averages over, shape (n, T, leads); None takes white "
        "noise, as the reference",
    )
    n_baselines: int = option(25, "baselines that deep_shap draws for a window", min=1)

    def __post_init__(self) -> None:
        check_values(self)

    def generator(self, index: int) -> np.random.Generator:
        """Random numbers of one window, the same for the same seed and window, whatever the batch.

        Parameters
        ----------
        index : int
            Position of the window in the batch.

        Returns
        -------
        numpy.random.Generator
            A new generator.
        """
        window_seed = index if self.seeds is None else int(self.seeds[index])
        return np.random.default_rng([self.seed, window_seed])


class Attribution(Protocol):
    """What every attribution method is: a function from windows to maps.

    ``classifier.module`` gives the logits. ``x`` holds at most ``settings.batch_size`` standardized windows,
    which the method may change; ``settings`` has its ``seeds`` filled in.

    Shapes: x (B, T, leads), targets (B,) -> (B, T, leads).
    """

    def __call__(
        self, classifier: Classifier, x: np.ndarray, targets: np.ndarray, settings: Settings
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Method:
    """An attribution method and what is known of it; see `register_method`."""

    name: str
    function: Attribution
    title: str
    signed: bool = True
    uses: tuple[str, ...] = ()
    promised: Attribution | None = None
    sums: Callable[..., np.ndarray] | None = None
    native: bool = False


METHODS: Registry[Method] = Registry("attribution method")


def register_method(
    name: str,
    title: str = "",
    *,
    signed: bool = True,
    uses: Sequence[str] = (),
    promised: Attribution | None = None,
    sums: Callable[..., np.ndarray] | None = None,
    native: bool = False,
) -> Callable[[Attribution], Attribution]:
    """Register a method under its name (use as a decorator); see `Attribution` for how it is called.

    Parameters
    ----------
    name : str
        Name on the command line and in files.
    title : str
        Name in tables; the name if empty.
    signed : bool
        Whether maps may be negative, where a sample lowers the logit.
    uses : sequence of str
        Names of the `Settings` that change the maps.
    promised : callable, optional
        Called like the method, it gives what the values of each map must add up to, shape (B,); absent where
        the method promises no sum.
    sums : callable, optional
        ``f(classifier, maps, settings)`` adds up the maps, shape (B,), where that is not the sum of all
        values.
    native : bool
        Whether the method asks the model itself, so that a Keras model may run on any backend.

    Returns
    -------
    callable
        The decorator.

    Raises
    ------
    UsageError
        Another module has registered the name, or `uses` names no setting.
    """
    known = [field.name for field in fields(Settings)]
    for setting in uses:
        if setting not in known:
            raise UsageError(f"method '{name}' uses unknown setting '{setting}': {nearest(setting, known)}")

    def decorate(function: Attribution) -> Attribution:
        row_title = title or TITLES.get(name, name)
        method = Method(name, function, row_title, signed, tuple(uses), promised, sums, native)
        METHODS.register(name, method, module=function.__module__)
        return function

    return decorate


def list_methods() -> list[str]:
    """Names of the attribution methods.

    Returns
    -------
    list of str
        Sorted names.
    """
    return METHODS.names()


def get_method(name: str) -> Method:
    """A method by name; the error for an unknown one gives the nearest."""
    return METHODS.get(name)


def explain(
    classifier: Classifier, name: str, x: np.ndarray, targets: np.ndarray, settings: Settings | None = None
) -> np.ndarray:
    """Signed maps of standardized windows: how much every sample of every lead contributes to a logit.

    Shapes: x (B, T, leads), targets (B,) -> (B, T, leads).
    """
    method = get_method(name)
    settings = settings or Settings()
    x = np.ascontiguousarray(x, dtype=np.float32)
    targets = np.asarray(targets)
    _check(classifier, x, targets)
    seeds = np.arange(len(x)) if settings.seeds is None else np.asarray(settings.seeds)
    if seeds.shape != (len(x),) or seeds.dtype.kind not in "iu" or (seeds < 0).any():
        raise UsageError(f"seeds must be one number >= 0 for each of {len(x)} windows, not {seeds.shape}")

    maps = np.empty(x.shape, np.float32)
    for start in range(0, len(x), settings.batch_size):
        part = slice(start, start + settings.batch_size)
        rows = x[part].copy()  # a method that writes into its input must not reach the caller's array
        part_settings = replace(settings, seeds=seeds[part])
        with contextlib.nullcontext() if method.native else classifier.exact_arithmetic():
            maps_here = method.function(classifier, rows, targets[part].astype(np.int64), part_settings)
        values = np.asarray(maps_here)
        if values.shape != rows.shape:
            raise TwelveLeadError(f"{name} gave maps of shape {values.shape} for windows of {rows.shape}")
        bad = np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))
        if len(bad):
            raise TwelveLeadError(
                f"{name} gave values that are not finite for window {seeds[part][bad[0]]}: look at that "
                "window's signal and at the model's weights"
            )
        maps[part] = values
    return maps


def _check(classifier: Classifier, x: np.ndarray, targets: np.ndarray) -> None:
    """Refuse windows and targets that the classifier cannot take."""
    samples, leads = classifier.samples, len(classifier.leads)
    if x.ndim != 3 or x.shape[1:] != (samples, leads):
        raise DataError(
            f"{classifier.name} explains windows of shape (B, {samples} samples, {leads} leads), not "
            f"{x.shape}: bring them to the model's length, sampling rate and leads"
        )
    bad = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
    if len(bad):
        raise DataError(f"window {bad[0]} has values that are not finite: leave it out, or repair the record")
    if targets.shape != (len(x),) or targets.dtype.kind not in "iu":
        raise UsageError(f"targets must be {len(x)} whole numbers, not {targets.shape} of {targets.dtype}")
    classes = len(classifier.classes)
    if len(targets) and (targets.min() < 0 or targets.max() >= classes):
        raise UsageError(
            f"targets must be classes 0 to {classes - 1} of {classifier.name}, not "
            f"{sorted(set(targets.tolist()))}"
        )
