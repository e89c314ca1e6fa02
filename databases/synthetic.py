"""Write a synthetic dataset in the layout of PTB-XL, with the place of every planted sign.

    python -m databases.synthetic --records 600 --to data/synthetic

The signals come from the dipole model in `databases.heart`, the signs from `databases.pathology`. They are good
for trying the software and for scoring explanations against a known truth, not for medical conclusions.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from databases.cohort import Heart, Patient, make_cohort, make_heart
from databases.heart import Rhythm, decimate, electrode_noise, make_rhythm, simulate_vector, twelve_leads
from databases.pathology import CLASSES, SIGNS, sign_window
from databases.scp_table import statement_table
from databases.wfdb_files import to_int16, write_record
from utils.errors import DataError, UsageError, run_cli
from utils.files import read_json, write_json, write_npz, write_text

SECONDS = 10
TRUTH_RATE = 100  # Hz
MARKER = "synthetic.json"
_FORMAT = 1  # raise it when the same parameters give other bytes
_FOLDERS = {100: ("records100", "lr"), 500: ("records500", "hr")}
_OURS = {MARKER, "ptbxl_database.csv", "scp_statements.csv", "truth.npz", "README.md", "records100", "records500"}
_README = """Synthetic 12-lead ECGs in the layout of PTB-XL, written by `python -m databases.synthetic`.
No patient was recorded. Not a medical device: for trying software only.

truth.npz holds, for each record, where the planted signs are: `ecg_id` (N,), `signs` (N,) codes joined by "+",
and `mask` (N, 1000, 12) uint8 at 100 Hz, in which bit k marks a sign of class k of `classes`.
`databases.synthetic.load_truth` reads it.
"""


def write_dataset(
    to: str | os.PathLike, records: int = 600, seed: int = 0, rates: Sequence[int] = (100,)
) -> Path:
    """Write the dataset, whole or not at all.

    Parameters
    ----------
    to : path-like
        Target folder. A dataset that this function wrote before is left alone when its parameters are the same
        and replaced when they differ; any other non-empty folder is refused.
    records : int
        Number of recordings of 10 s.
    seed : int
        The same seed gives the same bytes.
    rates : sequence of int
        Sampling rates in Hz, 100 and 500 or one of them.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    UsageError
        Impossible parameters, or the folder holds something else.
    """
    to = Path(to)
    if records < 1:
        raise UsageError(f"records is {records}: at least one is needed")
    if seed < 0:
        raise UsageError(f"seed is {seed}: it must not be negative")
    if not rates or not set(rates) <= set(_FOLDERS):
        raise UsageError(f"rates are {list(rates)}: PTB-XL's are 100 and 500 Hz")
    parameters = {"format": _FORMAT, "records": records, "seed": seed, "rates": sorted(set(rates))}
    if _already_there(to, parameters):
        return to

    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".partial-{to.name}-") as temporary:
        fresh = Path(temporary) / "dataset"
        fresh.mkdir()
        _write_into(fresh, parameters)
        if to.exists():
            to.rename(Path(temporary) / "replaced")
        fresh.rename(to)
    return to


def load_truth(folder: str | os.PathLike, superclass: str | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read where the planted signs are.

    Parameters
    ----------
    folder : path-like
        A dataset written by `write_dataset`.
    superclass : str, optional
        Only signs of this class (``CD``, ``HYP``, ``MI`` or ``STTC``); default all.

    Returns
    -------
    ecg_ids : ndarray of int, shape (N,)
        In the order of ptbxl_database.csv.
    mask : ndarray of bool, shape (N, 1000, 12)
        True where a sign is, at 100 Hz, leads in the order of `utils.ecg.LEADS`.
    codes : ndarray of str, shape (N,)
        The planted signs, joined by ``+``; empty for none.

    Raises
    ------
    DataError
        The file is missing or damaged.
    UsageError
        Unknown class.
    """
    path = Path(folder) / "truth.npz"
    if superclass is not None and superclass not in CLASSES:
        raise UsageError(f"unknown class '{superclass}'. Valid: {', '.join(CLASSES)}")
    try:
        with np.load(path, allow_pickle=False) as file:
            ecg_ids, bits, codes = file["ecg_id"], file["mask"], file["signs"]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: only datasets of `python -m databases.synthetic` have it") from error
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}): write the dataset again") from error
    if superclass is not None:
        bits = bits & (1 << CLASSES.index(superclass))
    return ecg_ids, bits != 0, codes


def _already_there(to: Path, parameters: dict) -> bool:
    """Whether `to` holds exactly this dataset; refuses a folder that holds anything else."""
    if to.exists() and not to.is_dir():
        raise UsageError(f"{to} is a file: choose a folder")
    names = {path.name for path in to.iterdir()} if to.exists() else set()
    if not names:
        return False
    strangers = sorted(name for name in names - _OURS if not name.startswith("."))
    if MARKER not in names or strangers:
        what = f"such as '{strangers[0]}'" if strangers else f"and no {MARKER}"
        raise UsageError(f"{to} holds files that this command did not write, {what}: choose another folder")
    return read_json(to / MARKER) == parameters


def _write_into(folder: Path, parameters: dict) -> None:
    records, seed, rates = parameters["records"], parameters["seed"], parameters["rates"]
    rng = np.random.default_rng([seed, 0])
    cohort = make_cohort(rng, records)
    visits = [patient for patient in cohort for _ in range(patient.records)]
    visits = [visits[i] for i in rng.permutation(records)]
    hearts = {}

    rows = []
    mask = np.zeros((records, SECONDS * TRUTH_RATE, 12), dtype=np.uint8)
    signs = []
    for index, patient in enumerate(tqdm(visits, desc="synthetic records", unit="record")):
        ecg_id = index + 1
        if patient.patient_id not in hearts:
            hearts[patient.patient_id] = make_heart(
                np.random.default_rng([seed, 1, patient.patient_id]), patient.profile
            )
        heart = hearts[patient.patient_id]
        rng = np.random.default_rng([seed, 2, ecg_id])
        signals, rhythm, facts = _record(rng, heart, patient, rates)
        for rate, signal in signals.items():
            name = _record_name(ecg_id, rate)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_record((folder / name).parent, Path(name).name, to_int16(signal), rate)
        mask[index] = _truth(heart, rhythm)
        signs.append("+".join(sign.code for sign in heart.signs))
        rows.append(_row(rng, ecg_id, patient, heart, facts))

    pd.DataFrame(rows).to_csv(folder / "ptbxl_database.csv", index=False, lineterminator="\n")
    statement_table().to_csv(folder / "scp_statements.csv", lineterminator="\n")
    ecg_ids = np.arange(1, records + 1)
    write_npz(folder / "truth.npz", ecg_id=ecg_ids, mask=mask, signs=np.array(signs, dtype=str), classes=CLASSES)
    write_text(folder / "README.md", _README)
    write_json(folder / MARKER, parameters)


def _record_name(ecg_id: int, rate: int) -> str:
    folder, suffix = _FOLDERS[rate]
    return f"{folder}/{ecg_id // 1000 * 1000:05d}/{ecg_id:05d}_{suffix}"


def _record(
    rng: np.random.Generator, heart: Heart, patient: Patient, rates: Sequence[int]
) -> tuple[dict[int, np.ndarray], Rhythm, dict]:
    """One recording: signals (T, 12) in mV for each rate, its beats, and what the tables say about it."""
    kind = "sinus"
    if patient.profile != ("NORM",) and rng.random() < (0.5 if not patient.profile else 0.07):
        has_p_sign = any(sign.code in ("1AVB", "LAO/LAE") for sign in heart.signs)
        kind = "sinus" if has_p_sign else "fibrillation"
    elif rng.random() < 0.06:
        kind = "arrhythmia"
    rate = float(np.clip(rng.normal(88 if kind == "fibrillation" else 71, 14), 46, 135))
    pvcs = int(rng.choice([0, 1, 2], p=[0.93, 0.05, 0.02]))
    rhythm = make_rhythm(rng, rate, kind, SECONDS, pvcs)

    noise = {
        "baseline": 0.025 * rng.lognormal(0, 0.7),
        "muscle": 0.006 * rng.lognormal(0, 0.6),
        "mains": 0.003 * rng.lognormal(0, 1.0),
    }
    placement = heart.lead_field.copy()
    placement[2:] += rng.normal(0, 0.04, (6, 3))  # chest electrodes are never put on at the same place twice
    potential = simulate_vector(rng, heart.waves, rhythm, SECONDS) @ placement.T
    potential += electrode_noise(rng, SECONDS, **noise)
    signals = {rate_hz: twelve_leads(decimate(potential, rate_hz)) for rate_hz in rates}
    facts = {"kind": kind, "rate": rate, "pvcs": int(rhythm.ventricular.sum()), **noise}
    return signals, rhythm, facts


def _truth(heart: Heart, rhythm: Rhythm) -> np.ndarray:
    """Bit mask (1000, 12) of the planted signs; ventricular beats do not show them."""
    mask = np.zeros((SECONDS * TRUTH_RATE, 12), dtype=np.uint8)
    time = np.arange(len(mask)) / TRUTH_RATE
    normal = ~rhythm.ventricular
    for sign in heart.signs:
        bit = 1 << CLASSES.index(SIGNS[sign.code].superclass)
        for group, leads in sign.visible.items():
            for peak, rr in zip(rhythm.peaks[normal], rhythm.rr[normal], strict=True):
                start, end = sign_window(heart.waves, group, rr)
                mask[np.ix_((time >= peak + start) & (time < peak + end), leads)] |= bit
    return mask


def _likelihood(rng: np.random.Generator, severity: float) -> float:
    """A cardiologist's certainty in per cent, as PTB-XL writes it; 0 means that none was given."""
    if rng.random() < 0.08:
        return 0.0
    return float(np.array([15, 35, 50, 80, 100])[np.searchsorted([0.05, 0.12, 0.25, 0.40], severity + rng.normal(0, 0.08))])


def _codes(rng: np.random.Generator, patient: Patient, heart: Heart, facts: dict) -> dict[str, float]:
    """The scp_codes entry: diagnoses with likelihoods, then form and rhythm statements."""
    codes = {sign.code: _likelihood(rng, sign.severity) for sign in heart.signs}
    if patient.profile == ("NORM",):
        codes["NORM"] = float(rng.choice([100.0, 80.0, 50.0, 0.0], p=[0.72, 0.22, 0.03, 0.03]))

    severity = {sign.code: sign.severity for sign in heart.signs}
    infarct = max((s for code, s in severity.items() if SIGNS[code].superclass == "MI"), default=0.0)
    forms = {
        "PVC": facts["pvcs"] > 0,
        "ABQRS": rng.random() < (0.35 if infarct else 0.06),
        "QWAVE": infarct > 0.4 and rng.random() < 0.35,
        "STD_": bool({"NST_", "ISC_", "ISCAL"} & set(severity)) and rng.random() < 0.4,
        "LOWT": severity.get("NDT", 1.0) < 0.5 and rng.random() < 0.5,
        "INVT": severity.get("NDT", severity.get("ISCAL", 0.0)) > 0.6 and rng.random() < 0.4,
        "VCLVH": severity.get("LVH", 0.0) > 0.3 and rng.random() < 0.35,
        "HVOLT": severity.get("LVH", 0.0) > 0.7 and rng.random() < 0.3,
        "LPR": "1AVB" in severity and rng.random() < 0.4,
    }
    codes |= {code: 0.0 for code, present in forms.items() if present}
    if facts["kind"] == "fibrillation":
        codes["AFIB"] = 0.0
    elif facts["kind"] == "arrhythmia":
        codes["SARRH"] = 0.0
    else:
        codes["STACH" if facts["rate"] > 100 else "SBRAD" if facts["rate"] < 56 else "SR"] = 0.0
    return codes


def _row(rng: np.random.Generator, ecg_id: int, patient: Patient, heart: Heart, facts: dict) -> dict:
    """One row of ptbxl_database.csv in the official column order."""
    codes = _codes(rng, patient, heart, facts)
    infarcted = "MI" in patient.profile
    height = rng.normal(163 if heart.sex else 176, 7)
    recorded = pd.Timestamp("1990-01-01") + pd.Timedelta(minutes=int(ecg_id * 397))
    return {
        "ecg_id": ecg_id,
        "patient_id": float(patient.patient_id),
        "age": float(heart.age),
        "sex": heart.sex,
        "height": float(round(height)),
        "weight": float(round(rng.normal(26, 4) * (height / 100) ** 2)),
        "nurse": float(rng.integers(0, 4)),
        "site": float(rng.integers(0, 3)),
        "device": "synthetic",
        "recording_date": recorded.strftime("%Y-%m-%d %H:%M:%S"),
        "report": "synthetic: " + ", ".join(codes),
        "scp_codes": str(codes),
        "heart_axis": _heart_axis(heart),
        "infarction_stadium1": "unknown" if infarcted else None,
        "infarction_stadium2": None,
        "validated_by": float(rng.integers(0, 3)),
        "second_opinion": False,
        "initial_autogenerated_report": False,
        "validated_by_human": True,
        "baseline_drift": " , alles" if facts["baseline"] > 0.08 else None,
        "static_noise": " , alles,  " if facts["muscle"] > 0.014 or facts["mains"] > 0.012 else None,
        "burst_noise": None,
        "electrodes_problems": None,
        "extra_beats": f"{facts['pvcs']}ES" if facts["pvcs"] else None,
        "pacemaker": None,
        "strat_fold": patient.fold,
        "filename_lr": _record_name(ecg_id, 100),
        "filename_hr": _record_name(ecg_id, 500),
    }


def _heart_axis(heart: Heart) -> str:
    """PTB-XL's word for the frontal axis, from the net area of QRS in I and aVF."""
    qrs = heart.waves.groups == "QRS"
    area = twelve_leads((heart.waves.widths[qrs] @ heart.waves.vectors[qrs]) @ heart.lead_field.T)
    degrees = np.rad2deg(np.arctan2(area[5] * 2 / np.sqrt(3), area[0]))
    for name, low, high in (("ALAD", -90, -30), ("LAD", -30, 30), ("MID", 30, 90), ("RAD", 90, 120)):
        if low <= degrees < high:
            return name
    return "ARAD"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m databases.synthetic",
        description="Write a synthetic 12-lead ECG dataset in the layout of PTB-XL, with truth.npz saying where "
        "each planted sign of disease is.",
    )
    parser.add_argument("--records", type=int, default=600, help="number of 10 s recordings (default: 600)")
    parser.add_argument("--to", default="data/synthetic", help="target folder (default: data/synthetic)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (default: 0)")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--sampling_rate", type=int, choices=sorted(_FOLDERS), help="one rate in Hz (default: 100)")
    rate.add_argument("--rates", type=int, nargs="+", choices=sorted(_FOLDERS), help="several rates in Hz")
    arguments = parser.parse_args()
    rates = arguments.rates or [arguments.sampling_rate or 100]

    marker = Path(arguments.to) / MARKER
    before = marker.stat().st_mtime_ns if marker.exists() else None
    folder = write_dataset(arguments.to, arguments.records, arguments.seed, rates)
    if before == (folder / MARKER).stat().st_mtime_ns:
        print(f"already there: {folder} ({arguments.records} records)")
    else:
        print(f"wrote {arguments.records} records at {', '.join(map(str, rates))} Hz to {folder}")


if __name__ == "__main__":
    run_cli(main)
