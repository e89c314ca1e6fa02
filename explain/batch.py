"""Predict many recordings: in batches, reading ahead, and resumed where an earlier run was ended."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from databases.base import Recording
from explain.along_time import write_events
from explain.attention import ask, describe_prediction, explain_recording
from explain.journal import Journal
from preprocessing.recordings.ahead import Reading, ReadingPool, read_ahead
from preprocessing.recordings.formats import result_name
from preprocessing.recordings.search import Search
from training.predictor import Predictor
from utils.ecg import NOT_A_DEVICE
from utils.errors import TwelveLeadError
from utils.files import write_json
from utils.text import printable

TABLE = "predictions"  # its ending is that of its format
FORMATS = ("csv", "parquet")
_PARTIAL = ".predictions.partial.jsonl"
FAILURES_KEPT = 100
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
        self.failures += errors[: max(0, FAILURES_KEPT - len(self.failures))]


def names_of(search: Search) -> dict[Path, Path]:
    """Name of each recording among the results: its path without ending, where no other has the same."""
    stems = Counter(map(result_name, search.recordings))
    names = {}
    for recording in search.recordings:
        short = result_name(recording)
        names[recording] = search.name(short if stems[short] == 1 else recording)
    return names


def texts_of(names: dict[Path, Path]) -> dict[Path, str]:
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
    table: str = FORMATS[0],
) -> Outcome:
    """Predict all recordings of a search into a table (csv or parquet), and prediction.json of each."""
    names = names_of(search)
    settings = settings_of(predictor, reading) | {"explained": explain}
    texts = texts_of(names)
    outcome = Outcome(len(names), results / f"{TABLE}.{table}")
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
        for part, recordings, predictions in predict_ahead(predictor, reading, todo, batch_size, workers):
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
        rows = [texts[source] for source in search.recordings]
        journal.finish(outcome.table, rows, columns_of(predictor), facts_of(predictor))
    return outcome


def settings_of(predictor: Predictor, reading: Reading) -> dict[str, Any]:
    """What predictions depend on beside the recordings."""
    # any_leads follows from the weights
    asked = {name: value for name, value in vars(reading).items() if name != "any_leads"}
    return {"weights": predictor.card.weights_sha256, "reading": asked}


def columns_of(predictor: Predictor) -> dict[str, type]:
    """Columns of the table of predictions and their types."""
    return {"record": str} | predictor.task.summary_columns() | {"warnings": str, "error": str}


def facts_of(predictor: Predictor) -> dict[str, str]:
    """What a table of predictions says of itself."""
    return {"model": predictor.card.name, "checkpoint": predictor.folder.name, "notice": NOT_A_DEVICE}


def predict_ahead(
    predictor: Predictor,
    reading: Reading,
    sources: Sequence[Path],
    batch_size: int,
    workers: int | ReadingPool,
) -> Iterator[tuple[Sequence[Path], list[Recording | str], list[Any]]]:
    """Recordings, and their predictions, or why there are none, in batches; processes read ahead."""
    for part, recordings in read_ahead(reading, sources, batch_size, workers):
        yield part, recordings, _predict_batch(predictor, recordings)


def _predict_batch(predictor: Predictor, recordings: Sequence[Recording | str]) -> list[Any]:
    """Prediction of each recording of a batch, or why there is none."""
    predictions: list[Any] = list(recordings)
    readable = [(i, in_order_of(predictor, r)) for i, r in enumerate(recordings) if isinstance(r, Recording)]
    if not readable:
        return predictions
    if predictor.task.aligned:  # recordings of any length
        for index, recording in readable:
            predictions[index] = _ask_one(predictor, recording)
        return predictions
    try:
        batch = predictor.predict(np.stack([r.signal for _, r in readable]), len(readable))
        for (index, _), prediction in zip(readable, batch, strict=True):
            predictions[index] = prediction
    except TwelveLeadError:  # of one recording: which one it is, and the predictions of the others
        for index, recording in readable:
            predictions[index] = _ask_one(predictor, recording)
    return predictions


def _ask_one(predictor: Predictor, recording: Recording) -> Any:
    """Prediction for one recording, or why there is none."""
    try:
        return ask(predictor, recording)
    except TwelveLeadError as error:
        return f"{recording.source}: {error}"


def _write_batch(
    predictor: Predictor,
    recordings: Sequence[Recording | str],
    predictions: Sequence[Any],
    folders: Sequence[Path],
    explain: bool,
    data_dir: str | None,
) -> list[dict[str, Any]]:
    """Write the files of each recording of a batch; gives its row of the table."""

    def write(folder: Path, recording: Recording, described: dict[str, Any]) -> None:
        if explain:
            explain_recording(predictor, recording, folder, described, data_dir)
        else:
            write_json(folder / "prediction.json", described, durable=False)
            write_events(predictor, described, folder)

    return [
        row_of(predictor, recording, prediction, partial(write, folder))
        for recording, prediction, folder in zip(recordings, predictions, folders, strict=True)
    ]


def row_of(
    predictor: Predictor,
    recording: Recording | str,
    prediction: Any,
    keep: Callable[[Recording, dict[str, Any]], Any] | None = None,
) -> dict[str, Any]:
    """Row of a recording in the table, whose description is given to `keep`; or why there is none."""
    if isinstance(recording, str) or isinstance(prediction, str):
        return {"error": prediction}
    recording = in_order_of(predictor, recording)
    try:
        described = describe_prediction(predictor, recording, prediction)
        row = predictor.task.summary(described)
        if warnings := [note for note in recording.notes if note.startswith("WARNING")]:
            row["warnings"] = " ".join(warnings)
        if keep is not None:
            keep(recording, described)
        return row
    except TwelveLeadError as error:
        return {"error": str(error)}
    except Exception as error:  # one unforeseen recording must not end the batch
        what = f"predicting it failed unexpectedly ({type(error).__name__}: {error})"
        return {"error": f"{recording.source}: {what}"}


def in_order_of(predictor: Predictor, recording: Recording) -> Recording:
    """The recording with its leads in the order of the model."""
    leads = tuple(predictor.leads)
    if leads == recording.leads or set(leads) != set(recording.leads):
        return recording
    order = [recording.leads.index(lead) for lead in leads]
    return replace(recording, signal=recording.signal[:, order], leads=leads)
