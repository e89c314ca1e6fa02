"""How well each R-peak detector finds the beats of three databases, and how fast.

python -m benchmarks rpeaks --mitdb data/mitdb --cpsc2019 data/cpsc2019 --ludb data/ludb

One lead of every record: the first one, lead II of LUDB. A detector that is in the file already is not run
again, so that an interrupted command continues.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.rows import DATA
from databases import Database, open_database
from preprocessing.rpeaks import detect_rpeaks, list_detectors
from utils.config import Options, option
from utils.errors import UsageError
from utils.files import read_json, write_json
from utils.rpeak_scores import cpsc2019_score, rpeak_scores

TOLERANCES_MS = (150, 75, 25)
LEADS = {"ludb": "II"}
END_S = 0.2  # beats of LUDB are annotated from the second to the last but one: nothing outside of them counts


@dataclass
class RpeakOptions(Options):
    """What ``rpeaks`` reads and where it writes."""

    mitdb: Path | None = option(None, "folder of MIT-BIH", scope="machine")
    cpsc2019: Path | None = option(None, "folder of CPSC 2019", scope="machine")
    ludb: Path | None = option(None, "folder of LUDB", scope="machine")
    detectors: list[str] = option([], "detectors (default: all)", choices=list_detectors)
    data: Path = option(DATA, "folder of the collected rows", scope="machine")


@dataclass(frozen=True)
class Lead:
    """A lead with its reference: signal (T,) in mV, peaks, and the samples between which beats count."""

    signal: np.ndarray
    peaks: np.ndarray
    span: tuple[float, float]
    patient: str


def read_lead(database: Database, record: Any) -> Lead:
    """Read the lead of a record, and its reference peaks."""
    row, annotations = database.row(record), database.annotations(record)
    lead = LEADS.get(database.name, row["leads"][0])
    signal = database.read(record, [lead]).signal[:, 0]
    if database.name != "ludb":
        return Lead(signal, annotations.beats.samples, (0, len(signal)), row["patient"])
    waves = annotations.waves
    peaks = waves.peak[(waves.kind == "QRS") & (waves.lead == lead)]
    end = END_S * row["sampling_rate"]
    span = (peaks[0] - end, peaks[-1] + end) if len(peaks) else (0.0, -1.0)
    return Lead(signal, peaks, span, row["patient"])


def measure(leads: list[Lead], rate: float, detector: str) -> dict[str, Any]:
    """Scores of a detector on all leads, and the seconds of ECG that it reads in a second of CPU time."""
    found, began = [], time.process_time()
    for lead in tqdm(leads, desc=detector, leave=False):
        found.append(detect_rpeaks(lead.signal, rate, detector))
    seconds = time.process_time() - began
    peaks, spans = [lead.peaks for lead in leads], [lead.span for lead in leads]
    patients = [lead.patient for lead in leads]
    return {
        "scores": rpeak_scores(peaks, found, rate, TOLERANCES_MS, spans, patients),
        "cpsc2019_score": float(np.mean(cpsc2019_score(peaks, found, rate))),
        "ecg_seconds_per_cpu_second": sum(len(lead.signal) for lead in leads) / rate / seconds,
    }


def run_rpeaks(options: RpeakOptions) -> Path:
    """Measure what is not in the file yet."""
    folders = {
        name: getattr(options, name) for name in ("mitdb", "cpsc2019", "ludb") if getattr(options, name)
    }
    if not folders:
        raise UsageError("name at least one database: --mitdb, --cpsc2019 or --ludb with its folder")
    path = options.data / "rpeaks.json"
    results: dict[str, Any] = read_json(path) if path.is_file() else {}
    for name, folder in folders.items():
        database = open_database(name, folder)
        leads = [read_lead(database, record) for record in database.records.index]
        rate = float(database.records["sampling_rate"].iloc[0])
        entry = results.setdefault(name, {"title": database.title, "records": len(leads), "detectors": {}})
        if entry["records"] != len(leads):
            raise UsageError(
                f"{path} was made of {entry['records']} records of {name}, {folder} has {len(leads)}: "
                "remove it"
            )
        entry["beats"] = sum(len(lead.peaks) for lead in leads)
        for detector in options.detectors or list_detectors():
            if detector not in entry["detectors"]:
                entry["detectors"][detector] = measure(leads, rate, detector)
                write_json(path, results)
    return path
