"""A comparison of runs as Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from utils.files import write_json, write_text
from utils.report.markdown import markdown, number
from utils.tables import write_csv

TITLES = {
    "macro_roc_auc": "macro ROC-AUC",
    "macro_auprc": "macro AUPRC",
    "fmax": "Fmax",
    "brier": "Brier score",
}
_ALL_CLASSES = 12  # tables of more classes show those that differ
_DIGITS = 4
_LATEX = str.maketrans(
    {
        **{c: f"\\{c}" for c in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
    }
)


def _title(result: dict[str, Any], metric: str, of_class: bool = False) -> str:
    if of_class:
        return _title(result, metric).removeprefix("macro ")
    lower = "" if result["higher_is_better"].get(metric, True) else " (lower is better)"
    return TITLES.get(metric, metric.replace("_", " ")) + lower


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.{_DIGITS}f}"


def _interval(row: dict[str, Any], middle: str) -> str:
    return f"{row[middle]:.{_DIGITS}f} [{row['low']:.{_DIGITS}f}, {row['high']:.{_DIGITS}f}]"


def _difference(row: dict[str, Any], middle: str) -> str:
    return f"{_signed(row[middle])} [{_signed(row['low'])}, {_signed(row['high'])}]"


def markdown_page(result: dict[str, Any]) -> str:
    """The page of a comparison, from its JSON values alone."""
    parts = [f"# {result['name']}", result["notice"], f"Compared on: {result['split']}."]
    if result["by_records"] is not None:
        parts += _by_records(result)
    if result["over_runs"] is not None:
        parts += _over_runs(result)
    return "\n\n".join(parts) + "\n"


def _names(result: dict[str, Any]) -> list[str]:
    return [recipe["name"] for recipe in result["recipes"]]


def _by_records(result: dict[str, Any]) -> list[str]:
    found, names = result["by_records"], _names(result)
    count, several = len(found["classes"]), any(len(r["runs"]) > 1 for r in result["recipes"])
    mean = "The score of a recipe is the mean over its runs. " if several else ""
    parts = [
        "## Scores",
        f"{found['records']} records of {found['patients']} patients, {count} classes; 95 % intervals from "
        f"{found['resamples']} resamples of the patients ({found['rejected']} more lost a class and were "
        "rejected).",
        *(f"Note: {note}." for note in found["notes"]),
    ]
    if found["left_out"]:
        parts.append(f"Classes with too few patients, left out: {', '.join(found['left_out'])}.")
    header = ["", *(_title(result, metric) for metric in found["scores"])]
    rows = [
        [name, *(_interval(scores[i], "point") for scores in found["scores"].values())]
        for i, name in enumerate(names)
    ]
    parts += [markdown(header, rows), "## Differences on the same patients"]
    parts.append(
        f"{mean}Paired bootstrap over patients: both are scored on the same resamples, so that these "
        "records are the uncertainty. p is two-sided; Holm corrects it for the pairs. Detectable: the true "
        "difference that these records would show with a probability of 80 % at the level 0.05, and at "
        "Holm's strictest step."
    )
    header = ["", "metric", "difference", "p", "p (Holm)", "detectable", "detectable (Holm)"]
    parts.append(markdown(header, [_pair_row(result, row) for row in found["pairs"]]))
    return parts + _classes(result)


def _pair(result: dict[str, Any], row: dict[str, Any]) -> str:
    names = _names(result)
    return f"{names[row['a']]} − {names[row['b']]}"


def _pair_row(result: dict[str, Any], row: dict[str, Any]) -> list[str]:
    detectable = [f"{row[key]:.{_DIGITS}f}" for key in ("detectable", "detectable_holm")]
    p = [_p(row["p"]), _p(row["p_holm"])]
    return [
        _pair(result, row),
        _title(result, row["metric"]),
        _difference(row, "difference"),
        *p,
        *detectable,
    ]


def _classes(result: dict[str, Any]) -> list[str]:
    found = result["by_records"]
    rows, resamples = found["class_pairs"], found["resamples"]
    tested = max(sum(row["metric"] == metric for row in rows) for metric in {row["metric"] for row in rows})
    text = "Holm over pairs and classes, for each metric."
    if 2 * tested > 0.05 * (resamples + 1):
        text += (
            f" {resamples} resamples give no p below {2 / (resamples + 1):.4f}: too few for {tested} "
            f"differences, of which none alone could reach 0.05. Use --resamples {40 * tested} or more."
        )
    if len(found["classes"]) > _ALL_CLASSES:
        text += f" Of the {len(rows)} differences, those with p (Holm) < 0.05; compare.csv has all."
        rows = [row for row in rows if row["p_holm"] < 0.05]
    if not rows:
        return ["### Each class", f"{text} There are none."]
    header = ["", "metric", "class", "difference", "p (Holm)", "detectable"]
    lines = [
        [
            *(_pair(result, row), _title(result, row["metric"], of_class=True), row["class"]),
            *(_difference(row, "difference"), _p(row["p_holm"]), f"{row['detectable']:.{_DIGITS}f}"),
        ]
        for row in rows
    ]
    return ["### Each class", text, markdown(header, lines)]


def _over_runs(result: dict[str, Any]) -> list[str]:
    found, names = result["over_runs"], _names(result)
    header = ["", *(_title(result, metric) for metric in found["scores"]), "runs"]
    spread = [
        [
            name,
            *(
                f"{scores[i]['mean']:.{_DIGITS}f} ± {number(scores[i]['deviation'], _DIGITS)}"
                for scores in found["scores"].values()
            ),
            str(next(iter(found["scores"].values()))[i]["runs"]),
        ]
        for i, name in enumerate(names)
    ]
    text = (
        f"Corrected resampled t-test (Nadeau and Bengio 2003) with {found['test_ratio']:.3f} scored records "
        f"for each training record; Holm over the pairs. {found['covers']}"
    )
    header_of_tests = ["", "metric", "mean difference", "t", "p", "p (Holm)", "better in"]
    tests = [
        [
            *(_pair(result, row), _title(result, row["metric"]), _difference(row, "mean")),
            *(f"{row['t']:.2f}", _p(row["p"]), _p(row["p_holm"]), f"{row['a_better']} of {row['runs']} runs"),
        ]
        for row in found["tests"]
    ]
    parts = ["## Over seeds and folds", "Mean and standard deviation over runs.", markdown(header, spread)]
    parts += [text, markdown(header_of_tests, tests)]
    return parts + (_ranks(result) if found["ranks"] else [])


def _ranks(result: dict[str, Any]) -> list[str]:
    names = _names(result)
    rows = []
    for metric, rank in result["over_runs"]["ranks"].items():
        tau = rank["tau"]
        bounds = (
            "–"
            if tau["mean"] is None or tau["mean"] != tau["mean"]
            else (f"{tau['mean']:.2f} [{tau['low']:.2f}, {tau['high']:.2f}]")
        )
        best = f"{names[rank['best']]} in {100 * rank['stays_best']:.0f} % of {rank['runs']}"
        rows.append([_title(result, metric), bounds, best, ", ".join(f"{r:.1f}" for r in rank["ranks"])])
    header = ["metric", "Kendall's tau, mean [least, greatest]", "best stays best", "mean ranks"]
    text = "Rankings of the recipes in each two runs, compared by Kendall's tau (1: the same; 0: unrelated)."
    return ["### Stability of the ranking", text, markdown(header, rows)]


def latex(result: dict[str, Any]) -> str:
    """Scores and differences as two LaTeX tables for the package booktabs."""
    names, found = _names(result), result["by_records"]
    tables = []
    if found is not None:
        header = ["", *(_title(result, metric) for metric in found["scores"])]
        rows = [
            [name, *(_interval(scores[i], "point") for scores in found["scores"].values())]
            for i, name in enumerate(names)
        ]
        tables.append(_tabular(header, rows))
        header = ["", "metric", "difference", "p", "p (Holm)", "detectable"]
        tables.append(_tabular(header, [_pair_row(result, row)[:6] for row in found["pairs"]]))
    if result["over_runs"] is not None:
        header = ["", "metric", "mean difference", "t", "p (Holm)"]
        rows = [
            [
                *(_pair(result, row), _title(result, row["metric"]), _difference(row, "mean")),
                *(f"{row['t']:.2f}", _p(row["p_holm"])),
            ]
            for row in result["over_runs"]["tests"]
        ]
        tables.append(_tabular(header, rows))
    return "% needs \\usepackage{booktabs}\n% " + result["notice"] + "\n" + "\n".join(tables)


def _tabular(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return (
            " & ".join(cell.translate(_LATEX).replace("−", "$-$").replace("<", "$<$") for cell in cells)
            + r" \\"
        )

    columns = "l" + "r" * (len(header) - 1)
    body = "\n".join(map(line, rows))
    inside = f"\\toprule\n{line(header)}\n\\midrule\n{body}\n\\bottomrule"
    return f"\\begin{{tabular}}{{{columns}}}\n{inside}\n\\end{{tabular}}\n"


def table_of(result: dict[str, Any]) -> pd.DataFrame:
    """Every difference as a row: ``over`` patients, with a class or without, or runs."""
    names, rows = _names(result), []
    for part in ("pairs", "class_pairs"):
        rows += [{"over": "patients", **line} for line in (result["by_records"] or {}).get(part, [])]
    for line in (result["over_runs"] or {}).get("tests", []):
        rows.append({"over": "runs", "class": "", "difference": line["mean"], **line})
    kept = ("over", "a", "b", "metric", "class", "difference", "low", "high", "standard_error", "p", "p_holm")
    more = ("detectable", "detectable_holm", "t", "degrees", "runs", "a_better")
    table = pd.DataFrame(rows, columns=[*kept, *more], dtype=object)
    return table.assign(a=[names[i] for i in table["a"]], b=[names[i] for i in table["b"]])


def write_comparison(result: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``compare.md``, ``compare.csv``, ``compare.tex`` and ``compare.json``."""
    files = [folder / f"compare.{ending}" for ending in ("md", "csv", "tex", "json")]
    write_text(files[0], markdown_page(result))
    write_csv(files[1], table_of(result))
    write_text(files[2], latex(result))
    write_json(files[3], result)
    return files
