"""Collect reports of the attribution study and generate their tables.

python -m benchmarks.attribution collect --report results/attribution/mitdb   # after attribution.report
python -m benchmarks.attribution table                                        # the page and README.md's block
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attribution.report.ranks import FEWEST_PATIENTS
from attribution.report.tables import SOURCE, claim_lines, study_markdown
from benchmarks.tables import insert, markdown
from explain.names import RANDOM, metric, row_title
from training.checkpoint import ROOT
from utils.errors import DataError, UsageError, run_cli
from utils.files import read_json, write_json, write_text
from utils.flags import Parser
from utils.provenance import portable

STUDIES = ROOT / "benchmarks" / "attribution"
_NEEDED = (
    "dataset",
    "model",
    "seeds",
    "windows",
    "patients",
    "records",
    "classes",
    "table",
    "rankings",
    "tests",
)
_WORDS = (
    "Localisation: attribution localization, AUC, pointing game, relevance rank accuracy, against the known "
    "truth; perturbation: region perturbation (most and least relevant first) and faithfulness correlation. "
    "Ranked are methods times signs; random maps are no method. Bold: the published place; *no test*: too "
    "few patients for one. The study knew beats only; planted signs are ours."
)
_PROVENANCE = ("command", "git_commit", "settings", "sources", "notes")


def collect(report: Path, studies: Path = STUDIES) -> list[Path]:
    """Copy the summaries of a report."""
    found = sorted([*report.glob("summary.json"), *report.glob("*/summary.json")])
    if not found:
        raise UsageError(f"{report} holds no summary.json: write a report with python -m attribution.report")
    written = []
    for path in found:
        summary = _read(path)
        name = "".join(
            c if c.isalnum() or c in "._-" else "_" for c in f"{summary['dataset']}-{summary['model']}"
        )
        target = studies / f"{name}.json"
        write_json(target, portable(summary, {str(ROOT): ".", str(Path.cwd()): "."}))
        written.append(target)
    return written


def _read(path: Path) -> dict[str, Any]:
    summary = read_json(path)
    wanted = (*_NEEDED, *_PROVENANCE)
    absent = [key for key in wanted if key not in summary] if isinstance(summary, dict) else list(wanted)
    if absent:
        raise DataError(
            f"{path} is no summary of a report, it lacks {', '.join(absent)}: write the report again"
        )
    return summary


def read_studies(studies: Path = STUDIES) -> list[dict[str, Any]]:
    """Read all collected studies."""
    found = [_read(path) for path in sorted(studies.glob("*.json"))]
    if not found:
        raise UsageError(f"no study in {studies}: python -m benchmarks.attribution collect --report REPORT")
    return found


def _name(study: dict[str, Any]) -> str:
    return f"{study['dataset']}, {study['model']}"


def claims_table(studies: Sequence[dict[str, Any]]) -> str:
    """Published statements beside the places in every study."""
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


def leaders_table(studies: Sequence[dict[str, Any]]) -> str:
    """The best three of every ranking."""
    lines = []
    for study in studies:
        for entry in study["rankings"]:
            rows = [
                f"{row_title(row['method'], row['sign'])} ({row['average_rank']:.1f})"
                for row in entry["ranking"]["rows"][:3]
            ]
            family = entry["family"] + (f" ({entry['truth']})" if entry["truth"] else "")
            scored = [
                row
                for row in study["table"]
                if row["truth"] == entry["truth"] and metric(row["metric"]).family == entry["family"]
            ]
            windows = max(row["windows"] - row["nan"] for row in scored)
            patients = max(row["patients"] for row in scored)
            counts = f"{windows:,} / {patients:,} / {len(study['seeds'])}"
            lines.append([_name(study), family, *rows, *["–"] * (3 - len(rows)), counts])
    header = ["study", "ranking", "first", "second", "third", "explanations / patients / seeds"]
    return markdown(header, lines)


def limits_table(studies: Sequence[dict[str, Any]]) -> str:
    """What every study leaves out."""
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


def _limits_words(studies: Sequence[dict[str, Any]]) -> str:
    """The smallest and the largest number of everything that is a sample."""

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


def block(studies: Sequence[dict[str, Any]]) -> str:
    """Make the block of the README."""
    return "\n\n".join(
        [
            "Which of the published study's statements hold here:",
            claims_table(studies),
            "What leads instead (average rank over the metrics of the family; *abs*: magnitudes):",
            leaders_table(studies),
            f"<sub>{_limits_words(studies)} Published: {SOURCE}. {_WORDS} All scores with intervals over "
            "patients, NaN counts, sanity checks, tests and commands: "
            "[benchmarks/attribution](benchmarks/attribution/README.md).</sub>",
        ]
    )


def page(studies: Sequence[dict[str, Any]]) -> str:
    """Make the page with everything."""
    commands = []
    for study in studies:
        for source in [*study["sources"], {"command": study["command"], "git_commit": study["git_commit"]}]:
            commit = (source.get("git_commit") or "")[:12]
            commands.append([_name(study), f"`{source.get('command', source.get('folder'))}`", commit])
    return (
        "\n\n".join(
            [
                "# Can the explanations be trusted?",
                "Generated by `python -m benchmarks.attribution table` from the JSON files beside this page. "
                "**Not a medical device.**",
                "## What was limited",
                _limits_words(studies),
                limits_table(studies),
                "*limit*: the most explanations that attribution.compute was asked for, evenly over patients "
                "and classes; "
                "*sanity*: windows whose maps were made again with random weights.",
                "## Published statements",
                claims_table(studies),
                f"<sub>{_WORDS} Published: {SOURCE}.</sub>",
                "## What leads",
                leaders_table(studies),
                *(study_markdown(study) for study in studies),
                "## Commands",
                markdown(["study", "command", "commit"], commands),
            ]
        )
        + "\n"
    )


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags, collect or write."""
    parser = Parser(prog="python -m benchmarks.attribution", description=__doc__)
    parser.add_argument("command", choices=["collect", "table"])
    parser.add_argument("--report", type=Path, help="for collect: output folder of attribution.report")
    parser.add_argument(
        "--studies", type=Path, default=STUDIES, help="folder of the collected studies (default: %(default)s)"
    )
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md", help="default: README.md")
    options = parser.parse_args(args)
    if options.command == "collect":
        if options.report is None:
            raise UsageError("collect needs --report FOLDER, the output folder of attribution.report")
        for path in collect(options.report, options.studies):
            print(f"wrote {path}")
        return
    studies = read_studies(options.studies)
    write_text(options.studies / "README.md", page(studies))
    text = insert(options.readme.read_text(encoding="utf-8"), block(studies), "attribution")
    if text is None:
        raise UsageError(
            f"{options.readme} has no lines <!-- attribution:begin --> and <!-- attribution:end -->"
        )
    write_text(options.readme, text)
    print(f"wrote {options.studies / 'README.md'} and the block in {options.readme}")


if __name__ == "__main__":
    run_cli(main)
