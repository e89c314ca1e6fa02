"""Tables of ProtoECGNet's ablations, from collected runs and the predictions of their fusions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablate import BASE, LAST, PREFIX, read_ablations
from benchmarks.pages.cells import change, signed, spread
from models_torch.protoecgnet import BRANCHES
from training.experiments.plan import fixed_names
from training.protoecgnet.config import CHAIN, ProtoConfig
from utils.bootstrap import paired_difference
from utils.config import fields_of, stored_settings
from utils.errors import UsageError
from utils.files import read_npz
from utils.report.markdown import markdown

_MANY = 4  # options that fit into a cell
_NAMES = [*BRANCHES, "fusion"]
_SCORES = [f"{name}, fold {fold}" for fold in (9, 10) for name in _NAMES]
Runs = dict[str, dict[str, Any]]
Changes = dict[str, dict[str, Any]]  # run -> options that it changes


def difference(run: str, base: str, runs: Runs, folder: Path) -> dict[str, Any]:
    """Compare the fusion of a run with that of its base, record by record of fold 10."""
    files = [folder / f"{name}_predictions.npz" for name in (run, base)]
    tables = [read_npz(path, "collect the run again") for path in files]
    for name in ("ecg_id", "patient_id", "label", "classes"):
        if not np.array_equal(tables[0][name], tables[1][name]):
            raise UsageError(f"{files[0]} and {files[1]} differ in {name}: score and collect both again")
    scored = [runs[name]["stages"]["fusion"]["test"]["frequent"] for name in (run, base)]
    columns = [tables[0]["classes"].tolist().index(name) for name in scored[0]["classes"]]
    label = tables[0]["label"][:, columns]
    changed, unchanged = (table["probability"][:, columns] for table in tables)
    result = paired_difference(label, changed, unchanged, tables[0]["patient_id"])
    for path, side, score in zip(files, "ab", scored, strict=True):
        if abs(result[side] - score["macro_roc_auc"]) > 1e-6:
            raise UsageError(f"{path} is not what {path.parent} says its run scored: collect it again")
    return result


def options(stages: dict[str, Any]) -> dict[str, Any]:
    """Options of a whole chain, each from the first stage that reads it."""
    stored = {part: stored_settings(ProtoConfig, stage["config"]) for part, stage in stages.items()}
    result: dict[str, Any] = {}
    for field in fields_of(ProtoConfig):
        name, stage = field.name, field.metadata["stage"] or CHAIN[0]
        if name in fixed_names(ProtoConfig) or name in ("branch", "task", "training_stage"):
            continue
        parts = ["fusion"] if stage == "fusion" else [f"{branch}/{stage}" for branch in BRANCHES]
        values = [stored[part][name] for part in parts]
        if any(value != values[0] for value in values):
            raise UsageError(f"--{name} was {values} in {', '.join(parts)}: the branches are not of one run")
        result[name] = values[0]
    return result


def changes(run: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Options in which a run differs from the base."""
    changed, unchanged = options(run["stages"]), options(base["stages"])
    return {name: value for name, value in changed.items() if value != unchanged[name]}


def listed(runs: Runs) -> Changes:
    """The base and its ablations in the order of their list, with what they change."""
    result = {}
    for name, expected in read_ablations().items():
        if name not in runs:
            continue
        stages = runs[name]["stages"]
        needed = [f"{branch}/{stage}" for branch in BRANCHES for stage in CHAIN]
        missing = [part for part in [*needed, "fusion"] if part not in stages]
        missing += [f"the score of {part}" for part in LAST if "test" not in stages.get(part, {"test": None})]
        again = f"run python -m benchmarks ablate --only {name}"
        if missing:
            raise UsageError(f"{name} lacks {', '.join(missing)}: {again}")
        result[name] = changes(runs[name], runs[BASE])
        if result[name] != expected:
            raise UsageError(f"{name} was trained with {result[name]}, the list has {expected}: {again}")
    return result


def _shown(changed: dict[str, Any], name: str = "") -> str:
    if len(changed) > _MANY:
        return f"`{name.removeprefix(PREFIX)}`: {len(changed)} options, see the list"
    return ", ".join(f"`--{name} {value}`" for name, value in changed.items()) or "(base)"


def _scores(stages: dict[str, Any]) -> list[float]:
    fold9 = [stages[part]["metrics"]["val_macro_roc_auc"] for part in LAST]
    return fold9 + [stages[part]["test"]["frequent"]["macro_roc_auc"] for part in LAST]


def score_table(runs: Runs, changes_of: Changes, folder: Path) -> str:
    """What each change does to the branches and to their fusion."""
    bases = {
        runs[name]["stages"]["fusion"]["seed"]: name
        for name, c in changes_of.items()
        if not set(c) - {"seed"}
    }
    lines = []
    for name, changed in changes_of.items():
        stages = runs[name]["stages"]
        base = bases.get(stages["fusion"]["seed"])
        cell = "(base of its seed)" if base == name else "no base of its seed"
        if base and base != name:
            cell = change(difference(name, base, runs, folder))
        lines.append([_shown(changed, name), *(f"{value:.3f}" for value in _scores(stages)), cell])
    return markdown(["changed", *_SCORES, "fusion, difference (95 % CI)"], lines)


def seed_table(runs: Runs, changes_of: Changes) -> str:
    """Means over the seeds, of what was trained with several."""
    groups: dict[str, list[str]] = {}
    for name, changed in changes_of.items():
        key = json.dumps({option: value for option, value in changed.items() if option != "seed"})
        groups.setdefault(key, []).append(name)
    lines = []
    for key, names in groups.items():
        if len(names) > 1:
            seeds = ", ".join(str(runs[name]["stages"]["fusion"]["seed"]) for name in names)
            columns = zip(*(_scores(runs[name]["stages"]) for name in names), strict=True)
            cells = [spread(values) for values in columns]
            lines.append([_shown(json.loads(key)), seeds, *cells])
    return markdown(["changed", "seeds", *_SCORES], lines) if lines else ""


def prototype_table(runs: Runs, changes_of: Changes) -> str:
    """What each change does to the prototypes."""
    lines = []
    for name, changed in changes_of.items():
        stages = runs[name]["stages"]
        pairs = [(stages[f"{b}/joint"]["metrics"], stages[f"{b}/projection"]["metrics"]) for b in BRANCHES]
        costs = [signed(new["val_macro_roc_auc"] - old["val_macro_roc_auc"]) for old, new in pairs]
        reports = [stages[f"{branch}/projection"]["projection"] for branch in BRANCHES]
        cosines = [f"{report['cosine_old_new']['mean']:.2f}" for report in reports]
        sources = " + ".join(f"{report['distinct_records']}" for report in reports)
        counts = [sum(report["prototypes"] for report in reports), stages["fusion"]["prototypes"]]
        lines.append([_shown(changed, name), *costs, *cosines, sources, *map(str, counts)])
    header = ["changed", *(f"projection, {b}" for b in BRANCHES), *(f"cosine, {b}" for b in BRANCHES)]
    return markdown([*header, "training ECGs", "prototypes", "after pruning"], lines)


def reference_difference(runs: Runs, folder: Path) -> dict[str, Any] | None:
    """All definitions of the reference together, compared with the base."""
    run = f"{PREFIX}reference_all"
    return difference(run, BASE, runs, folder) if run in runs and BASE in runs else None
