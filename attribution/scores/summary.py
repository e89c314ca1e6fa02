"""Reading of score files, and means with intervals over patients."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explain.names import FAMILIES, METRICS, RANDOM, SIGNS, TITLES, metric
from utils.errors import DataError, UsageError, nearest
from utils.files import read_error
from utils.tables import unescape_cell

COLUMNS = ["dataset", "model", "seed", "method", "sign", "metric", "ground_truth"]
COLUMNS += ["record", "patient", "window", "target", "score"]
LEVEL = 0.95  # of the intervals
_STUDY = ["dataset", "model"]
_CELL = ["ground_truth", "method", "sign", "metric"]
_NUMERIC = {"score": np.float64, "seed": np.int64, "window": np.int64}
_ONE_SCORE = [*_STUDY, "seed", *_CELL, "window", "target"]


def read_scores(folders: Sequence[str | os.PathLike]) -> pd.DataFrame:
    """Read ``scores/*.csv`` of several result folders into one tidy table."""
    paths = [Path(folder).resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise UsageError("a result folder is named twice: name each once")
    table = pd.concat([_read_folder(Path(f)).assign(folder=str(f)) for f in folders], ignore_index=True)
    _check_duplicates(table)
    owners = table.groupby(["dataset", "record"], sort=False)["patient"].nunique()
    if (owners > 1).any():
        dataset, record = owners.index[owners > 1][0]
        raise DataError(f"record {record} of {dataset} belongs to several patients: evaluate again")
    return table.drop(columns="file")


def _read_folder(folder: Path) -> pd.DataFrame:
    files = sorted((folder / "scores").glob("*.csv"))
    if not files:
        raise UsageError(
            f"{folder} has no scores/*.csv: make them with python -m attribution.evaluate --attr_dir {folder}"
        )
    parts = [read_score_file(file).assign(file=str(file)) for file in files]
    table = pd.concat(parts, ignore_index=True)
    for column in ("dataset", "model", "seed"):
        examples = table.groupby(column)["file"].first()
        if len(examples) > 1:
            listed = ", ".join(f"{value} ({Path(file).name})" for value, file in list(examples.items())[:3])
            raise DataError(
                f"{folder} mixes scores of several values of {column}: {listed}. A result folder holds one "
                "dataset, model and seed: move the other files out"
            )
    return table


def read_score_file(path: str | os.PathLike) -> pd.DataFrame:
    """Read one tidy file of scores and check every cell."""
    remedy = "make it again with --overwrite"
    text = {name: str for name in [*COLUMNS, "truth"] if name not in _NUMERIC}
    empty = {"score": ["", "nan", "NaN"]}
    try:
        table = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=empty, encoding="utf-8")
    except OSError as error:
        raise read_error(path, error) from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a table of scores ({error}): {remedy}") from error
    table = table.rename(columns={"truth": "ground_truth"})  # its name in version 0.1
    absent = [column for column in COLUMNS if column not in table]
    if absent:
        raise DataError(f"{path} lacks the columns {', '.join(absent)}: {remedy}")
    if table.empty:
        raise DataError(f"{path} holds no score: {remedy}")
    table = table[COLUMNS].copy()
    for column in set(COLUMNS) - set(_NUMERIC):
        if table[column].str.startswith("'").any():
            table[column] = table[column].map(unescape_cell)
    for column, kind in _NUMERIC.items():
        values = pd.to_numeric(table[column], errors="coerce")
        undefined = table[column].isna() if column == "score" else False
        whole = column == "score" or values % 1 == 0
        bad = ~((np.isfinite(values) & whole) | undefined)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            value = table[column].iloc[row]
            raise DataError(f"{path}, line {row + 2}: {column} '{value}' is not a valid number: {remedy}")
        table[column] = values.astype(kind)
    for name in table["metric"].unique():
        try:
            metric(name)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    for sign in table["sign"].unique():
        if sign not in SIGNS:
            raise DataError(f"{path}: unknown sign '{sign}': {nearest(sign, SIGNS)}")
    return table


def _check_duplicates(table: pd.DataFrame) -> None:
    repeated = table.duplicated(_ONE_SCORE, keep=False)
    if not repeated.any():
        return
    first = table[repeated].iloc[0]
    same = table[repeated & (table[_ONE_SCORE] == first[_ONE_SCORE]).all(axis=1)]
    where = " and ".join(dict.fromkeys(same["file"]))
    what = ", ".join(f"{column} {first[column]}" for column in _ONE_SCORE if str(first[column]))
    raise DataError(
        f"{int(table.duplicated(_ONE_SCORE).sum())} scores are duplicates, the first in {where}: {what}. "
        "Leave one of the files out, or evaluate again with --overwrite"
    )


def summarize(scores: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Mean of every row and metric, with a percentile interval from resampling patients.

    Windows of one patient are correlated, so patients are drawn with replacement, with all their windows, and
    the same draws serve all methods. Windows without a score (NaN) are counted and left out of the mean, as
    are resamples without any score. With several seeds the mean is that of the seeds' means, also in each
    resample.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), doi:10.1007/978-1-4899-4541-9.
    """
    if resamples < 2:
        raise UsageError(f"resamples must be at least 2, not {resamples}")
    parts = []
    for study, part in scores.groupby(_STUDY, sort=True):
        lines = _summarize_study(part, resamples, seed)
        parts.append(lines.assign(**dict(zip(_STUDY, study, strict=True))))
    return pd.concat(parts, ignore_index=True)[[*_STUDY, *_CELL, *_NUMBERS]]


_NUMBERS = ["mean", "low", "high", "sd", "seeds", "windows", "nan", "patients", "rejected"]


def _summarize_study(part: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    names, patient = np.unique(part["patient"].to_numpy(dtype=str), return_inverse=True)
    runs = part.groupby([*_CELL, "seed"], sort=False)  # layers keep their order
    run, columns = runs.ngroup().to_numpy(), runs.size()
    shape = (len(names), len(columns))
    place = patient * shape[1] + run
    known = np.isfinite(part["score"].to_numpy())
    sums = np.bincount(place, np.where(known, part["score"], 0), minlength=shape[0] * shape[1]).reshape(shape)
    counts = np.bincount(place, known, minlength=shape[0] * shape[1]).reshape(shape)
    total = columns.to_numpy()
    draws = np.random.default_rng(seed).multinomial(shape[0], np.full(shape[0], 1 / shape[0]), size=resamples)
    means = _divide(sums.sum(axis=0), counts.sum(axis=0))
    drawn = _divide(draws @ sums, draws @ counts)
    frame = columns.index.to_frame(index=False)
    lines = []
    for cell, group in frame.groupby(_CELL, sort=False):
        at = group.index.to_numpy()
        defined = at[np.isfinite(means[at])]
        line: dict[str, Any] = dict(zip(_CELL, cell, strict=True))
        patients = int((counts[:, at].sum(axis=1) > 0).sum())
        low = high = np.nan
        rejected = 0
        if patients > 1:
            values = drawn[:, defined].mean(axis=1)  # NaN where a seed's patients were not drawn
            kept = values[np.isfinite(values)]
            rejected = resamples - len(kept)
            if len(kept):
                low, high = np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        line |= {
            "mean": means[defined].mean() if defined.size else np.nan,
            "low": low,
            "high": high,
            "sd": means[defined].std(ddof=1) if defined.size > 1 else np.nan,
            "seeds": len(at),
            "windows": int(total[at].sum()),
            "nan": int(total[at].sum() - counts[:, at].sum()),
            "patients": patients,
            "rejected": rejected,
        }
        lines.append(line)
    return pd.DataFrame(lines)


def _divide(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def without_twin(table: pd.DataFrame) -> pd.DataFrame:
    """The table without relevance_mass_accuracy where it has attribution_localization, the same number."""
    has_both = set(table["ground_truth"][table["metric"] == "attribution_localization"])
    return table[(table["metric"] != "relevance_mass_accuracy") | ~table["ground_truth"].isin(has_both)]


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Sort lines as tables show them: family, ground truth, metric, method, sign."""
    methods = [m for m in TITLES if m != RANDOM]
    methods += [*sorted(set(table["method"]) - set(TITLES)), RANDOM]
    layers = [m for m in dict.fromkeys(table["metric"]) if m not in METRICS]
    metrics = [*METRICS, *layers]
    keys = pd.DataFrame(
        {
            "family": table["metric"].map(lambda name: FAMILIES.index(metric(name).family)),
            "ground_truth": table["ground_truth"],
            "metric": table["metric"].map(metrics.index),
            "method": table["method"].map(methods.index),
            "sign": table["sign"].map(SIGNS.index),
        }
    )
    return table.loc[keys.sort_values(list(keys), kind="stable").index]
