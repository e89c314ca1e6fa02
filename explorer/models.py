"""Which trained models the explorer offers, in which order, and what they say about a recording."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from databases.base import Recording
from explain.attention import predict_recording
from explorer.sources import for_model
from training.card import TITLES, Card
from training.checkpoint import ROOT, find_checkpoint, read_card, run_name
from training.experiments.trained import best, read_trained, validation_score
from training.predictor import Predictor
from training.tasks import create_task
from training.tasks.certified import certified_remark, certified_text
from utils.errors import TwelveLeadError

VARIABLE = "MODEL_TO_USE"


@dataclass(frozen=True)
class Candidate:
    """A model that can be asked.

    ``roles``: why it is offered: chosen by MODEL_TO_USE, best by its score or its loss on the validation
    records, newest, or shipped.
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
    def facts(self) -> dict[str, str]:
        """What a user wants to know before trusting it."""
        card = self.card
        written = datetime.date.fromisoformat(card.provenance.written[:10])
        age = (datetime.date.today() - written).days
        task = create_task(card.kind, card.classes)
        facts = {
            "model": f"{card.name} ({TITLES[card.framework]})",
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

    ``MODEL_TO_USE`` (a run, a pretrained name or a folder) comes first where it is set.
    """
    environment = os.environ if environment is None else environment
    warnings: list[str] = []
    trained = read_trained(Path(output_dir) / "checkpoints", warnings)
    shipped = read_trained(ROOT / "checkpoints" / "pretrained", warnings)
    roles: dict[Path, list[str]] = {}
    wanted = environment.get(VARIABLE, "")
    cards = trained | shipped
    if wanted:
        try:
            folder = find_checkpoint(wanted, output_dir).resolve()
            cards.setdefault(folder, read_card(folder))
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
    order = [*roles, *(folder for folder in sorted(trained) if folder not in roles)]
    return [Candidate(folder, cards[folder], tuple(roles.get(folder, ()))) for folder in order], warnings


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
