"""Checks of the signals of a recording: what is wrong is refused, what is doubtful becomes a note."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from databases.wfdb_reader import DEFAULT_GAIN_ASSUMED, Channel
from preprocessing.recordings.ecg_channels import (
    LIKELY_MV,
    PLAUSIBLE_MV,
    REAL_MV,
    UNIT_HELP,
    median_peak_to_peak,
    warn_of_assumed,
)
from preprocessing.recordings.gaps import is_missing
from preprocessing.recordings.limb_leads import (
    IDENTITY_NAMES,
    LIMB,
    TOLERANCE,
    explain_violation,
    identity_residuals,
    identity_violations,
)
from preprocessing.recordings.lost import EQUAL_MV
from preprocessing.recordings.quality import find_faults
from preprocessing.transforms.filters import moving_mean
from utils.ecg import LEADS, display_name
from utils.errors import DataError

_LARGEST_MV = 100.0  # peak to peak of a single lead; electrode artifacts stay below
_SMOOTH_SECONDS = 0.1  # of a mean that leaves no mains
_THROUGHOUT = 0.9  # share of the seconds from which on a contradiction is one of the columns


def check_channels(source: Path, channels: dict[str, Channel], used: slice, rate: float, gaps: bool) -> None:
    """Refuse flat leads, and missing samples unless `gaps`, in the part used, before units are known."""
    if not gaps:
        for lead, channel in channels.items():
            check_finite(source, lead, channel.values[used], rate, used.start)
    check_flat(source, {lead: channel.values[used] for lead, channel in channels.items()})


def check_signals(
    source: Path,
    signals: np.ndarray,
    derived: list[str],
    notes: list[str],
    channels: dict[str, Channel],
    used: slice,
    rate: float,
) -> None:
    """Check amplitudes and limb leads of signals in mV: the part `used` of `channels`.

    Shapes: signals (T, 12), or (T, leads), of which the amplitudes alone are checked.
    """
    leads = LEADS if signals.shape[1] == len(LEADS) else tuple(channels)
    check_amplitude(source, signals, notes, leads)
    if leads != LEADS:
        return
    check_flat(source, {lead: signals[:, LEADS.index(lead)] for lead in derived}, ", as I and II give it")
    check_limb_leads(source, signals, derived, notes, channels, used, rate)


def check_finite(source: Path, lead: str, values: np.ndarray, rate: float, start: int = 0) -> None:
    """Raise DataError for samples that are not finite numbers; `start` is the place of the first."""
    bad = np.flatnonzero(is_missing(values))
    if len(bad):
        what = "missing values (NaN)" if np.isnan(values[bad]).all() else "NaN or infinite values"
        first, last = bad[0] + start, bad[-1] + start
        raise DataError(
            f"{source}, lead {display_name(lead)}: {len(bad)} of {len(values)} samples are {what}, the first "
            f"at sample {first} ({first / rate:.3f} s), the last at {last / rate:.3f} s; gaps are not filled "
            "in: use a part without them (--start), or repair it"
        )


def check_flat(source: Path, signals: dict[str, np.ndarray], part: str = "") -> None:
    """Raise DataError for leads without any deflection; arithmetic leaves noise of 1e-7 mV at most."""
    present = {lead: _present(values) for lead, values in signals.items()}
    for lead, values in present.items():
        if not len(values):
            raise DataError(f"{source}: lead {display_name(lead)} has no values at all; export it again")
    flat = [lead for lead, values in present.items() if len(values) > 1 and np.ptp(values) < 1e-6]
    if flat:
        shown = ", ".join(map(display_name, flat))
        values = present[flat[0]]
        raise DataError(
            f"{source}: lead {shown} is flat{part} (all {len(values)} samples equal {values[0]:.4g}): "
            "an electrode was off or the column is empty; record again or use another part"
        )


def _present(values: np.ndarray) -> np.ndarray:
    missing = is_missing(values)
    return values[~missing] if missing.any() else values


def check_amplitude(source: Path, signals: np.ndarray, notes: list[str], leads: Sequence[str]) -> None:
    """Raise DataError for an impossible amplitude; of an unlikely one warn in the first note."""
    size = median_peak_to_peak(signals)
    if not PLAUSIBLE_MV[0] <= size <= PLAUSIBLE_MV[1]:
        direction = "large" if size > PLAUSIBLE_MV[1] else "small"
        raise DataError(
            f"{source}: the median peak-to-peak would be {size:.4g} mV, too {direction} for an ECG "
            f"({PLAUSIBLE_MV[0]:g} to {PLAUSIBLE_MV[1]:g} mV): the units or gains are wrong; give {UNIT_HELP}"
        )
    sizes = np.nanmax(signals, axis=0) - np.nanmin(signals, axis=0)
    if sizes.max() > _LARGEST_MV:
        lead = display_name(leads[int(sizes.argmax())])
        raise DataError(
            f"{source}, lead {lead}: a peak-to-peak of {sizes.max():.4g} mV, where the median lead has "
            f"{size:.4g} mV: its unit is another one, or it holds codes for missing samples; correct the file"
        )
    if not LIKELY_MV[0] <= size <= LIKELY_MV[1]:
        notes.insert(0, f"WARNING: median peak-to-peak {size:.2g} mV, {REAL_MV}: check --units.")
    elif any(DEFAULT_GAIN_ASSUMED in note for note in notes):
        warn_of_assumed(size, notes)


def _agree_as_stored(channels: dict[str, Channel], used: slice, sound: np.ndarray) -> bool:
    """Whether leads with different gains satisfy the identities as the integers that the file stores."""
    gains = {lead: channel.gain for lead, channel in channels.items() if channel.gain}
    if len(gains) < len(channels) or len(set(gains.values())) == 1:
        return False
    stored = np.stack([channels[lead].values[used] * gains[lead] for lead in LEADS], axis=1)
    return bool(identity_residuals(stored[sound]).max() <= TOLERANCE)


def check_limb_leads(
    source: Path,
    signals: np.ndarray,
    derived: list[str],
    notes: list[str],
    channels: dict[str, Channel],
    used: slice,
    rate: float,
) -> None:
    """Check the identities where no limb lead is lost: note the residual, or raise DataError with a reason.

    A contradiction that comes and goes is a fault of a stretch (`quality.find_faults`), not of the columns.
    """
    if len(derived) == 4:
        notes.append("Einthoven's and Goldberger's identities hold by construction and could not be checked.")
        return
    sound = np.ones(len(signals), dtype=bool)
    residuals = identity_residuals(signals)
    if not residuals.max() <= TOLERANCE:  # or where samples are missing
        sound = _where_limb_leads_live(signals, rate)
        if sound.sum() < min(rate, len(signals) / 2):
            notes.append("Einthoven's and Goldberger's identities could not be checked: a limb lead is lost.")
            return
        residuals = identity_residuals(signals[sound])
    worst = int(residuals.argmax())
    if residuals[worst] <= TOLERANCE:
        notes.append(
            f"Einthoven's and Goldberger's identities hold: the largest residual, {IDENTITY_NAMES[worst]}, "
            f"is {residuals[worst]:.1%} of the limb leads' RMS."
        )
        return
    present = signals[sound]
    broken = identity_violations(present, np.zeros(present.shape, dtype=bool), rate).any(axis=1)
    if len(present) >= 2 * rate and broken.mean() < _THROUGHOUT:
        return
    reason = explain_violation(present)
    fits = f"They would hold if {reason}" if reason else _other_cause(present, rate)
    if not derived and _agree_as_stored(channels, used, sound):
        fits = f"The integers in the file agree: try --units 1000/mV. {fits}"
    raise DataError(
        f"{source}: the limb leads contradict each other: {IDENTITY_NAMES[worst]} is off by "
        f"{residuals[worst]:.0%} of their RMS (at most {TOLERANCE:.0%} allowed). {fits}. Correct the "
        "file, or name all channels truly, in file order, with --leads (- leaves a bad lead out; "
        "III, aVR, aVL and aVF are then derived from I and II); where gains are wrong, give one for "
        "all with --units, such as 1000/mV"
    )


def _other_cause(signals: np.ndarray, rate: float) -> str:
    """What else may break the identities: a copied lead, coarse steps of the values, noise; (T, 12)."""
    for lead, other in combinations(range(len(LEADS)), 2):
        if lead < len(LIMB) and np.abs(signals[:, lead] - signals[:, other]).max() < EQUAL_MV:
            return f"{display_name(LEADS[lead])} and {display_name(LEADS[other])} hold the same signal"
    limb = signals[:, : len(LIMB)]
    steps = np.diff(np.sort(limb, axis=0), axis=0)
    step = float(np.median([column[column > EQUAL_MV].min(initial=np.inf) for column in steps.T]))
    rms = float(np.sqrt(limb.var(axis=0).mean()))
    if TOLERANCE * rms / 2 < step < np.inf:
        return f"The values are in steps of {step:.2g} mV, too coarse to tell"
    slow = moving_mean(limb, max(1, round(_SMOOTH_SECONDS * rate)))
    if identity_residuals(np.column_stack([slow, signals[:, len(LIMB) :]])).max() <= TOLERANCE:
        return "They hold for slow waves: noise or mains in single limb leads may break them"
    return "No exchange of leads explains it"


def _where_limb_leads_live(signals: np.ndarray, rate: float) -> np.ndarray:
    """Samples in which no limb lead is lost."""
    sound = np.isfinite(signals[:, :6]).all(axis=1)
    for fault in find_faults(signals, rate, lost_only=True):
        if fault.lead in LIMB:  # its times are samples / rate, up to rounding
            sound[round(fault.start * rate) : round(fault.end * rate) + 1] = False
    return sound
