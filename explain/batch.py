"""Predict many recordings: in batches, reading ahead, and resumed where an earlier run was ended."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from databases.base import Recording
from explain.attention import describe_prediction, explain_recording
from preprocessing.recordings.ahead import Reading, read_ahead
from preprocessing.recordings.search import Search
from training.predictor import Predictor
from utils.errors import TwelveLeadError
from utils.files import atomic_path, jsonable, write_error, write_json
from utils.tables import csv_text
from utils.text import printable

TABLE = "predictions.csv"
_PARTIAL = ".predictions.partial.jsonl"
_ROWS_AT_ONCE = 1000
_FAILURES_KEPT = 100
logger = logging.getLogger(__name__)


@dataclass
class Outcome:
    """How a batch has ended: number of recordings, the table, how many failed, and why the first ones did."""

    recordings: int
    table: Path
    failed: int = 0
    failures: list[str] = field(default_factory=list)

    def count(self, rows: Sequence[dict[str, Any]]) -> None:
        """Count the rows that tell of a failure."""
        errors = [row["error"] for row in rows if "error" in row]
        self.failed += len(errors)
        self.failures += errors[: max(0, _FAILURES_KEPT - len(self.failures))]


class Journal:
    """Rows of recordings that are done, appended to a file: a kill loses the running batch alone.

    ``settings``: what the rows depend on; rows of other settings are not taken over.
    """

    def __init__(self, path: Path, settings: dict[str, Any]):
        self.path = path
        self.columns: dict[str, None] = {"record": None}
        self._offsets: dict[str, int] = {}  # of the line of each record: the rows themselves stay on disk
        self._stamps: dict[str, str] = {}  # of recordings that an earlier run has predicted
        head = json.dumps(jsonable(settings), sort_keys=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            valid = self._read(head)
            self._file = open(path, "r+b" if valid else "wb")  # noqa: SIM115 (closed on exit)
            self._file.truncate(valid)
            self._file.seek(valid)
            if not valid:
                self._file.write(head.encode() + b"\n")
        except OSError as error:
            raise write_error(path, error) from error

    def _read(self, head: str) -> int:
        """Take the rows of an earlier run with the same settings; returns the length of the valid lines."""
        if not self.path.is_file():
            return 0
        valid = 0
        with open(self.path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n") or (not valid and line != head.encode() + b"\n"):
                    break
                try:
                    if valid:
                        entry = json.loads(line)
                        self._note(entry["row"], valid)
                        if not entry["row"].get("error"):  # a missing file may be there now
                            self._stamps[entry["row"]["record"]] = entry["stamp"]
                except (ValueError, KeyError, TypeError):  # half a line, or another damage
                    break
                valid += len(line)
        return valid

    def _note(self, row: dict[str, Any], offset: int) -> None:
        self._offsets[row["record"]] = offset
        self.columns |= dict.fromkeys(row)

    def holds(self, name: str, source: Path) -> bool:
        """Whether a recording was predicted before, and its file is unchanged."""
        return name in self._stamps and self._stamps[name] == _stamp(source)

    def append(self, rows: Sequence[tuple[Path, dict[str, Any]]]) -> None:
        """Keep the rows of a batch."""
        try:
            for source, row in rows:
                entry = {"stamp": _stamp(source), "row": row}
                self._note(row, self._file.tell())
                self._file.write(json.dumps(jsonable(entry)).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise write_error(self.path, error) from error

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows of recordings, in their order."""
        self._file.flush()
        with open(self.path, "rb") as file:
            for name in names:
                file.seek(self._offsets[name])
                yield json.loads(file.readline())["row"]

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def finish(self, path: Path, names: Sequence[str]) -> None:
        """Write the table of all recordings, and remove the journal."""
        columns = [*(name for name in self.columns if name not in ("warnings", "error")), "warnings", "error"]
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            for first in range(0, len(names), _ROWS_AT_ONCE):
                rows = list(self.rows(names[first : first + _ROWS_AT_ONCE]))
                text = csv_text(pd.DataFrame(rows, columns=columns, dtype=object))
                file.write(text if not first else text.partition("\n")[2])
        self._file.close()
        self.path.unlink(missing_ok=True)


def _stamp(source: Path) -> str:
    """Size and time of a file and of the signal file beside it."""
    stamps = []
    for path in (source, source.with_suffix(".dat"), source.with_suffix(".mat")):
        try:
            status = path.stat()
        except (OSError, ValueError):
            continue
        stamps.append(f"{path.suffix} {status.st_size} {status.st_mtime_ns}")
    return ", ".join(stamps)


def names_of(search: Search) -> dict[Path, Path]:
    """Name of each recording among the results: its path without ending, where no other has the same."""
    stems = Counter(recording.with_suffix("") for recording in search.recordings)
    names = {}
    for recording in search.recordings:
        name = search.name(recording)
        names[recording] = name.with_suffix("") if stems[recording.with_suffix("")] == 1 else name
    return names


def _rows_of(names: dict[Path, Path]) -> dict[Path, str]:
    """Name of each recording in the table; those that look alike there are numbered."""
    counts: Counter[str] = Counter()
    texts = {}
    for source, name in names.items():
        text = printable(str(name))
        counts[text] += 1
        texts[source] = text if counts[text] == 1 else f"{text} ({counts[text]})"
    return texts


def predict_many(
    predictor: Predictor,
    search: Search,
    results: Path,
    reading: Reading,
    explain: bool = True,
    batch_size: int = 32,
    workers: int = 0,
    data_dir: str | None = None,
) -> Outcome:
    """Predict all recordings of a search into a table, and prediction.json of each."""
    names = names_of(search)
    settings = {"weights": predictor.card.weights_sha256, "reading": vars(reading), "explained": explain}
    texts = _rows_of(names)
    outcome = Outcome(len(names), results / TABLE)
    with Journal(results / _PARTIAL, settings) as journal, ThreadPoolExecutor(1) as writer:
        todo = [source for source in search.recordings if not journal.holds(texts[source], source)]
        done = len(names) - len(todo)
        if done:
            logger.info(f"resumed: {done} of {len(names)} recordings were predicted before")
        bar = tqdm(total=len(names), initial=done, desc="recordings", unit="ECG", disable=None)

        def keep(part: Sequence[Path], rows: Sequence[dict[str, Any]]) -> None:
            journal.append([(s, {"record": texts[s]} | row) for s, row in zip(part, rows, strict=True)])
            outcome.count(rows)
            bar.update(len(part))

        writing: tuple[Sequence[Path], Future] | None = None
        for part, recordings in read_ahead(reading, todo, batch_size, workers):
            predictions = _predict_batch(predictor, recordings)
            if writing is not None:
                keep(writing[0], writing[1].result())
            folders = [results / names[source] for source in part]
            writing = (
                part,
                writer.submit(_write_batch, predictor, recordings, predictions, folders, explain, data_dir),
            )
            if explain:  # two threads must not ask a model at once; files alone are written meanwhile
                writing[1].result()
        if writing is not None:
            keep(writing[0], writing[1].result())
        bar.close()
        journal.finish(results / TABLE, [texts[source] for source in search.recordings])
    return outcome


def _predict_batch(predictor: Predictor, recordings: Sequence[Recording | str]) -> list[Any]:
    """Prediction of each recording of a batch, or why there is none."""
    predictions: list[Any] = list(recordings)
    readable = [(i, in_order_of(predictor, r)) for i, r in enumerate(recordings) if isinstance(r, Recording)]
    if not readable:
        return predictions
    try:
        batch = predictor.predict(np.stack([r.signal for _, r in readable]), len(readable))
        for (index, _), prediction in zip(readable, batch, strict=True):
            predictions[index] = prediction
    except TwelveLeadError:  # of one recording: which one it is, and the predictions of the others
        for index, recording in readable:
            try:
                (predictions[index],) = predictor.predict(recording.signal[None])
            except TwelveLeadError as error:
                predictions[index] = f"{recording.source}: {error}"
    return predictions


def _write_batch(
    predictor: Predictor,
    recordings: Sequence[Recording | str],
    predictions: Sequence[Any],
    folders: Sequence[Path],
    explain: bool,
    data_dir: str | None,
) -> list[dict[str, Any]]:
    """Write the files of each recording of a batch; gives its row of the table."""
    rows = []
    for recording, prediction, folder in zip(recordings, predictions, folders, strict=True):
        if isinstance(recording, str) or isinstance(prediction, str):
            rows.append({"error": prediction})
            continue
        recording = in_order_of(predictor, recording)
        try:
            described = describe_prediction(predictor, recording, prediction)
            row = predictor.task.summary(described)
            if warnings := [note for note in recording.notes if note.startswith("WARNING")]:
                row["warnings"] = " ".join(warnings)
            if explain:
                explain_recording(predictor, recording, folder, described, data_dir)
            else:
                write_json(folder / "prediction.json", described, durable=False)
        except TwelveLeadError as error:
            row = {"error": str(error)}
        except Exception as error:  # one unforeseen recording must not end the batch
            what = f"predicting it failed unexpectedly ({type(error).__name__}: {error})"
            row = {"error": f"{recording.source}: {what}"}
        rows.append(row)
    return rows


def in_order_of(predictor: Predictor, recording: Recording) -> Recording:
    """The recording with its leads in the order of the model."""
    leads = tuple(predictor.leads)
    if leads == recording.leads or set(leads) != set(recording.leads):
        return recording
    order = [recording.leads.index(lead) for lead in leads]
    return replace(recording, signal=recording.signal[:, order], leads=leads)
