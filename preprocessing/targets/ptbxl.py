"""Label sets of PTB-XL: from SCP-ECG statements to columns of 0 and 1.

A statement counts when it is listed for the record, whatever its likelihood, as in the published benchmarks;
with `min_likelihood` a *diagnostic* statement counts from that likelihood on. Form and rhythm statements
mostly have none (0 in the table), so the option does not apply to them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from databases.ptbxl import DATABASE_CSV, MI_REFERENCE_SPLITS, STATEMENTS_CSV, read_statements
from databases.scp_groups import PROTO_GROUPS, REFERENCE_NAMES
from preprocessing.targets.registry import TargetOptions, Targets, register_targets
from utils.errors import DataError, UsageError

if TYPE_CHECKING:
    from databases import Database

MI_CLASSES = ["ASMI", "IMI", "NORM"]
# The MI sets take a statement as certain: with 80 or 100 percent, or without a likelihood (0).
_MI_LIKELIHOODS = (0, 80, 100)
_DATABASES = ("ptbxl", "synthetic")  # the generator writes PTB-XL's layout
_EXCLUSIVE = ("mi", "mi_reference")
# As the benchmark of PTB-XL does: only records with a statement of the set (Strodthoff et al., Deep Learning
# for ECG Analysis: Benchmarks and Insights from PTB-XL, IEEE JBHI 25, 1519, 2021,
# doi:10.1109/JBHI.2020.3022989).
_OF_LABELED_RECORDS = ("superdiagnostic", "subdiagnostic", "diagnostic", "form", "rhythm")


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
        certain = [column for column, code in enumerate(MI_CLASSES[:2]) if codes.get(code) in _MI_LIKELIHOODS]
        # exclusive first: a threshold must not turn a record with both codes into a certain one
        if len(certain) == 1 and codes[MI_CLASSES[certain[0]]] >= min_likelihood:
            infarctions[row] = certain[0]
        if codes.get("NORM") == 100:
            normal.append(row)
    return infarctions, normal


def _mi_labels(database: pd.DataFrame, statements: pd.DataFrame, min_likelihood: float) -> Targets:
    """Certain infarctions and normal records; NORM excludes any infarction, so the classes cannot overlap."""
    infarctions, normal = _mi_parts(database, min_likelihood)
    mi_codes = set(statements.index[statements["diagnostic_class"] == "MI"])
    scp_codes = list(database["scp_codes"])
    column_of = {row: 2 for row in normal if not mi_codes.intersection(scp_codes[row])}
    column_of |= {row: column for row, column in infarctions.items() if scp_codes[row].get("NORM") != 100}
    rows = np.asarray(sorted(column_of), dtype=np.int64)
    labels = np.eye(3, dtype=np.uint8)[[column_of[row] for row in rows.tolist()]]
    return Targets(rows, labels, list(MI_CLASSES))


def _mi_reference_labels(database: pd.DataFrame) -> Targets:
    """IMLE-Net's published selection: few NORM records of folds 1-3, folds 9 and 10 as one test set."""
    infarctions, normal = _mi_parts(database, min_likelihood=0)
    folds = database["strat_fold"].to_numpy()
    selection = [(row, column, "train" if folds[row] <= 8 else "test") for row, column in infarctions.items()]
    selection += [(row, 2, "train") for row in [r for r in normal if folds[r] in (1, 2)][:900]]
    selection += [(row, 2, "test") for row in [r for r in normal if folds[r] == 3][:200]]
    selection.sort()
    rows = np.asarray([row for row, _, _ in selection], dtype=np.int64)
    labels = np.eye(3, dtype=np.uint8)[[column for _, column, _ in selection]]
    return Targets(rows, labels, list(MI_CLASSES), np.asarray([split for *_, split in selection]))


def build_labels(
    database: pd.DataFrame,
    statements: pd.DataFrame,
    task: str = "superdiagnostic",
    min_likelihood: float = 0,
    keep_unlabeled: bool = False,
) -> Targets:
    """Build the labels of a label set of PTB-XL.

    ``superdiagnostic`` (5 classes, alphabetical) and ``subdiagnostic`` (23) group the diagnostic statements;
    ``diagnostic`` (44), ``form`` (19) and ``rhythm`` (12) have a class for each statement, in the order of
    ``scp_statements.csv``. All five leave out records without any class, unless `keep_unlabeled`. ``all``
    (71) and its three groups ``proto_rhythm`` (16), ``proto_morphology`` (52) and ``proto_global`` (3) keep
    every record.

    ``mi`` has the exclusive classes ASMI, IMI, NORM. ASMI or IMI: exactly one of the two is stated with
    a likelihood of 100, 80 or 0 (0: none given), which must also reach `min_likelihood`. NORM: likelihood
    100, and no statement of the class MI at any likelihood. A record that would be both is left out.
    ``mi_reference`` is the selection of the published IMLE-Net code, with splits of its own: NORM without
    that condition, no validation records, and a test set that made every choice.
    """
    if not 0 <= min_likelihood <= 100:
        raise UsageError(f"min_likelihood is a percentage from 0 to 100, not {min_likelihood}")
    if task == "mi_reference" and min_likelihood:
        raise UsageError(
            "task mi_reference has its own likelihood rule: leave min_likelihood at 0, or use task mi"
        )
    if task in _EXCLUSIVE and keep_unlabeled:
        raise UsageError(f"task {task} has exactly one class per record: leave out keep_unlabeled")
    _check_codes(database, statements)
    if task == "mi":
        targets = _mi_labels(database, statements, min_likelihood)
    elif task == "mi_reference":
        targets = _mi_reference_labels(database)
    else:
        targets = _statement_labels(database, statements, task, min_likelihood, keep_unlabeled)
    if not targets.values.any():
        raise DataError(
            f"no record has a label of task {task} (classes {', '.join(targets.classes) or 'none'})"
        )
    return targets


def _statement_labels(
    database: pd.DataFrame, statements: pd.DataFrame, task: str, min_likelihood: float, keep_unlabeled: bool
) -> Targets:
    classes, column_of = _columns_of_codes(statements, task)
    diagnostic = set(statements.index[statements["diagnostic"]])
    labels = np.zeros((len(database), len(classes)), dtype=np.uint8)
    for row, codes in enumerate(database["scp_codes"]):
        for code, likelihood in codes.items():
            if code in column_of and (likelihood >= min_likelihood or code not in diagnostic):
                labels[row, column_of[code]] = 1
    selected = task in _OF_LABELED_RECORDS and not keep_unlabeled
    rows = np.flatnonzero(labels.any(axis=1)) if selected else np.arange(len(database))
    return Targets(rows, labels[rows], classes)


def _build(task: str, database: Database, options: TargetOptions) -> Targets:
    records = database.records.rename(columns={"fold": "strat_fold"})
    statements = read_statements(database.root)
    return build_labels(records, statements, task, options.min_likelihood, options.keep_unlabeled)


def _register() -> None:
    aliases: dict[str, list[str]] = {}
    for alias, task in REFERENCE_NAMES.items():
        aliases.setdefault(task, []).append(alias)
    for task in (*_OF_LABELED_RECORDS, "all", *PROTO_GROUPS, *_EXCLUSIVE):
        build = functools.partial(_build, task)
        build.__module__ = __name__
        reference = task == "mi_reference"
        register_targets(
            task,
            kind="multiclass" if task in _EXCLUSIVE else "multilabel",
            build=build,
            databases=_DATABASES,
            alias=tuple(aliases.get(task, ())),
            split_names=MI_REFERENCE_SPLITS if reference else {},
            selection="test" if reference else "val",
            reference=reference,
        )


_register()
