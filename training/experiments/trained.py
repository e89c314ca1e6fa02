"""Trained classifiers of an output folder, ranked by what they reached on their validation records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from training.card import Card
from training.checkpoint import ROOT, card_file, holds_card, read_card
from training.tasks import create_task
from utils.errors import TwelveLeadError, UsageError, nearest

CLASSIFIERS = ("multilabel", "multiclass")
PREFERENCES = ("auto", "accuracy", "loss", "latest")


def read_trained(base: Path, warnings: list[str]) -> dict[Path, Card]:
    """Cards of the classifiers below a folder of checkpoints; one that cannot be read becomes a warning."""
    shipped = ROOT / "checkpoints" / "pretrained"
    paths = (
        path
        for path in sorted([*base.glob("*"), *base.glob("*/*")])
        if (base == shipped or shipped.name not in path.relative_to(base).parts) and holds_card(path)
    )
    return _classifiers(paths, read_card, warnings)


def read_exported(base: Path, warnings: list[str]) -> dict[Path, Card]:
    """Cards of the exported classifiers (``.onnx``) below a folder; one that cannot be read is a warning."""
    from training.export.onnx_file import read_onnx

    paths = sorted(path for depth in ("*", "*/*", "*/*/*") for path in base.glob(f"{depth}.onnx"))
    return _classifiers(paths, lambda path: read_onnx(path)[1], warnings)


def _classifiers(
    paths: Iterable[Path], read: Callable[[Path], Card], warnings: list[str]
) -> dict[Path, Card]:
    cards = {}
    for path in paths:
        try:
            card = read(path)
        except TwelveLeadError as error:
            warnings.append(f"{path} is left out: {error}")
            continue
        if card.kind in CLASSIFIERS:
            cards[path.resolve()] = card
    return cards


def validation_score(card: Card) -> float:
    """Score that chose the epoch of a checkpoint; higher is better."""
    task = create_task(card.kind, card.classes)
    value = card.metrics.get(f"val_{task.select_on}")
    sign = 1 if task.higher_is_better else -1
    return -float("inf") if value is None else float(value) * sign


def validation_accuracy(card: Card) -> float:
    """Mean accuracy on the validation records at the kept epoch."""
    value = card.metrics.get("val_mean_accuracy")
    return -float("inf") if value is None else float(value)


def validation_loss(card: Card) -> float:
    """Loss on the validation records at the kept epoch."""
    value = card.metrics.get("val_loss")
    return float("inf") if value is None else float(value)


def best(cards: Mapping[Path, Card], prefer: str = "auto") -> Path:
    """Folder of the preferred checkpoint of at least one.

    ``prefer``: the score that chose its epoch (``auto``), ``accuracy``, ``loss``, or the ``latest``.
    """
    ranks: dict[str, Callable[[Path], float]] = {
        "auto": lambda folder: validation_score(cards[folder]),
        "accuracy": lambda folder: validation_accuracy(cards[folder]),
        "loss": lambda folder: -validation_loss(cards[folder]),
        "latest": lambda folder: card_file(folder).stat().st_mtime,
    }
    if prefer not in ranks:
        raise UsageError(f"unknown preference '{prefer}': {nearest(prefer, PREFERENCES)}")
    return max(cards, key=ranks[prefer])
