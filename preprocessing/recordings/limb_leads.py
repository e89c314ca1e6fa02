"""Einthoven's and Goldberger's identities: what the six limb leads obey, and what is wrong where they do not.

The six limb leads come from three electrodes, so two of them give the other four: III = II - I,
aVR = -(I + II) / 2, aVL = (I - III) / 2, aVF = (II + III) / 2 [1]_.

.. [1] Kligfield et al., Recommendations for the Standardization and Interpretation of the Electrocardiogram,
   part I, Circulation 115 (2007), doi:10.1161/CIRCULATIONAHA.106.180200.
"""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

from utils.ecg import DISPLAY_NAMES, LEADS

LIMB = LEADS[:6]
# RMS residual over RMS of the limb leads. Rounding and filters leave below 0.01; a wrong lead 0.5 and more.
TOLERANCE = 0.1
# Rows: III - (II - I), aVR + (I + II) / 2, aVL - (I - III) / 2, aVF - (II + III) / 2.
_IDENTITIES = np.array(
    [[1, -1, 1, 0, 0, 0], [0.5, 0.5, 0, 1, 0, 0], [-0.5, 0, 0.5, 0, 1, 0], [0, -0.5, -0.5, 0, 0, 1]]
)
IDENTITY_NAMES = ("III = II - I", "aVR = -(I + II) / 2", "aVL = (I - III) / 2", "aVF = (II + III) / 2")


def derive_limb_leads(lead_i: np.ndarray, lead_ii: np.ndarray) -> dict[str, np.ndarray]:
    """Leads III, aVR, aVL and aVF from leads I and II, exactly; lead_i (T,), lead_ii (T,)."""
    return {
        "III": lead_ii - lead_i,
        "AVR": -(lead_i + lead_ii) / 2,
        "AVL": lead_i - lead_ii / 2,
        "AVF": lead_ii - lead_i / 2,
    }


def identity_residuals(signals: np.ndarray) -> np.ndarray:
    """How far the limb leads are from the four identities; signals (T, 12) -> (4,)."""
    return _relative(_IDENTITIES[None], _covariance(signals)[:6, :6])[0]


def explain_violation(signals: np.ndarray) -> str:
    """Find the smallest change of lead names or signs that restores the identities; signals (T, 12)."""
    covariance = _covariance(signals)
    orders, signs = np.array(list(permutations(range(6)))), np.array(list(product((1, -1), repeat=6)))
    # For every order and sign pattern: the identities written for the leads as they stand in the file.
    weights = np.zeros((len(orders), len(signs), 4, 6))
    for lead in range(6):
        column = signs[None, :, lead, None] * _IDENTITIES[None, None, :, lead]
        weights[np.arange(len(orders)), :, :, orders[:, lead]] = column
    worst = _relative(weights.reshape(-1, 4, 6), covariance[:6, :6]).max(axis=1)
    changed = ((orders != np.arange(6))[:, None] | (signs < 0)[None]).sum(axis=2).ravel()
    fits = np.flatnonzero(worst <= TOLERANCE)
    if len(fits):
        best = fits[np.lexsort((worst[fits], changed[fits]))[0]]
        return _describe(orders[best // len(signs)], signs[best % len(signs)])
    for limb, chest in product(range(6), range(6, 12)):
        order = [chest if lead == limb else lead for lead in range(6)]
        if _relative(_IDENTITIES[None], covariance[np.ix_(order, order)]).max() <= TOLERANCE:
            return f"{DISPLAY_NAMES[limb]} and {DISPLAY_NAMES[chest]} are exchanged"
    if factors := _gain_factors(covariance[:6, :6]):
        return f"the leads were scaled one by one: multiplied by {factors} they agree"
    return ""


def suspect_arm_reversal(signals: np.ndarray) -> bool:
    """Whether the arm electrodes may be exchanged: lead I points down and aVR up.

    The identities still hold then, so only the shape can tell; dextrocardia looks similar in these leads.

    Shapes: signals (T, 12).
    """
    centered = signals - np.median(signals, axis=0)
    up, down = np.percentile(centered, 99.8, axis=0), -np.percentile(centered, 0.2, axis=0)
    lead_i, avr = LEADS.index("I"), LEADS.index("AVR")
    return bool(down[lead_i] > 1.5 * up[lead_i] and up[avr] > 1.5 * down[avr])


def _covariance(signals: np.ndarray) -> np.ndarray:
    centered = np.asarray(signals, np.float64) - np.mean(signals, axis=0, dtype=np.float64)
    return centered.T @ centered / len(centered)


def _relative(weights: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """RMS of the combinations `weights` (..., 4, 6) of the limb leads over the RMS of these leads."""
    energy = np.einsum("...ki,ij,...kj->...k", weights, covariance, weights, optimize=True)
    return np.sqrt(np.maximum(energy, 0) / max(float(np.trace(covariance)) / 6, np.finfo(float).tiny))


def _gain_factors(covariance: np.ndarray) -> str:
    """Factors on the limb leads (as text, median 1) that restore the identities; empty where none do."""
    rms = np.sqrt(np.diag(covariance))
    if rms.min() < 1e-6 * rms.max():
        return ""
    # In leads of unit RMS the factors with the least total residual are the smallest eigenvector.
    form = np.einsum("ki,kj->ij", _IDENTITIES, _IDENTITIES) * covariance / np.outer(rms, rms)
    factors = np.linalg.eigh(form)[1][:, 0] / rms
    factors /= np.median(factors)
    if (
        factors.min() <= 0
        or _relative(_IDENTITIES, covariance * np.outer(factors, factors)).max() > TOLERANCE
    ):
        return ""
    return ", ".join(f"{name} {factor:.3g}" for name, factor in zip(DISPLAY_NAMES, factors, strict=False))


def _describe(order: np.ndarray, signs: np.ndarray) -> str:
    """Say in words which columns hold which leads; `order[lead]` is the column that holds the lead."""
    names = DISPLAY_NAMES[:6]
    moved = [lead for lead in range(6) if order[lead] != lead]
    parts = []
    if len(moved) == 2:
        parts.append(f"{names[moved[0]]} and {names[moved[1]]} are exchanged")
    elif moved:
        parts.append(", ".join(f"the column {names[order[lead]]} holds {names[lead]}" for lead in moved))
    inverted = [names[order[lead]] for lead in range(6) if signs[lead] < 0]
    if inverted:
        parts.append(f"{' and '.join(inverted)} {'is' if len(inverted) == 1 else 'are'} upside down")
    return ", and ".join(parts)
