"""Build the windows of mitdb, svdb and incartdb: 8 s each, labelled by their beats."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from tqdm import tqdm

from attribution.sources.collect import BeatWindows, cut_beats
from attribution.sources.options import BuildOptions, spread
from databases.beat_tables import INCARTDB, MITDB, SVDB, BeatSet
from databases.wfdb_reader import check_folder, read_annotations, read_header, read_leads
from preprocessing.targets.beats import (
    AAMI_CLASSES,
    AAMI_SYMBOLS,
    FLUTTER_SYMBOLS,
    REFERENCE_SYMBOLS,
    classify,
)
from preprocessing.windows import Windows
from utils.errors import DataError

SECONDS = 8
BEAT_SETS = {table.name: table for table in (MITDB, SVDB, INCARTDB)}


def build_beat_set(table: BeatSet, data_dir: str | os.PathLike, options: BuildOptions) -> Windows:
    """Cut every record into windows of 8 s and label each by its beats.

    A window is what the most frequent of its classes other than N says, else N. By default only beats count,
    the lead is taken by name, no patient crosses splits, and windows without a beat, with ventricular
    flutter, or whose ectopic beats are mostly paced or unclassifiable are left out. With ``reference`` every
    annotation counts, the lead is taken by its column, and only the last kind of window is left out (the
    reference cannot use such a window; there is none in mitdb and svdb).
    """
    folder = check_folder(data_dir, table.name)
    length = SECONDS * table.sampling_rate
    collected = BeatWindows(AAMI_CLASSES)
    records = records_at_hand(table, folder, options.limit)
    for record in tqdm(records, desc=table.name, unit="record", disable=None):
        _add_record(collected, table, folder / record, length, options.reference)
    settings = {"reference": options.reference, "window_seconds": SECONDS, "limit": options.limit}
    lead = "column 0" if options.reference and table.reference_column == 0 else table.lead
    return collected.finish(table.name, lead, table.sampling_rate, settings)


def records_at_hand(table: BeatSet, folder: Path, limit: int | None = None) -> list[str]:
    """List the records of a dataset that are in a folder, and say so where some are not."""
    wanted = (*table.train, *table.test)
    there = {path.stem for path in folder.iterdir() if path.suffix in (".hea", ".dat", ".atr")}
    found = [record for record in wanted if record in there]
    if not found:
        inside = sorted(folder.glob(f"*/{wanted[0]}.hea"))
        remedy = f"use {inside[0].parent}" if inside else "point --data_dir at the folder with its .hea files"
        raise DataError(f"{folder} has no record of {table.name} (such as {wanted[0]}.hea): {remedy}")
    if len(found) < len(wanted):
        print(f"{table.name}: {len(found)} of {len(wanted)} records are in {folder}, the others are left out")
    return [found[place] for place in spread(len(found), limit)]


def _check_patient(table: BeatSet, record: str, comments: list[str]) -> None:
    """Compare the table of patients with the header, where that names one (incartdb: ``patient 1``)."""
    found = re.search(r"\bpatient\s+(\d+)\b", " ".join(comments))
    if found and record in table.patients and int(found[1]) != int(table.patients[record]):
        raise DataError(
            f"record {record} of {table.name}: its header says patient {found[1]}, the published list says "
            f"{table.patients[record]}; download it again"
        )


def _add_record(collected: BeatWindows, table: BeatSet, path: Path, length: int, reference: bool) -> None:
    header = read_header(path, table.sampling_rate)
    _check_patient(table, path.name, header.comments)
    if reference:
        column = table.reference_column
    elif table.lead in header.sig_name:
        column = header.sig_name.index(table.lead)
    else:
        print(f"record {path.name} has no lead {table.lead} (it has {', '.join(header.sig_name)}): left out")
        return
    if column >= len(header.sig_name):
        raise DataError(f"record {path} has no column {column}: is this the right dataset?")
    annotations = read_annotations(path, "atr")
    if reference:
        kept, classes = classify(annotations.symbol.tolist(), REFERENCE_SYMBOLS, default=0)
    else:
        kept, classes = classify(annotations.symbol.tolist(), AAMI_SYMBOLS)
    if not kept.size:
        raise DataError(f"record {path}: its annotation file has no beat; download its files again")
    signal = read_leads(path, [column])[:, 0]
    flutter = annotations.sample[np.isin(annotations.symbol, list(FLUTTER_SYMBOLS))] // length
    fluttering = set() if reference else set(flutter.tolist())
    patient, split = table.patients.get(path.name, path.name), table.split_of(path.name, reference)
    shared = cut_beats(annotations.sample[kept], classes, length, len(signal) // length)
    for index, beats in enumerate(shared):
        if index in fluttering:
            collected.dropped["ventricular flutter"] += 1
        elif not reference and not len(beats):
            collected.dropped["no beat"] += 1
        elif (label := collected.label(beats)) is not None:
            start = index * length
            collected.add(path.name, patient, split, start, label, signal[start : start + length], beats)
