"""Signal quality of a 12-lead ECG, lead by lead: where a lead is lost or distorted.

Every check gives a mask of samples. The levels were chosen on PTB-XL's folds 1 to 9, where records without a
note on quality rarely reach them; `python -m benchmarks quality` measures them (docs/results/quality.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from databases.base import Fault
from preprocessing.recordings.limb_leads import identity_violations
from preprocessing.recordings.lost import EQUAL_MV, fill, find_lost, runs
from preprocessing.recordings.order import median, quantile
from preprocessing.transforms.filters import mains_frequencies, moving_mean
from utils.ecg import LEADS, display_name

# What is said of a lead; those in LOST carry no heart signal at all.
KINDS = {
    "gap": "no values (NaN)",
    "padding": "padded with a constant",
    "rail": "stuck far off its baseline",
    "flat": "flat",
    "silent": "no signal, only noise of the converter",
    "unrelated": "noise or another signal: no other lead explains it",
    "asynchronous": "beats that are not those of the other leads",
    "contradiction": "contradicts the other limb leads (Einthoven's and Goldberger's identities)",
    "duplicate": "the same signal twice",
    "clip": "clipped: its peaks are cut off",
    "scale": "out of scale with its neighbors",
    "jump": "the baseline jumps, as when an electrode comes off",
    "spike": "spikes of single samples: artifacts, or the pulses of a pacemaker",
    "mains": "mains interference",
    "noise": "noise",
    "wander": "baseline wander",
}

_PLATEAU_SECONDS, _PLATEAUS_APART_SECONDS = 0.02, 0.5
_TOUCHES, _TOUCHING_SAMPLES = 4, 1.5  # places at the largest value, and the mean length of one
_CORNER_MV = 0.02  # a step into the largest value that no rounded peak has
_SCALE = 5.0
_SCALE_CHANGE = 4.0  # within a recording
# Median logarithm of the size of V1 to V6 over that of the two leads next to each, on folds 1 to 9.
_USUAL_SIZE = np.array([-0.49, 0.24, 0.03, 0.11, 0.07, -0.36])
_NEXT_TO = np.array([[1, 0, 1, 2, 3, 3], [2, 2, 3, 4, 5, 4]])
# Mean logarithm of the RMS of limb and chest leads in mV; beyond the factor one group has another unit or
# gain, as none of every third record of PTB-XL has.
_USUAL_RMS, _GROUPS_APART = np.array([-2.30, -1.64]), 4.5
JUMP_MV, SPIKE_MV, WANDER_MV = 1.5, 4.0, 3.0
MAINS_MV, _MAINS_RATIO = 0.05, 4.0
NOISE_MV = 0.08  # median of the second difference at 100 Hz: 0.05 mV RMS of white noise
_UNRELATED = 0.88  # share of the variance that the other leads do not explain
_ASYNCHRONOUS = 0.25  # correlation of steepness with that of the other leads; 0.999 of PTB-XL have more
_COPY_MV = 2e-3
Details = dict[tuple[str, int], str]  # of a kind in a lead
_INDEPENDENT = [0, 1, 6, 7, 8, 9, 10, 11]  # the other limb leads follow from I and II


def find_faults(
    signals_mv: np.ndarray,
    sampling_rate: float,
    start: float = 0.0,
    lost_only: bool = False,
    leads: Sequence[str] = LEADS,
) -> list[Fault]:
    """Where leads are lost or distorted, in order of time; NaN where samples are missing.

    The signals are at the rate of the file (Hz) and begin at second `start` of the recording. ``lost_only``:
    the kinds in LOST alone, which takes a fraction of the time, and is all that can be told of other leads
    than the twelve.

    Shapes: signals_mv (T, leads).
    """
    lost_only = lost_only or tuple(leads) != LEADS
    signals = np.asarray(signals_mv, dtype=None if lost_only else np.float64)
    masks = find_lost(signals, sampling_rate)
    details: Details = {}
    if len(signals) >= sampling_rate and not lost_only:
        lost = np.logical_or.reduce(list(masks.values()))
        distorted = _distorted(fill(signals, lost), signals, lost, sampling_rate, details)
        masks |= {kind: mask & ~lost for kind, mask in distorted.items()}
    for lead in range(signals.shape[1]):
        if masks["rail"][:, lead].any():
            level = np.median(signals[masks["rail"][:, lead], lead])
            details["rail", lead] = f"at {level:.3g} mV"
    faults = []
    for kind, mask in masks.items():
        if not mask.any():
            continue
        for lead, first, stop in runs(_joined(mask, round(0.5 * sampling_rate))):
            begin, end = (round(start + place / sampling_rate, 2) for place in (first, stop))
            faults.append(Fault(kind, leads[lead], begin, end, details.get((kind, lead), "")))
    return sorted(faults, key=lambda fault: (fault.start, leads.index(fault.lead)))


def _joined(mask: np.ndarray, gap: int) -> np.ndarray:
    """The mask with short pauses between two stretches filled."""
    result = mask.copy()
    for lead, first, stop in runs(~mask):
        if stop - first <= gap and first > 0 and stop < len(mask):
            result[first:stop, lead] = True
    return result


def _distorted(
    filled: np.ndarray,
    signals: np.ndarray,
    lost: np.ndarray,
    rate: float,
    details: Details,
) -> dict[str, np.ndarray]:
    """Masks of the kinds that are not in LOST."""
    factor = max(1, round(rate / 100))
    slow = filled[: len(filled) // factor * factor].reshape(-1, factor, 12).mean(axis=1)
    slow_rate = rate / factor
    masks = {
        "contradiction": identity_violations(filled, lost, rate),
        "duplicate": _copies(filled, lost, details),
        "clip": _clipped(signals, lost, rate),
        "mains": _mains(filled, lost, rate, details),
    }
    masks["spike"] = _spikes(filled, lost)
    beat = slow
    for _ in range(2):  # once would leave fast wander
        beat = beat - moving_mean(beat, round(0.6 * slow_rate))
    length = len(filled)
    dim = lost[: len(slow) * factor : factor]
    masks["scale"] = _out_of_scale(beat, dim, slow_rate, length, details)
    masks["scale"] |= _group_out_of_scale(beat, dim, details)
    unrelated = _stretch(_unrelated(beat, dim, slow_rate), factor, length)
    masks["unrelated"] = unrelated & ~masks["contradiction"].any(axis=0)
    if not masks["mains"].any():  # which would be the steepest
        masks["asynchronous"] = _stretch(_asynchronous(slow, dim, slow_rate), factor, length)
    masks["jump"] = _stretch(_jumps(slow, dim, slow_rate), factor, length)
    noise = _stretch(_noisy(slow, dim, slow_rate), factor, length)
    masks["noise"] = noise & ~masks["mains"].any(axis=0) & ~masks["spike"].any(axis=0)
    wander = _stretch(_wandering(slow, slow_rate), factor, length)
    masks["wander"] = wander & ~masks["jump"].any(axis=0)
    return masks


def _stretch(mask: np.ndarray, factor: int, length: int) -> np.ndarray:
    """A mask at the lower rate, at the rate of the file."""
    full = np.repeat(mask, factor, axis=0)
    return np.pad(full, ((0, length - len(full)), (0, 0)), mode="edge")


def _copies(signals: np.ndarray, lost: np.ndarray, details: Details) -> np.ndarray:
    """Pairs of leads that are equal."""
    mask = np.zeros_like(lost)
    few = signals[:: max(1, len(signals) // 16)]
    alike = np.abs(few[:, :, None] - few[:, None]).max(axis=0) <= _COPY_MV
    for lead, other in np.argwhere(np.tril(alike, -1)).tolist():
        pair = [other, lead]
        if np.abs(np.diff(signals[:, pair], axis=1)).max() <= _COPY_MV and not lost[:, pair].any():
            mask[:, pair] = True
            same = " = ".join(display_name(LEADS[place]) for place in pair)
            details |= {("duplicate", place): f"({same})" for place in pair}
    return mask


def _clipped(signals: np.ndarray, lost: np.ndarray, rate: float) -> np.ndarray:
    """From the first to the last place at the largest or smallest value, where it is reached too often."""
    mask = np.zeros_like(lost)
    shortest = max(3, round(_PLATEAU_SECONDS * rate))
    for sign in (1, -1):
        values = np.where(lost, -np.inf, sign * signals)
        ends = values.max(axis=0)
        at_end = (values >= ends - EQUAL_MV) & ~lost
        for lead in np.flatnonzero(at_end.sum(axis=0) >= 2 * shortest):
            touches = [(first, stop) for _, first, stop in runs(at_end[:, [lead]])]
            plateaus = [touch for touch in touches if touch[1] - touch[0] >= shortest]
            corners = [(a, b) for a, b in touches if a and ends[lead] - values[a - 1, lead] > _CORNER_MV]
            if len(corners) >= _TOUCHES and np.mean([b - a for a, b in corners]) >= _TOUCHING_SAMPLES:
                plateaus = touches
            if plateaus and plateaus[-1][0] - plateaus[0][0] >= _PLATEAUS_APART_SECONDS * rate:
                mask[plateaus[0][0] : plateaus[-1][1], lead] = True
    return mask


def _relative_size(chest: np.ndarray, percent: float) -> np.ndarray:
    """Logarithm of the size of V1 to V6 beside that of the two leads next to each, over the usual.

    Shapes: chest (N, T, 6) -> (N, 6).
    """
    leads = np.ascontiguousarray(chest.transpose(0, 2, 1))
    low, high = quantile(leads, percent / 100, (100 - percent) / 100)
    size = np.log(np.maximum(high - low, 1e-4))
    return size - (size[:, _NEXT_TO[0]] + size[:, _NEXT_TO[1]]) / 2 - _USUAL_SIZE


def _out_of_scale(
    beat: np.ndarray, lost: np.ndarray, rate: float, length: int, details: Details
) -> np.ndarray:
    """The chest lead whose amplitude is far from that of its neighbors, or changes beside it for 2.5 s."""
    mask = np.zeros((length, beat.shape[1]), dtype=bool)
    absent = lost[:, 6:].mean(axis=0) >= 0.2
    usable = ~(absent | absent[_NEXT_TO[0]] | absent[_NEXT_TO[1]])
    window = round(2.5 * rate)
    starts = range(0, len(beat) - window + 1, max(1, window // 2))
    chest = beat[:, 6:]
    sizes = np.zeros((0, 6))
    if len(starts):
        sizes = _relative_size(np.stack([chest[first : first + window] for first in starts]), 1)
    whole = np.where(usable, _relative_size(chest[None], 0.5)[0], 0.0)
    row, limit = int(np.abs(whole).argmax()), np.log(_SCALE)
    if abs(whole[row]) > limit:
        size, odd = whole[row], np.abs(sizes[:, row]) > limit
        if odd.all() or not odd.any():
            mask[:, 6 + row] = True
    elif len(sizes) > 2:
        sizes = np.where(usable, sizes - np.median(sizes, axis=0), 0.0)
        row = int(np.abs(sizes).max(axis=0).argmax())
        size, odd = sizes[np.abs(sizes[:, row]).argmax(), row], np.abs(sizes[:, row]) > np.log(_SCALE_CHANGE)
    else:
        return mask
    for first in np.array(starts)[odd]:
        if not lost[first : first + window].any():
            part = slice(round(first * length / len(beat)), round((first + window) * length / len(beat)))
            mask[part, 6 + row] = True
    details["scale", 6 + row] = f"({np.exp(size):.2g} times the usual)"
    return mask


def _group_out_of_scale(beat: np.ndarray, lost: np.ndarray, details: Details) -> np.ndarray:
    """The limb or the chest leads, where one group is far larger than the other; those of unlikely size."""
    mask = np.zeros((1, beat.shape[1]), dtype=bool)
    if lost.any():
        return mask
    rms = np.sqrt(np.einsum("ij,ij->j", beat, beat) / len(beat))
    size = np.log(np.maximum(rms, 1e-4)).reshape(2, 6).mean(axis=1) - _USUAL_RMS
    apart = size[1] - size[0]
    if abs(apart) > np.log(_GROUPS_APART):
        chest = abs(size[1]) > abs(size[0])
        leads = range(6, 12) if chest else range(6)
        mask[:, leads] = True
        times = np.exp(apart if chest else -apart)
        detail = f"({times:.2g} times the usual beside the {'limb' if chest else 'chest'} leads)"
        details |= {("scale", lead): detail for lead in leads}
    return mask


def _mains(signals: np.ndarray, lost: np.ndarray, rate: float, details: Details) -> np.ndarray:
    """Windows of 2 s with a narrow line at 50 or 60 Hz, or where these appear at the rate of the file."""
    mask = np.zeros_like(lost)
    window, hop = round(2 * rate), round(rate)
    if len(signals) < window:
        return mask
    taper = np.hanning(window + 1)[:-1, None]
    frequencies = np.fft.rfftfreq(window, 1 / rate)
    starts = sorted({*range(0, len(signals) - window + 1, hop), len(signals) - window})
    parts = np.stack([signals[first : first + window] for first in starts])
    parts = parts - parts.mean(axis=1, keepdims=True)
    spectra = np.abs(np.fft.rfft(parts * taper, axis=1)) * 2 / taper.sum()
    for mains, place in mains_frequencies(rate).items():
        distance = np.abs(frequencies - place)
        at_end = rate / 2 - place < 1  # at half the rate both halves of the spectrum fall together
        level = spectra[:, distance <= 0.8].max(axis=1) / (2 if at_end else 1)
        near = median(spectra[:, (distance > 2) & (distance < 7)].transpose(0, 2, 1))
        hit = (level >= MAINS_MV) & (level >= _MAINS_RATIO * near)
        for part, lead in np.argwhere(hit).tolist():
            mask[starts[part] : starts[part] + window, lead] = True
        if hit.any():
            told = f"{mains} Hz" if place == mains else f"{mains} Hz, which appear at {place:g} Hz"
            detail = f"of {told}, up to {level[hit].max():.2g} mV; --notch {mains} filters it"
            details |= {("mains", lead): detail for lead in range(12) if hit[:, lead].any()}
    return mask


def _spikes(signals: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Single samples far from both of their neighbors."""
    mask = np.zeros_like(lost)
    step = np.diff(signals, axis=0)
    alone = step[:-1] * step[1:] < 0
    apart = np.minimum(np.abs(step[:-1]), np.abs(step[1:]))
    mask[1:-1] = alone & (apart > SPIKE_MV) & ~lost[1:-1]
    return mask


def _unrelated(beat: np.ndarray, lost: np.ndarray, rate: float) -> np.ndarray:
    """Windows of 2.5 s in which the other leads explain next to nothing of a lead."""
    mask = np.zeros_like(lost)
    window = min(len(beat), round(2.5 * rate))
    starts = sorted({*range(0, len(beat) - window + 1, window // 2), len(beat) - window})
    leads = beat[:, _INDEPENDENT]
    values = np.stack([leads[first : first + window] for first in starts])
    values -= values.mean(axis=1, keepdims=True)
    covariances = values.transpose(0, 2, 1) @ values / window
    variances = np.einsum("nii->ni", covariances)
    alive = variances > 1e-4
    covariances = covariances + 1e-5 * np.eye(len(_INDEPENDENT))
    diagonals = np.einsum("nii->ni", covariances) * np.einsum("nii->ni", np.linalg.inv(covariances))
    for part, row in np.argwhere((1 / diagonals > _UNRELATED) & alive).tolist():
        window_of_lead = slice(starts[part], starts[part] + window), _INDEPENDENT[row]
        if lost[window_of_lead].mean() < 0.5:
            mask[window_of_lead] = True
    return mask


def _asynchronous(slow: np.ndarray, lost: np.ndarray, rate: float) -> np.ndarray:
    """Leads that are not steep when the others are: of another time or patient, or noise."""
    slope = np.abs(np.diff(slow, axis=0))
    slope = np.minimum(slope / np.maximum(quantile(slope.T, 0.98)[0], EQUAL_MV), 2)
    steep = moving_mean(slope, max(1, round(0.09 * rate)))
    usual = median(steep)[:, None]
    steep, usual = steep - steep.mean(axis=0), usual - usual.mean()
    size = np.sqrt((steep**2).sum(axis=0) * (usual**2).sum())
    alike = (steep * usual).sum(axis=0) / np.maximum(size, np.finfo(float).tiny)
    return np.broadcast_to((alike < _ASYNCHRONOUS) & (lost.mean(axis=0) < 0.2), lost.shape)


def _jumps(slow: np.ndarray, lost: np.ndarray, rate: float) -> np.ndarray:
    """Sudden changes of the level that last: medians of 0.8 s before and after."""
    mask = np.zeros_like(lost)
    window, hop = round(0.8 * rate), max(1, round(0.04 * rate))
    # Medians take long; they follow the means, but for the QRS complexes.
    moved = np.flatnonzero(np.ptp(moving_mean(slow, window), axis=0) > 0.7 * JUMP_MV)
    if len(slow) < 2 * window + 2 * hop or not len(moved):
        return mask
    leads = slow[:, moved]
    medians = np.median(sliding_window_view(leads, window, axis=0)[::hop], axis=-1)
    apart = -(-window // hop) + 1
    change = np.abs(medians[apart:] - medians[:-apart])
    places = np.arange(len(change)) * hop + window
    # Short medians on both sides of 0.08 s: drift changes little there, and a QRS complex does not sway them.
    short, near = round(0.16 * rate), round(0.04 * rate)
    brief = np.median(sliding_window_view(leads, short, axis=0), axis=-1)
    before, after = places + hop // 2 - near - short, np.minimum(places + hop // 2 + near, len(brief) - 1)
    sudden = np.abs(brief[after] - brief[before]) > 0.6 * change
    for row, column in np.argwhere((change > JUMP_MV) & sudden).tolist():
        place, lead = places[row], moved[column]
        if not lost[max(0, place - window) : place + window, lead].any():
            mask[max(0, place - near) : place + near + hop, lead] = True
    return mask


def _noisy(slow: np.ndarray, lost: np.ndarray, rate: float) -> np.ndarray:
    """Seconds of high-frequency noise, by the median of the second difference, which QRS complexes leave."""
    mask = np.zeros_like(lost)
    if rate < 80:  # there QRS complexes look like noise
        return mask
    second = round(rate)
    rough = np.abs(np.diff(slow, 2, axis=0, prepend=slow[:1], append=slow[-1:]))
    seconds = len(slow) // second
    levels = median(rough[: seconds * second].reshape(seconds, second, -1).transpose(0, 2, 1))
    lost_in = lost[: seconds * second].reshape(seconds, second, -1).any(axis=1)
    mask[: seconds * second] = np.repeat((levels > NOISE_MV) & ~lost_in, second, axis=0)
    return mask


def _wandering(slow: np.ndarray, rate: float) -> np.ndarray:
    """Stretches in which the mean over a second is far from its usual level, in leads that wander."""
    base = moving_mean(slow, round(rate))
    wanders = np.ptp(base, axis=0) > WANDER_MV
    return (np.abs(base - np.median(base, axis=0)) > WANDER_MV / 3) & wanders
