"""Targets along time: annotations of a record as masks, cut into windows and thinned out to steps."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from preprocessing.targets.registry import IGNORED
from utils.errors import UsageError


def scaled(samples: np.ndarray, source_rate: float, rate: float) -> np.ndarray:
    """Positions at another sampling rate; -1, for a boundary that is not annotated, stays."""
    samples = np.asarray(samples, dtype=np.int64)
    if source_rate == rate:
        return samples
    return np.where(samples < 0, samples, np.rint(samples * (rate / source_rate)).astype(np.int64))


def mark_peaks(peaks: Iterable[int], samples: int, reach: float) -> np.ndarray:
    """1 within `reach` samples of a peak, else 0; int8 (samples,)."""
    mask = np.zeros(samples, dtype=np.int8)
    whole = int(reach)
    for peak in peaks:
        mask[max(0, peak - whole) : max(0, peak + whole + 1)] = 1
    return mask


def ignore_outside(mask: np.ndarray, start: int, stop: int) -> np.ndarray:
    """The mask, with everything before `start` and from `stop` on ignored."""
    result = mask.copy()
    result[: max(0, start)] = IGNORED
    result[max(0, stop) :] = IGNORED
    return result


def window_starts(samples: int, length: int, hop: int) -> np.ndarray:
    """First samples of windows that cover a record; what reaches beyond its end is padded.

    A record without samples has no window.
    """
    if samples <= 0:
        return np.empty(0, dtype=np.int64)
    last: int = max(samples - (length - hop), 1)
    return np.arange(0, last, hop)


def cut_windows(values: np.ndarray, starts: np.ndarray, length: int, fill: int = IGNORED) -> np.ndarray:
    """Windows of a mask of a record, (M,) -> (n, length); `fill` follows where the record ends."""
    result = np.full((len(starts), length), fill, dtype=values.dtype)
    for window, start in zip(result, starts, strict=True):
        part = values[start : start + length]
        window[: len(part)] = part
    return result


def thin_out(masks: np.ndarray, reduction: int) -> np.ndarray:
    """The middle sample of every `reduction` ones, (N, T) -> (N, T // reduction)."""
    check_reduction(reduction, masks.shape[1])
    return masks[:, reduction // 2 :: reduction][:, : masks.shape[1] // reduction]


def check_reduction(reduction: int, samples: int) -> None:
    """Refuse steps of less than a sample or longer than a window."""
    if not 1 <= reduction <= samples:
        raise UsageError(f"target option 'reduction' is {reduction}: choose 1 to {samples} samples a step")


def border_weights(
    mask: np.ndarray, rate: float, foreground: float, border: float, width: float
) -> np.ndarray:
    """Weight of each sample in a loss: more in the foreground, and more around its borders.

    ``1 + (foreground - 1) * mask + sum over borders b of border * exp(-((t - b) / (width * rate))^2)``, as in
    the entries to CPSC 2021 (doi:10.13026/ksya-qw89); 0 where the mask is ignored.

    Shapes: mask (T,) of 0, 1 and `IGNORED` -> (T,) of float32.
    """
    inside = mask == 1
    weights = np.where(inside, np.float32(foreground), np.float32(1))
    spread = width * rate
    reach = int(np.ceil(4 * spread))  # beyond it the term is below 2e-7
    known = mask != IGNORED
    borders = np.flatnonzero((inside[1:] != inside[:-1]) & known[1:] & known[:-1]) + 1
    for place in borders.tolist():
        first, last = max(0, place - reach), min(len(mask), place + reach + 1)
        distance = (np.arange(first, last) - place) / max(spread, 1e-9)
        weights[first:last] += (border * np.exp(-(distance**2))).astype(np.float32)
    weights[~known] = 0
    return weights
