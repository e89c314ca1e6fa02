"""Checks of the signals of a recording: what is wrong is refused, what is doubtful becomes a note."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from databases.wfdb_reader import Channel
from preprocessing.recordings.ecg_channels import (
    LIKELY_MV,
    PLAUSIBLE_MV,
    REAL_MV,
    UNIT_HELP,
    median_peak_to_peak,
)
from preprocessing.recordings.gaps import is_missing
from preprocessing.recordings.limb_leads import (
    IDENTITY_NAMES,
    TOLERANCE,
    explain_violation,
    identity_residuals,
    suspect_arm_reversal,
)
from utils.ecg import DISPLAY_NAMES, LEADS, display_name
from utils.errors import DataError

_LARGEST_MV = 100.0  # peak to peak of a single lead; electrode artifacts stay below


def check_channels(source: Path, channels: dict[str, Channel], used: slice, rate: float) -> None:
    """Refuse missing samples and flat leads in the part that is used, before units are known."""
    for lead, channel in channels.items():
        check_finite(source, lead, channel.values[used], rate, used.start)
    check_flat(source, {lead: channel.values[used] for lead, channel in channels.items()})


def check_part(source: Path, signals: np.ndarray, used: slice, rate: float) -> None:
    """Refuse missing samples and flat leads in a part of signals, shape (T, 12)."""
    for lead, values in zip(LEADS, signals[used].T, strict=True):
        check_finite(source, lead, values, rate, used.start)
    check_flat(source, dict(zip(LEADS, signals[used].T, strict=True)), " in the part used")


def check_signals(
    source: Path,
    signals: np.ndarray,
    derived: list[str],
    notes: list[str],
    channels: dict[str, Channel],
    used: slice,
) -> None:
    """Check amplitudes and limb leads of signals in mV, shape (T, 12): the part `used` of `channels`."""
    check_amplitude(source, signals, notes)
    check_flat(source, {lead: signals[:, LEADS.index(lead)] for lead in derived}, ", as I and II give it")
    check_limb_leads(source, signals, derived, notes, channels, used)


def note_outside(
    source: Path,
    signals: np.ndarray,
    derived: list[str],
    channels: dict[str, Channel],
    used: slice,
    rate: float,
) -> list[str]:
    """Say what would keep the whole recording, signals of shape (T, 12), from being used."""
    whole = slice(0, len(signals))
    try:
        check_part(source, signals, whole, rate)
        check_signals(source, signals, derived, [], channels, whole)
    except DataError as error:
        reason = str(error).removeprefix(str(source)).lstrip(":, ").partition(";")[0].partition(". ")[0]
        part = f"{used.start / rate:g} to {used.stop / rate:g} s"
        return [f"Outside the part that is used ({part}) the recording is faulty: {reason}."]
    return []


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
    flat = [lead for lead, values in signals.items() if len(values) > 1 and np.ptp(values) < 1e-6]
    if flat:
        shown = ", ".join(map(display_name, flat))
        values = signals[flat[0]]
        raise DataError(
            f"{source}: lead {shown} is flat{part} (all {len(values)} samples equal {values[0]:.4g}): "
            "an electrode was off or the column is empty; record again or use another part"
        )


def check_amplitude(source: Path, signals: np.ndarray, notes: list[str]) -> None:
    """Raise DataError for an impossible amplitude; of an unlikely one warn in the first note."""
    size = median_peak_to_peak(signals)
    if not PLAUSIBLE_MV[0] <= size <= PLAUSIBLE_MV[1]:
        direction = "large" if size > PLAUSIBLE_MV[1] else "small"
        raise DataError(
            f"{source}: the median peak-to-peak would be {size:.4g} mV, too {direction} for an ECG "
            f"({PLAUSIBLE_MV[0]:g} to {PLAUSIBLE_MV[1]:g} mV): the units or gains are wrong; give {UNIT_HELP}"
        )
    sizes = np.ptp(signals, axis=0)
    if sizes.max() > _LARGEST_MV:
        lead = DISPLAY_NAMES[int(sizes.argmax())]
        raise DataError(
            f"{source}, lead {lead}: a peak-to-peak of {sizes.max():.4g} mV, where the median lead has "
            f"{size:.4g} mV: its unit is another one, or it holds codes for missing samples; correct the file"
        )
    if not LIKELY_MV[0] <= size <= LIKELY_MV[1]:
        notes.insert(0, f"WARNING: median peak-to-peak {size:.2g} mV, {REAL_MV}: check --units.")


def _agree_as_stored(channels: dict[str, Channel], used: slice) -> bool:
    """Whether leads with different gains satisfy the identities as the integers that the file stores."""
    gains = {lead: channel.gain for lead, channel in channels.items() if channel.gain}
    if len(gains) < len(channels) or len(set(gains.values())) == 1:
        return False
    stored = np.stack([channels[lead].values[used] * gains[lead] for lead in LEADS], axis=1)
    return bool(identity_residuals(stored).max() <= TOLERANCE)


def check_limb_leads(
    source: Path,
    signals: np.ndarray,
    derived: list[str],
    notes: list[str],
    channels: dict[str, Channel],
    used: slice,
) -> None:
    """Check the identities of the limb leads; note the residual, or raise DataError with a hypothesis."""
    if len(derived) == 4:
        notes.append("Einthoven's and Goldberger's identities hold by construction and could not be checked.")
    else:
        residuals = identity_residuals(signals)
        worst = int(residuals.argmax())
        if residuals[worst] > TOLERANCE:
            reason = explain_violation(signals)
            fits = f"They would hold if {reason}" if reason else "No exchange of leads explains it"
            if not derived and _agree_as_stored(channels, used):
                fits = f"The integers in the file agree: try --units 1000/mV. {fits}"
            raise DataError(
                f"{source}: the limb leads contradict each other: {IDENTITY_NAMES[worst]} is off by "
                f"{residuals[worst]:.0%} of their RMS (at most {TOLERANCE:.0%} allowed). {fits}. Correct the "
                "file, or name all channels truly, in file order, with --leads (- leaves a bad lead out; "
                "III, aVR, aVL and aVF are then derived from I and II); where gains are wrong, give one for "
                "all with --units, such as 1000/mV"
            )
        notes.append(
            f"Einthoven's and Goldberger's identities hold: the largest residual, {IDENTITY_NAMES[worst]}, "
            f"is {residuals[worst]:.1%} of the limb leads' RMS."
        )
    if suspect_arm_reversal(signals):
        notes.append(
            "Lead I points down and aVR up: the left and right arm electrodes may be exchanged "
            "(the identities cannot tell); check it before you trust the result."
        )
