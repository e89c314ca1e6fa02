"""Channels of a table of text: columns or rows with lead names, units, and a time column."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from databases.wfdb_reader import Channel
from preprocessing.recordings.formats import RawFile, Request
from preprocessing.recordings.lead_names import READY, read_name
from preprocessing.recordings.text_table import MISSING, SECONDS, Table, is_clock, is_number, read_table
from utils.ecg import LEADS, unit_in_millivolts
from utils.errors import DataError, UsageError
from utils.text import printable

_TIME_NAMES = {"time", "t", "times", "elapsed", "elapsed time", "timestamp", "datetime", "date", "clock"}
_TIME_NAMES |= {"time and date", "time of day", "zeit", "tiempo", "tempo", "temps", "sample interval"}
_TIME_NAMES |= SECONDS.keys()
_COUNTER_NAMES = {"", "index", "idx", "sample", "samples", "sample number", "sample #", "#", "n", "no", "row"}
_COUNTER_NAMES |= {"unnamed: 0", "frame", "point", "sample index", "sample_index", "sample_number"}
_GROUPED = re.compile(r"-?[1-9]\d{0,2}(?:[.,]\d{3})+")
_LONGEST_NAME = 200  # characters in which a unit is looked for


@dataclass
class _Column:
    name: str
    unit: str
    cells: list[str]


def read_csv(path: Path, request: Request | None = None) -> RawFile:
    """Read a table whose first line names the columns, or whose rows begin with the names of leads."""
    request = request or Request()
    table = read_table(path)
    columns = _rows_as_columns(path, table, request) or _columns(path, table, request)
    notes, rate = table.notes, table.rate
    _check_form(path, columns)
    times = [c for c in columns if c.name.lower() in _TIME_NAMES or _holds_clocks(c)]
    # beside a time of day, a date that never changes says nothing
    time = next((c for c in times if c.cells[0] != c.cells[-1]), times[0] if times else None)
    columns = [c for c in columns if c not in times and not _is_counter(c, notes)]
    if time is not None:
        timed, note = _rate(path, time, table.lines, request.sampling_rate)
        notes.append(note)
        rate = _agreed(path, rate, timed, request.sampling_rate, notes)
    elif rate is not None:
        notes.append(f"{rate:g} Hz is stated above the header")
    _read_decimals(path, columns, notes)
    channels, texts = [], {}
    for index, column in enumerate(columns):
        label = printable(column.name, 60) or f"column {index + 1}"
        values, fault = _values(path, label, column.cells, table.lines)
        if fault:
            texts[label] = fault
        channels.append(Channel(label, values, column.unit or table.unit, rate))
    return RawFile("CSV", channels, notes, texts)


def _columns(path: Path, table: Table, request: Request) -> list[_Column]:
    """Columns of a table whose header names them, or that --leads names."""
    names, rows, lines = table.names, table.rows, table.lines
    if not names and len(rows) > 1 and _counts(rows[0]):
        names, rows, lines = rows[0], rows[1:], lines[1:]  # the numbers of the columns, as pandas writes them
        table.lines = lines
    width = len(rows[0])
    if not names:
        names = [f"column {i + 1}" for i in range(width)]
        if not all(map(is_number, rows[0])):
            raise DataError(
                f"{path}, line {lines[0]}: above the first numbers no line names the columns; a header with "
                "the lead names (I, II, ..., V6), or lead1 to lead12, is needed"
            )
        if request.leads is None and not request.any_leads:
            ready = (
                f"--leads {READY}" if width == len(LEADS) else "--leads I,II,... (- for what is not a lead)"
            )
            raise DataError(
                f"{path}: the first line holds numbers, but a header is needed: add a line with the lead "
                f"names (I, II, ..., V6) or lead1 to lead12, or name the {width} columns with {ready}"
            )
    columns = []
    for index, name in enumerate(names):
        plain, unit = split_unit(name)
        columns.append(_Column(plain, unit or table.units[index], [row[index] for row in rows]))
    return columns


def _check_form(path: Path, columns: Sequence[_Column]) -> None:
    """Refuse a table with a row for each sample of each lead, and numbers with separators of thousands."""
    leads = [column for column in columns if read_name(column.name) is not None]
    for column in columns if not leads else ():
        named = set(column.cells[:2000])
        if len(named) > 1 and all(read_name(cell) is not None for cell in named):
            raise DataError(
                f"{path}: the column '{printable(column.name, 40)}' names the lead of each row; save the "
                "table with one column a lead (in pandas: table.pivot)"
            )
    for column in leads:
        grouped = {cell for cell in column.cells if "." in cell or "," in cell}
        if (
            grouped
            and all(_GROUPED.fullmatch(cell) for cell in grouped)
            and any(len(cell) > 1 and cell.lstrip("-").isdecimal() for cell in column.cells)
        ):
            raise DataError(
                f"{path}, column '{printable(column.name, 40)}': '{min(grouped)}' beside whole numbers looks "
                "like one with a separator of thousands; write numbers without it"
            )


def _counts(row: Sequence[str]) -> bool:
    """Whether a row numbers the columns from 0 or 1, perhaps after the name of an index."""
    cells = list(row[1:]) if row[0] == "" else list(row)
    return len(cells) > 1 and any(cells == [str(start + i) for i in range(len(cells))] for start in (0, 1))


def _rows_as_columns(path: Path, table: Table, request: Request) -> list[_Column]:
    """Leads that stand in rows, as columns; empty where they do not."""
    if table.names and len(table.names) <= len(table.rows):
        return []
    rows = [table.names, *table.rows] if table.names else table.rows
    named = [row for row in rows if row and read_name(split_unit(row[0])[0]) is not None]
    if len(named) >= 8 and len(rows) - len(named) <= 2:
        table.notes.append("the leads stand in rows")
        has_units = all(len(row) > 2 and unit_in_millivolts(row[1]) is not None for row in named)
        columns = []
        for row in rows:
            name, unit = split_unit(row[0])
            columns.append(_Column(name, unit or (row[1] if has_units else ""), row[1 + has_units :]))
        times = [c for c in columns if c.name.lower() in _TIME_NAMES]
        table.lines = list(range(1, len(columns[0].cells) + 1))
        return [c for c in columns if c in times or read_name(c.name) is not None]
    if not table.names and request.leads is not None and len(rows) == len(request.leads) < len(rows[0]):
        table.notes.append("the leads stand in rows")
        table.lines = list(range(1, len(rows[0]) + 1))
        return [_Column(f"row {i + 1}", "", row) for i, row in enumerate(rows)]
    return []


def split_unit(cell: str) -> tuple[str, str]:
    """Split ``I (mV)``, ``I [uV]``, ``time_ms`` or ``V1, mV`` into name and unit."""
    if len(cell) > _LONGEST_NAME:
        return cell, ""
    if cell[-1:] in (")", "]"):
        start = max(cell.rfind("("), cell.rfind("["))
        if start > 0:
            return cell[:start].strip(" _"), cell[start + 1 : -1].strip()
    name, mark, unit = cell.replace(",", " ").replace("_", " ").replace("/", " ").rpartition(" ")
    if mark and name.strip() and ((unit_in_millivolts(unit) is not None and unit != "V") or unit in SECONDS):
        return cell[: len(name)].strip(" ,_/"), unit
    return cell, ""


def _holds_clocks(column: _Column) -> bool:
    """Whether a column holds times of day, whatever its name."""
    first = next((cell for cell in column.cells if cell), "")
    return read_name(column.name) is None and not is_number(first) and is_clock(first)


def _is_counter(column: _Column, notes: list[str]) -> bool:
    """Whether a column counts the samples, which is noted."""
    if column.name.lower() not in _COUNTER_NAMES:
        return False
    try:
        steps = np.diff(np.array(column.cells, np.float64))
    except ValueError:
        return False
    if len(steps) == 0 or not (steps == steps[0]).all() or steps[0] <= 0:
        return False
    notes.append(f"the column '{column.name}' counts the samples and was left out")
    return True


def _read_decimals(path: Path, columns: list[_Column], notes: list[str]) -> None:
    """Replace decimal commas; DataError where points and commas are mixed."""
    numeric = [column for column in columns if any(map(is_number, filter(None, column.cells[:50])))]
    if not any("," in cell for column in numeric for cell in column.cells):
        return
    if any("." in cell and is_number(cell.replace(",", "")) for column in numeric for cell in column.cells):
        raise DataError(f"{path}: uses both decimal points and decimal commas; write all numbers one way")
    for column in numeric:
        column.cells = [cell.replace(",", ".") for cell in column.cells]
    notes.append("decimal commas were read")


def _values(path: Path, name: str, cells: Sequence[str], lines: Sequence[int]) -> tuple[np.ndarray, str]:
    """Numbers of a column, and what is wrong with the first cell that is none."""
    try:
        return np.array(cells, np.float64), ""
    except ValueError:
        values = np.full(len(cells), np.nan)
    for index, cell in enumerate(cells):
        try:
            values[index] = float(cell)
        except ValueError:
            if cell.lower() not in MISSING:
                where = f"{path}, line {lines[index]}, column '{name}'"
                return values, f"{where}: '{printable(cell, 40)}' is not a number"
    return values, ""


def _agreed(
    path: Path, stated: float | None, timed: float | None, asked: float | None, notes: list[str]
) -> float | None:
    """The one sampling rate that the lines above the header and the time column give."""
    if stated is None or timed is None:
        return timed or stated
    if abs(stated - timed) <= 1e-3 * timed:
        return timed
    if asked is None:
        raise UsageError(
            f"{path}: the lines above the header state {stated:g} Hz, but the time column gives "
            f"{timed:g} Hz; say which is right with --sampling_rate"
        )
    notes.append(f"the file states both {stated:g} Hz and, by its time column, {timed:g} Hz")
    return None


def _rate(path: Path, column: _Column, lines: Sequence[int], asked: float | None) -> tuple[float | None, str]:
    """Sampling rate in Hz from the time column, if it tells one, and the note that says how it was read."""
    name, cells = printable(column.name, 60), column.cells
    where = f"{path}, column '{name}'"
    times, scale = _times(where, cells, lines)
    if len(times) < 2:
        raise DataError(f"{path}: holds a single sample")
    steps = np.diff(times)
    step = (times[-1] - times[0]) / (len(times) - 1)
    # Times rounded to a few digits jitter; a lost or repeated sample makes a step of twice the size or none.
    bad = np.flatnonzero(~((steps > 0.5 * step) & (steps < 1.5 * step)))
    if not step > 0 or len(bad):
        if asked is not None and _rounded(times, steps, asked, scale or 1.0):
            return None, f"the times of the column '{name}' are rounded and agree with --sampling_rate"
        row = int(bad[0]) if len(bad) else 0
        raise DataError(
            f"{where}: times are not uniform: from {cells[row]} to {cells[row + 1]} at sample {row + 1}, "
            f"where the mean step is {step:g}; samples are missing or repeated (repair the file), or the "
            "times are rounded too far (give the rate with --sampling_rate)"
        )
    scale = scale or SECONDS.get((column.unit or column.name).lower())
    if scale is None and column.unit:
        raise DataError(f"{where}: '{printable(column.unit, 40)}' is not a unit of time; use s or ms")
    guessed = scale is None
    if scale is None:
        scale = _guess_scale(step)
    if scale is None:
        unclear = f"a step of {step:g} may be seconds, milliseconds or a sample number"
        if asked is not None:
            return None, f"the column '{name}' was not used for the sampling rate: {unclear}"
        raise UsageError(
            f"{where}: {unclear}; name the column time_s or time_ms, or give the rate with --sampling_rate"
        )
    rate = 1 / (step * scale)
    if abs(rate - round(rate)) < 1e-3 * rate and round(rate) > 0:
        rate = float(round(rate))  # times are written with few digits
    words = {1.0: "seconds", 1e-3: "milliseconds", 1e-6: "microseconds", 1e-9: "nanoseconds"}[scale]
    how = "taken as" if guessed else "in"
    return rate, f"{rate:g} Hz follows from the column '{name}', {how} {words}"


def _rounded(times: np.ndarray, steps: np.ndarray, rate: float, scale: float) -> bool:
    """Whether times are those of a rate, rounded to what the file writes."""
    resolution = steps[steps > 0].min(initial=math.inf)
    ideal = times[0] + np.arange(len(times)) / (rate * scale)
    return bool(np.isfinite(resolution) and np.ptp(times - ideal) <= 1.001 * resolution)


def _times(where: str, cells: Sequence[str], lines: Sequence[int]) -> tuple[np.ndarray, float | None]:
    """Times as numbers, and their unit in seconds where the cells are times of day or dates."""
    for points in (cells, [cell.replace(",", ".") for cell in cells]):
        try:
            times = np.array(points, np.float64)
        except ValueError:
            continue
        bad = np.flatnonzero(~np.isfinite(times))
        if len(bad):
            raise DataError(f"{where}: sample {bad[0] + 1} (line {lines[bad[0]]}) has no time")
        return times, None
    clocks = [_clock(cell) for cell in cells]
    if None not in clocks:
        times = np.array(clocks, np.float64)
        return times + 86400.0 * np.cumsum(np.diff(times, prepend=times[0]) < -43200), 1.0  # midnight
    try:
        stamps = [datetime.fromisoformat(cell) for cell in cells]
        return np.array([(stamp - stamps[0]).total_seconds() for stamp in stamps]), 1.0
    except (ValueError, TypeError) as error:
        unclear = [i for i, clock in enumerate(clocks) if clock is None]
        # among numbers the first cell that is none is the wrong one
        place = next((i for i in unclear if not is_number(cells[i])), unclear[0])
        raise DataError(
            f"{where}, line {lines[place]}: '{printable(cells[place], 40)}' is neither a number, nor a time "
            "such as 00:00:00.004, nor an ISO date; repair the column, or remove it and give the rate with "
            "--sampling_rate"
        ) from error


def _clock(cell: str) -> float | None:
    """Seconds since midnight of ``hh:mm:ss.mmm``, ``mm:ss.mmm`` or ``hh:mm:ss:mmm``, beside a date or not."""
    if len(cell) > 60:
        return None
    match = re.search(r"(?<![\d:])(?:(\d{1,2}):)?(\d{1,2}):(\d{2})(?:([.,])(\d+))?(?![\d:])", cell)
    if match is None:
        match = re.search(r"(?<![\d:])(\d{1,2}):(\d{2}):(\d{2})(:)(\d{3})(?![\d:])", cell)
    if match is None:
        return None
    fraction = float(f"0.{match[5]}") if match[5] else 0.0
    return 3600 * int(match[1] or 0) + 60 * int(match[2]) + int(match[3]) + fraction


def _guess_scale(step: float) -> float | None:
    """Seconds for steps up to 0.02, milliseconds for 2 to 20 (50 to 500 Hz); anything else could be both."""
    if step <= 0.02:
        return 1.0
    return 1e-3 if 2 <= step <= 20 else None
