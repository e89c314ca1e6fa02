"""The page that compares runs on the same records: scores side by side and their paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from explain.report.charts import FIRST, PLAIN, Dots, Line, chart
from explain.report.parts import STYLES, section, table, with_interval
from explain.report.scored import Scored
from training.experiments.compare import compare_predictions
from training.experiments.compare_tables import write_comparison
from training.experiments.recipes import group_runs
from training.predictions import Predictions
from utils.files import read_json, slug
from utils.report.page import Images, fill, register_section, write_page

PAGE = "comparison"
_TITLES = {
    "macro_roc_auc": "macro ROC-AUC",
    "macro_auprc": "macro AUPRC",
    "fmax": "Fmax",
    "brier": "Brier score",
}
_CHART_PAIRS = 12  # more are in the table alone


def compare_scored(
    runs: Sequence[Scored], intersection: bool = False, resamples: int = 1000, seed: int = 0
) -> dict[str, Any] | None:
    """Compare runs on the same records; None where they are one recipe with several seeds or folds.

    Raises
    ------
    UsageError
        The runs were scored on different records, and ``intersection`` is False.
    """
    predictions = [
        Predictions(
            run.run,
            run.ids,
            run.patients,
            run.labels,
            run.probabilities.astype(float),
            tuple(run.card.classes),
            run.split_name,
            run.card,
        )
        for run in runs
    ]
    if len(group_runs(predictions)) < 2:
        return None
    result = compare_predictions(predictions, intersection, resamples, seed)
    return result | {"fit_to_these_records": sorted({note for run in runs for note in run.notes})}


def write_comparison_page(result: dict[str, Any], output_dir: str | Path) -> list[Path]:
    """Write tables, ``compare.json``, and the page that is made of it alone, to ``results/compare/NAME``."""
    folder = Path(output_dir) / "results" / "compare" / slug(result["name"])
    written = write_comparison(result, folder)
    facts = read_json(folder / "compare.json")
    names = " and ".join(recipe["name"] for recipe in facts["recipes"][:4])
    return [write_page(folder / "compare.html", PAGE, f"Comparison: {names}", facts), *written]


def _scores(facts: dict[str, Any], images: Images) -> Markup:
    found, names = facts["by_records"], [recipe["name"] for recipe in facts["recipes"]]
    rows = [
        [name, *(with_interval(values[number]) for values in found["scores"].values())]
        for number, name in enumerate(names)
    ]
    header = ["run", *(_TITLES.get(name, name) for name in found["scores"])]
    words = [
        f"{found['records']:,} records of {found['patients']:,} patients, {facts['split']}. In brackets: "
        f"95 % intervals from {found['resamples']} resamples of the patients.",
        *(f"{note}." for note in found["notes"]),
        *facts["fit_to_these_records"],
    ]
    if found["left_out"]:
        words.append(f"Left out, too few patients: {', '.join(found['left_out'])}.")
    return section("scores", "Scores", words, [table("Scores of each run", header, rows)])


def _named(facts: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    return f"{facts['recipes'][row['a']]['name']} − {facts['recipes'][row['b']]['name']}"


def _cells(facts: Mapping[str, Any], row: Mapping[str, Any], middle: str) -> list[str]:
    bounds = {"point": row["difference"], "low": row["low"], "high": row["high"]}
    return [_named(facts, row), middle, with_interval(bounds), f"{row['p_holm']:.3f}"]


def _differences(facts: dict[str, Any], images: Images) -> Markup:
    rows = facts["by_records"]["pairs"]
    cells = [_cells(facts, row, _TITLES.get(row["metric"], row["metric"])) for row in rows]
    header = ["runs", "score", "difference", "p (Holm)"]
    made = table("Paired differences, with 95 % intervals over patients", header, cells, texts=2)
    words = (
        "Both runs of a pair are scored on the same resamples of the patients. p is two-sided and corrected "
        "for the number of pairs."
    )
    chosen = [row for row in rows if row["metric"] == "macro_roc_auc"][:_CHART_PAIRS]
    return section("differences", "Differences", [words], [_forest(facts, chosen), made])


def _forest(facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Differences in macro ROC-AUC with their intervals, one pair beside the other."""
    reach = 1.1 * max([abs(row[key]) for row in rows for key in ("low", "high")] + [1e-3])
    places = [number + 1.0 for number in range(len(rows))]
    differences = [row["difference"] for row in rows]
    dots = Dots(places, differences, [row["low"] for row in rows], [row["high"] for row in rows], FIRST)
    zero = Line([0.5, len(rows) + 0.5], [0, 0], PLAIN, "3 3")
    words = "Difference in macro ROC-AUC: " + "; ".join(
        f"{number}, {_named(facts, row)}" for number, row in enumerate(rows, start=1)
    )
    limits = (0.5, len(rows) + 0.5)
    svg = chart([zero, dots], words, "pair", "difference", limits, (-reach, reach), (330, 210), whole=True)
    return fill("explain.report/charts.html", figures=[(svg, words)], title="Macro ROC-AUC", folded=False)


def _classes(facts: dict[str, Any], images: Images) -> Markup:
    rows = [row for row in facts["by_records"]["class_pairs"] if row["metric"] == "macro_roc_auc"]
    cells = [_cells(facts, row, row["class"]) for row in rows]
    header = ["runs", "class", "difference in ROC-AUC", "p (Holm)"]
    made = table("Paired differences of each class", header, cells, texts=2)
    words = (
        "compare.csv also has the AUPRC and the Brier score of each class, and tests over seeds and folds."
    )
    return section("classes", "Each class", [words], [made])


register_section(PAGE, "scores", _scores, STYLES)
register_section(PAGE, "differences", _differences)
register_section(PAGE, "classes", _classes)
