"""Augmenters in their order, with a generator of their own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from preprocessing.transforms.augmenters.base import (
    Augmenter,
    Batch,
    build_augmenter,
    list_augmenters,
)
from preprocessing.transforms.configurable import steps_of
from preprocessing.transforms.preprocessor import MOST_LEADS
from utils.errors import DataError, UsageError, nearest

_SETTINGS = ("random", "fs", "channels_first")


def run(steps: Sequence[Augmenter], batch: Batch, rng: np.random.Generator) -> Batch:
    """Apply augmenters; signals and label come back in the types they had."""
    before = batch
    for step in steps:
        batch = step.apply(batch, rng)
    xp = before.xp
    label = batch.label
    if label is not None:
        label = xp.astype(label, before.label.dtype, copy=False)
    return batch.replace(signals=xp.astype(batch.signals, before.signals.dtype, copy=False), label=label)


class AugmenterManager:
    """Augmenters, applied one after the other.

    Called with signals (B, T, leads), a label or None and further arrays, it returns new ones in the same
    order. All may be NumPy arrays or PyTorch tensors; the work is done on their device. Labels and further
    arrays with a time axis, (B, T', classes), are cut, moved and stretched with the signals. Inputs are never
    changed. The same seed gives the same batch in both frameworks (to rounding where means are taken).

    Parameters
    ----------
    steps : sequence of Augmenter
        In the order in which they are applied.
    random : bool
        A new order for every call.
    channels_first : bool
        Signals are (B, leads, T).
    fs : float, optional
        Sampling rate in Hz of augmenters that have no own.
    seed : int
        Of all random numbers.
    """

    def __init__(
        self,
        steps: Sequence[Augmenter] = (),
        *,
        random: bool = False,
        channels_first: bool = False,
        fs: float | None = None,
        seed: int = 0,
    ) -> None:
        self.steps = tuple(steps)
        self.random = random
        self.channels_first = channels_first
        self.fs = fs
        self.rng = np.random.default_rng(seed)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], *, channels_first: bool | None = None, seed: int = 0
    ) -> AugmenterManager:
        """Build from a mapping, such as ``{"fs": 500, "random_flip": {}, "mixup": {"alpha": 0.3}}``.

        Parameters
        ----------
        config : mapping
            Names of augmenters in their order, each with its options (True or an empty mapping for the
            defaults, False to leave it out); and ``fs``, ``random`` or ``channels_first``. It is not changed.
        channels_first : bool, optional
            Signals are (B, leads, T); default what `config` says, else False.
        seed : int
            Of all random numbers.

        Returns
        -------
        AugmenterManager
            Ready to be called with ``(signals, label, *extras)``.

        Raises
        ------
        UsageError
            An unknown augmenter or option (the nearest valid one is named) or an impossible value.
        """
        for name in config:
            if name not in (*_SETTINGS, *list_augmenters()):
                raise UsageError(
                    f"unknown augmenter '{name}': {nearest(name, (*list_augmenters(), *_SETTINGS))}"
                )
        rate = config.get("fs")
        steps = [build_augmenter(name, options, rate) for name, options in steps_of(config, _SETTINGS)]
        first = config.get("channels_first", False) if channels_first is None else channels_first
        return cls(
            steps, random=bool(config.get("random", False)), channels_first=bool(first), fs=rate, seed=seed
        )

    def __call__(
        self,
        sig: Any,
        label: Any = None,
        *extras: Any,
        critical_points: Sequence[Any] | None = None,
        aligned: bool = False,
    ) -> tuple[Any, ...]:
        """Augment a batch; see `augmenters.base.Batch` for extras, critical points and `aligned`."""
        try:
            xp = array_namespace(sig, *(array for array in (label, *extras) if array is not None))
        except TypeError as error:
            kinds = ", ".join(type(array).__name__ for array in (sig, label, *extras))
            raise UsageError(
                f"augmenters take NumPy arrays or PyTorch tensors, all of one kind, not {kinds}"
            ) from error
        if sig.ndim != 3 or 0 in sig.shape or not xp.isdtype(sig.dtype, "real floating"):
            raise DataError(
                "augmenters take a batch of floats of shape (records, T, leads), "
                f"not {sig.dtype} of shape {tuple(sig.shape)}"
            )
        signals = xp.permute_dims(sig, (0, 2, 1)) if self.channels_first else sig
        if signals.shape[2] > MOST_LEADS:
            raise DataError(
                f"a batch of shape {tuple(sig.shape)} would have {signals.shape[2]} leads: use "
                f"channels_first={not self.channels_first}"
            )
        for array in (label, *extras):
            if array is not None and array.shape[0] != sig.shape[0]:
                raise DataError(f"{sig.shape[0]} records, but {array.shape[0]} labels or masks")
        steps = self.steps
        if self.random:
            steps = tuple(steps[index] for index in self.rng.permutation(len(steps)))
        batch = Batch(signals, label, extras, self.fs, aligned, critical_points)
        batch = run(steps, batch, self.rng)
        result = xp.permute_dims(batch.signals, (0, 2, 1)) if self.channels_first else batch.signals
        return (result, batch.label, *batch.extras)

    forward = __call__

    @property
    def state(self) -> dict[str, Any]:
        """State of the generator, as JSON values, for `load_state`."""
        return copy.deepcopy(dict(self.rng.bit_generator.state))

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue exactly where the generator had a state.

        Parameters
        ----------
        state : dict
            What ``state`` gave.
        """
        self.rng.bit_generator.state = state
