"""Which trained models the explorer offers, in which order, and what they say about a recording."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from databases.base import Recording
from explain.attention import predict_recording
from explorer.sources import for_model
from training.card import TITLES, Card
from training.checkpoint import ROOT, card_file, find_checkpoint, is_onnx, read_card, run_name
from training.experiments.trained import CLASSIFIERS, best, read_exported, read_trained, validation_score
from training.predictor import Predictor
from training.tasks import create_task
from training.tasks.certified import certified_remark, certified_text
from utils.errors import TwelveLeadError, UsageError

VARIABLE = "MODEL_TO_USE"


@dataclass(frozen=True)
class Candidate:
    """A model that can be asked.

    ``folder``: its checkpoint, or an exported file. ``roles``: why it is offered: chosen by MODEL_TO_USE,
    best by its score or its loss on the validation records, newest, shipped, or exported.
    """

    folder: Path
    card: Card
    roles: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the run."""
        return run_name(self.folder)

    @property
    def label(self) -> str:
        """Short line for a list."""
        return f"{self.name} ({', '.join(self.roles)})" if self.roles else self.name

    @property
    def changed(self) -> float:
        """When its card was written: a model that is trained again is loaded again."""
        return card_file(self.folder).stat().st_mtime

    @property
    def facts(self) -> dict[str, str]:
        """What a user wants to know before trusting it."""
        card = self.card
        written = datetime.date.fromisoformat(card.provenance.written[:10])
        age = (datetime.date.today() - written).days
        task = create_task(card.kind, card.classes)
        facts = {
            "model": f"{card.name} ({TITLES[card.framework]}{', exported' if is_onnx(self.folder) else ''})",
            "classes": ", ".join(card.classes),
            "trained on": f"{card.data.records.get('train', 0):,} records",
            "written": f"{written.isoformat()} ({age} days ago)",
        }
        score = card.metrics.get(f"val_{task.select_on}")
        if score is not None:
            facts[f"validation {task.titles.get(task.select_on, task.select_on)}"] = f"{score:.4f}"
        tested = card.metrics.get("test") or card.metrics.get("fold_10")
        if tested and f"{task.select_on}_95" in tested:
            low, high = tested[f"{task.select_on}_95"]
            facts["test, 95 % interval"] = f"{tested[task.select_on]:.4f} ({low:.3f} - {high:.3f})"
        return facts


def find_models(
    output_dir: str | Path = ".", environment: Mapping[str, str] | None = None
) -> tuple[list[Candidate], list[str]]:
    """Models of checkpoints/ and those that come with the repository, best first, and warnings.

    ``MODEL_TO_USE`` (a run, a pretrained name, a folder or an exported file) comes first where it is set;
    exported files of checkpoints/ come last.
    """
    environment = os.environ if environment is None else environment
    warnings: list[str] = []
    trained = read_trained(Path(output_dir) / "checkpoints", warnings)
    shipped = read_trained(ROOT / "checkpoints" / "pretrained", warnings)
    exported = read_exported(Path(output_dir) / "checkpoints", warnings)
    roles: dict[Path, list[str]] = {}
    wanted = environment.get(VARIABLE, "")
    cards = trained | shipped | exported
    if wanted:
        try:
            folder, card = _wanted(wanted, output_dir)
            cards.setdefault(folder, card)
            roles.setdefault(folder, []).append(VARIABLE)
        except TwelveLeadError as error:
            warnings.append(f"{VARIABLE}={wanted} is not used: {error}")
    if trained:
        for role, folder in (
            ("best score", best(trained)),
            ("best loss", best(trained, "loss")),
            ("newest", best(trained, "latest")),
        ):
            roles.setdefault(folder, []).append(role)
    for folder in sorted(shipped, key=lambda folder: -validation_score(shipped[folder])):
        roles.setdefault(folder, []).append("shipped")
    for path in exported:
        roles.setdefault(path, []).append("exported")
    order = [*roles, *(folder for folder in sorted(trained) if folder not in roles)]
    return [Candidate(folder, cards[folder], tuple(roles.get(folder, ()))) for folder in order], warnings


def _wanted(name: str, output_dir: str | Path) -> tuple[Path, Card]:
    """The classifier that the variable names, and its card."""
    if is_onnx(name):
        from training.export.onnx_file import read_onnx

        below = Path(output_dir) / "checkpoints" / name
        path = below if below.is_file() and not Path(name).is_file() else Path(name)
        _, card, _ = read_onnx(path)
    else:
        path = find_checkpoint(name, output_dir)
        card = read_card(path)
    if card.kind not in CLASSIFIERS:
        raise UsageError(f"the explorer shows classifiers, and its task is {card.kind}")
    return path.resolve(), card


def usual_models(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The model that is asked at first: a user's own, else the first one for the superclasses."""
    if not candidates or candidates[0].roles[:1] != ("shipped",):
        return list(candidates[:1])
    known = [candidate for candidate in candidates if candidate.card.task == "superdiagnostic"]
    return (known or list(candidates))[:1]


@dataclass(frozen=True)
class Answer:
    """What one model says about one recording: the rows of a table, and notes about the signal."""

    model: str
    rows: list[dict[str, Any]]
    notes: list[str]


def ask(predictor: Predictor, shown: Recording, labels: tuple[str, ...] = ()) -> Answer:
    """Probabilities of one model, with thresholds, yes or no, calibration and the true labels."""
    recording = for_model(shown, predictor.sampling_rate, predictor.samples)
    prediction = predict_recording(predictor, recording)
    known = set(labels) & set(predictor.classes)
    rows = []
    for entry in prediction["classes"]:
        row = {
            "class": entry["class"],
            "probability": round(float(entry["probability"]), 4),
            "threshold": round(float(entry["threshold"]), 4),
            "answer": "yes" if entry["positive"] else "no",
        }
        if entry.get("calibrated") is not None:
            row["calibrated"] = round(float(entry["calibrated"]), 4)
        if entry.get("certified"):
            row["certified"] = certified_text(entry["certified"]).removeprefix("certified ")
        if known:
            row["true label"] = "yes" if entry["class"] in known else ""
        rows.append(row)
    rows.sort(key=lambda row: -row["probability"])
    promise = certified_remark(predictor.decision)
    return Answer(predictor.folder.name, rows, [*prediction["notes"], *([promise] if promise else [])])
