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
from utils.report.markdown import fill_markdown, markdown, number

MAIN, SMALL, BLACK_BOX = "protoecgnet", BASE, "protoecgnet_black_box"
Runs = dict[str, dict[str, Any]]


def read_runs(folder: Path) -> Runs:
    """Read all collected runs."""
    return {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}


Stage = dict[str, Any] | None


def _frequent(entry: Stage) -> str:
    """ROC-AUC of the frequent classes on fold 10, with its interval."""
    if not entry or "test" not in entry:
        return "–"
    frequent = entry["test"]["frequent"]
    bounds = frequent["macro_roc_auc_95"]
    interval = f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else ""
    return f"**{frequent['macro_roc_auc']:.3f}**{interval}"


def _scored(entry: Stage) -> str:
    return number(entry["test"]["macro_roc_auc"] if entry and "test" in entry else None)


def _fold9(entry: Stage) -> str:
    return number(entry["metrics"]["val_macro_roc_auc"] if entry else None)


def _classes(entry: dict[str, Any]) -> str:
    """Classes of the label set, those with both outcomes in fold 10, and the frequent ones."""
    if "test" not in entry:
        return "–"
    values = entry["test"]["class_roc_auc"].values()
    defined = sum(value is not None for value in values)
    return f"{len(values)} / {defined} / {len(entry['test']['frequent']['classes'])}"


def _line(name: str, black_box: Stage, joint: Stage, projected: Stage, last: dict[str, Any]) -> list[str]:
    sources = str(projected["projection"]["distinct_records"]) if projected else "–"
    cells = [name, _classes(last), _frequent(black_box), _frequent(last), _scored(black_box), _scored(last)]
    cells += [_fold9(entry) for entry in (black_box, joint, projected, last)]
    return [*cells, str(last["prototypes"]), sources]


def main_table(runs: Runs) -> str:
    """Each branch and the fusion, compared with black boxes of the same trunk."""
    lines = []
    for run, suffix in ((MAIN, ""), (SMALL, ", half the width")):
        stages = runs.get(run, {}).get("stages", {})
        black_box = runs.get(BLACK_BOX, {}).get("stages", {}).get("rhythm/feature_extractor")
        for branch in BRANCHES:
            box, joint, projected, last = (stages.get(f"{branch}/{stage}") for stage in STAGES)
            if last:
                lines.append(_line(branch + suffix, box, joint, projected, last))
        if "fusion" in stages:
            box = black_box if run == MAIN else None
            lines.append(_line(f"**fusion**{suffix}", box, None, None, stages["fusion"]))
    header = ["branch", "classes: all / scored / frequent", "black box, frequent", "prototypes, frequent"]
    header += ["black box, scored", "prototypes, scored", "black box, fold 9", "joint, fold 9", "projected"]
    return markdown([*header, "classifier", "prototypes", "training ECGs before pruning"], lines)


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
    functions = (main_table, command_table, score_table, seed_table, prototype_table, change)
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
