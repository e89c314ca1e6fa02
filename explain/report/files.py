"""Files of a report: report.json, and the page, the Markdown and the tables that follow from it alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from explain.report import record_sections  # noqa: F401  (it registers the sections)
from explain.report.disagreement import FAILURE_COLUMNS
from explain.report.facts import FORMAT, Read, make_facts, picture, pictured_ids
from explain.report.lead_importance import COLUMNS
from explain.report.numbers import SWEEP
from explain.report.parts import PAGE, title_of
from explain.report.scored import Scored
from utils.ecg import LEADS
from utils.errors import DataError
from utils.files import read_json, write_json, write_text
from utils.report.markdown import fill_markdown
from utils.report.page import write_page
from utils.tables import write_csv

_REMEDY = "write the report again from the run"
_PICTURES = 8


def write_report(
    scored: Scored,
    folder: str | os.PathLike,
    *,
    records: pd.DataFrame | None = None,
    metrics_csv: Path | None = None,
    read: Read | None = None,
    leads: Mapping[str, Any] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    pictures: int = _PICTURES,
) -> list[Path]:
    """Write the report on the predictions for a split.

    Parameters
    ----------
    scored : Scored
        Records, labels and probabilities.
    folder : path-like
        Where ``report.json``, ``report.html``, ``report.md`` and the tables go.
    records : pandas.DataFrame, optional
        Rows of the database's table of records, one for each row of `scored`, for the subgroups.
    metrics_csv : pathlib.Path, optional
        The curves of the training.
    read : callable, optional
        Row of `scored` -> signal (T, leads) in mV, for pictures.
    leads : mapping, optional
        What `lead_importance` returns.
    resamples, seed : int
        Of the bootstrap over patients.
    pictures : int
        Records to draw at most.

    Returns
    -------
    list of pathlib.Path
        The files, the JSON first.

    Raises
    ------
    DataError
        Labels or probabilities are not what they should be.
    """
    facts = make_facts(scored, records, metrics_csv, resamples, seed) | {"lead_importance": leads}
    if read is not None:
        facts["pictures"] = _pictures(scored, facts, read, pictures)
    write_json(Path(folder) / "report.json", facts)
    return [Path(folder) / "report.json", *rebuild_report(folder)]


def _pictures(scored: Scored, facts: Mapping[str, Any], read: Read, most: int) -> dict[str, Any]:
    leads = scored.card.inputs.leads
    if not set(LEADS) <= set(leads):
        return {}
    rows = {identifier: row for row, identifier in enumerate(scored.ids.tolist())}
    rate = scored.card.inputs.sampling_rate
    return {str(i): picture(read(rows[i]), leads, rate) for i in pictured_ids(facts, most)}


def rebuild_report(folder: str | os.PathLike) -> list[Path]:
    """Write page, Markdown and tables of a report again, from its JSON alone.

    Parameters
    ----------
    folder : path-like
        Folder with ``report.json``.

    Returns
    -------
    list of pathlib.Path
        The files, byte-identical for equal JSON.

    Raises
    ------
    DataError
        The JSON is missing, damaged or of another format.
    """
    folder = Path(folder)
    facts = read_facts(folder / "report.json")
    page = write_page(folder / "report.html", PAGE, title_of(facts), facts)
    write_text(folder / "report.md", fill_markdown("explain.report/report.md.jinja", facts=facts))
    tables = [write_csv(folder / name, table) for name, table in tables_of(facts).items()]
    return [page, folder / "report.md", *tables]


def read_facts(path: Path) -> dict[str, Any]:
    """Read the JSON of a report."""
    facts = read_json(path, _REMEDY)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise DataError(f"{path} is not a report of format {FORMAT}: {_REMEDY}")
    return facts


def tables_of(facts: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """The CSV files of a report."""
    tables = {
        "per_class.csv": pd.DataFrame([_flat(row) for row in facts["per_class"]]),
        "threshold_sweep.csv": _sweep(facts),
        "calibration.csv": _bins(facts),
        "failures.csv": pd.DataFrame(facts["failures"], columns=list(FAILURE_COLUMNS)),
        "label_noise.csv": pd.DataFrame(
            facts["label_noise"]["records"],
            columns=None if facts["label_noise"]["records"] else ["ecg_id", "patient", "class", "label"],
        ),
    }
    if facts["subgroups"]:
        names = facts["classes"]
        rows = [
            {k: v for k, v in _flat(row).items() if k != "class_roc_auc"}
            | {f"roc_auc_{name}": value for name, value in zip(names, row["class_roc_auc"], strict=True)}
            for row in facts["subgroups"]
        ]
        tables["subgroups.csv"] = pd.DataFrame(rows)
    if facts["lead_importance"]:
        tables["lead_importance.csv"] = pd.DataFrame(facts["lead_importance"]["rows"], columns=COLUMNS)
    return tables


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose intervals are three columns."""
    result: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            result |= {name: value["point"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
        else:
            result[name] = value
    return result


def _sweep(facts: Mapping[str, Any]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"class": name, "threshold": SWEEP.round(2), **columns})
        for name, columns in zip(facts["classes"], facts["sweep"], strict=True)
    ]
    return pd.concat(parts)


def _bins(facts: Mapping[str, Any]) -> pd.DataFrame:
    rows = [
        {"class": name, "calibrated": key == "after", **_flat(row)}
        for key in ("before", "after")
        if facts["calibration"][key]
        for name, bins in zip(facts["classes"], facts["calibration"][key]["bins"], strict=True)
        for row in bins
    ]
    return pd.DataFrame(rows)
