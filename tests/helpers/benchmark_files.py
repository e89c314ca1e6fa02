"""Files that a training and its test leave, with made-up predictions."""

from pathlib import Path

import numpy as np

from benchmarks import render
from training.card import Card
from training.checkpoint import write_checkpoint
from utils.bootstrap import bootstrap
from utils.files import read_json, write_json, write_npz
from utils.metrics import evaluate

FIVE, THREE = ["CD", "HYP", "MI", "NORM", "STTC"], ["ASMI", "IMI", "NORM"]
MACHINE_DIR = "/".join(["", "mnt", "disk7", "ptbxl"])  # a folder that no other machine has


def leave_run(output: Path, run: str, model: str = "ecgnet", task: str = "superdiagnostic", **config) -> None:
    """Leave what training and test leave, with made-up predictions; better ones for a larger `skill`."""
    skill, limit = config.pop("skill", 1.0), config.pop("limit", 0)
    records, seed = config.pop("records", 2032), config.pop("seed", 42)
    classes = THREE if task == "mi" else FIVE
    rng = np.random.default_rng(5)
    if task == "mi":
        labels = np.eye(3, dtype=np.uint8)[rng.integers(3, size=60)]
    else:
        labels = (rng.random((60, 5)) < 0.4).astype(np.uint8)
    logits = skill * (2 * labels - 1.0) + rng.normal(size=labels.shape)
    probabilities = 1 / (1 + np.exp(-logits))
    if task == "mi":
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    patients, thresholds = np.arange(60) // 2, [0.5] * len(classes)
    script = "torch_train.py" if model in ("ecgnet", "resnet101", "resnet18") else "train.py"
    flags = f"--config configs/{model}.yaml --data_dir {MACHINE_DIR} --threads 1"
    card = {
        "framework": "torch" if script.startswith("torch") else "keras",
        "model": {"name": model, "num_classes": len(classes)},
        "task": task,
        "classes": classes,
        "leads": ["I"],
        "unit": "mV",
        "sampling_rate": 100,
        "samples": 1000,
        "standardization": {"mean": 0.0, "std": 1.0},
        "metrics": {"epoch": 3, "val_macro_roc_auc": 0.9123},
        "data": {"fingerprint": "f" * 64, "records": {"train": records, "val": 288}},
        "seed": seed,
        "config": {"data_dir": MACHINE_DIR, "limit": limit},
        "command": f"python {script} {flags}"
        + (f" --limit {limit}" if limit else "")
        + (f" --seed {seed}" if seed != 42 else ""),
        "git_commit": "0123456789abcdef+changes",
        "packages": {"python": "3.11.7", "torch": "2.13.0"},
    }
    card = Card.from_json(card)  # of version 1
    write_checkpoint(output / "checkpoints" / run, card, lambda path: path.write_bytes(run.encode()))
    card = read_json(output / "checkpoints" / run / "card.json")
    logs = output / "logs" / run
    metrics = ("macro_roc_auc", "class_roc_auc")
    test = {
        "records": 60,
        "limit": 0,
        "times_scored": 1,
        "trained_on_this_data": True,
        "checkpoint": {"weights_sha256": card["weights_sha256"], "epoch": 3},
        "command": f"python torch_test.py --run {run} --data_dir {MACHINE_DIR}",
        "git_commit": "0123456789abcdef",
        "metrics": evaluate(labels, probabilities, classes, thresholds),
        "bootstrap": bootstrap(labels, probabilities, patients, metrics, resamples=50, classes=classes),
        "ece_calibrated": 0.0123,
    }
    write_json(logs / "test.json", test)
    write_npz(
        logs / "predictions.npz",
        ecg_id=np.arange(60),
        patient_id=patients,
        label=labels,
        probability=probabilities,
        classes=np.array(classes),
    )
    (logs / "metrics.csv").write_text(
        "epoch,val_macro_roc_auc\n" + "".join(f"{i},0.9\n" for i in range(1, 8))
    )


def readme_with_markers(folder: Path) -> Path:
    path = folder / "README.md"
    path.write_text(f"# Title\n\n{render.BEGIN}\nold\n{render.END}\n\nThe end.\n")
    return path
