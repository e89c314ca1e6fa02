"""Tables of text as programs and people write them: where the samples are, and what stands around them.

A table is found by its numbers: the delimiter under which most cells are numbers, then the first row of them.
The line of text above that is as wide names the columns; what stands before is a preamble, whose rate and
units are read; what stands after is a footer. Every step is linear in the size of the file.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preprocessing.recordings.lead_names import read_name
from utils.ecg import unit_in_millivolts
from utils.errors import DataError
from utils.files import read_error
from utils.text import printable

MISSING = {"", "nan", "na", "n/a", "null", "none", "-", "#n/a", "nan.0"}
SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0}
SECONDS |= {"ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3}
SECONDS |= {"ns": 1e-9, "nanosecond": 1e-9, "nanoseconds": 1e-9}
SECONDS |= {"us": 1e-6, "µs": 1e-6, "μs": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6}
_LINE_END = re.compile(r"\r\n|\r|\n")
_NUMBER = re.compile(
    r"[-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf|infinity)", re.IGNORECASE
)
THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:[.,' \u00a0\u202f]\d{3})+(?:[.,]\d+)?")
_CLOCK = re.compile(r"[^:]{0,24}\d{1,2}:\d{2}(?::\d{2}(?:[.,:]\d+)?)?[^:]{0,16}")
_CLOCK_UNIT = re.compile(r"\[?[hms:.,\s/dy\]]*", re.IGNORECASE)
_NAMES = {",": "", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_LOOKED_AT = 200  # rows by which the table is recognized
_LONGEST_QUOTE = 4  # line breaks in one heading


@dataclass
class Table:
    """A table of text: rows as wide as the header, and what its surroundings say.

    ``names``: of the columns, empty where the file has none; ``units``: beside them or below, else empty.
    ``lines``: number of each row in the file. ``rate``: in Hz, as the preamble states it.
    ``decimal_comma``: whether numbers are written so.
    """

    names: list[str]
    units: list[str]
    rows: list[list[str]]
    lines: list[int]
    notes: list[str] = field(default_factory=list)
    rate: float | None = None
    unit: str = ""
    decimal_comma: bool = False


def is_number(cell: str) -> bool:
    """Whether a cell is a number, or says that one is missing."""
    return cell.lower() in MISSING or (len(cell) <= 60 and _NUMBER.fullmatch(cell) is not None)


def is_clock(cell: str) -> bool:
    """Whether a cell is a time of day such as ``[10:00:00.004 01/05/2024]`` or ``0:00.004``."""
    return len(cell) <= 60 and _CLOCK.fullmatch(cell) is not None


def read_table(path: Path) -> Table:
    """Find the table of samples in a file of text."""
    try:
        text = _decode(path.read_bytes())
    except OSError as error:
        raise read_error(path, error) from error
    if text is None:
        raise DataError(f"{path}: is not plain text; save it as CSV in UTF-8")
    lines = _LINE_END.split(text.replace("\u2212", "-"))  # the minus sign of some spreadsheets
    notes: list[str] = []
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise DataError(f"{path}: no header: the file is empty")
    stated = re.fullmatch(r'"?sep=(.)"?[;,\s]*', lines[first].strip("\r\n ").lower())
    delimiter = ""
    if stated or lines[first].lower().rstrip("\r\n") == "sep=\t":
        delimiter = stated[1] if stated else "\t"
        lines[first] = ""
    if not delimiter or not any(delimiter in line for line in lines):  # of a program that wrote another one
        delimiter = _delimiter(lines)
    if not delimiter:
        column = [(number, [line.strip()]) for number, line in enumerate(lines, 1) if line.strip()]
        if len(column) < 2 or not all(_is_value(row[0]) for _, row in column[1:]):
            raise DataError(_no_table(path, lines[first]))
        header = [] if _is_value(column[0][1][0]) else column.pop(0)[1]
        return Table(header, [""], [row for _, row in column], [number for number, _ in column], notes)
    numbered = _split(path, lines, delimiter)
    if _NAMES.get(delimiter, delimiter):
        notes.append(f"the cells are separated by {_NAMES.get(delimiter, repr(delimiter))}")
    return _find(path, numbered, notes, delimiter)


def holds_table(head: bytes) -> bool:
    """Whether a file that begins so is text with a row of eight or more numbers, or with many of them."""
    text = _decode(head)
    lines = _LINE_END.split(text or "")
    lines = lines[:-1] if len(lines) > 2 else lines  # the last one may be cut
    delimiter = _delimiter(lines) if text else ""
    rows = [_cells(line, delimiter) for line in lines if line.strip()] if delimiter else []
    return any(_is_data(row) and _width(row) >= 8 for row in rows)


def _decode(content: bytes) -> str | None:
    """Text in UTF-8, UTF-16 or, where it is neither, Latin-1; None for what is not text."""
    head = content[:200]
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    elif head[1::2].count(0) > len(head) // 3:  # UTF-16 without a mark of its order
        encodings = ["utf-16-le"]
    elif head[::2].count(0) > len(head) // 3:
        encodings = ["utf-16-be"]
    else:
        encodings = ["utf-8-sig", "latin-1"]  # spreadsheets write the micro sign in Latin-1
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    return None


def _no_table(path: Path, first: str) -> str:
    return (
        f"{path}: no header of columns separated by comma, semicolon, tab, bar or spaces, and no rows of "
        f"numbers; the first line is '{printable(first, 60)}'"
    )


def _no_numbers(path: Path, numbered: Sequence[tuple[int, list[str]]]) -> str:
    """Say why no row holds samples, by the first cell of the second line that is not read as a number."""
    said = f"{path}: holds a header but no samples: no line has numbers in two or more columns, and each "
    said += "lead needs one"
    below = [(line, cell) for line, row in numbered[1:3] for cell in row if cell and not _is_value(cell)]
    if not below or not any(character.isdigit() for character in below[0][1]):
        return said
    line, cell = below[0]
    remedy = "write it as 0.125 or 1.25e-1"
    if THOUSANDS.fullmatch(cell):
        remedy = "write numbers without separators of thousands"
    elif cell[0] in "='":
        remedy = "write values, no formulas or texts"
    return f"{said}: line {line} holds '{printable(cell, 40)}', which is not read as a number; {remedy}"


def _delimiter(lines: Sequence[str]) -> str:
    """Delimiter under which most cells of the first rows, and of some in the middle, are numbers."""
    filled = [line for line in lines[: 2 * _LOOKED_AT] if line.strip()][:_LOOKED_AT]
    middle = len(lines) // 2
    filled += [line for line in lines[middle : middle + 20] if line.strip()]
    scores = {}
    for delimiter in ("\t", ";", "|", ",", " "):
        rows = [_cells(line, delimiter) for line in filled if delimiter in line]
        numbers = [sum(map(_is_value, row)) for row in rows]
        # a number with a decimal comma falls apart into two under a comma: as many whole rows count more
        broken = sum(len(row) - number for row, number in zip(rows, numbers, strict=True))
        scores[delimiter] = sum(numbers) - 2 * broken
    best = max(scores, key=lambda name: scores[name])
    if scores[best] > 0:
        return best
    first = filled[0] if filled else ""
    best = max("\t;|,", key=first.count)  # a header alone
    return best if best in first else ""


def _is_value(cell: str) -> bool:
    return cell != "" and (is_number(cell) or is_clock(cell))


def _cells(line: str, delimiter: str) -> list[str]:
    """Cells of a line without regard to delimiters in quotes."""
    parts = line.split() if delimiter == " " else line.split(delimiter)
    return [part.strip().strip("\"'") for part in parts]


def _split(path: Path, lines: list[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Number in the file and cells of each line that is not empty."""
    if delimiter == " ":
        split = [(number, line.split()) for number, line in enumerate(lines, 1)]
        return [(number, [_unquoted(cell) for cell in row]) for number, row in split if row]
    quote = "'" if lines and any(line.lstrip().startswith("'") for line in lines[:50]) else '"'
    numbered = []
    try:
        reader = csv.reader(lines, delimiter=delimiter, quotechar=quote, skipinitialspace=delimiter != "\t")
        last = 0
        for row in reader:
            if reader.line_num - last > _LONGEST_QUOTE * len(row) + 1:
                raise DataError(f"{path}, line {last + 1}: a quotation mark ({quote}) is never closed")
            last = reader.line_num
            cells = [_unquoted(cell.strip()) for cell in row]
            if any(cells):
                numbered.append((last, cells))
    except csv.Error as error:
        raise DataError(f"{path}: not a readable CSV file ({error})") from error
    return numbered


def _unquoted(cell: str) -> str:
    return cell[1:-1].strip() if len(cell) > 1 and cell[0] == cell[-1] and cell[0] in "\"'" else cell


def _find(path: Path, numbered: list[tuple[int, list[str]]], notes: list[str], delimiter: str) -> Table:
    """Separate header, units, samples, preamble and footer."""
    sample = [row for _, row in numbered[:_LOOKED_AT]] + [
        row for _, row in numbered[len(numbered) // 2 :][:20]
    ]
    widths = Counter(_width(row) for row in sample if _is_data(row))
    if not widths:
        raise DataError(_no_numbers(path, numbered))
    width = max(widths, key=lambda count: (widths[count] * count, count))
    start = next(i for i, (_, row) in enumerate(numbered) if _is_data(row) and _width(row) >= width - 1)
    named = _width(numbered[start - 1][1]) if start else 0
    if delimiter == "," and named > 1 and width in (2 * named, 2 * named - 1):
        raise DataError(
            f"{path}, line {numbered[start][0]}: {width} cells where the header has {named}: decimal commas "
            "cannot be told from the commas between cells; save it with semicolons between them"
        )
    header, units, before = _header(numbered[:start], width)
    table = Table(header, units, [], [], notes)
    _read_preamble(path, before, delimiter, table)
    if header and len(header) == width - 1 and not _is_value(header[0]):
        table.names, table.units = ["", *header], ["", *units][:width]  # R does not name the row names
    elif header:
        width = len(header)
    stop = len(numbered)
    while stop > start and _is_footer(numbered[stop - 1][1], width):
        stop -= 1
    if stop < len(numbered):
        rest = "; ".join(printable(" ".join(row), 60) for _, row in numbered[stop : stop + 3])
        notes.append(f"lines after the samples were left out ({len(numbered) - stop}): {rest}")
    for line, row in numbered[start:stop]:
        if len(row) < width or (len(row) > width and any(row[width:])):
            what = "header has" if header else "first rows have"
            end = "; the file ends within this line" if line == numbered[-1][0] and len(row) < width else ""
            raise DataError(f"{path}, line {line}: {_width(row)} cells where the {what} {width}{end}")
        table.rows.append(row[:width])
        table.lines.append(line)
    return table


def _width(row: Sequence[str]) -> int:
    """Number of cells without empty ones at the end."""
    count = len(row)
    while count and not row[count - 1]:
        count -= 1
    return count


def _is_data(row: Sequence[str]) -> bool:
    """Whether a row holds samples: at least two values, and they are half of its cells."""
    values = sum(map(_is_value, row))
    return values >= 2 and 2 * values >= _width(row)


def _is_footer(row: Sequence[str], width: int) -> bool:
    """Whether a line at the end, such as ``Total samples,1000``, holds no samples; one of numbers is cut."""
    if _width(row) < width and not _is_value(row[0]):
        return True
    return not _is_data(row) and not all(_is_value(cell) for cell in row if cell)


def _header(
    above: list[tuple[int, list[str]]], width: int
) -> tuple[list[str], list[str], list[tuple[int, list[str]]]]:
    """Names and units of the columns from the lines above the samples, and the lines above those."""
    units: list[str] = []
    if above and _is_units(above[-1][1]):
        units, above = [cell.strip("()[] ") for cell in above[-1][1]], above[:-1]
    names: list[str] = []
    wide = [i for i, (_, row) in enumerate(above) if abs(_width(row) - width) <= 1 or i == len(above) - 1]
    # of several lines of headings that which names leads, else the last one
    best = max(wide, key=lambda i: (sum(map(_is_lead, above[i][1])), i)) if wide else -1
    if wide and (abs(_width(above[best][1]) - width) <= 1 or _width(above[best][1]) > max(3, width // 2)):
        names, above = list(above[best][1]), [*above[:best], *above[best + 1 :]]
        if names[0][:1] in ("#", "%"):
            names = (
                names[1:] if len(names[0]) == 1 and len(names) > width else [names[0][1:].strip(), *names[1:]]
            )
        while names and not names[-1]:
            names.pop()  # a delimiter at the end of every line
    units += [""] * (max(len(names), width) - len(units))
    return names, units[: max(len(names), width)], above


def _is_lead(cell: str) -> bool:
    return read_name(cell.split("(")[0].split("[")[0]) is not None


def _is_units(row: Sequence[str]) -> bool:
    """Whether a row below the header holds the units of the columns, one of them a voltage."""
    cells = [cell.strip("()[] ") for cell in row]
    voltages = [cell for cell in cells if unit_in_millivolts(cell) is not None]
    others = [cell for cell in cells if unit_in_millivolts(cell) is None and cell.lower() not in SECONDS]
    plain = {*MISSING, "adu", "counts", "units", "unit", "index", "bpm"}
    return bool(voltages) and all(cell.lower() in plain or _CLOCK_UNIT.fullmatch(cell) for cell in others)


def _read_preamble(path: Path, before: list[tuple[int, list[str]]], delimiter: str, table: Table) -> None:
    """Take rate and unit from the lines above the header; what else they say is left out."""
    taken = []
    readers: list[tuple[str, Callable[[str], float | str | None]]] = [("rate", _rate), ("unit", _voltage)]
    for _, row in before:
        key, value = _pair(row)
        for name, read in readers:
            found = read(f"{key}\n{value}")
            if found is not None and not getattr(table, name):
                setattr(table, name, found)
                taken.append(f"{found:g} Hz" if isinstance(found, float) else str(found))
    if before:
        used = f", of which {', '.join(taken)} was read" if taken else ""
        table.notes.append(f"lines above the header were left out ({len(before)}){used}")


def _pair(row: Sequence[str]) -> tuple[str, str]:
    """Key and value of a line such as ``Sampling rate,100 Hz`` or ``# fs: 500``."""
    cells = [cell[:100] for cell in row if cell][:4]
    first = cells[0].lstrip("#% ")
    for mark in (":", "="):
        key, found, value = first.partition(mark)
        if found and (value.strip() or len(cells) > 1):
            return key.strip().lower(), " ".join([value.strip(), *cells[1:]]).strip()
    return first.lower(), " ".join(cells[1:])


def _rate(text: str) -> float | None:
    key, _, value = text.partition("\n")
    number = re.match(r"([\d.,]+)\s*([a-zµμ]*)", value.lower())
    unit = re.search(r"[(\[]\s*([a-zµμ]+)\s*[)\]]", key)
    if number is None or not re.search(r"\d", number[1]):
        return None
    try:
        amount = float(number[1].replace(",", "."))
    except ValueError:
        return None
    word = number[2] or (unit[1] if unit else "")
    if re.search(r"sampl|freq|rate|\bfs\b|\bhz\b|abtast", key) and not re.search(
        r"heart|filter|pass|cut", key
    ):
        if word in ("", "hz", "hertz", "sps") and "interval" not in key and "period" not in key:
            return amount or None
        if word in ("khz",):
            return 1000 * amount or None
    if re.search(r"interval|period", key) and re.search(r"sampl", key) and word in SECONDS and amount:
        return 1 / (amount * SECONDS[word])
    return None


def _voltage(text: str) -> str | None:
    key, _, value = text.partition("\n")
    value = value.strip("()[] ")
    return value if re.search(r"\bunits?\b|einheit", key) and unit_in_millivolts(value) is not None else None
