"""Signs of disease as changes of the heart vector, each with the leads and waves in which it is seen.

Every sign is one function `(waves, severity, rng)` that changes a beat in place; `SIGNS` lists them. Severity
runs from 0 (hardly there) to 1 (textbook). The descriptions follow the AHA/ACCF/HRS recommendations for the
interpretation of the electrocardiogram, parts III-VI (doi:10.1016/j.jacc.2008.12.013 to
doi:10.1016/j.jacc.2008.12.016) and the fourth universal definition of myocardial infarction
(doi:10.1161/CIR.0000000000000617).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from databases.synthetic.heart import Waves, rotation
from utils.ecg import LEADS

CLASSES = ("CD", "HYP", "MI", "NORM", "STTC")
INFERIOR = ("II", "III", "AVF")
HIGH_LATERAL = ("I", "AVL")
LATERAL = ("I", "AVL", "V5", "V6")
SEPTAL = ("V1", "V2", "V3", "V4")

Apply = Callable[[Waves, float, np.random.Generator], None]


@dataclass(frozen=True)
class Sign:
    """One diagnostic statement that the generator can plant."""

    code: str
    superclass: str
    weight: float
    leads: tuple[str, ...]
    groups: tuple[str, ...]
    apply: Apply


def _infarct(
    waves: Waves,
    severity: float,
    rng: np.random.Generator,
    away: tuple[float, float, float],
    injury: tuple[float, float, float],
) -> None:
    """Dead muscle no longer pulls the early QRS (`away` points from it), injured muscle pulls ST to itself.

    In an old infarction T turns away from the scar, in a fresh one towards the injury.
    """
    away_vector, injury_vector = np.array(away), np.array(injury)
    unit = injury_vector / np.linalg.norm(injury_vector)
    for name, share in (("septal", 0.75), ("apical", 0.8), ("free_wall", 0.25)):
        if name in waves.names:
            row = waves.row(name)
            toward = max(0.0, float(waves.vectors[row] @ unit))
            waves.vectors[row] -= share * min(1.0, 0.15 + 1.1 * severity) * toward * unit
    waves.add(
        "Q",
        "QRS",
        rng.uniform(-0.026, -0.018),
        rng.uniform(0.010, 0.013),
        (0.10 + 0.90 * severity) * away_vector,
    )

    freshness = rng.choice([1.0, 0.55, 0.15], p=[0.3, 0.25, 0.45])  # acute, subacute, old
    elevation = (0.10 + 0.90 * severity) * freshness * injury_vector
    waves.add("injury_early", "ST", 0.085, 0.030, 0.75 * elevation)
    waves.add("injury_late", "ST", 0.150, 0.042, 0.9 * elevation)
    t_rows = waves.groups == "T"
    if freshness == 1.0:
        waves.vectors[t_rows] += 0.35 * severity * injury_vector
    else:
        along = waves.vectors[t_rows] @ unit
        flip = (0.2 + 1.6 * severity) * rng.uniform(0.5, 1.1)
        waves.vectors[t_rows] -= flip * np.maximum(along, 0.05)[:, None] * unit


# where the QRS vector is lost, and where the injury current of ST points
_INFARCTS: dict[str, Apply] = {
    code: partial(_infarct, away=away, injury=injury)
    for code, away, injury in (
        # Q waves and ST elevation in II, III, aVF, most in III; reciprocal ST depression in I and aVL
        ("IMI", (0.06, -0.42, 0.0), (-0.08, 0.30, 0.02)),
        # QS or lost R in V1-V4 with ST elevation there
        ("ASMI", (-0.05, 0.0, 0.34), (0.06, -0.02, -0.24)),
        # as anteroseptal, with its center at V3-V4 and reaching V5
        ("AMI", (-0.22, 0.0, 0.30), (0.16, -0.02, -0.20)),
        # Q waves and ST elevation in I, aVL, V3-V6; reciprocal depression in III and aVF
        ("ALMI", (-0.34, 0.12, 0.16), (0.22, -0.12, -0.10)),
        # Q waves and ST elevation in I, aVL, V5, V6; reciprocal depression in III and aVF
        ("LMI", (-0.36, 0.16, -0.06), (0.22, -0.16, 0.08)),
        # inferior infarction that reaches V5 and V6
        ("ILMI", (-0.24, -0.36, -0.02), (0.14, 0.26, 0.06)),
    )
}


def _replace_qrs(waves: Waves, table: list[tuple]) -> None:
    """Replace the normal sequence of activation by another."""
    keep = waves.groups != "QRS"
    fresh = Waves.from_table(table)
    waves.names = [name for name, kept in zip(waves.names, keep, strict=True) if kept] + fresh.names
    waves.groups = np.concatenate([waves.groups[keep], fresh.groups])
    waves.times = np.concatenate([waves.times[keep], fresh.times])
    waves.widths = np.concatenate([waves.widths[keep], fresh.widths])
    waves.vectors = np.vstack([waves.vectors[keep], fresh.vectors])


def _delay_repolarization(waves: Waves, seconds: float) -> None:
    """A wide QRS pushes ST and T back."""
    waves.times[np.isin(waves.groups, ("ST", "T"))] += seconds


def _left_bundle_block(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """CLBBB: QRS over 0.12 s, no septal q, broad notched lateral R, deep S in V1-V3, ST-T opposite."""
    size = np.linalg.norm(waves.vectors[waves.groups == "QRS"], axis=1).max() * rng.uniform(0.75, 1.0)
    wide = 0.9 + 0.25 * severity
    notch = rng.uniform(0.5, 0.9)
    y = rng.uniform(-0.15, 0.3)
    _replace_qrs(
        waves,
        [
            ("left_early", "QRS", -0.030 * wide, 0.014, 0.55 * size, y * size, 0.30 * size),
            ("left_middle", "QRS", 0.008 * wide, 0.020 * wide, notch * 0.85 * size, y * size, 1.00 * size),
            ("left_late", "QRS", 0.048 * wide, 0.018 * wide, 0.80 * size, 0.4 * y * size, 0.70 * size),
        ],
    )
    _delay_repolarization(waves, 0.045)
    opposite = -np.array([0.75, 0.6 * y, 0.9]) * size
    for group, share in (("ST", 0.07 + 0.06 * severity), ("T", 0.22 + 0.16 * severity)):
        rows = waves.groups == group
        waves.vectors[rows] = 0.1 * waves.vectors[rows] + share * opposite


def _right_bundle_block(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """CRBBB: QRS over 0.12 s, rsR' in V1-V2, wide S in I, V5, V6, T inverted in V1-V2."""
    size = (0.55 + 0.45 * severity) * rng.uniform(0.8, 1.2)
    center = rng.uniform(0.058, 0.070)
    waves.add("right_late", "QRS", center, 0.015, (-0.42 * size, rng.uniform(-0.1, 0.1), -0.62 * size))
    waves.add("right_tail", "QRS", center + 0.022, 0.014, (-0.18 * size, 0.0, -0.22 * size))
    waves.vectors[waves.row("posterior")] *= 0.7
    _delay_repolarization(waves, 0.035)
    waves.vectors[waves.groups == "T"] += (0.10 * size, 0.0, 0.24 * size)
    waves.vectors[waves.groups == "ST"] += (0.02 * size, 0.0, 0.05 * size)


def _incomplete_right_bundle_block(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """IRBBB: a small r' in V1-V2, QRS under 0.12 s."""
    size = 0.2 + 0.8 * severity
    waves.vectors[waves.row("posterior")] *= 1 - 0.3 * severity
    waves.add("right_late", "QRS", rng.uniform(0.040, 0.048), 0.0095, (-0.26 * size, 0.0, -0.42 * size))
    waves.vectors[waves.groups == "T"] += (0.0, 0.0, 0.06 * size)


def _first_degree_block(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """1AVB: PR interval over 0.2 s."""
    waves.times[waves.groups == "P"] -= 0.040 + 0.12 * severity + rng.uniform(0, 0.02)


def _left_anterior_block(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """LAFB: axis left of -45 degrees, qR in I and aVL, rS in II, III and aVF."""
    goal = np.deg2rad(-35 - 30 * severity + rng.normal(0, 4))
    late = [waves.row(name) for name in ("apical", "free_wall", "posterior")]
    main = waves.vectors[waves.row("free_wall")]
    turn = rotation(goal - np.arctan2(main[1], main[0]))
    waves.vectors[late] = waves.vectors[late] @ turn.T
    waves.vectors[waves.row("septal")] += (-0.10, 0.22, 0.02)
    waves.times[late] += 0.006


def _intraventricular_delay(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """IVCD: wide, slurred or notched QRS that fits neither bundle."""
    rows = waves.groups == "QRS"
    factor = 1.15 + 0.6 * severity
    waves.times[rows] *= factor
    waves.widths[rows] *= factor
    notch = rng.normal(0, 0.25, 3) + np.array([0.2, 0.0, 0.1])
    waves.add("notch", "QRS", 0.052, 0.010, (0.4 + 0.6 * severity) * notch)
    _delay_repolarization(waves, 0.02)


def _left_ventricular_hypertrophy(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """LVH: tall R in I, aVL, V5, V6, deep S in V1-V3; with strain, lateral ST depression and T inversion."""
    rows = waves.groups == "QRS"
    size = 1.10 + 0.65 * severity
    waves.vectors[rows] *= size
    waves.widths[rows] *= 1.06
    for name, gain in (("free_wall", 0.25), ("posterior", 0.30)):
        waves.vectors[waves.row(name)] += gain * size * np.array([0.5, -0.25, 0.8])
    waves.vectors[waves.row("septal")] *= 0.8  # the thick free wall outweighs the septum
    if rng.random() < 0.1 + 0.8 * severity:
        strain = (0.3 + 0.7 * severity) * rng.uniform(0.7, 1.2)
        waves.vectors[waves.groups == "ST"] += strain * np.array([-0.07, -0.03, -0.06])
        waves.vectors[waves.groups == "T"] += strain * np.array([-0.30, -0.14, -0.14])


def _right_ventricular_hypertrophy(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """RVH: axis to the right, tall R in V1, deep S in V5-V6, right ventricular strain."""
    rows = [waves.row(name) for name in ("free_wall", "posterior")]
    waves.vectors[rows] = waves.vectors[rows] @ rotation(0.4 + 0.8 * severity, -0.3 - 0.7 * severity).T
    waves.add("right_wall", "QRS", 0.018, 0.014, tuple((0.4 + 0.6 * severity) * np.array([-0.65, 0.2, -0.6])))
    strain = severity * rng.uniform(0.5, 1.0)
    waves.vectors[waves.groups == "T"] += strain * np.array([0.02, -0.12, 0.26])


def _left_atrial_enlargement(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """LAO/LAE: broad notched P in II, deep late negative part in V1."""
    row = waves.row("P_left")
    waves.vectors[row] = waves.vectors[row] * (1.3 + 0.7 * severity) + (0.02, 0.01, 0.06 + 0.08 * severity)
    waves.times[waves.row("P_right")] -= 0.014 + 0.018 * severity
    waves.widths[row] *= 1.1 + 0.25 * severity


def _non_diagnostic_t(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """NDT: flat, biphasic or inverted T."""
    rows = waves.groups == "T"
    left = 0.65 - 1.25 * severity
    waves.vectors[rows] = waves.vectors[rows] * (left, left + rng.uniform(0, 0.4), rng.uniform(0.5, 1.0))


def _depress(waves: Waves, depression: np.ndarray) -> None:
    waves.add("depression_early", "ST", 0.080, 0.030, tuple(0.8 * depression))
    waves.add("depression_late", "ST", 0.145, 0.045, tuple(depression))


def _non_specific_st(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """NST_: slight ST depression, mostly in the left leads."""
    _depress(waves, (0.15 + 0.85 * severity) * np.array([-0.10, -0.08, 0.01]) * rng.uniform(0.8, 1.2))
    waves.vectors[waves.groups == "T"] *= rng.uniform(0.5, 0.85)


def _ischemic_st(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """ISC_: ST depression of 0.1-0.3 mV with flat or inverted T in the left and inferior leads."""
    _depress(waves, (0.2 + 0.8 * severity) * np.array([-0.18, -0.13, 0.03]) * rng.uniform(0.8, 1.2))
    rows = waves.groups == "T"
    waves.vectors[rows] = waves.vectors[rows] * (0.75 - 1.1 * severity, 0.75 - 0.9 * severity, 0.85)


def _anterolateral_ischemia(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """ISCAL: symmetrical T inversion with slight ST depression in I, aVL, V3-V6."""
    _depress(waves, (0.1 + 0.9 * severity) * np.array([-0.11, 0.02, 0.03]))
    rows = waves.groups == "T"
    waves.vectors[rows] = waves.vectors[rows] * (
        0.5 - 1.5 * severity,
        rng.uniform(0.3, 0.8),
        0.7 - 1.0 * severity,
    )


def _inferior_ischemia(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """ISCIN: T inversion with slight ST depression in II, III, aVF."""
    _depress(waves, (0.1 + 0.9 * severity) * np.array([0.02, -0.13, 0.0]))
    rows = waves.groups == "T"
    waves.vectors[rows] = waves.vectors[rows] * (1.0, 0.4 - 1.5 * severity, 1.0)


def _long_qt(waves: Waves, severity: float, rng: np.random.Generator) -> None:
    """LNGQT: QTc over 0.47 s by a late, broad T."""
    rows = waves.groups == "T"
    waves.times[rows] += 0.025 + 0.09 * severity
    waves.widths[rows] *= 1.1 + 0.2 * severity


SIGNS = {
    sign.code: sign
    for sign in (
        Sign("IMI", "MI", 0.38, INFERIOR + HIGH_LATERAL, ("QRS", "ST", "T"), _INFARCTS["IMI"]),
        Sign("ASMI", "MI", 0.33, SEPTAL, ("QRS", "ST", "T"), _INFARCTS["ASMI"]),
        Sign("ILMI", "MI", 0.08, (*INFERIOR, "V5", "V6"), ("QRS", "ST", "T"), _INFARCTS["ILMI"]),
        Sign("AMI", "MI", 0.09, ("V2", "V3", "V4", "V5"), ("QRS", "ST", "T"), _INFARCTS["AMI"]),
        Sign(
            "ALMI",
            "MI",
            0.07,
            (*LATERAL, "V3", "V4", "III", "AVF"),
            ("QRS", "ST", "T"),
            _INFARCTS["ALMI"],
        ),
        Sign("LMI", "MI", 0.05, (*LATERAL, "III", "AVF"), ("QRS", "ST", "T"), _INFARCTS["LMI"]),
        Sign("CLBBB", "CD", 0.15, (*LATERAL, "V1", "V2", "V3"), ("QRS", "ST", "T"), _left_bundle_block),
        Sign("CRBBB", "CD", 0.16, ("I", "V1", "V2", "V5", "V6"), ("QRS", "T"), _right_bundle_block),
        Sign("IRBBB", "CD", 0.18, ("V1", "V2", "V3"), ("QRS",), _incomplete_right_bundle_block),
        Sign("1AVB", "CD", 0.19, LEADS, ("PR",), _first_degree_block),
        Sign("LAFB", "CD", 0.22, INFERIOR + HIGH_LATERAL, ("QRS",), _left_anterior_block),
        Sign("IVCD", "CD", 0.10, LEADS, ("QRS",), _intraventricular_delay),
        Sign(
            "LVH",
            "HYP",
            0.78,
            (*LATERAL, "V1", "V2", "V3"),
            ("QRS", "ST", "T"),
            _left_ventricular_hypertrophy,
        ),
        Sign("LAO/LAE", "HYP", 0.14, ("I", "II", "V1", "V2"), ("P",), _left_atrial_enlargement),
        Sign(
            "RVH",
            "HYP",
            0.08,
            ("I", "AVL", "V1", "V2", "V5", "V6"),
            ("QRS", "T"),
            _right_ventricular_hypertrophy,
        ),
        Sign("NDT", "STTC", 0.36, LEADS, ("T",), _non_diagnostic_t),
        Sign("NST_", "STTC", 0.16, LEADS, ("ST", "T"), _non_specific_st),
        Sign("ISC_", "STTC", 0.20, LEADS, ("ST", "T"), _ischemic_st),
        Sign("ISCAL", "STTC", 0.14, (*LATERAL, "V3", "V4"), ("ST", "T"), _anterolateral_ischemia),
        Sign("ISCIN", "STTC", 0.07, INFERIOR, ("ST", "T"), _inferior_ischemia),
        Sign("LNGQT", "STTC", 0.07, LEADS, ("T",), _long_qt),
    )
}
