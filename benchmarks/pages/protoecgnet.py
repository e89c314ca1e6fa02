"""Results of ProtoECGNet: branches, fusion, black boxes and ablations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.ablate import BASE, PREFIX
from benchmarks.collect import STAGES
from benchmarks.pages.ablations import listed, prototype_table, reference_difference, score_table, seed_table
from benchmarks.pages.cells import NOTICE, change
from models_torch.protoecgnet import BRANCHES
from utils.files import read_json
from utils.report.markdown import fill_markdown, markdown

MAIN, SMALL, BLACK_BOX = "protoecgnet", BASE, "protoecgnet_black_box"
Runs = dict[str, dict[str, Any]]


def read_runs(folder: Path) -> Runs:
    """Read all collected runs."""
    return {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}


def main_rows(runs: Runs) -> list[tuple[Any, ...]]:
    """Name of each branch and of the fusion, the black box of the same trunk, and the three stages."""
    rows: list[tuple[Any, ...]] = []
    for run, suffix in ((MAIN, ""), (SMALL, ", half the width")):
        stages = runs.get(run, {}).get("stages", {})
        for branch in BRANCHES:
            of_branch = [stages.get(f"{branch}/{stage}") for stage in STAGES]
            if of_branch[-1]:
                rows.append((branch + suffix, *of_branch))
        if "fusion" in stages:
            black_box = runs.get(BLACK_BOX, {}).get("stages", {}) if run == MAIN else {}
            box = black_box.get("rhythm/feature_extractor")
            rows.append((f"**fusion**{suffix}", box, None, None, stages["fusion"]))
    return rows


def command_table(runs: Runs) -> str:
    """Commands and commits of all stages; those of an ablation's stages are in its file."""
    lines = []
    for name, run in sorted(runs.items()):
        commits = {stage: (entry["git_commit"] or "")[:12] for stage, entry in run["stages"].items()}
        if name.startswith(PREFIX):
            command = f"`python -m benchmarks ablate --only {name.removeprefix(PREFIX)}`"
            lines.append([f"{name}/*", command, ", ".join(sorted(set(commits.values())))])
        else:
            lines += [
                [f"{name}/{stage}", f"`{entry['command']}`", commits[stage]]
                for stage, entry in run["stages"].items()
            ]
    return markdown(["stage", "command", "commit"], lines)


def page(runs: Runs, folder: Path) -> str:
    """The page; ``folder``: that of the predictions of the runs."""
    stages = runs.get(MAIN, {}).get("stages", {})
    functions = (main_rows, command_table, score_table, seed_table, prototype_table, change)
    return fill_markdown(
        "benchmarks.pages/protoecgnet.md.jinja",
        runs=runs,
        folder=folder,
        main=stages.get("fusion") or next(iter(stages.values()), None),
        reference=reference_difference(runs, folder),
        changes=listed(runs) if BASE in runs else {},
        NOTICE=NOTICE,
        **{function.__name__: function for function in functions},
    )
