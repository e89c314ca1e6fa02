"""Calibration: make a predicted 30 % mean that 30 of 100 such records have the finding.

The calibrator is chosen and fitted on validation records and used on others only. It changes no ranking, so
ROC-AUC stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from utils.errors import DataError
from utils.scorer import Scorer, check_probabilities, patient_numbers

# Float32 probabilities reach 0 and 1 exactly; their logits are taken at this distance from the ends.
_END = 1e-6
_SMALLEST_SLOPE = 0.01
_METHODS = ("platt", "identity")
_FOLDS = 5


@dataclass(frozen=True)
class Calibrator:
    """Platt scaling of each class: sigmoid(slope * logit(probability) + intercept).

    ``slope`` (C,): positive; below 1 where the model was too sure of itself.
    ``intercept`` (C,): shift in logits.
    """

    slope: np.ndarray
    intercept: np.ndarray

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrate probabilities; classes are treated one by one, so exclusive ones no longer sum to 1.

        Shapes: probabilities (N, C) -> (N, C).
        """
        p = np.asarray(probabilities, dtype=np.float64)
        if p.ndim != 2 or p.shape[1] != len(self.slope):
            raise DataError(f"the calibrator has {len(self.slope)} classes, the probabilities are {p.shape}")
        if p.size:
            check_probabilities(np.zeros(p.shape, dtype=bool), p)
        unchanged = (self.slope == 1) & (self.intercept == 0)
        return np.where(unchanged, p, expit(self.slope * _logit(p) + self.intercept))

    @property
    def is_identity(self) -> bool:
        """Whether it changes no probability of any class."""
        return bool(((self.slope == 1) & (self.intercept == 0)).all())

    def to_json(self) -> dict[str, Any]:
        """``method`` (``platt``, or ``identity`` where nothing changes), ``slope`` and ``intercept``."""
        method = "identity" if self.is_identity else "platt"
        return {"method": method, "slope": self.slope.tolist(), "intercept": self.intercept.tolist()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Calibrator:
        """Rebuild a calibrator from `to_json`."""
        try:
            slope, intercept = np.asarray(value["slope"], float), np.asarray(value["intercept"], float)
            method = value["method"]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a calibrator (needs method, slope and intercept): {error!r}") from error
        finite = np.isfinite(slope).all() and np.isfinite(intercept).all()
        if method not in _METHODS or slope.ndim != 1 or slope.shape != intercept.shape or not finite:
            raise DataError(f"not a calibrator: method {method!r}, slope {slope}, intercept {intercept}")
        return cls(slope, intercept)


def fit_calibrator(labels: np.ndarray, probabilities: np.ndarray) -> Calibrator:
    """Fit Platt scaling for each class; for validation records.

    Penalized maximum likelihood: a unit normal prior holds slope and intercept near 1 and 0, so that a few or
    perfectly separated records cannot send them to infinity. A class without both labels is left as it is.

    Shapes: labels (N, C), probabilities (N, C).

    Platt, Probabilistic outputs for support vector machines, in Advances in Large Margin Classifiers (1999).
    """
    y, p = check_probabilities(labels, probabilities)
    slope, intercept = np.ones(y.shape[1]), np.zeros(y.shape[1])
    for column in np.flatnonzero(y.any(axis=0) & ~y.all(axis=0)):
        x, target = _logit(p[:, column]), y[:, column].astype(float)

        def loss(parameters, x=x, target=target):
            a, b = parameters
            z = a * x + b
            error = expit(z) - target
            value = (np.logaddexp(0, z) - target * z).sum() + ((a - 1) ** 2 + b**2) / 2
            return value, np.array([error @ x + a - 1, error.sum() + b])

        bounds = [(_SMALLEST_SLOPE, None), (None, None)]
        slope[column], intercept[column] = minimize(
            loss, (1, 0), jac=True, method="L-BFGS-B", bounds=bounds
        ).x
    return Calibrator(slope, intercept)


def choose_calibration(
    labels: np.ndarray, probabilities: np.ndarray, patient_ids: np.ndarray
) -> dict[str, Any]:
    """Fit Platt scaling where it lowers the log loss of patients that it was not fitted on.

    Cross-validation over five groups of patients decides; else, and with one patient, the identity is taken.

    Returns for a card: `Calibrator.to_json` of the calibrator fitted on all records, and ``cross_validation``
    (None with one patient): ``folds``, and the mean log loss of held-out records, ``log_loss`` and
    ``log_loss_calibrated``.

    Shapes: labels (N, C), probabilities (N, C), patient_ids (N,).
    """
    y, p = check_probabilities(labels, probabilities)
    patient = patient_numbers(patient_ids, len(y))
    count = int(patient.max()) + 1
    folds = min(_FOLDS, count)
    groups = np.random.default_rng(0).permutation(count)[patient] % folds
    held_out = p.copy()
    for fold in range(folds) if folds > 1 else ():
        inside = groups == fold
        held_out[inside] = fit_calibrator(y[~inside], p[~inside])(p[inside])
    once = np.ones(len(y), dtype=np.int64)
    before, after = (float(Scorer(y, q).class_log_loss(once).mean()) for q in (p, held_out))
    identity = Calibrator(np.ones(y.shape[1]), np.zeros(y.shape[1]))
    calibrator = fit_calibrator(y, p) if after < before else identity
    checked = {"folds": folds, "log_loss": before, "log_loss_calibrated": after}
    return {**calibrator.to_json(), "cross_validation": checked if folds > 1 else None}


def _logit(probabilities: np.ndarray) -> np.ndarray:
    return logit(np.clip(probabilities, _END, 1 - _END))
