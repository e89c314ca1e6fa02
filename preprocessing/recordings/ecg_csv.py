"""Reader of CSV files with a header: delimiter, decimal comma, units in the header and a time column."""

from __future__ import annotations

import csv
import re
from datetime import datetime
from pathlib import Path

import numpy as np

from databases.wfdb_reader import Channel
from preprocessing.recordings.formats import RawFile
from utils.errors import DataError, UsageError
from utils.files import read_error

_MISSING = {"", "nan", "na", "n/a", "null", "none", "-"}
_TIME_NAMES = {
    "time",
    "t",
    "times",
    "elapsed",
    "elapsed time",
    "timestamp",
    "datetime",
    "seconds",
    "second",
    "sec",
    "s",
}
_TIME_NAMES |= {"milliseconds", "millisecond", "msec", "ms", "microseconds", "us"}
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0}
_SECONDS |= {"ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3, "us": 1e-6, "µs": 1e-6}
_SECONDS |= {"microseconds": 1e-6}


def read_csv(path: Path, rate_is_given: bool = False) -> RawFile:
    """Read a CSV file whose first line names the columns."""
    header, rows, lines, notes = _split(path)
    names, units = zip(*(_heading(cell) for cell in header), strict=True)
    time = next((i for i, name in enumerate(names) if name.lower() in _TIME_NAMES), None)
    rate = None
    if time is not None:
        rate, note = _rate(path, names[time], units[time], [row[time] for row in rows], rate_is_given)
        notes.append(note)
    channels = []
    for index, (name, unit) in enumerate(zip(names, units, strict=True)):
        if index != time:
            label = name or f"column {index + 1}"
            values = [_number(row[index], path, label, line) for row, line in zip(rows, lines, strict=True)]
            channels.append(Channel(label, np.array(values, np.float64), unit, rate))
    return RawFile("CSV", channels, notes)


def _split(path: Path) -> tuple[list[str], list[list[str]], list[int], list[str]]:
    """Header, rows of cells with decimal points, their line numbers in the file, and notes."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise read_error(path, error) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # spreadsheets write the micro sign so
    if "\0" in text:
        raise DataError(f"{path}: is not plain text; save it as CSV in UTF-8")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    if delimiter not in first:
        raise DataError(
            f"{path}: no header of columns separated by comma, semicolon or tab in its first line"
        )
    try:
        reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
        numbered = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}: not a readable CSV file ({error})") from error
    numbered = [(line, row) for line, row in numbered if any(row)]
    header, body = numbered[0][1], numbered[1:]
    while header and not header[-1]:
        header.pop()  # a delimiter at the end of every line
    if all(re.fullmatch(r"[-+.,\deE]+", cell) for cell in header):
        raise DataError(
            f"{path}: the first line holds numbers, but a header is needed: add a line with the lead names "
            "(I, II, ..., V6) or lead1 to lead12"
        )
    if not body:
        raise DataError(f"{path}: holds a header but no samples")
    rows = []
    for line, row in body:
        if len(row) < len(header) or any(row[len(header) :]):
            raise DataError(
                f"{path}, line {line}: {len(row)} cells where the header has {len(header)}; the file is cut"
            )
        rows.append(row[: len(header)])
    notes = (
        []
        if delimiter == ","
        else [f"the cells are separated by {'semicolons' if delimiter == ';' else 'tabs'}"]
    )
    if delimiter != "," and any("," in cell for row in rows for cell in row):
        if any("." in cell for row in rows for cell in row):
            raise DataError(f"{path}: uses both decimal points and decimal commas; write all numbers one way")
        rows = [[cell.replace(",", ".") for cell in row] for row in rows]
        notes.append("decimal commas were read")
    return header, rows, [line for line, _ in body], notes


def _heading(cell: str) -> tuple[str, str]:
    """Split ``I (mV)``, ``I [uV]`` or ``time_ms`` into name and unit."""
    match = re.fullmatch(r"(.*?)\s*[(\[]\s*([^)\]]*?)\s*[)\]]", cell) or re.fullmatch(
        r"(.+?)[ _]((?:[munµμ]?V)|s|ms|us|µs|sec|msec|seconds|milliseconds)", cell, re.IGNORECASE
    )
    return (match[1].strip(), match[2]) if match else (cell, "")


def _number(cell: str, path: Path, column: str, line: int) -> float:
    try:
        return float(cell)
    except ValueError as error:
        if cell.lower() in _MISSING:
            return float("nan")
        raise DataError(f"{path}, line {line}, column '{column}': '{cell}' is not a number") from error


def _rate(
    path: Path, name: str, unit: str, cells: list[str], rate_is_given: bool
) -> tuple[float | None, str]:
    """Sampling rate in Hz from the time column, if it tells one, and the note that says how it was read."""
    where = f"{path}, column '{name}'"
    times, scale = _times(where, cells)
    if len(times) < 2:
        raise DataError(f"{path}: holds a single sample")
    steps = np.diff(times)
    step = (times[-1] - times[0]) / (len(times) - 1)
    # Times rounded to a few digits jitter; a lost or repeated sample makes a step of twice the size or none.
    bad = np.flatnonzero(~((steps > 0.5 * step) & (steps < 1.5 * step)))
    if not step > 0 or len(bad):
        row = int(bad[0]) if len(bad) else 0
        raise DataError(
            f"{where}: times are not uniform: from {cells[row]} to {cells[row + 1]} at sample {row + 1}, "
            f"where the mean step is {step:g}; samples are missing or repeated, or the times are rounded too "
            "far. Repair it, or remove the column and give the rate with --sampling_rate"
        )
    scale = scale or _SECONDS.get((unit or name).lower())
    if scale is None and unit:
        raise DataError(f"{where}: '{unit}' is not a unit of time; use s or ms")
    guessed = scale is None
    if scale is None:
        scale = _guess_scale(step)
    if scale is None:
        unclear = f"a step of {step:g} may be seconds, milliseconds or a sample number"
        if rate_is_given:
            return None, f"the column '{name}' was not used for the sampling rate: {unclear}"
        raise UsageError(
            f"{where}: {unclear}; name the column time_s or time_ms, or give the rate with --sampling_rate"
        )
    rate = 1 / (step * scale)
    if abs(rate - round(rate)) < 1e-3 * rate and round(rate) > 0:
        rate = float(round(rate))  # times are written with few digits
    words = {1.0: "seconds", 1e-3: "milliseconds", 1e-6: "microseconds"}[scale]
    how = "taken as" if guessed else "in"
    return rate, f"{rate:g} Hz follows from the column '{name}', {how} {words}"


def _times(where: str, cells: list[str]) -> tuple[np.ndarray, float | None]:
    """Times as numbers, and their unit in seconds where the cells are dates."""
    try:
        times = np.array([float(cell) for cell in cells])
    except ValueError:
        pass
    else:
        if not np.isfinite(times).all():
            raise DataError(f"{where}: sample {np.flatnonzero(~np.isfinite(times))[0] + 1} has no time")
        return times, None
    try:
        stamps = [datetime.fromisoformat(cell) for cell in cells]
        return np.array([(stamp - stamps[0]).total_seconds() for stamp in stamps]), 1.0
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: times are neither numbers nor ISO dates ({error})") from error


def _guess_scale(step: float) -> float | None:
    """Seconds for steps up to 0.02, milliseconds for 2 to 20 (50 to 500 Hz); anything else could be both."""
    if step <= 0.02:
        return 1.0
    return 1e-3 if 2 <= step <= 20 else None
