"""Your own ECG in, a clean (T, 12) record in mV out, with every assumption written down.

`find_recordings` lists what a path holds, `read_recording` reads one file at its own rate, maps leads and
units by name and checks the signals, `prepare` brings it to the rate and length of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from databases.base import Recording
from databases.wfdb_reader import Channel
from preprocessing.recordings.ecg_arrays import read_mat, read_npy
from preprocessing.recordings.ecg_channels import (
    LIKELY_MV,
    PLAUSIBLE_MV,
    REAL_MV,
    UNIT_HELP,
    common_rate,
    median_peak_to_peak,
    select_leads,
    to_millivolts,
)
from preprocessing.recordings.ecg_csv import read_csv
from preprocessing.recordings.ecg_files import RawFile, read_edf, read_wfdb
from preprocessing.recordings.limb_leads import (
    IDENTITY_NAMES,
    TOLERANCE,
    derive_limb_leads,
    explain_violation,
    identity_residuals,
    suspect_arm_reversal,
)
from preprocessing.transforms.resample import ratio, resample
from utils.ecg import DISPLAY_NAMES, LEADS, display_name
from utils.errors import DataError, UsageError, nearest
from utils.files import read_error

SUFFIXES = (".hea", ".csv", ".npy", ".mat", ".edf")
_LARGEST_MV = 100.0  # peak to peak of a single lead; electrode artifacts stay below


def find_recordings(path: str | Path) -> list[Path]:
    """List the recordings at a path.

    Parameters
    ----------
    path : path-like
        A file, a WFDB record with or without ending, or a folder, searched with its subfolders.

    Returns
    -------
    list of pathlib.Path
        Files that `read_recording` takes, sorted; a WFDB record is listed once, by its ``.hea``.

    Raises
    ------
    DataError
        Nothing is there, or nothing of a known format.
    UsageError
        A file of an unknown format.
    """
    path = Path(path)
    if not path.is_dir():
        return [_locate(path)]
    files = [p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")]
    # The .mat of a CinC WFDB record is its signal file, not a recording of its own.
    found = sorted(
        p
        for p in files
        if p.suffix.lower() in SUFFIXES
        and not (p.suffix.lower() == ".mat" and p.with_suffix(".hea").is_file())
    )
    if not found:
        raise DataError(
            f"{path}: no recording in this folder; known endings: {', '.join(SUFFIXES)} (WFDB: .hea)"
        )
    return found


def _locate(path: Path) -> Path:
    """The file to open for a path; a WFDB record is opened by its header."""
    header = path.with_suffix(".hea") if path.suffix in (".dat", ".mat") else Path(f"{path}.hea")
    if header.is_file():
        return header
    if path.suffix == ".dat" and path.is_file():
        raise DataError(
            f"{path}: its header {header.name} is not beside it; a .dat file alone has no rate and leads"
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name one recording in it")
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, sorted(siblings)).partition("Valid:")[0].strip()
        raise DataError(f"{path} does not exist{': ' + hint if hint else '; check the path'}")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path}: unknown format '{path.suffix}'; known endings: {', '.join(SUFFIXES)} (WFDB: .hea)"
        )
    return path


def read_recording(
    path: str | Path,
    sampling_rate: float | None = None,
    units: str | None = None,
    leads: Sequence[str] | str | None = None,
) -> Recording:
    """Read and check one 12-lead ECG at its own sampling rate.

    Parameters
    ----------
    path : path-like
        WFDB record (with or without ending), CSV with a header, ``.npy``, ``.mat`` (CinC, CPSC 2018) or EDF.
    sampling_rate : float, optional
        In Hz, for files that do not say it; a file that says otherwise is an error.
    units : str, optional
        ``mV``, ``uV``, ``V``, or a gain such as ``1000/mV`` that replaces the one in the file. It outranks
        the file, because headers are wrong at times; the amplitude is checked afterwards.
    leads : sequence of str or str, optional
        The true names of all signals in file order (a string is split at commas); ``-`` leaves one out.

    Returns
    -------
    Recording
        Twelve leads in mV; ``notes`` tells how they came about.

    Raises
    ------
    DataError
        Missing, unreadable, truncated or damaged file; missing or doubled leads; NaN; a flat lead;
        implausible amplitude; limb leads that contradict each other.
    UsageError
        Rate or units are needed or contradict the file, or an option cannot be read.
    """
    source = _locate(Path(path))
    names = [name.strip() for name in leads.split(",")] if isinstance(leads, str) else leads
    raw = _read(source, names, sampling_rate is not None)
    notes = [f"{note[0].upper()}{note[1:]}." for note in raw.notes]
    channels, derived = select_leads(source, raw, names, notes)
    rate = common_rate(source, raw, channels, sampling_rate, notes)
    for lead, channel in channels.items():
        _check_finite(source, lead, channel.values, rate)
    _check_flat(source, {lead: channel.values for lead, channel in channels.items()})
    signals = to_millivolts(source, channels, units, notes)
    if derived:
        signals = derive_limb_leads(signals["I"], signals["II"]) | signals
    array = np.stack([signals[lead] for lead in LEADS], axis=1)
    _check_amplitude(source, array, notes)
    _check_flat(source, {lead: signals[lead] for lead in derived}, ", as I and II give it")
    _check_limb_leads(source, array, derived, notes, channels)
    return Recording(array.astype(np.float32), rate, LEADS, notes, source.stem, source)


def prepare(
    recording: Recording, sampling_rate: float, samples: int, start: float | None = None
) -> Recording:
    """Bring a recording to the rate and length a model takes.

    Parameters
    ----------
    recording : Recording
        From `read_recording`.
    sampling_rate : float
        Rate of the model in Hz.
    samples : int
        Length the model takes (1000 = 10 s at 100 Hz).
    start : float, optional
        Where to begin, in seconds; the beginning of the recording where omitted.

    Returns
    -------
    Recording
        Signals (samples, 12) at `sampling_rate`, with further notes.

    Raises
    ------
    DataError
        The recording is too short (it is never padded), or a lead is flat in the part used.
    UsageError
        `start` lies outside the recording.
    """
    source = recording.source or Path(recording.name)
    notes, rate, signals = list(recording.notes), recording.sampling_rate, recording.signal
    given, needed = len(signals) / rate, samples / sampling_rate
    if start is not None and not 0 <= start <= given:
        raise UsageError(f"{source}: --start {start:g} lies outside the recording of {given:.6g} s")
    if rate != sampling_rate:
        factor = ratio(rate, sampling_rate)
        signals = resample(signals, rate, sampling_rate)
        notes.append(
            f"{rate:g} Hz -> {sampling_rate:g} Hz with an anti-aliasing FIR "
            f"(resample_poly {factor.numerator}/{factor.denominator})."
        )
        if rate < sampling_rate:
            notes.append(
                f"There is nothing above {rate / 2:g} Hz in it: the recording was slower than the model."
            )
    first = round((start or 0.0) * sampling_rate)
    if len(signals) - first < samples:
        after = f" after {start:g} s" if start else ""
        raise DataError(
            f"{source}: {needed:g} s are needed ({samples} samples at {sampling_rate:g} Hz), but "
            f"the recording has {(len(signals) - first) / sampling_rate:.6g} s{after}; it is not padded: "
            f"record {needed:g} s or more"
        )
    if len(signals) > samples:
        notes.append(
            f"{given:.6g} s were given, the {needed:g} s from {first / sampling_rate:g} s on were used; "
            "choose others with --start."
        )
    # Before resampling, whose filter would let the neighborhood of a flat part leak into it.
    used = recording.signal[round((start or 0.0) * rate) :][: round(needed * rate)]
    _check_flat(source, dict(zip(LEADS, used.T, strict=True)), " in the part used")
    signals = np.ascontiguousarray(signals[first : first + samples], dtype=np.float32)
    return replace(recording, signal=signals, sampling_rate=float(sampling_rate), notes=notes)


def _read(source: Path, names: Sequence[str] | None, rate_is_given: bool) -> RawFile:
    try:
        with open(source, "rb"):
            pass
    except OSError as error:  # the parsers would call it damaged
        raise read_error(source, error) from error
    count = len(names) if names else len(LEADS)
    match source.suffix.lower():
        case ".hea":
            return read_wfdb(source)
        case ".csv":
            return read_csv(source, rate_is_given)
        case ".edf":
            return read_edf(source)
        case ".mat":
            return read_mat(source, count, named=names is not None)
        case _:
            return read_npy(source, count, named=names is not None)


def _check_finite(source: Path, lead: str, values: np.ndarray, rate: float) -> None:
    bad = np.flatnonzero(~(np.abs(values) < 1e30))  # squares of larger numbers overflow as infinity does
    if len(bad):
        what = "missing values (NaN)" if np.isnan(values[bad]).all() else "NaN or infinite values"
        raise DataError(
            f"{source}, lead {display_name(lead)}: {len(bad)} of {len(values)} samples are {what}, the first "
            f"at sample {bad[0]} ({bad[0] / rate:.3f} s); gaps are not filled in: use a part without them, "
            "or repair it"
        )


def _check_flat(source: Path, signals: dict[str, np.ndarray], part: str = "") -> None:
    """Raise DataError for leads without any deflection; arithmetic leaves noise of 1e-7 mV at most."""
    flat = [lead for lead, values in signals.items() if np.ptp(values) < 1e-6]
    if flat:
        shown = ", ".join(map(display_name, flat))
        values = signals[flat[0]]
        raise DataError(
            f"{source}: lead {shown} is flat{part} (all {len(values)} samples equal {values[0]:.4g}): "
            "an electrode was off or the column is empty; record again or use another part"
        )


def _check_amplitude(source: Path, signals: np.ndarray, notes: list[str]) -> None:
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


def _agree_as_stored(channels: dict[str, Channel]) -> bool:
    """Whether leads with different gains satisfy the identities as the integers that the file stores."""
    if len({channel.gain for channel in channels.values()}) == 1:
        return False
    stored = np.stack([channels[lead].values * channels[lead].gain for lead in LEADS], axis=1)
    return bool(identity_residuals(stored).max() <= TOLERANCE)


def _check_limb_leads(
    source: Path, signals: np.ndarray, derived: list[str], notes: list[str], channels: dict[str, Channel]
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
            if not derived and _agree_as_stored(channels):
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
