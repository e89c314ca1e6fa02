"""Ablations of ProtoECGNet: train what configs/protoecgnet/ablations.yaml lists, and make its tables."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.tables import markdown
from models_torch.protoecgnet import BRANCHES
from training.checkpoint import ROOT, read_card
from training.protoecgnet.config import CHAIN, ProtoConfig
from utils.bootstrap import paired_difference
from utils.errors import UsageError, nearest
from utils.files import read_json

ABLATIONS = ROOT / "configs" / "protoecgnet" / "ablations.yaml"
BASE, PREFIX = "protoecgnet_small", "ablation_"
_PLAN = (*CHAIN, "fusion")
_FIRST_READ = {  # options that no stage before this one reads; all others matter from the first on
    "one_to_one": "projection",
    "prune": "classifier",
    "l1": "classifier",
    "classifier_lr": "classifier",
    "classifier_epochs": "classifier",
    "positive_own_weights": "classifier",
    "fusion_l1": "fusion",
    "fusion_standardise": "fusion",
    "fusion_start": "fusion",
}
_OF_ONE_RUN = {"run", "data_dir", "threads", "output_dir", "overwrite", "resume"}


def read_ablations(path: Path = ABLATIONS) -> dict[str, dict[str, Any]]:
    """Read the list of ablations.

    Parameters
    ----------
    path : pathlib.Path
        YAML: name -> options that differ from the base.

    Returns
    -------
    dict of dict
        By the name of the run: the base without changes, then ``ablation_<name>``.

    Raises
    ------
    UsageError
        An option that ProtoECGNet does not have.
    """
    known = {field.name for field in fields(ProtoConfig)}
    found: dict[str, dict[str, Any]] = {BASE: {}}
    for name, changes in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        for option in changes:
            if option not in known:
                raise UsageError(f"{path}, {name}: {nearest(option, sorted(known))}")
        found[PREFIX + name] = changes
    return found


def ablate(
    run: str, changes: dict[str, Any], config: Path, data_dir: str, output_dir: Path, threads: int
) -> None:
    """Train and score one ablation, or what is missing of it.

    Parameters
    ----------
    run : str
        Its name.
    changes : dict
        Options in which it differs from the base.
    config : pathlib.Path
        Configuration of the base.
    data_dir : str
        PTB-XL.
    output_dir : pathlib.Path
        Folder with ``checkpoints/`` and ``logs/``.
    threads : int
        CPU threads.

    Raises
    ------
    UsageError
        A stage failed, or the base is not there for a change that starts from its stages.
    """
    if _scored(run, output_dir):
        print(f"{run}: trained and scored before")
        return
    first = min((_PLAN.index(_FIRST_READ.get(option, "joint")) for option in changes), default=0)
    own = ["--config", _shown(config), "--run", run]
    own += [word for option, value in changes.items() for word in (f"--{option}", str(value))]
    own += ["--data_dir", data_dir, "--threads", str(threads)]
    where = [] if output_dir == Path(".") else ["--output_dir", str(output_dir.resolve())]
    folder = output_dir / "checkpoints" / run
    if first == 0:
        _call("torch_train.py", *own, *where, *(["--resume"] if folder.exists() else []))
    else:
        _copy_stages(output_dir / "checkpoints" / BASE, folder, CHAIN[:first])
        steps = [(branch, stage) for branch in BRANCHES for stage in CHAIN[first:]]
        for branch, stage in steps:
            only = ["--branch", branch, "--training_stage", stage, "--overwrite"]
            _call("torch_train.py", *own, *only, *where)
        _call("torch_train.py", *own, "--training_stage", "fusion", "--overwrite", *where)
    for branch in (*BRANCHES, ""):
        part = ["--branch", branch] if branch else []
        _call("torch_test.py", "--model", "protoecgnet", "--run", run, *part, *where)


def _scored(run: str, output_dir: Path) -> bool:
    """Whether the fusion, trained and scored last, is there with the score of its present weights."""
    card = output_dir / "checkpoints" / run / "fusion" / "card.json"
    test = output_dir / "logs" / run / "fusion" / "test.json"
    if not (card.exists() and test.exists()):
        return False
    return read_json(test)["checkpoint"]["weights_sha256"] == read_card(card.parent)["weights_sha256"]


def _copy_stages(base: Path, folder: Path, stages: Sequence[str]) -> None:
    for branch in BRANCHES:
        for stage in stages:
            source, target = base / branch / stage, folder / branch / stage
            if not (source / "card.json").exists():
                raise UsageError(f"{source} is not there: run the base first (--only {BASE})")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def _call(*words: str) -> None:
    print(f"--- python {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, *words], cwd=ROOT)
    if done.returncode:
        raise UsageError(f"python {' '.join(words)} ended with code {done.returncode}: see above")


def versus(run: str, base: str, output_dir: Path, classes: Sequence[str]) -> dict[str, Any] | None:
    """Compare the fusion of a run with that of the base, record by record of fold 10.

    Parameters
    ----------
    run : str
        The run.
    base : str
        What it is compared with.
    output_dir : pathlib.Path
        Folder with ``logs/``.
    classes : sequence of str
        Classes of the macro ROC-AUC.

    Returns
    -------
    dict or None
        ``run``, ``difference`` and its 95 % interval ``low``, ``high`` over patients; None where the base was
        not scored.
    """
    paths = [output_dir / "logs" / name / "fusion" / "predictions.npz" for name in (run, base)]
    if not paths[1].exists():
        return None
    with np.load(paths[0], allow_pickle=False) as file:
        own = dict(file)
    with np.load(paths[1], allow_pickle=False) as file:
        other = dict(file)
    if not np.array_equal(own["ecg_id"], other["ecg_id"]):
        raise UsageError(f"{paths[0]} and {paths[1]} are about other records")
    columns = [own["classes"].tolist().index(name) for name in classes]
    result = paired_difference(
        *(a[:, columns] for a in (own["label"], own["probability"], other["probability"])), own["patient_id"]
    )
    return {"run": base, **{key: round(result[key], 6) for key in ("difference", "low", "high")}}


def base_of(config: dict[str, Any]) -> str:
    """The run without changes that had the same seed.

    Parameters
    ----------
    config : dict
        Of an ablation.

    Returns
    -------
    str
        Name of the run.
    """
    return BASE if config["seed"] == ProtoConfig().seed else f"{PREFIX}seed{config['seed']}"


def _changed(run: dict[str, Any], base: dict[str, Any]) -> str:
    """Options in which a run differs from the base."""
    defaults = ProtoConfig().to_json()  # of an option that did not exist when a stage was trained
    mine, theirs = (_options(stages["stages"]) for stages in (run, base))
    names = [name for name in defaults if name not in _OF_ONE_RUN and mine[name] != theirs[name]]
    return ", ".join(f"`--{name} {mine[name]}`" for name in names) or "(base)"


def _options(stages: dict[str, Any]) -> dict[str, Any]:
    """Options of a whole chain: each as the first stage that reads it had it."""
    parts = {stage: stages[f"{next(iter(BRANCHES))}/{stage}"]["config"] for stage in CHAIN}
    parts["fusion"] = stages["fusion"]["config"]
    defaults = ProtoConfig().to_json()
    return {
        name: parts[_FIRST_READ.get(name, "joint")].get(name, value)
        for name, value in defaults.items()
        if name not in _OF_ONE_RUN
    }


def _fold9(stages: dict[str, Any]) -> list[float]:
    parts = [*(f"{branch}/classifier" for branch in BRANCHES), "fusion"]
    return [stages[part]["metrics"]["val_macro_roc_auc"] for part in parts]


def _fold10(stages: dict[str, Any]) -> list[float]:
    parts = [*(f"{branch}/classifier" for branch in BRANCHES), "fusion"]
    return [stages[part]["test"]["frequent"]["macro_roc_auc"] for part in parts]


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def score_table(runs: dict[str, dict[str, Any]]) -> str:
    """What each change does to the branches and to their fusion.

    Parameters
    ----------
    runs : dict
        Collected runs by name.

    Returns
    -------
    str
        Markdown.
    """
    lines = []
    for name, changed in _listed(runs):
        stages = runs[name]["stages"]
        other = stages["fusion"].get("versus")
        difference = "–"
        if other and changed != "(base)":
            difference = f"{_signed(other['difference'])} [{_signed(other['low'])}, {_signed(other['high'])}]"
        scores = [f"{value:.3f}" for value in (*_fold9(stages), *_fold10(stages))]
        lines.append([changed, *scores, difference])
    parts = [*BRANCHES, "fusion"]
    header = ["changed", *(f"{p}, fold 9" for p in parts), *(f"{p}, fold 10" for p in parts)]
    return markdown([*header, "fusion, difference (95 % CI)"], lines)


def prototype_table(runs: dict[str, dict[str, Any]]) -> str:
    """What each change does to the prototypes.

    Parameters
    ----------
    runs : dict
        Collected runs by name.

    Returns
    -------
    str
        Markdown.
    """
    lines = []
    for name, changed in _listed(runs):
        stages = runs[name]["stages"]
        projections = [stages[f"{branch}/projection"] for branch in BRANCHES]
        joints = [stages[f"{branch}/joint"] for branch in BRANCHES]
        costs = [
            _signed(after["metrics"]["val_macro_roc_auc"] - before["metrics"]["val_macro_roc_auc"])
            for before, after in zip(joints, projections, strict=True)
        ]
        cosines = [f"{p['projection']['cosine_old_new']['mean']:.2f}" for p in projections]
        sources = sum(p["projection"]["distinct_records"] for p in projections)
        made = sum(p["projection"]["prototypes"] for p in projections)
        lines.append([changed, *costs, *cosines, f"{sources} of {made}", f"{stages['fusion']['prototypes']}"])
    header = ["changed", *(f"projection, {b}" for b in BRANCHES), *(f"cosine, {b}" for b in BRANCHES)]
    return markdown([*header, "training ECGs", "after pruning"], lines)


def _listed(runs: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Names of the base and its ablations in the order of their list, with what they change."""
    names = [name for name in read_ablations() if name in runs]
    return [(name, _changed(runs[name], runs[BASE])) for name in names]


def seed_table(runs: dict[str, dict[str, Any]]) -> str:
    """Means over the seeds, of what was trained with several.

    Parameters
    ----------
    runs : dict
        Collected runs by name.

    Returns
    -------
    str
        Markdown.
    """
    groups: dict[str, list[str]] = {}
    for name, _ in _listed(runs):
        first = name.split("_seed")[0]
        key = BASE if first in (BASE, "ablation") else first
        groups.setdefault(key, []).append(name)
    lines = []
    for key, names in groups.items():
        if len(names) > 1:
            cells = [_changed(runs[key], runs[BASE])]
            for scores in (_fold9, _fold10):
                for values in zip(*(scores(runs[name]["stages"]) for name in names), strict=True):
                    cells.append(f"{statistics.mean(values):.3f} ({min(values):.3f}–{max(values):.3f})")
            lines.append(cells)
    parts = [*BRANCHES, "fusion"]
    header = ["changed", *(f"{p}, fold 9" for p in parts), *(f"{p}, fold 10" for p in parts)]
    return markdown(header, lines)


def ablation_page(runs: dict[str, dict[str, Any]]) -> list[str]:
    """Make the part of the page that is about ablations.

    Parameters
    ----------
    runs : dict
        Collected runs by name.

    Returns
    -------
    list of str
        Paragraphs in Markdown; none where the base was not collected.
    """
    if BASE not in runs or len(_listed(runs)) == 1:
        return []
    return [
        "## Ablations",
        "Whole chains with trunks of half the width (`configs/protoecgnet/small.yaml`); each line changes "
        "what its first column says, by `python -m benchmarks.protoecgnet ablate`. Fold 9: all classes with "
        "both outcomes, after the classifier stage. Fold 10: the frequent classes. *Difference*: the fusion "
        "minus that of the base with the same seed, on the same records of fold 10; its interval is over "
        "patients and does not know how much another seed would change. Options of late stages leave the "
        "earlier ones as they are.",
        score_table(runs),
        "### Other seeds",
        "Mean (smallest – largest) over seeds 42, 1 and 2.",
        seed_table(runs),
        "### Prototypes",
        "*Projection*: step of the fold-9 score when learned prototypes are replaced by windows of training "
        "ECGs; *cosine*: mean between the two; *training ECGs*: distinct source records of all prototypes.",
        prototype_table(runs),
    ]
