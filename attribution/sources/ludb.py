"""Windows of LUDB: its records of 12 leads and 10 s, with P, QRS and T waves as ground truth."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
from tqdm import tqdm

from attribution.sources.options import BuildOptions, spread
from databases.ludb import FINDINGS, Ludb, finding_lines
from databases.wfdb_files import UNITS_PER_MV, to_int16
from preprocessing.signals import ScaledSignals
from preprocessing.transforms.resample import resample
from preprocessing.windows import Regions, Windows
from utils.ecg import LEADS
from utils.errors import DataError

logger = logging.getLogger(__name__)

SAMPLES = 5000
CLASSES = ("CD", "HYP", "MI", "NORM", "STTC")  # PTB-XL's superclasses
WAVES = ("P", "QRS", "T")

_RHYTHM, _AXIS, _CONDUCTION, _, _HYPERTROPHY, _, _ISCHEMIA, _REPOLARIZATION, _ = FINDINGS
_NORMAL_RHYTHM = {"sinus rhythm", "sinus arrhythmia"}
_NORMAL_AXIS = {f"electric axis of the heart: {axis}" for axis in ("normal", "vertical", "horizontal")}


def build_ludb(database: Ludb, options: BuildOptions) -> Windows:
    """Take every record, all as test data.

    The beats at both ends of a record (the first and last second or so) are not annotated: a map that points
    at one of them is scored as if it were wrong. Waves without both onset and offset are left out.
    """
    records = list(database.records.index)
    records = [records[place] for place in spread(len(records), options.limit)]
    rate = options.sampling_rate or 100
    signals, waves, incomplete = [], [], 0
    for row, record in enumerate(tqdm(records, desc="ludb", unit="record", disable=None)):
        signals.append(_read_signal(database, record, rate))
        annotated = database.annotations(record).waves
        whole = (annotated.onset >= 0) & (annotated.offset >= 0)
        incomplete += int((~whole).sum())
        start = np.rint(annotated.onset[whole] * rate / database.sampling_rate).astype(np.int64)
        last = np.rint(annotated.offset[whole] * rate / database.sampling_rate).astype(np.int64)
        column = [LEADS.index(name) for name in annotated.lead[whole].tolist()]
        stop = np.minimum(last + 1, len(signals[-1]))
        waves.append((np.full(len(column), row), column, start, stop, annotated.kind[whole]))
    if incomplete:
        logger.info(f"ludb: {incomplete} waves without an onset or offset are left out")
    window, lead, start, stop, kind = (np.concatenate(parts) for parts in zip(*waves, strict=True))
    if not len(window):
        raise DataError(f"{database.root}: no annotation file marks a whole wave; download the files again")
    return Windows(
        signals=ScaledSignals(np.stack(signals), units_per_mv=UNITS_PER_MV),
        targets=superclasses(database.table.loc[[int(record) for record in records]]),
        classes=list(CLASSES),
        ids=np.array(records),
        patients=np.array(records),  # every record is of another person
        splits=np.full(len(records), "test"),
        sampling_rate=rate,
        task="ludb",
        leads=LEADS,
        name="ludb",
        starts=np.zeros(len(records), dtype=np.int64),
        settings={"reference": False, "limit": options.limit, "incomplete_waves": incomplete},
        regions=Regions(window, np.full_like(window, -1), lead, start, stop, kind),
        ground_truths=WAVES,
    )


def _read_signal(database: Ludb, record: str, rate: int) -> np.ndarray:
    """Samples (T, 12) in microvolts at `rate` Hz."""
    signal = database.read(record, LEADS, dtype=np.float64).signal
    if len(signal) != SAMPLES:
        raise DataError(
            f"record {record} of ludb has {len(signal)} samples, not {SAMPLES}; download its files again"
        )
    try:
        return to_int16(resample(signal, database.sampling_rate, rate))
    except DataError as error:
        raise DataError(f"record {record} of ludb: {error}") from error


def superclasses(table: pd.DataFrame) -> np.ndarray:
    """Map LUDB's findings to PTB-XL's superclasses, as far as they have plain counterparts.

    CD: any conduction abnormality. HYP: hypertrophy of a ventricle or atrium, and atrial overload (PTB-XL's
    LAO/LAE and RAO/RAE). MI: STEMI or scar. STTC: ischemia, or non-specific repolarization abnormality.
    NORM: sinus rhythm or sinus arrhythmia, an axis that does not deviate, and no other finding. No label
    comes from what has no plain counterpart: rhythm, axis, pacing, extrasystoles, overload of a ventricle,
    and "undefined ischemia/scar/supp. NSTEMI", which may be MI or STTC.

    Returns shape (N, 5).
    """
    labels = np.zeros((len(table), len(CLASSES)), dtype=np.uint8)
    for row, cells in enumerate(table[list(FINDINGS)].to_dict("records")):
        findings = {column: finding_lines(cell) for column, cell in cells.items()}
        rhythm, ischemia = set(findings[_RHYTHM]), findings[_ISCHEMIA]
        labels[row] = (
            bool(findings[_CONDUCTION]),
            any("hypertrophy" in s or "atrial overload" in s for s in findings[_HYPERTROPHY]),
            any(s.startswith(("stemi", "scar")) for s in ischemia),
            bool(rhythm)
            and rhythm <= _NORMAL_RHYTHM
            and set(findings[_AXIS]) <= _NORMAL_AXIS
            and not any(findings[column] for column in FINDINGS[2:]),
            bool(findings[_REPOLARIZATION]) or any(s.startswith("ischemia") for s in ischemia),
        )
    return labels
