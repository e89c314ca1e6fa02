"""Write a synthetic dataset in the layout of PTB-XL, with the place of every synthetic finding.

The signals come from the dipole model in `databases.synthetic.heart`, the signs from `pathology`. They are
good for trying the software and for scoring explanations against ground truth, not for medical conclusions.
"""

from __future__ import annotations

import errno
import os
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from databases.ptbxl import SYNTHETIC_MARKER
from databases.synthetic.cohort import make_cohort, make_heart
from databases.synthetic.pathology import CLASSES
from databases.synthetic.recording import (
    FOLDERS,
    MASK_RATE,
    SECONDS,
    finding_mask,
    record_name,
    simulate_recording,
    table_row,
)
from databases.synthetic.scp_table import statement_table
from databases.wfdb_files import to_int16, write_record
from utils.errors import DataError, TwelveLeadError, UsageError, nearest
from utils.files import read_json, write_json, write_npz, write_text

MARKER = SYNTHETIC_MARKER  # holds the parameters; a folder without it was not written here
_FORMAT = 1  # incremented when the same parameters give other bytes
_FILES = {MARKER, "ptbxl_database.csv", "scp_statements.csv", "truth.npz", "README.md"}
_README = """Synthetic 12-lead ECGs in the layout of PTB-XL, written by `python -m databases.synthetic`.
No patient was recorded. Not a medical device: for trying software only.

truth.npz holds, for each record, where the planted signs are: `ecg_id` (N,), `signs` (N,) codes joined by
"+", and `mask` (N, 1000, 12) uint8 at 100 Hz, in which bit k marks a sign of class k of `classes`.
`databases.synthetic.load_ground_truth` reads it.
"""


def write_dataset(
    to: str | os.PathLike, records: int = 600, seed: int = 0, rates: Sequence[int] = (100,)
) -> Path:
    """Write the dataset, whole or not at all.

    An existing dataset is renamed just before the new one gets its name: a process killed between the two
    renames leaves no dataset at `to`, and running it again writes the new one.

    ``to``: target folder: absent, empty, or a dataset written before.
    ``seed``: the same one gives the same bytes.
    ``rates``: 100, 500 or both, in Hz.
    """
    to = Path(to)
    parameters = check_parameters(records, seed, rates)
    if is_written(to, parameters):
        return to
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".partial-{to.name}-") as temporary:
            fresh = Path(temporary) / "dataset"
            fresh.mkdir()
            _write_into(fresh, parameters)
            if to.exists():
                to.rename(Path(temporary) / "replaced")
            fresh.rename(to)
    except OSError as error:
        mounted = error.errno in (errno.EBUSY, errno.EXDEV)
        remedy = (
            f"a mount point cannot be replaced: choose a folder in it, such as {to / 'synthetic'}"
            if mounted
            else "check the disk or choose another folder"
        )
        raise TwelveLeadError(
            f"cannot write the dataset to {to}: {error.strerror or error}; {remedy}"
        ) from error
    return to


def load_ground_truth(
    folder: str | os.PathLike, superclass: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read where the synthetic findings are, all or those of a class, at 100 Hz.

    Returns the records (N,), a mask (N, 1000, 12), and the SCP-ECG codes, joined by ``+`` (N,).
    """
    path = Path(folder) / "truth.npz"
    if superclass is not None and superclass not in CLASSES:
        raise UsageError(f"unknown class '{superclass}': {nearest(superclass, CLASSES)}")
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            ecg_ids, bits, codes = file["ecg_id"], file["mask"], file["signs"]
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist: only datasets of `python -m databases.synthetic` have it"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): write the dataset again") from error
    if superclass is not None:
        bits = bits & (1 << CLASSES.index(superclass))
    return ecg_ids, bits != 0, codes


def check_parameters(records: int, seed: int, rates: Sequence[int]) -> dict:
    """Parameters of a dataset as its marker file holds them."""
    if records < 1:
        raise UsageError(f"records is {records}: at least one is needed")
    if seed < 0:
        raise UsageError(f"seed is {seed}: it must not be negative")
    if not rates or not set(rates) <= set(FOLDERS):
        raise UsageError(f"rates are {list(rates)}: PTB-XL's are 100 and 500 Hz")
    return {"format": _FORMAT, "records": records, "seed": seed, "rates": sorted(set(rates))}


def is_written(to: Path, parameters: dict) -> bool:
    """Whether `to` holds exactly this dataset; refuses a folder that holds anything else."""
    if to.exists() and not to.is_dir():
        raise UsageError(f"{to} is a file: choose a folder")
    names = {path.name for path in to.iterdir()} if to.exists() else set()
    if not names:
        return False
    ours = _FILES | {folder for folder, _ in FOLDERS.values()}
    foreign = sorted(name for name in names - ours if not name.startswith("."))  # caches are hidden folders
    if MARKER not in names or foreign:
        what = f"such as '{foreign[0]}'" if foreign else f"and no {MARKER}"
        raise UsageError(f"{to} holds files that this command did not write, {what}: choose another folder")
    expected = _FILES | {FOLDERS[rate][0] for rate in parameters["rates"]}
    return expected <= names and read_json(to / MARKER) == parameters


def _write_into(folder: Path, parameters: dict) -> None:
    records, seed, rates = parameters["records"], parameters["seed"], parameters["rates"]
    rng = np.random.default_rng([seed, 0])
    cohort = make_cohort(rng, records)
    visits = [patient for patient in cohort for _ in range(patient.records)]
    visits = [visits[i] for i in rng.permutation(records)]
    # each patient and each recording has its own stream of random numbers, independent of the others
    hearts = {
        patient.patient_id: make_heart(np.random.default_rng([seed, 1, patient.patient_id]), patient.profile)
        for patient in cohort
    }
    for rate in rates:
        for ecg_id in range(0, records + 1, 1000):
            (folder / record_name(ecg_id, rate)).parent.mkdir(parents=True)

    rows, signs = [], []
    mask = np.zeros((records, SECONDS * MASK_RATE, 12), dtype=np.uint8)
    for index, patient in enumerate(tqdm(visits, desc="synthetic records", unit="record", disable=None)):
        ecg_id = index + 1
        heart = hearts[patient.patient_id]
        rng = np.random.default_rng([seed, 2, ecg_id])
        recording = simulate_recording(rng, heart, patient, rates)
        for rate, signal in recording.signals.items():
            path = folder / record_name(ecg_id, rate)
            write_record(path.parent, path.name, to_int16(signal), rate)
        mask[index] = finding_mask(heart, recording.rhythm)
        signs.append("+".join(sign.code for sign in heart.signs))
        rows.append(table_row(rng, ecg_id, patient, heart, recording))

    pd.DataFrame(rows).to_csv(folder / "ptbxl_database.csv", index=False, lineterminator="\n")
    statement_table().to_csv(folder / "scp_statements.csv", lineterminator="\n")
    ecg_ids = np.arange(1, records + 1)
    write_npz(
        folder / "truth.npz", ecg_id=ecg_ids, mask=mask, signs=np.array(signs, dtype=str), classes=CLASSES
    )
    write_text(folder / "README.md", _README)
    write_json(folder / MARKER, parameters)
