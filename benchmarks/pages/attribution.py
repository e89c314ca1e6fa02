"""Results of the attribution study, from the summaries of its reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attribution.report.ranks import FEWEST_PATIENTS
from attribution.report.tables import SOURCE, claim_lines, study_markdown
from benchmarks.collect import read_summary
from explain.names import RANDOM, metric, row_title
from utils.report.markdown import markdown

Study = dict[str, Any]
_WORDS = (
    "Localization: attribution localization, AUC, pointing game, relevance rank accuracy, against the ground "
    "truth; perturbation: region perturbation (most and least relevant first) and faithfulness correlation. "
    "Each method is ranked twice, signed and by magnitude (*abs*); random maps are not ranked. Bold: the "
    "published rank; *no test*: too few patients for one. The published study used beats only; synthetic "
    "findings are an addition."
)


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


def limits_table(studies: Sequence[Study]) -> str:
    """Sample sizes of each study."""
    lines = []
    for study in studies:
        rows = study["table"]
        families = {metric(row["metric"]).family for row in rows}
        checked = [row["windows"] for row in rows if row["metric"].startswith("randomization_")]
        methods = {row["method"] for row in rows} - {RANDOM}
        name = _name(study)
        lines.append(
            [
                f"[{name}](#{name.replace(', ', '-')})",
                f"{study['windows']:,}",
                ", ".join(dict.fromkeys(f"{s.get('limit') or 'none'}" for s in study["sources"])),
                f"{study['patients']:,}",
                f"{len(study['seeds'])}",
                f"{len(methods)}",
                "yes" if "perturbation" in families else "not measured",
                f"{max(checked):,} windows" if checked else "not measured",
            ]
        )
    header = [
        "study",
        "explanations",
        "limit",
        "patients",
        "model seeds",
        "methods",
        "perturbation",
        "sanity",
    ]
    return markdown(header, lines)


def _limits_words(studies: Sequence[Study]) -> str:
    """Smallest and largest sample sizes."""

    def span(values: list[int], word: str) -> str:
        low, high = min(values), max(values)
        return f"{low:,} {word}" + "s" * (low != 1) if low == high else f"{low:,} to {high:,} {word}s"

    windows = span([study["windows"] for study in studies], "explanation")
    patients = span([study["patients"] for study in studies], "patient")
    seeds = span([len(study["seeds"]) for study in studies], "model seed")
    return (
        f"These are samples: {windows} of {patients} and {seeds} a study; the paper's scripts took five "
        "seeds and all eligible windows."
    )


def page(studies: Sequence[Study]) -> str:
    """The page with everything."""
    head = [
        "# Results of the attribution study",
        "Generated by `python -m benchmarks render`; do not edit. Not a medical device: for research and "
        "teaching only.",
    ]
    if not studies:
        return "\n\n".join([*head, "No study has been collected yet."]) + "\n"
    commands = []
    for study in studies:
        for source in [*study["sources"], {"command": study["command"], "git_commit": study["git_commit"]}]:
            commit = (source.get("git_commit") or "")[:12]
            commands.append([_name(study), f"`{source.get('command', source.get('folder'))}`", commit])
    parts = [
        *head,
        "## Sample sizes",
        _limits_words(studies),
        limits_table(studies),
        "*limit*: largest number of explanations that attribution.compute was asked for, drawn evenly over "
        "patients and classes; *sanity*: windows whose maps were recomputed with random weights.",
        "## Published statements",
        claims_table(studies),
        f"<sub>{_WORDS} Published: {SOURCE}.</sub>",
        "## Leading methods",
        "Average rank over the metrics of the family.",
        leaders_table(studies),
        # so that the site renders the tables inside of the folded parts; GitHub ignores the attribute
        *(study_markdown(study).replace("<details>", "<details markdown>") for study in studies),
        "## Commands",
        markdown(["study", "command", "commit"], commands),
    ]
    return "\n\n".join(parts) + "\n"
