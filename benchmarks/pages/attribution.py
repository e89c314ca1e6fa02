"""Results of the attribution study, from the summaries of its reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attribution.report.ranks import FEWEST_PATIENTS
from attribution.report.tables import SOURCE, claim_lines, study_markdown
from benchmarks.collect import read_summary
from benchmarks.pages.cells import NOTICE
from explain.names import RANDOM, metric, row_title
from utils.report.markdown import fill_markdown, markdown

Study = dict[str, Any]


def read_studies(folder: Path) -> list[Study]:
    """Read all collected studies."""
    return [read_summary(path) for path in sorted(folder.glob("*.json"))]


def _name(study: Study) -> str:
    return f"{study['dataset']}, {study['model']}"


def claims_table(studies: Sequence[Study]) -> str:
    """Published ranks beside those of each study."""
    places: dict[tuple[str, str, str], dict[str, str]] = {}
    for study in studies:
        for family, row, published, here, holds in claim_lines(study["rankings"]):
            cell = f"**{here}**" if holds == "holds" else here
            cell += "" if study["patients"] >= FEWEST_PATIENTS else " (no test)"
            places.setdefault((family, row, published), {})[_name(study)] = cell
    names = [_name(study) for study in studies]
    lines = [
        [f"{family}: {row}", published, *(cells.get(name, "–") for name in names)]
        for (family, row, published), cells in places.items()
    ]
    return markdown(["statement", "published rank", *names], lines)


def leaders_table(studies: Sequence[Study]) -> str:
    """The best three of every ranking."""
    lines = []
    for study in studies:
        for entry in study["rankings"]:
            rows = [
                f"{row_title(row['method'], row['sign'])} ({row['average_rank']:.1f})"
                for row in entry["ranking"]["rows"][:3]
            ]
            family = entry["family"] + (f" ({entry['ground_truth']})" if entry["ground_truth"] else "")
            scored = [
                row
                for row in study["table"]
                if row["ground_truth"] == entry["ground_truth"]
                and metric(row["metric"]).family == entry["family"]
            ]
            windows = max(row["windows"] - row["nan"] for row in scored)
            patients = max(row["patients"] for row in scored)
            counts = f"{windows:,} / {patients:,} / {len(study['seeds'])}"
            lines.append([_name(study), family, *rows, *["–"] * (3 - len(rows)), counts])
    header = ["study", "ranking", "first", "second", "third", "explanations / patients / seeds"]
    return markdown(header, lines)


def sample(study: Study) -> dict[str, Any]:
    """What a study measured, and on how much."""
    rows = study["table"]
    checked = [row["windows"] for row in rows if row["metric"].startswith("randomization_")]
    return {
        "limits": dict.fromkeys(f"{source.get('limit') or 'none'}" for source in study["sources"]),
        "methods": len({row["method"] for row in rows} - {RANDOM}),
        "perturbation": "perturbation" in {metric(row["metric"]).family for row in rows},
        "checked": max(checked, default=0),
    }


def page(studies: Sequence[Study]) -> str:
    """The page with everything."""
    functions = (sample, claims_table, leaders_table, study_markdown)
    return fill_markdown(
        "benchmarks.pages/attribution.md.jinja",
        studies=studies,
        title=_name,
        NOTICE=NOTICE,
        SOURCE=SOURCE,
        **{function.__name__: function for function in functions},
    )
