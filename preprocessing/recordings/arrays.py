"""Plain arrays from files of any format, and what stands beside them: leads, unit, sampling rate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from databases.wfdb_reader import Channel
from preprocessing.recordings.formats import ADC_UNITS, RawFile, Request, check_amount
from utils.ecg import DISPLAY_NAMES, LEADS
from utils.errors import DataError

# Names of arrays and of numbers beside them, without case and underscores, the likeliest first.
SIGNALS = ("val", "tracings", "signals", "signal", "ecg", "data", "x", "psignal")
_NAMES = ("leads", "leadnames", "channels", "channelnames", "chnames", "signame", "signames")
_UNITS = ("unit", "units")
_RATES = ("fs", "samplingrate", "samplingfrequency", "samplerate", "sfreq", "frequency", "hz")


def plain_name(name: str) -> str:
    """Name of an array without case, folders and separators."""
    return name.rpartition("/")[2].lower().replace("_", "").replace(" ", "").replace("-", "")


@dataclass(frozen=True)
class Stated:
    """What a file says beside its array: leads in order, unit and rate in Hz, or nothing."""

    leads: list[str] | None = None
    unit: str = ""
    rate: float | None = None
    notes: list[str] = field(default_factory=list)


_NOTHING = Stated()
ANY_COUNT = 0  # of leads, where it does not matter
_SHORTER = 20  # times the axis of the leads is shorter than that of time, where neither is twelve


def read_stated(path: Path, values: Mapping[str, object], request: Request) -> Stated:
    """Find lead names, unit and sampling rate among small arrays of a file, by their names."""
    rates: dict[str, float] = {}
    leads, units, notes = None, "", []
    for name, value in values.items():
        plain = plain_name(name)
        if plain in _RATES and (number := _number(value)):
            rates[name] = number
        texts = _texts(value)
        if plain in _NAMES and len(texts) > 1 and not request.leads:
            leads = texts
            notes.append(f"the leads are named by {name} in the file")
        if plain in _UNITS and len(set(texts)) == 1:
            units = texts[0]
    if len(set(rates.values())) > 1:
        shown = ", ".join(f"{name} {number:g}" for name, number in rates.items())
        raise DataError(f"{path}: states several sampling rates ({shown}); correct it")
    notes += [f"the sampling rate is {name} in the file" for name in list(rates)[:1]]
    return Stated(leads, units, next(iter(rates.values()), None), notes)


def _number(value: object) -> float | None:
    """Number of an array of one, or of several that are equal, or of a text such as ``500 Hz``."""
    array = np.asarray(value)
    if array.dtype.kind in "USO":
        text = next(iter(_texts(value)), "")
        match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,9})?)\s*(?:Hz)?", text, re.IGNORECASE)
        return float(match[1]) or None if match else None
    if array.dtype.kind not in "iuf" or not array.size or (array != array.flat[0]).any():
        return None
    number = float(array.flat[0])
    return number if np.isfinite(number) and number > 0 else None


def _texts(value: object) -> list[str]:
    """Texts of an array, as NumPy, MATLAB (cells of arrays) and HDF5 (bytes) hold them."""
    array = np.asarray(value)
    if array.dtype.kind not in "USO":
        return []
    items = [
        item.reshape(-1)[0] if isinstance(item, np.ndarray) and item.size == 1 else item
        for item in array.flat
    ]
    texts = [item.decode(errors="replace") if isinstance(item, bytes) else item for item in items]
    return [str(text).strip() for text in texts] if all(isinstance(text, str) for text in texts) else []


def choose_array(path: Path, shapes: Mapping[str, Sequence[int]], count: int) -> str:
    """Name of the array that holds `count` leads, of those in a file."""
    likely = {name: plain_name(name) for name in shapes if _fits(shapes[name], count)}
    for wanted in SIGNALS:
        if names := [name for name, plain in likely.items() if plain == wanted]:
            return names[0]
    if len(likely) == 1:
        return next(iter(likely))
    found = ", ".join(f"{name} {tuple(shape)}" for name, shape in list(shapes.items())[:8]) or "nothing"
    leads = "samples by leads" if count == ANY_COUNT else f"{count} leads"
    what = "several arrays that may be the signals" if likely else f"no array of {leads}"
    shape = "(T, leads)" if count == ANY_COUNT else f"(T, {count})"
    raise DataError(
        f"{path}: holds {what} (found: {found}); save the signals alone, shape {shape}, as 'signals'"
    )


def _fits(shape: Sequence[int], count: int) -> bool:
    if count == ANY_COUNT:
        return len(shape) == 1 or (len(shape) == 2 and _has_long_axis(shape))
    return len(shape) in (2, 3) and count in shape[-2:]


def _has_long_axis(shape: Sequence[int]) -> bool:
    """Whether one axis is so much longer than the other that it is time."""
    return 0 < _SHORTER * min(shape) <= max(shape)


def lead_count(request: Request, stated: Stated) -> int:
    """Leads that an array must have: those that are named, else twelve, or `ANY_COUNT`."""
    if request.any_leads and not (request.leads or stated.leads):
        return ANY_COUNT
    return len(request.leads or stated.leads or LEADS)


def _count_of(array: np.ndarray) -> int:
    """Leads of an array of any number of them: its shorter axis, twelve where that is one of the axes."""
    return len(LEADS) if len(LEADS) in array.shape else min(array.shape)


def channels_of_array(
    path: Path, kind: str, array: np.ndarray, request: Request, stated: Stated = _NOTHING
) -> RawFile:
    """Channels of a plain array, whose integers are in ADC units where no unit is stated."""
    count = lead_count(request, stated)
    if array.dtype.kind not in "iuf":
        raise DataError(
            f"{path}: holds no plain array of real numbers; save the signals as float32, shape (T, 12)"
        )
    if array.ndim == 3 and len(array) == 1 and kind == "HDF5":  # Ribeiro et al. store batches
        array = array[0]
    if array.ndim == 3:
        one = "array[..., 0]" if array.shape[-1] == 1 else "array[0]"
        raise DataError(f"{path}: has shape {array.shape}, a batch: save one record, {one}")
    if count == ANY_COUNT and array.ndim == 1:
        array = array[:, None]
    if count == ANY_COUNT and array.ndim == 2:
        if not _has_long_axis(array.shape):
            raise DataError(f"{path}: has shape {array.shape}: time and leads cannot be told apart")
        count = _count_of(array)
    if array.ndim != 2 or count not in array.shape:
        raise DataError(
            f"{path}: has shape {array.shape}, but (T, {count}) or ({count}, T) is needed; "
            "where it holds other leads than the 12, name them all: --leads I,II,V1,V2,V3,V4,V5,V6"
        )
    if array.shape == (count, count):
        raise DataError(
            f"{path}: has shape {array.shape}: time and leads cannot be told apart, and it is far too short"
        )
    check_amount(path, array.size)
    notes = list(stated.notes)
    if array.shape[1] != count:
        array = array.T
        notes.append(f"the array has shape ({count}, T) and was transposed")
    if request.leads:
        names = [f"channel {i + 1}" for i in range(count)]
    elif stated.leads:
        names = stated.leads
    elif count != len(LEADS):
        names = [f"channel {i + 1}" for i in range(count)]
    else:
        names = list(LEADS)
        notes.append(f"a {kind} file names no leads: the order {', '.join(DISPLAY_NAMES)} is assumed")
    unit = stated.unit or (ADC_UNITS if array.dtype.kind in "iu" and kind in ("MAT", "HDF5") else "")
    with np.errstate(invalid="ignore"):  # signaling NaN; NaN of any kind is reported with lead and time
        channels = [
            Channel(name, array[:, column].astype(np.float64), unit, stated.rate)
            for column, name in enumerate(names)
        ]
    return RawFile(kind, channels, notes)
