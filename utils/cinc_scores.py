"""Score of the PhysioNet/CinC Challenges 2020 and 2021: wrong answers weigh by how much they would harm."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.bootstrap import interval_of_sums
from utils.errors import DataError, UsageError

SHIPPED = {
    f"cinc{year}": Path(__file__).parent / "static" / f"cinc{year}_weights.csv" for year in (2020, 2021)
}
NORMAL = ("426783006", "NSR")


@dataclass(frozen=True)
class RewardMatrix:
    """What an answer is worth for a true class.

    Parameters
    ----------
    classes : tuple of tuple of str
        For each class its names: abbreviations and SNOMED CT codes, several where classes count as one.
    values : numpy.ndarray
        Shape (K, K): row the true class, column the answer; 1 on the diagonal.
    normal : int
        Class of the answer that costs nothing: always sinus rhythm.
    """

    classes: tuple[tuple[str, ...], ...]
    values: np.ndarray
    normal: int

    def fold(self, decisions: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Columns of the matrix's classes, each true where any of its names is.

        Parameters
        ----------
        decisions : numpy.ndarray
            Shape (N, C), 0 or 1.
        names : sequence of str
            Abbreviation or code of each column. Columns that the challenge does not score are left out.

        Returns
        -------
        numpy.ndarray
            Shape (N, K), bool.

        Raises
        ------
        DataError
            The shape does not fit the names, a value is neither 0 nor 1, or no class is scored.
        """
        decisions = np.asarray(decisions)
        if decisions.ndim != 2 or decisions.shape[1] != len(names):
            raise DataError(f"decisions of shape {decisions.shape} need {len(names)} columns, one a class")
        if not np.isin(decisions, (0, 1)).all():
            raise DataError("labels and decisions must be 0 or 1: apply thresholds to probabilities first")
        number = {name: index for index, same in enumerate(self.classes) for name in same}
        if not any(str(name) in number for name in names):
            raise DataError(
                f"none of the classes {', '.join(map(str, names[:5]))} ... is scored; scored are "
                f"{', '.join(same[0] for same in self.classes)}, or their SNOMED CT codes"
            )
        folded = np.zeros((len(decisions), len(self.classes)), dtype=bool)
        for column, name in enumerate(names):
            if str(name) in number:
                folded[:, number[str(name)]] |= decisions[:, column].astype(bool)
        return folded


def load_rewards(source: str | os.PathLike = "cinc2021") -> RewardMatrix:
    """Read a reward matrix.

    Parameters
    ----------
    source : str or path-like
        ``cinc2020`` (24 classes), ``cinc2021`` (26 classes), or a CSV file like the challenges' own: names in
        the first row and column, those of equivalent classes joined by ``|``.

    Returns
    -------
    RewardMatrix
        Classes in the order of the file.

    Raises
    ------
    UsageError
        No such file.
    DataError
        The table is not square, its rows and columns differ, a value is not a number, or sinus rhythm is not
        there.
    """
    path = SHIPPED.get(str(source), Path(source))
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        names = ", ".join(SHIPPED)
        raise UsageError(f"weights '{source}': {error.strerror or error}; shipped are {names}") from error
    if not rows or any(len(row) != len(rows[0]) for row in rows) or len(rows) != len(rows[0]):
        raise DataError(f"{path}: the weights must be a square table with names in its first row and column")
    if [row[0] for row in rows[1:]] != rows[0][1:]:
        raise DataError(f"{path}: the names of the rows are not those of the columns")
    try:
        values = np.array([[float(value) for value in row[1:]] for row in rows[1:]])
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if not np.isfinite(values).all():
        raise DataError(f"{path}: weights must be finite numbers")
    classes = tuple(tuple(dict.fromkeys(name.strip() for name in cell.split("|"))) for cell in rows[0][1:])
    normal = [index for index, same in enumerate(classes) if set(same) & set(NORMAL)]
    if len(normal) != 1:
        raise DataError(f"{path}: one class must be sinus rhythm ({' or '.join(NORMAL)})")
    return RewardMatrix(classes, values, normal[0])


def cinc_score(
    labels: np.ndarray,
    decisions: np.ndarray,
    classes: Sequence[str],
    rewards: RewardMatrix | str | os.PathLike = "cinc2021",
    patients: Sequence[object] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Normalized score of the challenges: 1 for all that is right, 0 for always sinus rhythm.

    Parameters
    ----------
    labels, decisions : numpy.ndarray
        Shape (N, C), 0 or 1.
    classes : sequence of str
        Abbreviation or SNOMED CT code of each column.
    rewards : RewardMatrix, str or path-like
        What `load_rewards` gives or takes.
    patients : sequence, optional
        Patient of each record, for the interval; without, every record is of another patient.
    resamples, seed : int
        Of the bootstrap over patients.

    Returns
    -------
    dict of str to float
        ``score`` with the 95 % interval ``low`` to ``high``; the sums ``observed``, ``correct`` (of the right
        answers) and ``inactive`` (of sinus rhythm for all). Where the last two are equal the score is 0, as
        the challenges define it.

    Raises
    ------
    DataError
        Shapes or values do not fit.

    Notes
    -----
    Perez Alday et al., Physiol. Meas. 41, 124003 (2020), doi:10.1088/1361-6579/abc960; Reyna et al.,
    Computing in Cardiology 48 (2021), doi:10.23919/CinC53138.2021.9662687. The matrices are those of the
    challenges' evaluation (BSD 2-Clause License, PhysioNet/Computing in Cardiology Challenges).
    """
    matrix = rewards if isinstance(rewards, RewardMatrix) else load_rewards(rewards)
    expected, answer = matrix.fold(labels, classes), matrix.fold(decisions, classes)
    if expected.shape != answer.shape:
        raise DataError(f"{len(expected)} records with labels, {len(answer)} with decisions")
    normal = np.zeros_like(answer)
    normal[:, matrix.normal] = True
    worth = expected @ matrix.values  # of each answer for the record
    parts = np.stack(
        [
            (worth * given).sum(axis=1) / np.maximum((expected | given).sum(axis=1), 1)
            for given in (answer, expected, normal)
        ],
        axis=1,
    )
    interval = interval_of_sums(parts, _normalized, patients, resamples, seed)
    observed, correct, inactive = (float(value) for value in parts.sum(axis=0))
    score = float(_normalized(parts.sum(axis=0)))
    return {"score": score, **interval, "observed": observed, "correct": correct, "inactive": inactive}


def _normalized(sums: np.ndarray) -> np.ndarray:
    """Score from the sums observed, correct and inactive (..., 3)."""
    observed, correct, inactive = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    span = correct - inactive
    return np.divide(observed - inactive, span, out=np.zeros_like(span), where=span != 0)
