"""One synthetic recording: its signals, the place of its signs and its row in the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from databases.synthetic.cohort import Heart, Patient, sign_window
from databases.synthetic.electrodes import decimate, electrode_noise, twelve_leads
from databases.synthetic.heart import Rhythm, make_rhythm, simulate_vector
from databases.synthetic.pathology import CLASSES, SIGNS

SECONDS = 10
MASK_RATE = 100  # Hz
FOLDERS = {100: ("records100", "lr"), 500: ("records500", "hr")}


def record_name(ecg_id: int, sampling_rate: int) -> str:
    """Path of a record in the dataset, without suffix."""
    folder, suffix = FOLDERS[sampling_rate]
    return f"{folder}/{ecg_id // 1000 * 1000:05d}/{ecg_id:05d}_{suffix}"


@dataclass(frozen=True)
class SimulatedRecording:
    """Ten seconds of one patient."""

    signals: dict[int, np.ndarray]
    rhythm: Rhythm
    kind: str
    rate: float
    noise: dict[str, float]


def simulate_recording(
    rng: np.random.Generator, heart: Heart, patient: Patient, sampling_rates: Sequence[int]
) -> SimulatedRecording:
    """Record a patient once: today's rhythm, electrode placement and noise."""
    kind = "sinus"
    p_matters = any(sign.code in ("1AVB", "LAO/LAE") for sign in heart.signs)
    if patient.profile != ("NORM",) and not p_matters and rng.random() < (0.07 if patient.profile else 0.5):
        kind = "fibrillation"
    elif rng.random() < 0.06:
        kind = "arrhythmia"
    rate = float(np.clip(rng.normal(88 if kind == "fibrillation" else 71, 14), 46, 135))
    rhythm = make_rhythm(rng, rate, kind, SECONDS, pvcs=int(rng.choice([0, 1, 2], p=[0.93, 0.05, 0.02])))

    noise = {
        "baseline": 0.025 * rng.lognormal(0, 0.7),
        "muscle": 0.0045 * rng.lognormal(0, 0.7),
        "mains": 0.003 * rng.lognormal(0, 1.0),
    }
    lead_field = heart.lead_field.copy()
    lead_field[2:] += rng.normal(0, 0.04, (6, 3))  # chest electrodes are never placed exactly alike
    potential = simulate_vector(rng, heart.waves, rhythm, SECONDS) @ lead_field.T
    potential += electrode_noise(rng, SECONDS, **noise)
    signals = {hz: twelve_leads(decimate(potential, hz)) for hz in sampling_rates}
    return SimulatedRecording(signals, rhythm, kind, rate, noise)


def finding_mask(heart: Heart, rhythm: Rhythm) -> np.ndarray:
    """Mark where the patient's signs are in a recording; ventricular beats have none, (1000, 12)."""
    mask = np.zeros((SECONDS * MASK_RATE, 12), dtype=np.uint8)
    time = np.arange(len(mask)) / MASK_RATE
    normal = ~rhythm.ventricular
    for sign in heart.signs:
        bit = 1 << CLASSES.index(SIGNS[sign.code].superclass)
        for group, leads in sign.visible.items():
            for peak, rr in zip(rhythm.peaks[normal], rhythm.rr[normal], strict=True):
                start, end = sign_window(heart.waves, group, rr)
                mask[np.ix_((time >= peak + start) & (time < peak + end), leads)] |= bit
    return mask


def _likelihood(rng: np.random.Generator, severity: float) -> float:
    """A cardiologist's certainty in percent, as PTB-XL writes it; 0 means that none was given."""
    if rng.random() < 0.08:
        return 0.0
    step = np.searchsorted([0.05, 0.12, 0.25, 0.40], severity + rng.normal(0, 0.08))
    return (15.0, 35.0, 50.0, 80.0, 100.0)[step]


def _scp_codes(
    rng: np.random.Generator, patient: Patient, heart: Heart, recording: SimulatedRecording
) -> dict[str, float]:
    """Diagnoses with their likelihoods, then form and rhythm statements with 0, as PTB-XL has them."""
    codes = {sign.code: _likelihood(rng, sign.severity) for sign in heart.signs}
    if patient.profile == ("NORM",):
        codes["NORM"] = float(rng.choice([100.0, 80.0, 50.0, 0.0], p=[0.72, 0.22, 0.03, 0.03]))

    severity = {sign.code: sign.severity for sign in heart.signs}
    infarct = max((s for code, s in severity.items() if SIGNS[code].superclass == "MI"), default=0.0)
    forms = {
        "PVC": bool(recording.rhythm.ventricular.any()),
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
    if recording.kind == "fibrillation":
        codes["AFIB"] = 0.0
    elif recording.kind == "arrhythmia":
        codes["SARRH"] = 0.0
    else:
        codes["STACH" if recording.rate > 100 else "SBRAD" if recording.rate < 56 else "SR"] = 0.0
    return codes


def table_row(
    rng: np.random.Generator, ecg_id: int, patient: Patient, heart: Heart, recording: SimulatedRecording
) -> dict[str, object]:
    """Describe a recording as one row of ptbxl_database.csv, in the official column order."""
    codes = _scp_codes(rng, patient, heart, recording)
    height = rng.normal(163 if heart.sex else 176, 7)
    recorded = pd.Timestamp("1990-01-01") + pd.Timedelta(minutes=ecg_id * 397)
    ectopic = int(recording.rhythm.ventricular.sum())
    noise = recording.noise
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
        "infarction_stadium1": "unknown" if "MI" in patient.profile else None,
        "infarction_stadium2": None,
        "validated_by": float(rng.integers(0, 3)),
        "second_opinion": False,
        "initial_autogenerated_report": False,
        "validated_by_human": True,
        "baseline_drift": " , alles" if noise["baseline"] > 0.08 else None,
        "static_noise": " , alles,  " if noise["muscle"] > 0.012 or noise["mains"] > 0.012 else None,
        "burst_noise": None,
        "electrodes_problems": None,
        "extra_beats": f"{ectopic}ES" if ectopic else None,
        "pacemaker": None,
        "strat_fold": patient.fold,
        "filename_lr": record_name(ecg_id, 100),
        "filename_hr": record_name(ecg_id, 500),
    }


def _heart_axis(heart: Heart) -> str:
    """PTB-XL's code of the frontal axis, from the net area of QRS in I and aVF."""
    qrs = heart.waves.groups == "QRS"
    area = twelve_leads((heart.waves.widths[qrs] @ heart.waves.vectors[qrs]) @ heart.lead_field.T)
    degrees = np.rad2deg(np.arctan2(area[5] * 2 / np.sqrt(3), area[0]))
    for name, low, high in (("ALAD", -90, -30), ("LAD", -30, 30), ("MID", 30, 90), ("RAD", 90, 120)):
        if low <= degrees < high:
            return name
    return "ARAD"
