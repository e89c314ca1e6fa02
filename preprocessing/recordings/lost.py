"""Where a lead of a 12-lead ECG is lost: stretches that no heart can have made."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np

from preprocessing.recordings.gaps import is_missing
from preprocessing.recordings.order import median, quantile

LOST = ("gap", "padding", "rail", "flat", "silent")

EQUAL_MV = 1e-6  # arithmetic leaves less
_LONG_SAMPLES = 100_000  # of a lead
_FLAT_SECONDS, _FLAT_BEAT_SECONDS = 1.0, 0.2
_STILL_SECONDS, _PADDING_SECONDS = 0.6, 0.4  # of all leads together
_RAIL_MV = 1.0
SILENT_MV = 0.022  # peak to peak; in 1.5 s the quietest living lead of PTB-XL has more than 0.05
_SILENT_SECONDS, _SILENT_BEAT_SECONDS = 1.5, 0.6


def fill(signals: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Bridge lost samples by a line, so that what is left can be filtered; a lead without any is 0.

    Shapes: signals (T, leads), lost (T, leads) -> (T, leads).
    """
    if not lost.any():
        return signals
    filled = np.where(lost, 0.0, signals)
    places = np.arange(len(signals))
    for lead in np.flatnonzero(lost.any(axis=0)):
        good = ~lost[:, lead]
        if good.any():
            filled[~good, lead] = np.interp(places[~good], places[good], signals[good, lead])
    return filled


def runs(mask: np.ndarray, shortest: int = 1) -> Iterator[tuple[int, int, int]]:
    """Lead, first sample and the one after the last, of every stretch of True that is long enough.

    Shapes: mask (T, leads).
    """
    for part in _parts(mask):
        edges = np.diff(np.pad(mask[:, part].T.astype(np.int8), ((0, 0), (1, 1))), axis=1)
        leads, first = np.nonzero(edges == 1)
        stop = np.nonzero(edges == -1)[1]
        long = stop - first >= shortest
        leads = leads[long] + part.start
        yield from zip(leads.tolist(), first[long].tolist(), stop[long].tolist(), strict=True)


def _parts(signals: np.ndarray) -> list[slice]:
    """Leads that are worked on together: of a long recording one at a time, for the memory."""
    leads = signals.shape[1]
    return [slice(k, k + 1) for k in range(leads)] if len(signals) > _LONG_SAMPLES else [slice(0, leads)]


def find_lost(signals: np.ndarray, rate: float) -> dict[str, np.ndarray]:
    """Masks of the kinds in LOST; no two of them overlap."""
    gap = np.concatenate([is_missing(signals[:, part]) for part in _parts(signals)], axis=1)
    held = fill(signals, gap)
    equal = np.empty((len(held) - 1, held.shape[1]), dtype=bool)
    for part in _parts(held):
        values = held[:, part].astype(np.float64, copy=False)
        equal[:, part] = np.abs(np.diff(values, axis=0)) <= EQUAL_MV
    equal &= ~gap[1:]
    equal &= ~gap[:-1]
    padding, flat, rail = (np.zeros_like(gap) for _ in range(3))
    still = np.asarray(equal.all(axis=1))
    shortest = max(3, round(_PADDING_SECONDS * rate))
    for _, first, stop in runs(still[:, None]):
        if (first == 0 or stop == len(still)) and stop - first + 1 >= shortest:
            padding[first : stop + 1] = True
    beats = functools.cache(lambda: _in_beats(held, equal, rate))
    usual = _medians(held, gap)
    for lead, first, stop in runs(equal & ~padding[1:], max(3, math.ceil(_FLAT_BEAT_SECONDS * rate) - 1)):
        seconds = (stop - first + 1) / rate
        ranges = held[first:stop].max(axis=0).astype(np.float64) - held[first:stop].min(axis=0)
        moving = np.delete(ranges, lead).max(initial=0) > SILENT_MV
        off = abs(held[first, lead] - usual[lead]) > _RAIL_MV
        heard = moving and (off or beats()[first + 1 : stop - 1].any())
        if heard or seconds >= (_FLAT_SECONDS if moving else _STILL_SECONDS):
            (rail if off else flat)[first : stop + 1, lead] = True
    rail |= _stuck_throughout(held, flat)
    flat &= ~rail
    dead = gap | padding
    for mask in (flat, rail):
        dead |= mask
    silent = _silent(held, dead, beats, rate)
    return {"gap": gap, "padding": padding, "rail": rail, "flat": flat, "silent": silent}


def _medians(signals: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Usual level of each lead; 0 for one without samples."""
    if not gap.any():
        parts = _parts(signals)
        return np.concatenate([median(signals[:, p].T.astype(np.float64, copy=False)) for p in parts])
    leads = range(signals.shape[1])
    return np.array([np.median(signals[~gap[:, i], i]) if (~gap[:, i]).any() else 0 for i in leads])


def _stuck_throughout(signals: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Flat stretches at one level far off the rest of the lead, where most of the lead is flat."""
    rail = np.zeros_like(flat)
    for lead in np.flatnonzero(flat.mean(axis=0) > 0.5):
        rest = signals[~flat[:, lead], lead]
        level = np.median(signals[flat[:, lead], lead])
        if len(rest) and abs(level - np.median(rest)) > _RAIL_MV:
            rail[:, lead] = flat[:, lead]
    return rail


def _in_beats(signals: np.ndarray, equal: np.ndarray, rate: float) -> np.ndarray:
    """Where the leads that move are steep, as in a QRS complex.

    Shapes: signals (T, leads), equal (T - 1, leads) -> (T - 1,).
    """
    step = max(1, round(0.02 * rate))  # longer than noise
    steep = np.zeros(len(signals) - step)
    for part in _parts(signals):
        values = signals[:, part].astype(np.float64, copy=False)
        slope = np.abs(values[step:] - values[:-step])
        slope /= np.maximum(quantile(slope.T, 0.98)[0], EQUAL_MV)
        steep += np.minimum(slope, 2).sum(axis=1)
    before = (step - 1) // 2
    total = np.pad(steep, (before, step - 1 - before))
    return total > 0.4 * np.maximum(equal.shape[1] - np.count_nonzero(equal, axis=1), 3)


def _silent(
    signals: np.ndarray, dead: np.ndarray, beats: Callable[[], np.ndarray], rate: float
) -> np.ndarray:
    """Stretches that are too quiet for a heartbeat, though other leads show one, or for long.

    Shapes: signals and dead (T, leads), beats (T - 1,) -> (T, leads).
    """
    silent = np.zeros_like(dead)
    for seconds, needs_beat in ((_SILENT_BEAT_SECONDS, True), (_SILENT_SECONDS, False)):
        hop = max(1, round(seconds * rate) // 8)
        if len(signals) < 8 * hop:
            continue
        quiet, window = _quiet(signals, hop), 8 * hop
        for first, lead in np.argwhere(quiet).tolist():
            part = slice(first * hop, first * hop + window)
            heard = not needs_beat or beats()[part][hop:-hop].any()
            if heard and not dead[part, lead].any():
                silent[part, lead] = True
    return silent


def _quiet(signals: np.ndarray, hop: int) -> np.ndarray:
    """Whether eight blocks of `hop` samples from each block on stay within the noise of a converter.

    Shapes: signals (T, leads) -> (blocks - 7, leads).
    """
    whole = len(signals) // hop * hop
    quiet = []
    for part in _parts(signals):
        leads = signals[:, part]
        blocks = leads[:whole].reshape(-1, hop, leads.shape[1])
        high, low = blocks.max(axis=1), blocks.min(axis=1)
        if whole < len(leads):
            high = np.concatenate([high, leads[whole:].max(axis=0, keepdims=True)])
            low = np.concatenate([low, leads[whole:].min(axis=0, keepdims=True)])
        ends = np.stack([high, -low]).astype(np.float64, copy=False)
        for apart in (1, 2, 4):  # of eight blocks
            ends = np.maximum(ends[:, :-apart], ends[:, apart:])
        quiet.append(ends[0] + ends[1] <= SILENT_MV)
    return np.concatenate(quiet, axis=1)
