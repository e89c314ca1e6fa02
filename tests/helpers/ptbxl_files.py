"""A tiny database in PTB-XL's layout, for tests: right headers, right checksums, every fold."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from databases.scp_groups import GLOBAL, MORPHOLOGY, RHYTHM
from utils.ecg import LEADS

# code: (diagnostic, form, rhythm, class, subclass), in the order of the official scp_statements.csv
STATEMENTS = {
    "NDT": (1, 1, "", "STTC", "STTC"),
    "NORM": (1, "", "", "NORM", "NORM"),
    "IMI": (1, "", "", "MI", "IMI"),
    "ASMI": (1, "", "", "MI", "AMI"),
    "LVH": (1, "", "", "HYP", "LVH"),
    "LAFB": (1, "", "", "CD", "LAFB/LPFB"),
    "ISC_": (1, "", "", "STTC", "ISC_"),
    "CLBBB": (1, "", "", "CD", "CLBBB"),
    "ABQRS": ("", 1, "", "", ""),
    "PVC": ("", 1, "", "", ""),
    "SR": ("", "", 1, "", ""),
    "AFIB": ("", "", 1, "", ""),
}
assert set(STATEMENTS) <= set(RHYTHM + MORPHOLOGY + GLOBAL)
# what record k has: k modulo their number
CODES = [
    {"NORM": 100.0, "SR": 0.0},
    {"IMI": 100.0, "SR": 0.0},
    {"ASMI": 80.0, "ABQRS": 0.0, "SR": 0.0},
    {"LVH": 50.0, "ISC_": 100.0, "SR": 0.0},
    {"LAFB": 100.0, "NDT": 15.0, "AFIB": 0.0},
    {"NORM": 100.0, "PVC": 0.0, "SR": 0.0},
    {"CLBBB": 100.0, "SR": 0.0},
]
COLUMNS = ["ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_lr", "filename_hr"]


def small_ecg(rng: np.random.Generator, samples: int, sampling_rate: int, size: float = 1.0) -> np.ndarray:
    """Twelve int16 leads in microvolts: 70 sharp beats a minute on a random walk, with a little noise."""
    time = np.arange(samples) / sampling_rate
    phase = (time * 70 / 60 + rng.uniform()) % 1
    beat = 900 * np.exp(-(((phase - 0.4) / 0.02) ** 2)) + 200 * np.exp(-(((phase - 0.7) / 0.06) ** 2))
    walk = np.cumsum(rng.normal(0, 4, (samples, len(LEADS))), axis=0)
    signal = size * beat[:, None] * rng.uniform(-1, 1.5, len(LEADS)) + walk + rng.normal(0, 8, walk.shape)
    return np.clip(np.rint(signal), -32000, 32000).astype("<i2")


def write_record(path: Path, samples: np.ndarray, sampling_rate: int) -> None:
    """Write one record as PTB-XL does: `path`.dat and `path`.hea, format 16, 1000 units per mV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.ascontiguousarray(samples, dtype="<i2")
    sums = samples.sum(axis=0, dtype=np.int64) % 65536
    lines = [f"{path.name} {len(LEADS)} {sampling_rate} {len(samples)}"]
    lines += [
        f"{path.name}.dat 16 1000.0(0)/mV 16 0 {samples[0, i]} {sums[i]} 0 {lead}"
        for i, lead in enumerate(LEADS)
    ]
    path.with_name(path.name + ".hea").write_text("\n".join(lines) + "\n")
    samples.tofile(path.with_name(path.name + ".dat"))


def write_small_ptbxl(
    folder: Path,
    records: int = 60,
    sampling_rate: int = 100,
    seconds: float = 10,
    seed: int = 0,
    codes: list[dict[str, float]] | None = None,
) -> Path:
    """Write a database of `records` records and return its folder.

    Record k (from 0) has ecg_id k + 1, the codes of `codes` (default `CODES`) in turn and the waveform of
    ``small_ecg``. Two records in a row belong to one patient, and patients go through the folds 1, 2, ... 10,
    1, ..., so 20 records fill all folds.
    """
    codes = codes or CODES
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "scp_statements.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"])
        writer.writerows([code, *row] for code, row in STATEMENTS.items())
    with open(folder / "ptbxl_database.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for k in range(records):
            low, high = f"records100/00000/{k + 1:05d}_lr", f"records500/00000/{k + 1:05d}_hr"
            patient, fold = 1000 + k // 2, k // 2 % 10 + 1
            writer.writerow([k + 1, float(patient), 60.0, k % 2, codes[k % len(codes)], fold, low, high])
            samples = small_ecg(
                rng, round(seconds * sampling_rate), sampling_rate, size=1 + k % len(codes) / 4
            )
            write_record(folder / (low if sampling_rate == 100 else high), samples, sampling_rate)
    return folder
