"""Target sets of LUDB's waves: background, P, QRS or T for every sample, `IGNORED` where nobody looked.

``waves``: one mask for the twelve leads together, int8 (N, T). ``waves_by_lead``: every lead is a record of
one lead, with its own mask. Cardiologists left the beats at both ends of a record unmarked, so what precedes
the first and follows the last mark of a lead is ignored, as is the side of a peak without a boundary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from databases import Database, Waves
from preprocessing.targets.masks import ignore_outside, scaled
from preprocessing.targets.records import of_records
from preprocessing.targets.registry import IGNORED, TargetOptions, Targets, register_targets
from utils.ecg import LEADS

CLASSES = ["background", "P", "QRS", "T"]
UNMARKED_S = 0.12  # how far a wave may reach on the side of a boundary that is not marked
LUDB_NAMES = {"train": "all but records 61-100", "val": "records 61-70", "test": "records 71-100"}


def ludb_splits(records: Iterable[Any]) -> np.ndarray:
    """Split of each record of LUDB, by its number; every record is of another person."""
    numbers = np.array([int(record) for record in records])
    return np.select(
        [(numbers > 70) & (numbers <= 100), (numbers > 60) & (numbers <= 70)], ["test", "val"], "train"
    )


def _of_lead(waves: Waves, lead: str) -> Waves:
    return Waves(*(column[waves.lead == lead] for column in waves))


def annotated_spans(waves: Waves) -> np.ndarray:
    """First sample and the one after the last that are annotated, of each lead with waves, (leads, 2)."""
    spans = []
    for lead in dict.fromkeys(waves.lead.tolist()):
        marks = np.concatenate(_of_lead(waves, lead)[:3])
        spans.append((marks[marks >= 0].min(), marks.max() + 1))
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def merged_peaks(waves: Waves, apart: float) -> np.ndarray:
    """Peaks of the QRS complexes that at least half of the leads show: the median over them.

    ``apart``: samples between the peaks of two beats, at least.
    """
    peaks = np.sort(waves.peak[waves.kind == "QRS"])
    least = len(set(waves.lead.tolist())) / 2
    groups = np.split(peaks, np.flatnonzero(np.diff(peaks) > apart) + 1)
    return np.array([int(np.median(group)) for group in groups if len(group) >= max(least, 1)], np.int64)


def lead_mask(waves: Waves, samples: int, source_rate: float, rate: float) -> np.ndarray:
    """Class of each sample by the waves of one lead; int8 (samples,)."""
    mask = np.zeros(samples, dtype=np.int8)
    if not len(waves.peak):
        return np.full(samples, IGNORED, dtype=np.int8)
    ((first, last),) = scaled(
        annotated_spans(waves._replace(lead=np.full(len(waves.peak), ""))), source_rate, rate
    )
    onset, peak, offset = (scaled(column, source_rate, rate) for column in waves[:3])
    reach = round(UNMARKED_S * rate)
    for kind, begin, middle, end in zip(waves.kind.tolist(), onset, peak, offset, strict=True):
        if kind not in CLASSES:  # U waves belong to the background
            continue
        if begin < 0 or end < 0:
            part = mask[
                max(0, middle - reach if begin < 0 else begin) : middle + reach if end < 0 else end + 1
            ]
            part[part == 0] = IGNORED
        if begin >= 0 and end >= 0:
            mask[begin : end + 1] = CLASSES.index(kind)
        elif begin >= 0:
            mask[begin : middle + 1] = CLASSES.index(kind)
        elif end >= 0:
            mask[middle : end + 1] = CLASSES.index(kind)
    return ignore_outside(mask, first, last)


def merge(masks: np.ndarray) -> np.ndarray:
    """One mask for all leads: what most of the leads show that are annotated there.

    Ignored where less than half of the leads are annotated; of classes that equally many leads show the first
    counts.

    Shapes: masks (leads, T) -> (T,).
    """
    votes = np.stack([(masks == number).sum(axis=0) for number in range(len(CLASSES))])
    merged = votes.argmax(axis=0).astype(np.int8)
    merged[2 * votes.sum(axis=0) < len(masks)] = IGNORED
    return merged


def _masks(database: Database, options: TargetOptions) -> np.ndarray:
    """Masks of every record and lead, (records, 12, T)."""
    records, rate = database.records, options.sampling_rate
    waves = of_records(database, records.index, lambda record: database.annotations(record).waves, "waves")
    masks = np.empty((len(waves), len(LEADS), options.samples), dtype=np.int8)
    for row, (found, source) in enumerate(zip(waves, records["sampling_rate"], strict=True)):
        for column, lead in enumerate(LEADS):
            masks[row, column] = lead_mask(_of_lead(found, lead), options.samples, source, rate)
    return masks


def _merged(database: Database, options: TargetOptions) -> Targets:
    masks = _masks(database, options)
    values = np.stack([merge(of_record) for of_record in masks])
    splits = ludb_splits(database.records.index)
    return Targets(np.arange(len(values)), values, CLASSES, splits, LUDB_NAMES)


def _by_lead(database: Database, options: TargetOptions) -> Targets:
    masks = _masks(database, options)
    count, leads, _ = masks.shape
    return Targets(
        np.repeat(np.arange(count), leads),
        masks.reshape(count * leads, -1),
        CLASSES,
        np.repeat(ludb_splits(database.records.index), leads),
        LUDB_NAMES,
        starts=np.zeros(count * leads, dtype=np.int64),
        leads=np.tile(LEADS, count),
        channels=("ECG",),
    )


_RATE = 500
register_targets("waves", kind="waves", build=_merged, databases=("ludb",), sampling_rate=_RATE)
register_targets(
    "waves_by_lead",
    kind="waves",
    build=_by_lead,
    databases=("ludb",),
    sampling_rate=_RATE,
    seconds=10,
    windows=True,
)
