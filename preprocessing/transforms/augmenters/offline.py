"""Windows of a record, some of them stretched or compressed: augmentation before training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from preprocessing.transforms.augmenters.time_axis import as_fraction
from preprocessing.transforms.configurable import Configurable
from preprocessing.transforms.preprocessor import as_array, check_finite
from preprocessing.transforms.resample import resample_by
from utils.errors import DataError, UsageError


@dataclass(frozen=True)
class StretchCompressOffline(Configurable):
    """Cut a record of any length into windows of one length, some of them stretched or compressed.

    Parameters
    ----------
    ratio : float
        Largest change of the length; above 1 it is percent.
    prob : float
        Of each window.
    overlap, critical_overlap : float
        Part of a window that the next one repeats; the latter where a critical point is in it, with steps of
        random length.
    """

    name = "stretch_compress_offline"

    ratio: float = 6.0
    prob: float = 0.5
    overlap: float = 0.5
    critical_overlap: float = 0.85

    def __post_init__(self) -> None:
        self.number("ratio", least=0, most=100)
        self.number("prob", least=0, most=1)
        for option in ("overlap", "critical_overlap"):
            self.number(option, least=0, most=0.999)

    def __call__(
        self,
        seglen: int,
        signal: Any,
        *labels: Any,
        critical_points: Sequence[int] | None = None,
        rng: np.random.Generator | None = None,
        channels_first: bool = False,
    ) -> list[tuple[Any, ...]]:
        """Cut a record.

        Parameters
        ----------
        seglen : int
            Samples of a window.
        signal : array_like, shape (T, leads)
            One record; with `channels_first` (leads, T).
        *labels : array_like, shape (T, ...)
            Labels of each sample; a window gets the nearest ones.
        critical_points : sequence of int, optional
            Samples around which windows are denser.
        rng : numpy.random.Generator, optional
            Source of random numbers; default a new one of seed 0.
        channels_first : bool
            Signal and windows are (leads, T).

        Returns
        -------
        list of tuple
            (window, labels of the window..., first sample, sample after the last).

        Raises
        ------
        DataError
            NaN or infinite samples, or labels of another length.
        UsageError
            The record is shorter than a window.
        """
        leads = as_array(signal)[0]
        leads = leads if channels_first else leads.T
        samples = leads.shape[-1]
        check_finite(leads, self.name)
        if not 2 <= seglen <= samples:
            raise UsageError(
                f"{self.name}: seglen {seglen} must be from 2 to the {samples} samples of the record"
            )
        arrays = [np.asarray(label) for label in labels]
        if any(len(array) != samples for array in arrays):
            raise DataError(f"labels of {[len(a) for a in arrays]} samples for a record of {samples}")
        points = np.sort(np.asarray([] if critical_points is None else critical_points, dtype=np.int64))
        windows = []
        for start, end in self._windows(seglen, samples, points, rng or np.random.default_rng(0)):
            window = leads[:, start:end]
            if end - start != seglen:
                window = resample_by(window, Fraction(seglen, end - start))
            nearest = start + ((np.arange(seglen) + 0.5) * (end - start) / seglen).astype(np.int64)
            windows.append(
                (
                    window.copy() if channels_first else window.T.copy(),
                    *(a[nearest] for a in arrays),
                    start,
                    end,
                )
            )
        return windows

    def _windows(
        self, seglen: int, samples: int, points: np.ndarray, rng: np.random.Generator
    ) -> Iterator[tuple[int, int]]:
        start, ratio = 0, as_fraction(self.ratio)
        while start + seglen <= samples:
            change = rng.uniform(-ratio, ratio) if rng.random() < self.prob else 0.0
            length = min(max(2, round((1 + change) * seglen)), samples - start)
            yield start, start + length
            critical = np.searchsorted(points, start) < np.searchsorted(points, start + seglen)
            step = round(seglen * (1 - (self.critical_overlap if critical else self.overlap)))
            start += max(1, round(step * rng.uniform(2 / 3, 1)) if critical else step)
