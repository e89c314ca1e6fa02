"""Standardization: of a database by one mean and one standard deviation.

The amplitude of a 12-lead electrocardiogram is diagnostic (hypertrophy, low voltage), so nothing is scaled by
itself - except where a study of single-lead windows from recorders of unequal gain says so (`per_record`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from preprocessing.dataset import Dataset
from preprocessing.signals import ScaledSignals
from preprocessing.transforms.filters import remove_baseline
from preprocessing.transforms.preprocessor import PreprocManager
from utils.errors import DataError, UsageError

_BLOCK = 64  # records at a time
_LEAST_STD = 1e-6  # added to the standard deviation of a record, as the study does: a flat lead stays zero
_NO_SIGNAL_MV = 1e-6  # a standard deviation below this is the filter's rounding


@dataclass(frozen=True)
class Standardizer:
    """Subtract a mean and divide by a standard deviation, the same for every lead and record.

    Parameters
    ----------
    mean : float
        In mV, after the high-pass where there is one.
    std : float
        In mV, above zero; likewise.
    highpass : float
        Cutoff in Hz of the high-pass that comes first (`filters.remove_baseline`); 0 for none.
    sampling_rate : int
        Of the signals, in Hz; only where there is a high-pass or a preprocessor, which depend on it, else 0.
    per_record : bool
        Every lead of every record by its own mean and standard deviation instead, as in the attribution
        study; `mean` and `std` are then 0 and 1 and not used.
    preprocess : PreprocManager
        Preprocessors that come before everything else, the high-pass included.

    Raises
    ------
    DataError
        `mean` or `std` is not a finite number, `std` is not above zero, or there is no such high-pass.
    """

    mean: float
    std: float
    highpass: float = 0.0
    sampling_rate: int = 0
    per_record: bool = False
    preprocess: PreprocManager = field(default_factory=PreprocManager)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise DataError(
                f"standardization with mean {self.mean} and std {self.std} is impossible: std must be > 0"
            )
        rate_fits = self.sampling_rate > 0 if self.preprocess else self.sampling_rate == 0
        no_filter = self.highpass == 0 and rate_fits
        if not (no_filter or 0 < self.highpass < self.sampling_rate / 2):
            raise DataError(
                f"standardization with a high-pass of {self.highpass} Hz at {self.sampling_rate} Hz is "
                "impossible: 'highpass' must lie between 0 and half of 'sampling_rate', or both be left out"
            )

    def __call__(self, signals_mv: Any) -> np.ndarray:
        """Standardize signals."""
        if self.preprocess:
            signals_mv, _ = self.preprocess(signals_mv, self.sampling_rate)
        if self.highpass:
            signals_mv = remove_baseline(signals_mv, self.sampling_rate, self.highpass)
        signals = np.asarray(signals_mv, dtype=np.float32)
        if self.per_record:
            mean, std = signals.mean(axis=-2, keepdims=True), signals.std(axis=-2, keepdims=True)
            return (signals - mean) / (std + np.float32(_LEAST_STD))
        return (signals - np.float32(self.mean)) / np.float32(self.std)

    def to_json(self) -> dict[str, Any]:
        """Give the numbers as JSON values.

        Returns
        -------
        dict
            ``{"mean": ..., "std": ...}`` in mV, and where there is a high-pass ``"highpass"`` and
            ``"sampling_rate"`` in Hz, ``"per_record"`` where it is so, and ``"preprocess"`` where there are
            preprocessors, with all of their options; `from_json` gives the same
            standardizer back, bit for bit.
        """
        value: dict[str, Any] = {"mean": float(self.mean), "std": float(self.std)}
        if self.highpass:
            value |= {"highpass": float(self.highpass), "sampling_rate": int(self.sampling_rate)}
        if self.per_record:
            value["per_record"] = True
        if self.preprocess:
            value |= {"preprocess": self.preprocess.to_json(), "sampling_rate": int(self.sampling_rate)}
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Standardizer:
        """Make a standardizer from what `to_json` gave.

        Parameters
        ----------
        value : dict
            Holds ``mean`` and ``std`` in mV, and ``highpass`` and ``sampling_rate`` in Hz or neither.

        Returns
        -------
        Standardizer
            The same as the one that was written.

        Raises
        ------
        DataError
            A number is missing, is not one or cannot be right.
        """
        try:
            return cls(
                float(value["mean"]),
                float(value["std"]),
                float(value.get("highpass", 0)),
                int(value.get("sampling_rate", 0)),
                bool(value.get("per_record", False)),
                PreprocManager.from_json(value.get("preprocess", [])),
            )
        except UsageError as error:
            raise DataError(f"standardization with preprocessors that cannot be built: {error}") from error
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"standardization {value!r} must hold the numbers 'mean' and 'std' in mV, and 'highpass' and "
                "'sampling_rate' in Hz or neither"
            ) from error


def fit_standardizer(train: Dataset, highpass: float = 0.0) -> Standardizer:
    """Measure mean and standard deviation over every sample of every lead of the training records.

    The sums of the int16 samples and of their squares are exact integers, so the result depends neither on
    the order of the records nor on the size of a block, and is the same on every machine. Filtered samples
    are not integers: with a high-pass the sums are float64 ones over each record, added up exactly. The order
    and the size of a block still do not matter; another release of scipy may change the last digits.

    Parameters
    ----------
    train : Dataset
        The training split, and nothing else.
    highpass : float
        Cut-off in Hz of a high-pass that the standardizer shall apply first; 0 for none. The moments are
        those of the filtered samples.

    Returns
    -------
    Standardizer
        Mean and population standard deviation (ddof 0), in mV.

    Raises
    ------
    UsageError
        The dataset holds records of another split, or there is no such high-pass at its sampling rate.
    DataError
        It is empty, all its samples are equal, or the high-pass cannot filter it or leaves nothing of it.
    """
    if set(train.splits) - {"train"}:
        raise UsageError("fit_standardizer takes the training split only: pass dataset.split('train')")
    if not len(train):
        raise DataError("no training record to measure mean and standard deviation from")
    if highpass:
        return _fit_filtered(train, highpass)
    signals = train.signals
    if not (isinstance(signals, ScaledSignals) and signals.whole_numbers):
        return _fit_values(train)
    total = squares = 0
    for start in range(0, len(signals), _BLOCK):
        block = signals.raw(slice(start, start + _BLOCK)).astype(np.int64).ravel()
        total += int(block.sum())
        squares += int(block @ block)
    count = math.prod(signals.shape)
    variance = (count * squares - total * total) / (count * count)  # exact integers up to this one division
    return Standardizer(total / (count * signals.units_per_mv), math.sqrt(variance) / signals.units_per_mv)


def _fit_values(train: Dataset) -> Standardizer:
    if not isinstance(train.signals, ScaledSignals):
        values = np.asarray(train.signals, dtype=np.float64)
        return Standardizer(float(values.mean()), float(values.std()))
    starts = range(0, len(train), _BLOCK)
    blocks = lambda: (train.signals[s : s + _BLOCK].astype(np.float64) for s in starts)  # noqa: E731
    count = math.prod(train.signals.shape)
    mean = math.fsum(value for block in blocks() for value in block.sum(axis=(1, 2))) / count
    squares = (np.square(block - mean).sum(axis=(1, 2)) for block in blocks())
    return Standardizer(mean, math.sqrt(math.fsum(value for block in squares for value in block) / count))


def _fit_filtered(train: Dataset, highpass: float) -> Standardizer:
    sums: list[float] = []
    squares: list[float] = []
    for start in range(0, len(train), _BLOCK):
        block = train.signals[start : start + _BLOCK]
        filtered = remove_baseline(block, train.sampling_rate, highpass).reshape(len(block), -1)
        sums += filtered.sum(axis=1).tolist()
        squares += np.square(filtered).sum(axis=1).tolist()
    count = math.prod(train.signals.shape)
    mean = math.fsum(sums) / count
    variance = math.fsum(squares) / count - mean * mean  # the mean is all but 0 here: no digits are lost
    if variance < _NO_SIGNAL_MV**2:
        raise DataError(
            f"the high-pass of {highpass:g} Hz leaves nothing of the training records: check that they "
            "hold signals"
        )
    return Standardizer(mean, math.sqrt(variance), float(highpass), int(train.sampling_rate))
