"""The reader of WFDB annotation files: beats, waves, rhythms and notes.

Format: https://wfdb.io/spec/annotation-files.html. The reader of the package wfdb takes 12 times as long for
half an hour and 200 times for ten seconds, because it reads the header again for each file. It is asked only
for files that define codes of their own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from databases.base import Annotations, Marks, Rhythms, Waves
from databases.wfdb_header import RecordError, attempt, check_regular

_WAVE_KINDS = {"p": "P", "N": "QRS", "t": "T", "u": "U"}
_SYMBOLS = dict(
    zip((*range(1, 15), 16, *range(18, 42)), 'NLRaVFJASEj/Q~|sT*D"=pB^t+u?![]en@xf()r', strict=True)
)
_COMMENT, _SKIP, _TEXT = 22, 59, 63  # codes; 60 to 62 number the mark, and nothing here asks for them
_DEFINITIONS = "## annotation type definitions"
_END = b"\0\0"


def read_annotations(path: str | os.PathLike, suffix: str = "atr", samples: int | None = None) -> Annotations:
    """Read the marks and rhythm intervals of an annotation file; the last rhythm lasts until `samples`."""
    marks, notes = read_notes(path, suffix)
    return Annotations(marks, rhythms=_rhythms(marks, notes, samples))


def read_notes(path: str | os.PathLike, suffix: str) -> tuple[Marks, list[str]]:
    """Read the marks of an annotation file, and the text that goes with each."""
    path = Path(path)
    file = path.with_name(f"{path.name}.{suffix}")
    check_regular(file, path)
    content = attempt(lambda _: file.read_bytes(), path, f".{suffix}")
    if content[-2:] != _END:
        raise RecordError(path, f".{suffix} is cut off (it has no end mark)")
    try:
        samples, codes, notes = _parse(content)
    except (IndexError, ValueError) as error:
        raise RecordError(path, f".{suffix} is not readable (a mark does not end)") from error
    # Notes at sample 0 are about the file.
    kept = [n for n, code in enumerate(codes) if code and (code != _COMMENT or samples[n])]
    if any(codes[n] not in _SYMBOLS for n in kept) or any(note.startswith(_DEFINITIONS) for note in notes):
        found = attempt(lambda wfdb: wfdb.rdann(os.fspath(path), suffix), path, f".{suffix}")
        return Marks(np.asarray(found.sample, np.int64), np.asarray(found.symbol, str)), list(found.aux_note)
    symbols = np.array([_SYMBOLS[codes[n]] for n in kept], dtype=str)
    return Marks(np.array([samples[n] for n in kept], np.int64), symbols), [notes[n] for n in kept]


def _parse(content: bytes) -> tuple[list[int], list[int], list[str]]:
    """Samples, codes and notes of an annotation file."""
    words = np.frombuffer(content, "<u2").tolist()
    samples: list[int] = []
    codes: list[int] = []
    notes: list[str] = []
    now, at, end = 0, 0, len(words) - 1
    while at < end:
        code, value = divmod(words[at], 1024)
        at += 1
        if code == _SKIP:
            now += ((words[at] << 16 | words[at + 1]) ^ 1 << 31) - (1 << 31)  # signed, the high half first
            at += 2
        elif code == _TEXT:
            notes[-1] = content[2 * at : 2 * at + value].decode("latin-1")
            at += (value + 1) // 2
        elif code < _SKIP:
            now += value
            samples.append(now)
            codes.append(code)
            notes.append("")
    if at > end:
        raise IndexError("the last mark reaches beyond the end of the file")
    return samples, codes, notes


def _rhythms(marks: Marks, notes: Sequence[str], samples: int | None) -> Rhythms:
    """Intervals from rhythm changes: ``+`` with ``(AFIB`` begins one, the next or ``)`` ends it."""
    changes = [
        (int(sample), note.strip("\0 "))
        for sample, symbol, note in zip(*marks, notes, strict=True)
        if symbol == "+" and note and note[0] in "()"
    ]
    last = samples if samples is not None else int(marks.samples[-1]) + 1 if len(marks.samples) else 0
    ends = [*(sample for sample, _ in changes), last][1:]
    parts = [(at, end, note[1:]) for (at, note), end in zip(changes, ends, strict=True) if note[0] == "("]
    start, end, name = zip(*parts, strict=True) if parts else ((), (), ())
    return Rhythms(np.array(start, np.int64), np.array(end, np.int64), np.array(name, dtype=str))


def find_waves(marks: Marks, lead: str = "") -> Waves:
    """Waves of a lead from the codes ``(``, ``p``, ``N``, ``t``, ``u`` and ``)`` of PhysioNet."""
    symbols, samples = ["", *marks.symbols.tolist(), ""], [-1, *marks.samples.tolist(), -1]
    peaks = [place for place, symbol in enumerate(symbols) if symbol in _WAVE_KINDS]
    onsets = [samples[place - 1] if symbols[place - 1] == "(" else -1 for place in peaks]
    offsets = [samples[place + 1] if symbols[place + 1] == ")" else -1 for place in peaks]
    return Waves(
        np.array(onsets, np.int64),
        np.array(samples, np.int64)[peaks],
        np.array(offsets, np.int64),
        np.array([_WAVE_KINDS[symbols[place]] for place in peaks], dtype="U3"),
        np.full(len(peaks), lead),
    )
