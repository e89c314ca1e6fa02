"""Take LUDB as windows: 12 leads of 10 s in which cardiologists marked P waves, QRS complexes and T waves.

Kalyakulina et al., LUDB: a new open-access validation tool for electrocardiogram delineation algorithms, IEEE
Access 8, 186181 (2020), doi:10.1109/ACCESS.2020.3029211; files at doi:10.13026/eegm-h675: ``ludb.csv`` and
``data/1.hea``, ``1.dat``, and one annotation file a lead (``1.i``, ``1.ii``, ... ``1.v6``).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from attribution.sources.options import BuildOptions, spread
from databases.wfdb_files import UNITS_PER_MV, to_int16
from databases.wfdb_reader import Annotations, check_folder, read_annotations, read_header, read_leads
from preprocessing.signals import ScaledSignals
from preprocessing.transforms.resample import resample
from preprocessing.windows import Regions, Windows
from utils.ecg import LEADS
from utils.errors import DataError, UsageError

SAMPLING_RATE = 500
SAMPLES = 5000
CLASSES = ("CD", "HYP", "MI", "NORM", "STTC")  # PTB-XL's superclasses
WAVES = {"p": "P", "N": "QRS", "t": "T"}

_AXIS, _CONDUCTION, _HYPERTROPHY = "Electric axis of the heart", "Conduction abnormalities", "Hypertrophies"
_ISCHEMIA, _REPOLARISATION = "Ischemia", "Non-specific repolarization abnormalities"
_FINDINGS = (_CONDUCTION, "Extrasystolies", _HYPERTROPHY, "Cardiac pacing", _ISCHEMIA, _REPOLARISATION)
_NORMAL_RHYTHM = {"sinus rhythm", "sinus arrhythmia"}
_NORMAL_AXIS = {f"electric axis of the heart: {axis}" for axis in ("normal", "vertical", "horizontal")}


def build_ludb(data_dir: str | os.PathLike, options: BuildOptions) -> Windows:
    """Take every record, all as test data.

    The beats at both ends of a record are not annotated (the first and last second or so): a map that points
    at one of them is scored as if it were wrong. Waves without both on- and offset are left out.
    """
    if options.reference:
        raise UsageError("the study has no ludb: leave out --reference")
    folder = check_folder(data_dir, "ludb")
    table = _read_table(folder / "ludb.csv")
    there = {path.stem for path in (folder / "data").glob("*.hea")}
    names = [str(number) for number in table.index if str(number) in there]
    if not names:
        raise DataError(f"{folder / 'data'} has no record of ludb (such as 1.hea): point --data_dir above it")
    if len(names) < len(table):
        print(f"ludb: {len(names)} of {len(table)} records are in {folder}, the others are left out")
    names = [names[place] for place in spread(len(names), options.limit)]

    rate = options.sampling_rate or 100
    signals, waves, incomplete = [], [], 0
    for row, name in enumerate(tqdm(names, desc="ludb", unit="record", disable=None)):
        signal, found, missed = _read_record(folder / "data" / name, rate)
        signals.append(signal)
        waves += [(row, *wave) for wave in found]
        incomplete += missed
    if incomplete:
        print(f"ludb: {incomplete} waves without an onset or offset are left out")
    if not waves:
        raise DataError(f"{folder}: no annotation file marks a whole wave; download the files again")
    window, lead, start, stop, kind = (np.array(column) for column in zip(*waves, strict=True))
    return Windows(
        signals=ScaledSignals(np.stack(signals), units_per_mv=UNITS_PER_MV),
        targets=superclasses(table.loc[[int(name) for name in names]]),
        classes=list(CLASSES),
        ids=np.array(names),
        patients=np.array(names),  # every record is of another person
        splits=np.full(len(names), "test"),
        sampling_rate=rate,
        task="ludb",
        leads=LEADS,
        name="ludb",
        starts=np.zeros(len(names), dtype=np.int64),
        settings={"reference": False, "limit": options.limit, "incomplete_waves": incomplete},
        regions=Regions(window, np.full_like(window, -1), lead, start, stop, kind),
        ground_truths=tuple(WAVES.values()),
    )


def superclasses(table: pd.DataFrame) -> np.ndarray:
    """Give LUDB's findings PTB-XL's superclasses, as far as they have plain counterparts.

    CD: any conduction abnormality. HYP: hypertrophy of a ventricle or atrium, and atrial overload (PTB-XL's
    LAO/LAE and RAO/RAE). MI: STEMI or scar. STTC: ischemia, or non-specific repolarization abnormality.
    NORM: sinus rhythm or sinus arrhythmia, an axis that does not deviate, and no other finding. No label
    comes from what has no plain counterpart: rhythm, axis, pacing, extrasystoles, overload of a ventricle,
    and "undefined ischemia/scar/supp. NSTEMI", which may be MI or STTC.

    Returns shape (N, 5).
    """
    labels = np.zeros((len(table), len(CLASSES)), dtype=np.uint8)
    for row, record in enumerate(table.to_dict("records")):
        found = {column: _statements(text) for column, text in record.items()}
        hypertrophy = [s for s in found[_HYPERTROPHY] if "hypertrophy" in s or "atrial overload" in s]
        ischemia = found[_ISCHEMIA]
        labels[row] = (
            bool(found[_CONDUCTION]),
            bool(hypertrophy),
            any(s.startswith(("stemi", "scar")) for s in ischemia),
            bool(
                set(found["Rhythms"]) <= _NORMAL_RHYTHM
                and found["Rhythms"]
                and set(found[_AXIS]) <= _NORMAL_AXIS
                and not any(found[column] for column in (*_FINDINGS, "Other states"))
            ),
            bool(found[_REPOLARISATION]) or any(s.startswith("ischemia") for s in ischemia),
        )
    return labels


def whole_waves(annotations: Annotations) -> tuple[list[tuple[int, int, str]], int]:
    """Find the waves of a lead that have an onset, a peak and an offset, in this order."""
    symbols, samples = annotations.symbol.tolist(), annotations.sample.tolist()
    peaks = [place for place, symbol in enumerate(symbols) if symbol in WAVES]
    whole = [place for place in peaks if place and symbols[place - 1 : place + 2 : 2] == ["(", ")"]]
    waves = [(samples[place - 1], samples[place + 1], WAVES[symbols[place]]) for place in whole]
    return waves, len(peaks) - len(whole)


def _statements(text: object) -> list[str]:
    """The lines of a cell in lower case; none for an empty one."""
    return [line.strip().lower() for line in text.splitlines()] if isinstance(text, str) else []


def _read_table(path: Path) -> pd.DataFrame:
    columns = ["Rhythms", _AXIS, *_FINDINGS, "Other states"]
    try:
        return pd.read_csv(path, usecols=["ID", *columns], index_col="ID")[columns]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: point --data_dir at the folder of LUDB") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path} is not the table of LUDB ({error}): download it again") from error


def _read_record(path: Path, rate: int) -> tuple[np.ndarray, list[tuple[int, int, int, str]], int]:
    """Samples (T, 12) in microvolts, waves as (lead, start, stop, kind), how many are incomplete."""
    header = read_header(path, SAMPLING_RATE)
    names = [name.upper() for name in header.sig_name]
    absent = [lead for lead in LEADS if lead not in names]
    if absent or header.sig_len != SAMPLES:
        what = (
            f"has no lead {', '.join(absent)}" if absent else f"has {header.sig_len} samples, not {SAMPLES}"
        )
        raise DataError(f"record {path} {what}; download its files again")
    signal = read_leads(path, range(len(names)))[:, [names.index(lead) for lead in LEADS]]
    try:
        samples = to_int16(resample(signal, SAMPLING_RATE, rate))
    except DataError as error:
        raise DataError(f"record {path}: {error}") from error
    found, incomplete = [], 0
    for column, lead in enumerate(LEADS):
        waves, missed = whole_waves(read_annotations(path, lead.lower()))
        incomplete += missed
        for onset, offset, kind in waves:
            start, last = (round(sample * rate / SAMPLING_RATE) for sample in (onset, offset))
            found.append((column, start, min(last + 1, len(samples)), kind))
    return samples, found, incomplete
