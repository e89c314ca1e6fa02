"""Tiny windows, beat-annotated records and a LUDB folder, for tests of the attribution study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from databases.wfdb_files import import_wfdb, write_record
from preprocessing.windows import Beats, Windows
from utils.ecg import LEADS

LUDB_COLUMNS = (
    "ID,Sex,Age,Rhythms,Electric axis of the heart,Conduction abnormalities,Extrasystolies,Hypertrophies,"
    "Cardiac pacing,Ischemia,Non-specific repolarization abnormalities,Other states"
)


def tiny_windows(seed: int = 0) -> Windows:
    """Six windows of 40 samples at 10 Hz, four classes, three patients, one lead, with beats."""
    rng = np.random.default_rng(seed)
    return Windows(
        signals=rng.normal(size=(6, 40, 1)),
        targets=np.eye(4)[[0, 1, 2, 0, 3, 1]],
        classes=["N", "SVEB", "VEB", "F"],
        leads=("MLII",),
        sampling_rate=10,
        kind="multiclass",
        name="mitdb",
        ids=["100", "100", "200", "200", "203", "203"],
        patients=["100", "100", "200", "200", "203", "203"],
        starts=[0, 40, 0, 40, 0, 40],
        splits=["train", "train", "val", "val", "test", "test"],
        normal=["N"],
        settings={"reference": False},
        beats=Beats([0, 1, 1, 2, 4, 5], [20, 10, 30, 5, 20, 12], [0, 0, 1, 2, 3, 1]),
    )


def write_annotations(path: Path, marks: Sequence[tuple[int, str]], suffix: str = "atr") -> None:
    """Write (sample, symbol) marks, which must be in order of time."""
    samples, symbols = zip(*marks, strict=True)
    import_wfdb().wrann(path.name, "new", np.array(samples), list(symbols), write_dir=str(path.parent))
    path.with_name(f"{path.name}.new").rename(path.with_name(f"{path.name}.{suffix}"))  # wfdb refuses "v1"


def write_beat_record(
    folder: Path,
    name: str,
    rate: int,
    marks: Sequence[tuple[int, str]],
    leads: Sequence[str] = ("MLII", "V1"),
    seconds: int = 24,
) -> np.ndarray:
    """Write a record with its annotations; lead k holds ramp + 1000 k microvolts. Gives the samples."""
    folder.mkdir(parents=True, exist_ok=True)
    ramp = np.arange(seconds * rate) % 997
    samples = (ramp[:, None] + 1000 * np.arange(len(leads))).astype(np.int16)
    write_record(folder, name, samples, rate, leads)
    write_annotations(folder / name, marks)
    return samples


def write_ludb(folder: Path, rows: Sequence[str], marks: Sequence[tuple[int, str]]) -> Path:
    """Write records 1, 2, ... with these rows of ludb.csv (without the ID) and the same marks in all leads.

    The marks of lead II lie 5 samples later.
    """
    (folder / "data").mkdir(parents=True)
    lines = [LUDB_COLUMNS, *(f"{number},{row}" for number, row in enumerate(rows, 1))]
    (folder / "ludb.csv").write_text("\n".join(lines) + "\n")
    for number in range(1, len(rows) + 1):
        path = folder / "data" / str(number)
        samples = np.tile(np.arange(5000, dtype=np.int16)[:, None] // 5, (1, 12))
        write_record(path.parent, path.name, samples, 500, [lead.lower() for lead in LEADS])
        for lead in LEADS:
            later = 5 if lead == "II" else 0
            write_annotations(path, [(sample + later, symbol) for sample, symbol in marks], lead.lower())
    return folder
