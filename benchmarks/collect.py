"""Copy what scored runs and reports left into ``benchmarks/data``, without folders of this machine."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.rows import DATA, FROM_LOGS
from benchmarks.tasks import collect_task, database_of
from models_torch.protoecgnet import BRANCHES
from preprocessing.loading import PTBXL_LAYOUT
from training.card import Card
from training.checkpoint import ROOT, find_checkpoint, read_card, run_name
from training.experiments.compare import compare_grid
from training.protoecgnet.config import CHAIN
from utils.errors import DataError, UsageError
from utils.files import atomic_path, read_json, slug, write_json
from utils.provenance import machine_folders, portable
from utils.text import listed

SMALL_SET = 2667  # records of the part of PTB-XL that the rows in ptbxl_small were made with
STAGES = ("feature_extractor", *CHAIN)
_OF_A_CARD = (
    "task",
    "seed",
    "command",
    "git_commit",
    "projection",
    "pruning",
    "metrics",
    "made_from",
    "config",
)
_OF_A_TEST = ("macro_roc_auc", "macro_auprc", "fmax", "ece", "undefined_classes", "class_roc_auc")
_OF_A_SUMMARY = (
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
    "command",
    "git_commit",
    "settings",
    "sources",
    "notes",
)


def collect_run(run: str, row: str, output_dir: Path, data: Path = DATA) -> list[Path]:
    """Collect a scored run, or the chain of runs of that name; return what was written."""
    base = output_dir / "checkpoints" / run
    if any((base / branch).is_dir() for branch in BRANCHES):
        return collect_chain(run, output_dir, data / "protoecgnet")
    return collect_row(run, row, output_dir, data=data)


def _test_report(logs: Path, card: Card, remedy: str) -> dict[str, Any]:
    test = read_json(logs / "test.json")
    if test["checkpoint"]["weights_sha256"] != card.weights_sha256:
        raise UsageError(f"{logs / 'test.json'} belongs to other weights: {remedy}")
    return test


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


# ---- one run ---------------------------------------------------------------------------------------


def count_parameters(card: Card) -> int:
    """Build the model of a card and count its weights."""
    if card.framework == "keras":
        import models_tf

        return models_tf.create_model(**card.model).count_params()
    import torch

    import models_torch

    with torch.device("meta"):  # shapes without memory
        return sum(p.numel() for p in models_torch.create_model(**card.model).parameters())


def collect_row(
    run: str, row: str, output_dir: Path, folder: Path | None = None, data: Path = DATA
) -> list[Path]:
    """Collect a run with a model of its own into ``folder``, by default that of its number of records."""
    checkpoint = find_checkpoint(run, output_dir)
    logs = output_dir / "logs" / run_name(checkpoint)
    card, name = read_card(checkpoint), row or checkpoint.name
    script = "test.py" if card.framework == "keras" else "torch_test.py"
    remedy = f"score it with python {script} --model {card.name} --run {run}"
    absent = [file for file in FROM_LOGS if not (logs / file).is_file()]
    if absent:
        raise UsageError(f"{logs} has no {', '.join(absent)}: train the run here, then {remedy}")
    if Path(name).name != name or name.startswith("."):
        raise UsageError(f"--row '{name}' must be a plain folder name")
    test, folders = _test_report(logs, card, remedy), machine_folders(card.config, output_dir)
    if database_of(card) not in PTBXL_LAYOUT:
        return [_write_row(card, test, data / "tasks" / name, logs, folders, checkpoint.name)]
    if "macro_roc_auc" not in test["metrics"]:
        raise UsageError(f"run '{run}' has task {card.task}, whose test has no macro ROC-AUC for the tables")

    small = card.data.records["train"] <= SMALL_SET
    target = (folder or data / ("ptbxl_small" if small else "ptbxl")) / name
    return [_write_row(card, test, target, logs, folders, checkpoint.name)]


def _write_row(
    card: Card, test: dict[str, Any], target: Path, logs: Path, folders: dict[str, str], run: str
) -> Path:
    """Write the files of a row; predictions along time are made small."""
    write_json(target / "test.json", portable(test, folders))
    write_json(target / "card.json", portable(card.to_json(), folders))
    row: dict[str, Any] = {"run": run, "parameters": count_parameters(card)}
    _copy(logs / FROM_LOGS[2], target / FROM_LOGS[2])
    if database_of(card) in PTBXL_LAYOUT:
        _copy(logs / FROM_LOGS[1], target / FROM_LOGS[1])
    else:
        row |= collect_task(card, logs, test, target)
    write_json(target / "row.json", row)
    return target


# ---- a chain of runs -------------------------------------------------------------------------------


def _stages(base: Path) -> Iterator[Path]:
    """Checkpoint folders of a chain in the order in which they were trained."""
    for path in [*(base / branch / stage for branch in BRANCHES for stage in STAGES), base / "fusion"]:
        if (path / "card.json").exists():
            yield path


def collect_chain(run: str, output_dir: Path, folder: Path = DATA / "protoecgnet") -> list[Path]:
    """Collect all stages of a chain of runs into one file, and the predictions of its fusion."""
    base = output_dir / "checkpoints" / run
    stages: dict[str, Any] = {}
    folders: dict[str, str] = {}
    for path in _stages(base):
        name = path.relative_to(base).as_posix()
        card = read_card(path)
        folders |= machine_folders(card.config, output_dir)
        stages[name] = _stage(card, output_dir / "logs" / run / name, f"score {run}/{name} again")
    if not stages:
        raise UsageError(f"there is no run '{run}' in {base.parent}: train it with torch_train.py")
    written = [folder / f"{run}.json"]
    write_json(written[0], portable({"run": run, "stages": stages}, folders))
    predictions = output_dir / "logs" / run / "fusion" / "predictions.npz"
    if predictions.exists():
        written.append(folder / f"{run}_predictions.npz")
        _copy(predictions, written[1])
    return written


def _stage(card: Card, logs: Path, remedy: str) -> dict[str, Any]:
    values = {**asdict(card.provenance), **card.extra, "task": card.task, "metrics": card.metrics}
    entry = {key: values[key] for key in _OF_A_CARD if values.get(key) is not None}
    entry |= {"records": card.data.records, "prototypes": len(card.extra.get("prototypes", []))}
    if (logs / "metrics.csv").exists():
        with open(logs / "metrics.csv", encoding="utf-8", newline="") as file:
            seconds = [float(line["seconds"]) for line in csv.DictReader(file)]
        entry |= {"epochs": len(seconds), "seconds_per_epoch": round(sum(seconds) / len(seconds), 2)}
    if (logs / "test.json").exists():
        test = _test_report(logs, card, remedy)
        frequent = test.get("frequent") or {**test, "classes": None}
        interval = frequent["bootstrap"]["intervals"].get("macro_roc_auc")
        entry["test"] = {key: test["metrics"][key] for key in _OF_A_TEST}
        entry["test"] |= {"records": test["records"], "times_scored": test["times_scored"]}
        entry["test"]["frequent"] = {
            "classes": frequent["classes"] or list(test["metrics"]["class_roc_auc"]),
            "macro_roc_auc": frequent["metrics"]["macro_roc_auc"],
            "macro_roc_auc_95": [interval["low"], interval["high"]] if interval else None,
        }
    return entry


# ---- certified thresholds --------------------------------------------------------------------------


def collect_certified(run: str, row: str, output_dir: Path, folder: Path = DATA / "certified") -> list[Path]:
    """Collect the certified thresholds of a run."""
    checkpoint = find_checkpoint(run, output_dir)
    path = output_dir / "logs" / run_name(checkpoint) / "certified.json"
    if not path.exists():
        raise UsageError(f"{run} has no certified thresholds: run twelvelead certify {run} first")
    found, card = read_json(path), read_card(checkpoint)
    if found["weights_sha256"] != card.weights_sha256:
        raise UsageError(f"{path} belongs to other weights: run twelvelead certify {run} again")
    folders = machine_folders({**card.config, "data_dir": found["settings"]["data_dir"]}, output_dir)
    target = folder / (slug(row or checkpoint.name) + ".json")
    write_json(target, portable(found, folders))
    return [target]


# ---- a grid ----------------------------------------------------------------------------------------

_OF_A_RUN = (
    "name",
    "model",
    "framework",
    "seed",
    "fold",
    "changes",
    "score",
    "scores",
    "epoch",
    "epochs",
    "seconds",
)


def collect_grid(grid: Path, folder: Path = DATA / "grids") -> list[Path]:
    """Collect the results of a grid whose runs have all finished, and the tests between its recipes."""
    found = read_json(grid / "grid.json")
    waiting = [run["name"] for run in found["runs"] if run["status"] != "finished"]
    if waiting:
        raise UsageError(
            f"{grid}: {listed(waiting)} did not finish: run twelvelead grid {found['file']} again"
        )
    card = read_card(grid / found["runs"][0]["folder"])
    try:
        comparison = compare_grid(grid)
    except UsageError:  # a single recipe, or one run of each
        comparison = None
    target = folder / f"{slug(found['name'])}.json"
    write_json(
        target,
        {
            **{key: found[key] for key in ("name", "file", "axes", "notice", "groups")},
            "runs": [{key: run[key] for key in _OF_A_RUN} for run in found["runs"]],
            "records": card.data.records,
            "splits": card.data.splits,
            "git_commit": card.provenance.git_commit,
            "comparison": comparison,
        },
    )
    return [target]


# ---- a report of the attribution study -------------------------------------------------------------


def collect_report(report: Path, folder: Path = DATA / "attribution") -> list[Path]:
    """Collect the summaries that attribution.report wrote."""
    paths = sorted([*report.glob("summary.json"), *report.glob("*/summary.json")])
    if not paths:
        raise UsageError(f"{report} holds no summary.json: write a report with python -m attribution.report")
    written = []
    for path in paths:
        summary = read_summary(path)
        written.append(folder / (slug(f"{summary['dataset']}-{summary['model']}") + ".json"))
        write_json(written[-1], portable(summary, {str(ROOT): ".", str(Path.cwd()): "."}))
    return written


def read_summary(path: Path) -> dict[str, Any]:
    """Read a summary and refuse a file that is none."""
    summary = read_json(path)
    absent = [key for key in _OF_A_SUMMARY if not isinstance(summary, dict) or key not in summary]
    if absent:
        raise DataError(
            f"{path} is not a summary of a report, it lacks {', '.join(absent)}: write the report again"
        )
    return summary
