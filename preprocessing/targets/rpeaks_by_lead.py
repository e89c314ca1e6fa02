"""R-peaks lead by lead: ``qrs_by_lead``, for detectors that read one lead, whichever it is.

Values are those of ``qrs_detection`` (`preprocessing.targets.rpeaks`): int8 (N, T // reduction, 1).
"""

from __future__ import annotations

import numpy as np

from databases import Database
from preprocessing.targets.masks import scaled, window_starts
from preprocessing.targets.records import of_records
from preprocessing.targets.registry import TargetOptions, Targets, register_targets
from preprocessing.targets.rpeaks import Peaks, flutter_gaps, windows
from preprocessing.targets.waves import LUDB_NAMES, ludb_splits
from utils.ecg import LEADS

OPTIONS = {"tolerance": 0.05, "reduction": 1}
END_S = 0.2  # how far before the first and behind the last marked peak of LUDB there is no other one
MOVED = "202"  # of MIT-BIH: the patient of 201, who is learned from, in a record that DS2 tests
MITDB_NAMES = {"train": "DS1", "val": "4 patients of DS1", "test": "DS2 without 202"}


def _by_lead(one: Targets, leads: np.ndarray, splits: np.ndarray, names: dict[str, str]) -> Targets:
    """Targets of windows of which each is of one lead."""
    return Targets(
        one.rows, one.values, one.classes, splits, names,
        starts=one.starts, leads=leads, channels=("ECG",), beats=one.beats,
    )  # fmt: skip


def _mitdb(database: Database, options: TargetOptions) -> Targets:
    """Every lead of every record but 202; one lead after the other."""
    records, rate = database.records, options.sampling_rate
    kept = [record for record in records.index if str(record) != MOVED]
    annotated = of_records(database, kept, database.annotations, "beats")
    peaks, lengths, rows, leads = [], [], [], []
    for record, found in zip(kept, annotated, strict=True):
        row, samples = records.index.get_loc(record), database.samples(record)
        source = records["sampling_rate"].iloc[row]
        length = -int(-samples * rate // source)
        gaps = scaled(np.array(flutter_gaps(found, samples)).reshape(-1, 2), source, rate).tolist()
        one = Peaks(scaled(found.beats.samples, source, rate), 0, length, [(a, b) for a, b in gaps])
        for lead in records["leads"].iloc[row]:
            peaks.append(one)
            lengths.append(length)
            rows.append(row)
            leads.append(lead)
    return _windows_of(database, peaks, lengths, rows, leads, options, MITDB_NAMES)


def _ludb(database: Database, options: TargetOptions) -> Targets:
    """Every lead of every record, with the peaks that were marked in it."""
    records, rate = database.records, options.sampling_rate
    delineated = of_records(
        database, records.index, lambda record: database.annotations(record).waves, "waves"
    )
    peaks, lengths, rows, leads = [], [], [], []
    for row, (waves, source) in enumerate(zip(delineated, records["sampling_rate"], strict=True)):
        length = -int(-database.samples(records.index[row]) * rate // source)
        for lead in LEADS:
            marked = np.sort(waves.peak[(waves.kind == "QRS") & (waves.lead == lead)])
            samples, end = scaled(marked, source, rate), round(END_S * rate)
            span = (int(samples[0]) - end, int(samples[-1]) + end + 1) if len(samples) else (0, 0)
            peaks.append(Peaks(samples, *span, []))
            lengths.append(length)
            rows.append(row)
            leads.append(lead)
    return _windows_of(database, peaks, lengths, rows, leads, options, LUDB_NAMES)


def _windows_of(
    database: Database,
    peaks: list[Peaks],
    lengths: list[int],
    rows: list[int],
    leads: list[str],
    options: TargetOptions,
    names: dict[str, str],
) -> Targets:
    """Targets of the windows of some leads, each with the row of its record."""
    cut = windows(peaks, lengths, options)
    counts = [len(window_starts(length, options.samples, options.samples)) for length in lengths]
    of_window = np.repeat(np.array(rows), counts)
    numbers = database.records.index
    official = ludb_splits(numbers) if database.name == "ludb" else database.records["split"].to_numpy()
    one = Targets(of_window, cut.values, cut.classes, starts=cut.starts, beats=cut.beats)
    return _by_lead(one, np.repeat(np.array(leads), counts), official[of_window].astype(str), names)


for _name, _build in (("mitdb", _mitdb), ("ludb", _ludb)):
    register_targets(
        "qrs_by_lead",
        kind="rpeaks",
        build=_build,
        databases=(_name,),
        options=OPTIONS,
        sampling_rate=100,
        seconds=10,
        windows=True,
    )
