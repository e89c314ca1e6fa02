"""Dataset-level standardisation with one mean and one standard deviation.

The amplitude of an electrocardiogram is diagnostic (hypertrophy, low voltage), so nothing here scales a
record or a lead by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from preprocessing.dataset import ECGDataset
from preprocessing.signals import ScaledSignals
from utils.errors import DataError, UsageError

_BLOCK = 64  # records at a time


@dataclass(frozen=True)
class Standardizer:
    """Subtract a mean and divide by a standard deviation, the same for every lead and record.

    Parameters
    ----------
    mean : float
        In mV.
    std : float
        In mV, above zero.

    Raises
    ------
    DataError
        One of the two is not a finite number, or `std` is not above zero.
    """

    mean: float
    std: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise DataError(
                f"standardisation with mean {self.mean} and std {self.std} is impossible: std must be > 0"
            )

    def __call__(self, signals_mv: Any) -> np.ndarray:
        """Standardise signals.

        Parameters
        ----------
        signals_mv : array_like
            Any shape, in mV; not changed.

        Returns
        -------
        ndarray of float32
            Same shape, without unit.
        """
        return (np.asarray(signals_mv, dtype=np.float32) - np.float32(self.mean)) / np.float32(self.std)

    def to_json(self) -> dict[str, float]:
        """Give the two numbers as JSON values.

        Returns
        -------
        dict
            ``{"mean": ..., "std": ...}`` in mV; `from_json` gives the same standardizer back, bit for bit.
        """
        return {"mean": float(self.mean), "std": float(self.std)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Standardizer:
        """Make a standardizer from what `to_json` gave.

        Parameters
        ----------
        value : dict
            Holds ``mean`` and ``std`` in mV.

        Returns
        -------
        Standardizer
            The same as the one that was written.

        Raises
        ------
        DataError
            A number is missing or is not one.
        """
        try:
            return cls(float(value["mean"]), float(value["std"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"standardisation {value!r} must hold the numbers 'mean' and 'std' in mV"
            ) from error


def fit_standardizer(train: ECGDataset) -> Standardizer:
    """Measure mean and standard deviation over every sample of every lead of the training records.

    The sums of the int16 samples and of their squares are exact integers, so the result depends neither on
    the order of the records nor on the size of a block, and is the same on every machine.

    Parameters
    ----------
    train : ECGDataset
        The training split, and nothing else.

    Returns
    -------
    Standardizer
        Mean and population standard deviation (ddof 0), in mV.

    Raises
    ------
    UsageError
        The dataset holds records of another split.
    DataError
        It is empty, or all its samples are equal.
    """
    if set(train.splits) - {"train"}:
        raise UsageError("fit_standardizer takes the training split only: pass dataset.split('train')")
    if not len(train):
        raise DataError("no training record to measure mean and standard deviation from")
    signals = train.signals
    if not isinstance(signals, ScaledSignals):
        values = np.asarray(signals, dtype=np.float64)
        return Standardizer(float(values.mean()), float(values.std()))
    total = squares = 0
    for start in range(0, len(signals), _BLOCK):
        block = signals.raw(slice(start, start + _BLOCK)).astype(np.int64).ravel()
        total += int(block.sum())
        squares += int(block @ block)
    count = math.prod(signals.shape)
    variance = (count * squares - total * total) / (count * count)  # exact integers up to this one division
    return Standardizer(total / (count * signals.units_per_mv), math.sqrt(variance) / signals.units_per_mv)
