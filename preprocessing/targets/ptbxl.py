"""Label sets of PTB-XL: from SCP-ECG codes to columns of 0 and 1.

A code counts when it is listed for the record, whatever its likelihood, as in the published benchmarks; with
`min_likelihood` a *diagnostic* code counts from that likelihood on. Form and rhythm codes mostly
have none (0 in the table), so the option leaves them alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from databases.ptbxl import DATABASE_CSV, STATEMENTS_CSV, splits_of_folds
from databases.scp_groups import PROTO_GROUPS, REFERENCE_NAMES
from utils.errors import DataError, UsageError, nearest

MI_CLASSES = ["ASMI", "IMI", "NORM"]
# The MI task takes a code as certain: stated with 80 or 100 percent, or without a likelihood (0).
_MI_LIKELIHOODS = (0, 80, 100)
_TASKS = [
    *("superdiagnostic", "subdiagnostic", "diagnostic", "form", "rhythm", "all"),
    *(*PROTO_GROUPS, "mi", "mi_reference"),
]


@dataclass(frozen=True)
class LabelTable:
    """Labels of the records of one task.

    ``rows`` (N,): row of each record in the database table. (The task mi_reference may hold a row
        twice.)
    ``labels`` (N, C): 1 where the class is present.
    ``classes``: names of the columns.
    ``splits`` (N,): ``train``, ``val`` or ``test``.
    """

    rows: np.ndarray
    labels: np.ndarray
    classes: list[str]
    splits: np.ndarray


def tasks() -> list[str]:
    """Names of the label sets."""
    return list(_TASKS)


def canonical_task(task: str) -> str:
    """Check the name of a task and resolve the reference's short names."""
    name = REFERENCE_NAMES.get(str(task), str(task))
    if name not in _TASKS:
        raise UsageError(f"unknown task '{task}': {nearest(name, _TASKS)}")
    return name


def multilabel(task: str) -> bool:
    """Tell whether a record can have several classes of the task at once."""
    return canonical_task(task) not in ("mi", "mi_reference")


def _columns_of_codes(statements: pd.DataFrame, task: str) -> tuple[list[str], dict[str, int]]:
    """Class names, and the column that each code sets."""
    if task in ("superdiagnostic", "subdiagnostic"):
        column = "diagnostic_class" if task == "superdiagnostic" else "diagnostic_subclass"
        named = statements[statements["diagnostic"] & (statements[column] != "")][column]
        classes = list(dict.fromkeys(named))  # order of first appearance
        if task == "superdiagnostic":
            classes.sort()
        return classes, {code: classes.index(name) for code, name in named.items()}
    if task in PROTO_GROUPS:
        classes = list(PROTO_GROUPS[task])
    elif task == "all":
        classes = list(statements.index)
    else:
        classes = list(statements.index[statements[task]])
    return classes, {code: column for column, code in enumerate(classes)}


def _check_codes(database: pd.DataFrame, statements: pd.DataFrame) -> None:
    known = set(statements.index)
    unknown: dict[str, int] = {}
    for ecg_id, codes in database["scp_codes"].items():
        for code in codes:
            if code not in known:
                unknown.setdefault(code, int(ecg_id))
    if unknown:
        first = ", ".join(f"{code} (ecg_id {ecg_id})" for code, ecg_id in list(unknown.items())[:10])
        raise DataError(
            f"{DATABASE_CSV} uses {len(unknown)} codes that {STATEMENTS_CSV} does not define: {first}. "
            "The two tables must come from the same release"
        )


def _mi_parts(database: pd.DataFrame, min_likelihood: float) -> tuple[dict[int, int], list[int]]:
    """Rows with exactly one certain MI code (and its column), and rows that are certainly normal."""
    infarctions, normal = {}, []
    for row, codes in enumerate(database["scp_codes"]):
        found = [column for column, code in enumerate(MI_CLASSES[:2]) if codes.get(code) in _MI_LIKELIHOODS]
        # exclusive first: a threshold must not turn a record with both codes into a certain one
        if len(found) == 1 and codes[MI_CLASSES[found[0]]] >= min_likelihood:
            infarctions[row] = found[0]
        if codes.get("NORM") == 100:
            normal.append(row)
    return infarctions, normal


def _mi_labels(database: pd.DataFrame, statements: pd.DataFrame, min_likelihood: float) -> LabelTable:
    """Each record is in its own fold's split; NORM excludes any infarction, so the classes cannot overlap."""
    infarctions, normal = _mi_parts(database, min_likelihood)
    mi_codes = set(statements.index[statements["diagnostic_class"] == "MI"])
    scp_codes = list(database["scp_codes"])
    column_of = {row: 2 for row in normal if not mi_codes.intersection(scp_codes[row])}
    column_of |= {row: column for row, column in infarctions.items() if scp_codes[row].get("NORM") != 100}
    rows = np.asarray(sorted(column_of), dtype=np.int64)
    labels = np.eye(3, dtype=np.uint8)[[column_of[row] for row in rows.tolist()]]
    return LabelTable(
        rows, labels, list(MI_CLASSES), splits_of_folds(database["strat_fold"].to_numpy()[rows])
    )


def _mi_reference_labels(database: pd.DataFrame) -> LabelTable:
    """IMLE-Net's own selection: few NORM records of folds 1-3, no validation, folds 9 and 10 as one test."""
    infarctions, normal = _mi_parts(database, min_likelihood=0)
    folds = database["strat_fold"].to_numpy()
    chosen = [(row, column, "train" if folds[row] <= 8 else "test") for row, column in infarctions.items()]
    chosen += [(row, 2, "train") for row in [r for r in normal if folds[r] in (1, 2)][:900]]
    chosen += [(row, 2, "test") for row in [r for r in normal if folds[r] == 3][:200]]
    chosen.sort()
    rows = np.asarray([row for row, _, _ in chosen], dtype=np.int64)
    labels = np.eye(3, dtype=np.uint8)[[column for _, column, _ in chosen]]
    return LabelTable(
        rows, labels, list(MI_CLASSES), np.asarray([split for *_, split in chosen], dtype="<U5")
    )


def build_labels(
    database: pd.DataFrame, statements: pd.DataFrame, task: str = "superdiagnostic", min_likelihood: float = 0
) -> LabelTable:
    """Make the labels of a task.

    ``superdiagnostic`` (5 classes, alphabetical) and ``subdiagnostic`` (23) group the diagnostic codes;
    ``diagnostic`` (44), ``form`` (19), ``rhythm`` (12), ``all`` (71) and ProtoECGNet's ``proto_rhythm`` (16),
    ``proto_morphology`` (52), ``proto_global`` (3) have a class for each code, in the order of
    ``scp_statements.csv``. The first two leave out records without any class; the others keep them, with all
    zeros.

    ``mi`` has the exclusive classes ASMI, IMI, NORM. ASMI or IMI: exactly one of the two codes is stated with
    a likelihood of 100, 80 or 0 (0: none given), which must also reach `min_likelihood`. NORM: likelihood
    100, and no code of the class MI at any likelihood. A record that would be both is left out.
    ``mi_reference`` is the selection of the published IMLE-Net code: NORM without that condition (first 900
    of folds 1-2 for training, first 200 of fold 3 for testing), infarctions of folds 1-8 for training and of
    9-10 for testing, no validation split.

    Parameters
    ----------
    database : pandas.DataFrame
        From `databases.ptbxl.read_database`.
    statements : pandas.DataFrame
        From `databases.ptbxl.read_statements`.
    task : str
        One of `tasks()`.
    min_likelihood : float
        A diagnostic code counts from this likelihood on (0 to 100); 0 counts every listed code.

    Returns
    -------
    LabelTable
        Rows, labels, classes and splits.

    Raises
    ------
    UsageError
        Unknown task, a likelihood outside 0 to 100, or one for mi_reference, which has its own rule.
    DataError
        A record has a code that the statements do not define, or no record has a label.
    """
    task = canonical_task(task)
    if not 0 <= min_likelihood <= 100:
        raise UsageError(f"min_likelihood is a percentage from 0 to 100, not {min_likelihood}")
    if task == "mi_reference" and min_likelihood:
        raise UsageError(
            "task mi_reference has its own likelihood rule: leave min_likelihood at 0, or use task mi"
        )
    _check_codes(database, statements)
    if task == "mi":
        table = _mi_labels(database, statements, min_likelihood)
    elif task == "mi_reference":
        table = _mi_reference_labels(database)
    else:
        classes, column_of = _columns_of_codes(statements, task)
        diagnostic = set(statements.index[statements["diagnostic"]])
        labels = np.zeros((len(database), len(classes)), dtype=np.uint8)
        for row, codes in enumerate(database["scp_codes"]):
            for code, likelihood in codes.items():
                if code in column_of and (likelihood >= min_likelihood or code not in diagnostic):
                    labels[row, column_of[code]] = 1
        drop_unlabelled = task in ("superdiagnostic", "subdiagnostic")
        rows = np.flatnonzero(labels.any(axis=1)) if drop_unlabelled else np.arange(len(database))
        table = LabelTable(
            rows, labels[rows], classes, splits_of_folds(database["strat_fold"].to_numpy()[rows])
        )
    if not table.labels.any():
        raise DataError(
            f"no record has a label of task {task} (classes {', '.join(table.classes) or 'none'})"
        )
    return table
