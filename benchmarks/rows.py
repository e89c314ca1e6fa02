"""The rows of the results: what finished and tested runs left, copied into the repository."""

from __future__ import annotations

import csv
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import ROOT, find_checkpoint, read_card, run_name
from utils.errors import DataError, UsageError
from utils.files import atomic_path, read_json, write_json
from utils.provenance import machine_folders, portable

RESULTS = ROOT / "benchmarks" / "results"
TASKS = ("superdiagnostic", "mi")  # the tables that exist
# macro ROC-AUC, mean accuracy in %, max F1 on fold 10: Reddy et al., IMLE-Net, IEEE SMC 2021, pp. 1068-1074,
# doi:10.1109/SMC52423.2021.9658706, trained and tested on the folds of the whole PTB-XL.
PUBLISHED = {
    "imle_net": (0.9216, 88.85, 0.8057),
    "rajpurkar": (0.9155, 87.91, 0.7895),
    "ecgnet": (0.9101, 87.35, 0.7712),
    "resnet101": (0.8952, 86.78, 0.7558),
    "mousavi": (0.8654, 84.19, 0.7315),
}
PUBLISHED_RECORDS, PUBLISHED_TRAINING = 21837, 17090  # PTB-XL 1.0.1 and 1.0.2
_FROM_LOGS = ("test.json", "predictions.npz", "metrics.csv")
_WITHOUT_EFFECT = {
    "--config", "--model", "--data_dir", "--threads", "--run", "--overwrite", "--resume", "--output_dir",
    "--loggr", "--sub", "--init",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One collected run.

    ``name``: its folder under ``benchmarks/results``.
    ``parameters``: weights of the model.
    ``folder``: where the row lies.
    """

    name: str
    card: dict[str, Any]
    test: dict[str, Any]
    epochs: int
    parameters: int
    folder: Path

    def predictions(self) -> dict[str, np.ndarray]:
        """Fold-10 predictions."""
        with np.load(self.folder / "predictions.npz", allow_pickle=False) as file:
            return {key: file[key] for key in file.files}


def count_parameters(card: dict[str, Any]) -> int:
    """Build the model of a card and count its weights."""
    if card["framework"] == "keras":
        import models_tf

        return models_tf.create_model(**card["model"]).count_params()
    import torch

    import models_torch

    with torch.device("meta"):  # shapes without memory
        return sum(p.numel() for p in models_torch.create_model(**card["model"]).parameters())


def collect(run: str, row: str | None, output_dir: Path, results: Path = RESULTS) -> Path:
    """Copy what a finished and tested run left into a row of the results."""
    checkpoint = find_checkpoint(run, output_dir)
    logs = output_dir / "logs" / run_name(checkpoint)
    card, name = read_card(checkpoint), row or checkpoint.name
    script = "test.py" if card["framework"] == "keras" else "torch_test.py"
    test_it = f"score it with python {script} --model {card['model']['name']} --run {run}"
    absent = [file for file in _FROM_LOGS if not (logs / file).is_file()]
    if absent:
        raise UsageError(f"{logs} has no {', '.join(absent)}: train the run here, then {test_it}")
    if Path(name).name != name or name.startswith("."):
        raise UsageError(f"--row '{name}' must be a plain folder name")
    test = read_json(logs / "test.json")
    if test["checkpoint"]["weights_sha256"] != card["weights_sha256"]:
        raise UsageError(f"{logs / 'test.json'} belongs to other weights than {checkpoint}: {test_it}")
    if card["task"] not in TASKS:
        raise UsageError(f"run '{run}' has task {card['task']}; tables exist for {' and '.join(TASKS)}")

    folders = machine_folders(card["config"], output_dir)
    target = results / name
    write_json(target / "test.json", portable(test, folders))
    write_json(target / "card.json", portable(card, folders))
    for file in ("predictions.npz", "metrics.csv"):
        with atomic_path(target / file) as temporary:
            shutil.copyfile(logs / file, temporary)
    write_json(target / "row.json", {"run": checkpoint.name, "parameters": count_parameters(card)})
    return target


def read_rows(results: Path = RESULTS) -> list[Row]:
    """Read every collected row."""
    rows = []
    for path in sorted(results.glob("*/row.json")):
        folder = path.parent
        absent = [f for f in ("card.json", *_FROM_LOGS) if not (folder / f).is_file()]
        if absent:
            raise DataError(f"{folder} has no {', '.join(absent)}: collect the row again")
        with open(folder / "metrics.csv", encoding="utf-8", newline="") as file:
            epochs = sum(1 for _ in csv.DictReader(file))
        rows.append(
            Row(
                folder.name,
                read_json(folder / "card.json"),
                read_json(folder / "test.json"),
                epochs,
                read_json(path)["parameters"],
                folder,
            )
        )
    order = list(PUBLISHED)
    return sorted(rows, key=lambda r: (order.index(r.card["model"]["name"]), r.name))


def recipe(card: dict[str, Any]) -> str:
    """Name the configuration file of a run and the flags that changed it."""
    config, changed = "defaults", []
    flag = ""
    for word in shlex.split(card["command"]):
        if word.startswith("--"):
            flag, _, value = word.partition("=")
            word = value
            if flag not in _WITHOUT_EFFECT:
                changed.append(flag)
        if word and flag == "--config":
            config = word.rpartition("configs/" if "configs/" in word else "/")[2]
        elif word and flag and flag not in _WITHOUT_EFFECT:
            changed[-1] += f" {word}"
    return ", ".join([config, *changed])


def limits(row: Row) -> str:
    """Say what a row left out."""
    training, testing = row.card["config"].get("limit", 0), row.test.get("limit", 0)
    parts = [f"trained with --limit {training} (records of each split)"] if training else []
    parts += [f"tested with --limit {testing} (records of fold 10)"] if testing else []
    return " and ".join(parts)
