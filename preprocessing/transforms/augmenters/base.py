"""What an augmenter is, and the registry of augmenters."""

from __future__ import annotations

import abc
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from array_api_compat import array_namespace, device

from preprocessing.transforms.configurable import Configurable, parse_step
from utils.errors import UsageError
from utils.registry import Registry


@dataclass(frozen=True)
class Batch:
    """A training batch; its arrays are all NumPy's or all PyTorch's and are never written to.

    ``signals`` (B, T, leads); ``label``: (B,), (B, classes) or (B, T', classes), or None; ``extras``: further
    arrays, whose second axis is time where they have three.
    ``rate``: Hz, None where it is not known.
    ``aligned``: the second axis of the label is time, whatever its dimensions.
    ``critical_points``: sample numbers of each record, such as R peaks.
    ``weights``: last columns of the label that are weights of the loss, not labels.
    """

    signals: Any
    label: Any = None
    extras: tuple[Any, ...] = ()
    rate: float | None = None
    aligned: bool = False
    critical_points: Sequence[Any] | None = None
    weights: int = 0

    @property
    def xp(self) -> Any:
        """Array functions of the framework."""
        return array_namespace(self.signals)

    def put(self, values: np.ndarray, like: Any = None) -> Any:
        """Bring random numbers to the batch's device, in the type of `like` (default: their own)."""
        array = self.xp.asarray(values, device=device(self.signals))
        return array if like is None else self.xp.astype(array, like.dtype, copy=False)

    def replace(self, **changes: Any) -> Batch:
        """Copy with other arrays."""
        return dataclasses.replace(self, **changes)

    def with_rows(self, array: Any, rows: np.ndarray, values: Any) -> Any:
        """Copy of an array with other values in some rows."""
        if len(rows) == array.shape[0]:
            return values
        result = self.xp.asarray(array, copy=True)
        result[self.put(rows)] = self.xp.astype(values, result.dtype, copy=False)
        return result

    def over_time(self) -> tuple[bool, ...]:
        """Which of label and extras have time as their second axis."""
        label = self.label is not None and (self.label.ndim >= 3 or (self.aligned and self.label.ndim >= 2))
        return (label, *(extra.ndim >= 3 for extra in self.extras))

    def map_over_time(self, function: Callable[[Any], Any]) -> Batch:
        """Change label and extras that have a time axis."""
        label, *extras = (
            function(array) if timed else array
            for array, timed in zip((self.label, *self.extras), self.over_time(), strict=True)
        )
        return self.replace(label=label, extras=tuple(extras))


class Augmenter(Configurable, abc.ABC):
    """An augmenter: a frozen dataclass of options and the method `augment`."""

    mixes_labels: ClassVar[bool] = False  # the label of a record becomes a mixture

    @abc.abstractmethod
    def augment(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Augment a batch; `rng` is the only source of random numbers."""

    def apply(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Check the target and augment."""
        if self.mixes_labels and batch.label is not None:
            kind, shape = str(batch.label.dtype), tuple(batch.label.shape)
            floats = self.xp_isfloat(batch)
            if not floats or len(shape) < 2:
                able = [name for name in list_augmenters() if not _AUGMENTERS.get(name).mixes_labels]
                raise UsageError(
                    f"{self.name} cannot take labels of {kind} and shape {shape}: it mixes them, so they "
                    f"must be floats with one column a class; those that mix no labels can: {', '.join(able)}"
                )
        return self.augment(batch, rng)

    @staticmethod
    def xp_isfloat(batch: Batch) -> bool:
        """Whether the label holds floats."""
        return bool(batch.xp.isdtype(batch.label.dtype, "real floating"))

    def probability(self, *options: str) -> None:
        """Refuse options that are not probabilities."""
        for option in options or ("prob",):
            self.number(option, least=0, most=1)

    def pair(self, option: str) -> None:
        """Make a pair of probabilities of one or two numbers."""
        value = getattr(self, option)
        object.__setattr__(self, option, (value, value) if np.ndim(value) == 0 else value)
        self.numbers(option, 2, 0, 1)

    def rate_of(self, batch: Batch) -> float:
        """Sampling rate: the option ``fs``, or that of the batch."""
        rate = getattr(self, "fs", None) or batch.rate
        if rate is None:
            raise UsageError(f"{self.name} needs a sampling rate: give fs in Hz")
        return float(rate)


def chosen_rows(rng: np.random.Generator, count: int, prob: float) -> np.ndarray:
    """Rows of a batch, each chosen with a probability; 0 and 1 take no random number."""
    if prob >= 1:
        return np.arange(count)
    return np.flatnonzero(rng.random(count) < prob) if prob > 0 else np.arange(0)


_AUGMENTERS: Registry[type[Augmenter]] = Registry("augmenter")
Registered = TypeVar("Registered", bound=Callable[..., Any])


def register_augmenter(name: str) -> Callable[[Registered], Registered]:
    """Register an augmenter under the name that ``--augment`` takes; used as a decorator.

    Parameters
    ----------
    name : str
        Name of the augmenter.

    Returns
    -------
    callable
        The decorator of a frozen dataclass that derives from `augmenters.base.Augmenter`, or of a function.
        The function gets standardized signals (B, T, leads), targets (B, ...), a `numpy.random.Generator`,
        which is its only source of random numbers, and its options by name, each with a default; it returns
        new signals and targets and leaves its inputs as they are.

    Raises
    ------
    UsageError
        Another module registered an augmenter of that name; the message names both.
    """

    def decorate(item: Registered) -> Registered:
        kind: Any = item if isinstance(item, type) else _of_function(item)
        kind.name = name
        _AUGMENTERS.register(name, kind, item.__module__)
        return item

    return decorate


def _default_of(parameter: inspect.Parameter) -> Any:
    return dataclasses.field(default_factory=lambda: parameter.default)


def _of_function(function: Callable[..., Any]) -> type[Augmenter]:
    """Augmenter whose options are the parameters of a function after signals, targets and rng."""
    parameters = list(inspect.signature(function).parameters.values())[3:]
    fields = [(p.name, Any, _default_of(p)) for p in parameters]

    def augment(self: Augmenter, batch: Batch, rng: np.random.Generator) -> Batch:
        options = {p.name: getattr(self, p.name) for p in parameters}
        signals, label = function(batch.signals, batch.label, rng, **options)
        return batch.replace(signals=signals, label=label)

    return dataclasses.make_dataclass(
        function.__name__, fields, bases=(Augmenter,), frozen=True, namespace={"augment": augment}
    )


def list_augmenters() -> list[str]:
    """Names that ``--augment`` and `AugmenterManager.from_config` take.

    Returns
    -------
    list of str
        Sorted.
    """
    return _AUGMENTERS.names()


def build_augmenter(name: str, options: dict[str, Any], rate: float | None = None) -> Augmenter:
    """Build an augmenter; `rate` is the sampling rate in Hz where its options give none."""
    kind = _AUGMENTERS.get(name)
    needs_rate = rate is not None and "fs" in {f.name for f in dataclasses.fields(kind)}
    return kind.from_config({"fs": rate, **options} if needs_rate else options)


def build_augmenters(steps: Sequence[str]) -> tuple[Augmenter, ...]:
    """Augmenters in their order, each given as ``NAME`` or ``NAME:OPTION=VALUE:OPTION=VALUE``."""
    return tuple(build_augmenter(*parse_step(step)) for step in steps)
