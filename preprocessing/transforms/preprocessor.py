"""Preprocessors: what is done to records, one by one or in batches, before a network reads them."""

from __future__ import annotations

import abc
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from preprocessing.transforms.configurable import Configurable, parse_step, steps_of
from utils.errors import DataError, UsageError, nearest
from utils.registry import Registry

MOST_LEADS = 256  # body-surface maps have fewer: a longer last axis is time


class Preprocessor(Configurable, abc.ABC):
    """A preprocessor: a frozen dataclass of options and the method `transform`.

    Called with a signal and its sampling rate in Hz it returns both. Signals are NumPy arrays or PyTorch
    tensors of shape (T,) or (..., T, leads), with ``channels_first=True`` (..., leads, T); a tensor comes
    back as a tensor on its device, with the same numbers as an array. float64 stays float64, everything else
    becomes float32. Inputs are never changed.
    """

    keeps_shape: ClassVar[bool] = True  # rate, samples and leads come out as they went in
    takes_nan: ClassVar[bool] = False
    remedy: ClassVar[str] = ""  # for those that change the shape: what does the same for a training run

    def __call__(self, signal: Any, fs: float, *, channels_first: bool = False) -> tuple[Any, float]:
        """Process a signal of a sampling rate in Hz; the rate of the result comes with it."""
        return _call(self.run, signal, fs, channels_first)

    def run(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Check and process.

        Shapes: signals (..., leads, T) -> (..., leads, T).
        """
        if not self.takes_nan:
            check_finite(signals, self.name)
        result, rate = self.transform(signals, rate)
        return result.astype(signals.dtype, copy=False), rate

    @abc.abstractmethod
    def transform(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Process float arrays; time is the last axis and contiguous.

        Shapes: signals (..., leads, T) -> (..., leads, T).
        """


_PREPROCESSORS: Registry[type[Preprocessor]] = Registry("preprocessor")


def register_preprocessor(name: str) -> Callable[[type[Preprocessor]], type[Preprocessor]]:
    """Register a preprocessor under the name that ``--preprocess`` takes; used as a decorator.

    Parameters
    ----------
    name : str
        Name of the preprocessor.

    Returns
    -------
    callable
        The decorator of a frozen dataclass that derives from `Preprocessor`.

    Raises
    ------
    UsageError
        Another module registered a preprocessor of that name; the message names both.
    """

    def decorate(kind: type[Preprocessor]) -> type[Preprocessor]:
        kind.name = name
        return _PREPROCESSORS.register(name, kind)

    return decorate


def list_preprocessors() -> list[str]:
    """Names that ``--preprocess`` and `PreprocManager.from_config` take.

    Returns
    -------
    list of str
        Sorted.
    """
    return _PREPROCESSORS.names()


def _build(name: str, options: Mapping[str, Any]) -> Preprocessor:
    return _PREPROCESSORS.get(name).from_config(options)


@dataclass(frozen=True)
class PreprocManager:
    """Preprocessors in their order.

    Parameters
    ----------
    steps : tuple of Preprocessor
        In the order in which they are applied.
    random : bool
        A new order for every call, from a generator of its own.
    channels_first : bool
        Signals are (..., leads, T) instead of (..., T, leads).
    seed : int
        Of the random order.
    """

    steps: tuple[Preprocessor, ...] = ()
    random: bool = False
    channels_first: bool = False
    seed: int = 0
    _rng: np.random.Generator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rng", np.random.default_rng(self.seed))

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], *, channels_first: bool | None = None, seed: int = 0
    ) -> PreprocManager:
        """Build from a mapping, such as ``{"resample": {"fs": 500}, "bandpass": {}, "normalize": {}}``.

        Parameters
        ----------
        config : mapping
            Names of preprocessors in their order, each with its options (True or an empty mapping for the
            defaults, False to leave it out); and ``random`` or ``channels_first``. It is not changed.
        channels_first : bool, optional
            Signals are (..., leads, T); default what `config` says, else False.
        seed : int
            Of the random order.

        Returns
        -------
        PreprocManager
            Called with a signal and its rate in Hz it returns both.

        Raises
        ------
        UsageError
            An unknown preprocessor or option (the nearest valid one is named) or an impossible value.
        """
        settings = ("random", "channels_first", "fs")
        for name in config:
            if name not in (*settings, *_PREPROCESSORS):
                raise UsageError(
                    f"unknown preprocessor '{name}': {nearest(name, (*_PREPROCESSORS, *settings[:2]))}"
                )
        first = config.get("channels_first", False) if channels_first is None else channels_first
        steps = tuple(_build(name, options) for name, options in steps_of(config, settings))
        return cls(steps, bool(config.get("random", False)), bool(first), seed)

    @classmethod
    def from_words(cls, words: Sequence[str]) -> PreprocManager:
        """Build from words as ``--preprocess`` takes them.

        Parameters
        ----------
        words : sequence of str
            Each ``NAME`` or ``NAME:OPTION=VALUE:OPTION=VALUE``.

        Returns
        -------
        PreprocManager
            These preprocessors in this order.

        Raises
        ------
        UsageError
            An unknown preprocessor or option, or an impossible value.
        """
        return cls(tuple(_build(*parse_step(word)) for word in words))

    @classmethod
    def from_json(cls, value: Any) -> PreprocManager:
        """Build from what `to_json` gave.

        Parameters
        ----------
        value : list
            Pairs of a name and its options.

        Returns
        -------
        PreprocManager
            Equal to the one that was written.

        Raises
        ------
        UsageError
            This is not such a list, or an unknown preprocessor or option.
        """
        try:
            return cls(tuple(_build(str(name), options) for name, options in value))
        except (TypeError, ValueError) as error:
            raise UsageError(f"preprocessors {value!r} must be a list of names with options") from error

    def to_json(self) -> list[Any]:
        """Describe the preprocessors for a model card.

        Returns
        -------
        list
            Names with every option, so that other defaults of a later version change nothing.
        """
        return [[step.name, step.to_json()] for step in self.steps]

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __call__(self, signal: Any, fs: float, *, channels_first: bool | None = None) -> tuple[Any, float]:
        """Process a signal of a sampling rate in Hz; see `Preprocessor` for what it may be."""
        first = self.channels_first if channels_first is None else channels_first
        return _call(self.run, signal, fs, first)

    def run(self, signals: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
        """Apply all steps to an array whose last axis is time.

        Parameters
        ----------
        signals : ndarray of float, shape (..., leads, T)
            In mV, contiguous.
        rate : float
            In Hz.

        Returns
        -------
        signals : ndarray, shape (..., leads, T)
            In the type of the input.
        rate : float
            In Hz.
        """
        order = self._rng.permutation(len(self.steps)) if self.random else range(len(self.steps))
        for index in order:
            signals, rate = self.steps[index].run(signals, rate)
        return signals, rate

    def rearrange(self, names: Sequence[str]) -> PreprocManager:
        """Give the same steps in another order.

        Parameters
        ----------
        names : sequence of str
            Each name once.

        Returns
        -------
        PreprocManager
            A new one.

        Raises
        ------
        UsageError
            A name is missing, is there twice or is not one of the steps.
        """
        ordered = sorted(names) == sorted(step.name for step in self.steps)
        if not ordered or len(set(names)) < len(names):
            raise UsageError(
                f"rearrange takes each of {', '.join(step.name for step in self.steps)} once, "
                f"not {', '.join(names)}"
            )
        by_name = {step.name: step for step in self.steps}
        return dataclasses.replace(self, steps=tuple(by_name[name] for name in names))


def _call(
    run: Callable[..., tuple[np.ndarray, float]], signal: Any, fs: float, first: bool
) -> tuple[Any, float]:
    """Bring a signal into the layout of `Preprocessor.transform` and back."""
    if (
        isinstance(fs, bool)
        or not isinstance(fs, (int, float, np.integer, np.floating))
        or not 0 < fs < np.inf
    ):
        raise UsageError(f"the sampling rate must be a number above 0 Hz, not {fs!r}")
    array, restored = as_array(signal)
    if array.ndim == 0 or array.size == 0:
        raise DataError(f"a signal of shape {array.shape} has no samples: leave the record out")
    if array.ndim == 1:
        result, rate = run(array[None], fs)
        result = result[..., 0, :] if result.shape[-2] == 1 else np.swapaxes(result, -1, -2)
        return restored(result), rate
    leads = array.shape[-2] if first else array.shape[-1]
    if leads > MOST_LEADS:
        other = (
            "(..., T, leads): leave channels_first out"
            if first
            else "(..., leads, T): use channels_first=True"
        )
        raise DataError(f"a signal of shape {array.shape} would have {leads} leads; if it is {other}")
    time_last = np.ascontiguousarray(array if first else np.swapaxes(array, -1, -2))
    result, rate = run(time_last, fs)
    return restored(result if first else np.ascontiguousarray(np.swapaxes(result, -1, -2))), rate


def as_array(signal: Any) -> tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    """Turn an array or tensor into a float array; the function turns a result back."""
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    if torch is not None and isinstance(signal, torch.Tensor):
        array = signal.detach().cpu().numpy()
        device = signal.device
        return _as_float(array), lambda result: torch.from_numpy(_owned(result, array)).to(device)
    array = np.asarray(signal)
    return _as_float(array), lambda result: _owned(result, array)


def _owned(result: np.ndarray, source: np.ndarray) -> np.ndarray:
    """A result that shares no memory with the input."""
    return result.copy() if np.may_share_memory(result, source) else result


def _as_float(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iufb":
        raise DataError(f"a signal of {array.dtype} holds no samples: pass numbers in mV")
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)


def check_finite(signals: np.ndarray, what: str) -> None:
    """Refuse NaN and infinite samples; the message names record and lead.

    Shapes: signals (..., leads, T).
    """
    if np.isfinite(signals).all():
        return
    *record, lead = np.argwhere(~np.isfinite(signals).all(axis=-1))[0].tolist()
    where = f"record {', '.join(map(str, record))}, " if record else ""
    raise DataError(
        f"{what}: {where}lead {lead} (both counted from 0): NaN or infinite samples cannot be processed; use "
        "spike_removal first, or repair or drop the record"
    )
