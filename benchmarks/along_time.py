"""What the shipped models of R-peaks and waves reach on records that they have not seen.

python -m benchmarks along_time --mitdb data/mitdb --cpsc2019 data/cpsc2019 --ludb data/ludb

R-peaks: DS2 of MIT-BIH, the first lead of whole records, with and without record 202, whose patient is that
of 201 in DS1; and all records of CPSC 2019, none of which was learned from. Waves: the test records of LUDB,
every lead, all together and by rhythm.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.rows import DATA
from databases import Database, open_database
from preprocessing import load_dataset
from preprocessing.dataset import Dataset
from preprocessing.transforms.resample import resample
from training.evaluate import predict_dataset, score
from training.long_records import find_peaks
from training.predictor import Predictor, load_predictor
from utils.config import Options, option
from utils.errors import UsageError
from utils.files import read_json, write_json
from utils.rpeak_scores import cpsc2019_score, rpeak_scores

TOLERANCES_MS = (150, 100, 75, 25)
DAY_S = 24 * 3600
MOVED = "202"  # in DS2, of the patient of record 201, which is in DS1


@dataclass
class AlongTimeOptions(Options):
    """What ``along_time`` reads and where it writes."""

    mitdb: Path | None = option(None, "folder of MIT-BIH", scope="machine")
    cpsc2019: Path | None = option(None, "folder of CPSC 2019", scope="machine")
    ludb: Path | None = option(None, "folder of LUDB", scope="machine")
    day: bool = option(
        False, "True: also measure 24 hours of two leads, records of MIT-BIH one after another"
    )
    rpeaks: str = option("rpeaks", "model that finds R-peaks")
    waves: str = option("waves", "model that finds waves")
    output_dir: str = option(".", "folder with checkpoints/", scope="machine")
    data: Path = option(DATA, "folder of the collected rows", scope="machine")


def _part(signal: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Samples of a signal that is in memory."""
    return signal[start:stop]


def peaks_of_records(
    predictor: Predictor, database: Database, records: Sequence[Any]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Reference and found peaks of the first lead of whole records, in samples at the database's rate."""
    references, found = [], []
    for record in tqdm(records, desc=database.name, leave=False, disable=None):
        row = database.row(record)
        recording = database.read(record, [row["leads"][0]])
        rate = recording.sampling_rate
        signal = resample(recording.signal, rate, predictor.sampling_rate)
        seconds = find_peaks(predictor, partial(_part, signal), len(signal))
        found.append(np.unique(np.rint(seconds * rate).astype(np.int64)))
        references.append(database.annotations(record).beats.samples)
    return references, found


def _mitdb(predictor: Predictor, folder: Path) -> dict[str, Any]:
    """Scores on DS2."""
    database = open_database("mitdb", folder)
    test = [record for record in database.records.index if database.row(record)["published_split"] == "test"]
    references, found = peaks_of_records(predictor, database, test)
    rate = float(database.records["sampling_rate"].iloc[0])
    patients = [database.row(record)["patient"] for record in test]
    kept = [index for index, record in enumerate(test) if str(record) != MOVED]

    def scores(rows: Sequence[int]) -> dict[str, Any]:
        expected, given = [references[i] for i in rows], [found[i] for i in rows]
        return rpeak_scores(expected, given, rate, TOLERANCES_MS, patients=[patients[i] for i in rows])

    each = {
        str(record): rpeak_scores([references[i]], [found[i]], rate, (100,), resamples=2)["100"]
        for i, record in enumerate(test)
    }
    return {
        "title": database.title,
        "records": len(test),
        "beats": sum(map(len, references)),
        "scores": scores(range(len(test))),
        "without_202": scores(kept),
        "by_record": {
            name: {key: row[key] for key in ("tp", "fp", "fn", "f1")} for name, row in each.items()
        },
    }


def _cpsc2019(predictor: Predictor, folder: Path) -> dict[str, Any]:
    """Scores on all records."""
    database = open_database("cpsc2019", folder)
    references, found = peaks_of_records(predictor, database, list(database.records.index))
    rate = float(database.records["sampling_rate"].iloc[0])
    each = cpsc2019_score(references, found, rate)
    rng = np.random.default_rng(0)
    means = each[rng.integers(0, len(each), (1000, len(each)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "title": database.title,
        "records": len(references),
        "beats": sum(map(len, references)),
        "scores": rpeak_scores(references, found, rate, TOLERANCES_MS),
        "cpsc2019_score": {"mean": float(each.mean()), "low": float(low), "high": float(high)},
    }


def _day(predictor: Predictor, folder: Path) -> dict[str, Any]:
    """CPU time and memory of 24 hours of two leads, and whether windows one by one give the same peaks."""
    database = open_database("mitdb", folder)
    rate = predictor.sampling_rate
    signals = [
        resample(database.read(record).signal, database.row(record)["sampling_rate"], rate)
        for record in database.records.index[:4]
    ]
    two_hours = np.concatenate(signals).astype(np.float32)
    samples = DAY_S * rate

    def read(lead: int, start: int, stop: int) -> np.ndarray:
        return two_hours[np.arange(start, stop) % len(two_hours), lead : lead + 1]

    hour = partial(read, 0)
    together = find_peaks(predictor, hour, 3600 * rate)
    alone = find_peaks(predictor, hour, 3600 * rate, batch=1)
    before, began = peak_memory_mb(), time.process_time()
    found = [len(find_peaks(predictor, partial(read, lead), samples)) for lead in (0, 1)]
    return {
        "hours": DAY_S / 3600,
        "leads": 2,
        "peaks": found,
        "cpu_minutes": (time.process_time() - began) / 60,
        "peak_memory_mb": peak_memory_mb(),
        "memory_of_an_hour_mb": before,
        "largest_difference_of_an_hour_s": (
            float(np.abs(together - alone).max()) if len(together) == len(alone) else None
        ),
    }


def peak_memory_mb() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _ludb(predictor: Predictor, folder: Path) -> dict[str, Any]:
    """Scores on the test records, all together and by rhythm."""
    test = load_dataset("ludb", folder, predictor.card.task, predictor.sampling_rate).split("test")
    predictions = predict_dataset(predictor, test, 64)
    database = open_database("ludb", folder)
    rhythms = np.array([_rhythm(database, record) for record in test.ids.tolist()])
    by_rhythm = {}
    for name in sorted(set(rhythms.tolist())):
        rows = np.flatnonzero(rhythms == name)
        by_rhythm[name] = _report(predictor, test.take(rows), predictions[rows])
    return {"title": database.title, "all": _report(predictor, test, predictions), "by_rhythm": by_rhythm}


def _rhythm(database: Database, record: str) -> str:
    table: Any = database.table  # type: ignore[attr-defined]
    return str(table.loc[int(record), "Rhythms"]).strip()


def _report(predictor: Predictor, part: Dataset, predictions: np.ndarray) -> dict[str, Any]:
    report = score(predictor, part, predictions)
    patients = len(np.unique(part.patients))
    return {"records": patients, "leads": len(part), **report}


def run_along_time(options: AlongTimeOptions) -> Path:
    """Measure the shipped models on the databases whose folders are given."""
    path = options.data / "along_time.json"
    results: dict[str, Any] = read_json(path) if path.is_file() else {}
    parts = (
        ("mitdb", options.rpeaks, options.mitdb, _mitdb),
        ("cpsc2019", options.rpeaks, options.cpsc2019, _cpsc2019),
        ("ludb", options.waves, options.ludb, _ludb),
        ("day", options.rpeaks, options.mitdb if options.day else None, _day),
    )
    if not any(folder for _, _, folder, _ in parts):
        raise UsageError("name at least one database: --mitdb, --cpsc2019 or --ludb with its folder")
    for name, model, folder, measure in parts:
        if folder is None:
            continue
        predictor = load_predictor(model, options.output_dir)
        before = results.get(name, {})
        same = before.get("weights_sha256") == predictor.card.weights_sha256
        results[name] = {
            "model": model,
            "parameters": sum(p.numel() for p in predictor.model.parameters()),
            "weights_sha256": predictor.card.weights_sha256,
            "command": predictor.card.provenance.command,
            "chosen_on": predictor.card.outputs.chosen_on,
            "decision": predictor.decision,
            "times_scored": before.get("times_scored", 0) + 1 if same else 1,
            **measure(predictor, folder),
        }
        write_json(path, results)
    return path
