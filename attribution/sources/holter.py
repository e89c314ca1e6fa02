"""Windows of long recordings, 8 s of one lead, labeled by their beats: mitdb, svdb, incartdb, icentia11k.

The study used a file of Icentia11k of its author, made in an unpublished way.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from tqdm import tqdm

from attribution.sources.options import BuildOptions, spread
from databases.icentia11k import Icentia11k
from databases.wfdb_database import HolterDatabase
from preprocessing.beat_windows import BeatWindows, cut_beats
from preprocessing.targets.beats import (
    AAMI_CLASSES,
    AAMI_SYMBOLS,
    FLUTTER_SYMBOLS,
    REFERENCE_SYMBOLS,
    classify,
)
from preprocessing.windows import Windows
from utils.errors import DataError

logger = logging.getLogger(__name__)

SECONDS = 8
LEADS = {"mitdb": "MLII", "svdb": "ECG1", "incartdb": "II"}
REFERENCE_COLUMNS = {"mitdb": 0, "svdb": 0, "incartdb": 1}


def build_holter(database: HolterDatabase, options: BuildOptions) -> Windows:
    """Cut every record into windows of 8 s and label each by its beats.

    A window has the most frequent of its classes other than N, else N. By default only beats count, the lead
    is taken by name, no patient crosses splits, and windows without a beat, with ventricular flutter, or
    whose ectopic beats are mostly paced or unclassifiable are left out. With ``reference`` every annotation
    counts, the lead is taken by its column, and only the last kind of window is left out (the reference
    cannot use such a window; mitdb and svdb have none).
    """
    collected = BeatWindows(AAMI_CLASSES)
    records = database.records
    selected = records.iloc[spread(len(records), options.limit)].to_dict("index")
    for record, row in tqdm(selected.items(), desc=database.name, unit="record", disable=None):
        _add_record(collected, database, record, row, options.reference)
    settings = {"reference": options.reference, "window_seconds": SECONDS, "limit": options.limit}
    first_column = options.reference and REFERENCE_COLUMNS[database.name] == 0
    lead = "column 0" if first_column else LEADS[database.name]
    return collected.finish(database.name, lead, database.sampling_rate, settings)


def _add_record(
    collected: BeatWindows, database: HolterDatabase, record: str, row: dict[str, Any], reference: bool
) -> None:
    path, leads, lead = database.root / record, row["leads"], LEADS[database.name]
    if reference:
        column = REFERENCE_COLUMNS[database.name]
        if column >= len(leads):
            raise DataError(f"record {path} has no column {column}: is this the right dataset?")
        lead = leads[column]
    elif lead not in leads:
        logger.info(f"record {record} has no lead {lead} (it has {', '.join(leads)}): left out")
        return
    marks = database.annotations(record).marks
    symbols = marks.symbols.tolist()
    kept, classes = classify(symbols, REFERENCE_SYMBOLS, 0) if reference else classify(symbols, AAMI_SYMBOLS)
    if not kept.size:
        raise DataError(f"record {path}: its annotation file has no beat; download its files again")
    length = SECONDS * database.sampling_rate
    signal = database.read(record, [lead], dtype=np.float64).signal[:, 0]
    flutter = set((marks.samples[np.isin(marks.symbols, list(FLUTTER_SYMBOLS))] // length).tolist())
    split = row["published_split" if reference else "split"]
    windows = cut_beats(marks.samples[kept], classes, length, len(signal) // length)
    for index, beats in enumerate(windows):
        if index in flutter and not reference:
            collected.dropped["ventricular flutter"] += 1
        elif not reference and not len(beats):
            collected.dropped["no beat"] += 1
        elif (label := collected.label(beats)) is not None:
            start = index * length
            part = signal[start : start + length]
            collected.add(record, row["patient"], split, start, label, part, beats)


ICENTIA11K_CLASSES = ("normal", "pac", "pvc")
# S: ectopic supraventricular beat (PAC). An aberrated beat (a) or an undefined one (Q) belongs to none of the
# classes. Rhythm marks (+) are not beats.
ICENTIA11K_SYMBOLS = {"N": 0, "S": 1, "V": 2, "a": 3, "Q": 3}


def build_icentia11k(database: Icentia11k, options: BuildOptions) -> Windows:
    """Cut windows of 8 s and choose some of every patient, evenly over the classes and over time.

    Of each patient at most ``windows_per_patient`` windows are taken: equally many of each class while there
    are any, at even distances in time. So the classes are far more balanced than in practice: predictive
    values do not carry over.
    """
    records = database.records
    segments = {patient: list(rows.index) for patient, rows in records.groupby("patient", sort=True)}
    patients = list(segments)
    selected = [patients[place] for place in spread(len(patients), options.limit)]
    split = dict(zip(records["patient"], records["split"], strict=True))
    collected = BeatWindows(ICENTIA11K_CLASSES)
    for patient in tqdm(selected, desc="icentia11k", unit="patient", disable=None):
        for record, start, label, beats in _choose(collected, database, segments[patient], options):
            stop = start + SECONDS * database.sampling_rate
            signal = database.read(record, None, start, stop, dtype=np.float64).signal[:, 0]
            collected.add(record, patient, split[patient], start, label, signal, beats)
    settings = {
        "reference": False,
        "window_seconds": SECONDS,
        "limit": options.limit,
        "windows_per_patient": options.windows_per_patient,
    }
    return collected.finish("icentia11k", "ECG", database.sampling_rate, settings)


def share(available: list[int], total: int) -> list[int]:
    """Divide a total evenly among classes, as far as each has windows."""
    given = [0] * len(available)
    order = sorted(range(len(available)), key=available.__getitem__)  # the rarest first
    for done, place in enumerate(order):
        given[place] = min(available[place], -(-total // (len(order) - done)))
        total -= given[place]
    return given


def _choose(
    collected: BeatWindows, database: Icentia11k, segments: list[str], options: BuildOptions
) -> list[tuple[str, int, int, np.ndarray]]:
    """Windows of one patient: record, first sample, class, beats (m, 2)."""
    length = SECONDS * database.sampling_rate
    candidates: list[list[tuple[str, int, int, np.ndarray]]] = [[] for _ in ICENTIA11K_CLASSES]
    for record in segments:
        samples = database.header(record).samples or 0
        marks = database.annotations(record).marks
        kept, classes = classify(marks.symbols.tolist(), ICENTIA11K_SYMBOLS)
        windows = cut_beats(marks.samples[kept], classes, length, samples // length)
        for index, beats in enumerate(windows):
            if not len(beats):
                collected.dropped["no beat"] += 1
            elif (label := collected.label(beats)) is not None:
                candidates[label].append((record, index * length, label, beats))
    numbers = share([len(windows) for windows in candidates], options.windows_per_patient)
    return [
        windows[place]
        for windows, number in zip(candidates, numbers, strict=True)
        if number
        for place in spread(len(windows), number)
    ]
