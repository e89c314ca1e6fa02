"""Einthoven's and Goldberger's identities: what the six limb leads obey, and what is wrong where they do not.

The six limb leads come from three electrodes, so two of them give the other four: III = II - I,
aVR = -(I + II) / 2, aVL = (I - III) / 2, aVF = (II + III) / 2 [1]_.

.. [1] Kligfield et al., Recommendations for the Standardization and Interpretation of the Electrocardiogram,
   part I, Circulation 115 (2007), doi:10.1161/CIRCULATIONAHA.106.180200.
"""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

from preprocessing.recordings.order import median
from utils.ecg import DISPLAY_NAMES, LEADS

LIMB = LEADS[:6]
# RMS residual over RMS of the limb leads. Rounding and filters leave below 0.01; a wrong lead 0.5 and more.
TOLERANCE = 0.1
# Rows: III - (II - I), aVR + (I + II) / 2, aVL - (I - III) / 2, aVF - (II + III) / 2.
IDENTITIES = np.array(
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
    return relative_residuals(IDENTITIES[None], _covariance(signals)[:6, :6])[0]


def identity_violations(signals: np.ndarray, lost: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Seconds in which one limb lead contradicts the others, in that lead; where it cannot be told, in all.

    Shapes: signals (T, 12), lost (T, 12) -> (T, 12).
    """
    mask = np.zeros_like(lost)
    second = round(sampling_rate)
    seconds = len(signals) // second
    if not seconds:
        return mask
    limb = signals[:, :6] - median(signals[:, :6].T)
    residuals = signals[:, :6] @ IDENTITIES.T
    residuals -= median(residuals.T)
    sizes = np.sqrt((limb[: seconds * second].reshape(seconds, -1) ** 2).mean(axis=1))
    errors = np.sqrt((residuals[: seconds * second].reshape(seconds, second, -1) ** 2).mean(axis=1))
    usual = max(float(median(sizes)), np.finfo(float).tiny)
    uses = IDENTITIES != 0
    broken_in = errors > TOLERANCE * np.maximum(usual, sizes / 3)[:, None]
    for place in np.flatnonzero(broken_in.any(axis=1)).tolist():
        part, broken = slice(place * second, (place + 1) * second), broken_in[place]
        if not lost[part, :6].any():
            # the lead is in every identity that fails and in none that holds
            fits = [lead for lead in range(6) if (uses[:, lead] == broken).all()]
            mask[part, fits or slice(0, 6)] = True
    return mask


def explain_violation(signals: np.ndarray) -> str:
    """Find the smallest change of lead names or signs that restores the identities; signals (T, 12)."""
    covariance = _covariance(signals)
    orders, signs = np.array(list(permutations(range(6)))), np.array(list(product((1, -1), repeat=6)))
    # For every order and sign pattern: the identities written for the leads as they stand in the file.
    weights = np.zeros((len(orders), len(signs), 4, 6))
    for lead in range(6):
        column = signs[None, :, lead, None] * IDENTITIES[None, None, :, lead]
        weights[np.arange(len(orders)), :, :, orders[:, lead]] = column
    worst = relative_residuals(weights.reshape(-1, 4, 6), covariance[:6, :6]).max(axis=1)
    changed = ((orders != np.arange(6))[:, None] | (signs < 0)[None]).sum(axis=2).ravel()
    fits = np.flatnonzero(worst <= TOLERANCE)
    if len(fits):
        best = fits[np.lexsort((worst[fits], changed[fits]))[0]]
        return _describe(orders[best // len(signs)], signs[best % len(signs)])
    for limb, chest in product(range(6), range(6, 12)):
        order = [chest if lead == limb else lead for lead in range(6)]
        if relative_residuals(IDENTITIES[None], covariance[np.ix_(order, order)]).max() <= TOLERANCE:
            return f"{DISPLAY_NAMES[limb]} and {DISPLAY_NAMES[chest]} are exchanged"
    if factors := _gain_factors(covariance[:6, :6]):
        return f"the leads were scaled one by one: multiplied by {factors} they agree"
    return ""


def _covariance(signals: np.ndarray) -> np.ndarray:
    centered = np.asarray(signals, np.float64) - np.mean(signals, axis=0, dtype=np.float64)
    return centered.T @ centered / len(centered)


def relative_residuals(weights: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """RMS of the combinations `weights` of the limb leads over the RMS of these leads.

    Shapes: weights (..., 4, 6), covariance (..., 6, 6) -> (..., 4).
    """
    energy = np.einsum("...ki,...ij,...kj->...k", weights, covariance, weights, optimize=True)
    size = np.trace(covariance, axis1=-2, axis2=-1)[..., None] / 6
    return np.sqrt(np.maximum(energy, 0) / np.maximum(size, np.finfo(float).tiny))


def _gain_factors(covariance: np.ndarray) -> str:
    """Factors on the limb leads (as text, median 1) that restore the identities; empty where none do."""
    rms = np.sqrt(np.diag(covariance))
    if rms.min() < 1e-6 * rms.max():
        return ""
    # In leads of unit RMS the factors with the least total residual are the smallest eigenvector.
    form = np.einsum("ki,kj->ij", IDENTITIES, IDENTITIES) * covariance / np.outer(rms, rms)
    factors = np.linalg.eigh(form)[1][:, 0] / rms
    factors /= np.median(factors)
    if (
        factors.min() <= 0
        or relative_residuals(IDENTITIES, covariance * np.outer(factors, factors)).max() > TOLERANCE
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
