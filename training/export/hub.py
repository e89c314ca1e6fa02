"""Model cards as Markdown, and folders in the layout of the Hugging Face hub."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from training.card import TITLES, WEIGHTS, Card
from training.checkpoint import CONFIG, HUB_WEIGHTS, find_checkpoint, read_card, run_name
from training.model_info import model_info
from training.tasks import create_task
from training.tasks.classification import calibrator_of, thresholds_of
from utils.errors import UsageError
from utils.files import atomic_path, sha256, write_json, write_text
from utils.model_registry import ModelInfo
from utils.report.markdown import fill_markdown

_CLASSIFICATION = ("multilabel", "multiclass")


def model_card(card: Card, title: str, folder: str = "") -> str:
    """The card of a trained model as Markdown, for people.

    Parameters
    ----------
    card : Card
        Card of the checkpoint.
    title : str
        Heading.
    folder : str
        What `load_predictor` is called with in the example; the title if empty.

    Returns
    -------
    str
        What it reads and answers, thresholds, data, scores with intervals, limits, license and citation.
    """
    try:
        info = model_info(card.name)
    except UsageError:  # of a plugin that is not loaded
        info = ModelInfo(card.name, card.framework, "", {}, title=card.name)
    rows: list[tuple[str, float, bool]] = []
    if card.kind in _CLASSIFICATION:
        thresholds = thresholds_of(card.outputs.decision, len(card.classes)).tolist()
        calibrated = calibrator_of(card.outputs.decision) is not None
        rows = [(name, value, calibrated) for name, value in zip(card.classes, thresholds, strict=True)]
    return fill_markdown(
        "training/model_card.jinja",
        card=card,
        title=title,
        folder=folder or title,
        info=info,
        framework=TITLES[card.framework],
        crop=0 < card.inputs.crop < card.inputs.samples,
        database=card.config.get("database", "ptbxl"),
        rows=rows,
        scores=_scores(card),
    )


def _scores(card: Card) -> list[tuple[str, str, float, Any]]:
    """Rows of the table: records, score, value, interval."""
    task, rows = create_task(card.kind, card.classes), []
    for name in (task.select_on, *task.logged):
        value = card.metrics.get(f"val_{name}")
        if isinstance(value, int | float):
            rows.append(("validation", name.replace("_", " "), value, None))
    where = "test" if "test" in card.metrics else "fold_10"  # its name in cards of version 1
    test = card.metrics.get(where, {})
    for name in (task.select_on, *task.logged):
        if isinstance(test.get(name), int | float):
            split = f"{test.get('split', 'fold 10')}, {test.get('records', '?')} records"
            rows.append((split, name.replace("_", " "), test[name], test.get(f"{name}_95")))
    return rows


def write_card(path: Path, out: Path, output_dir: str = ".") -> Path:
    """Write the model card of a checkpoint as Markdown."""
    folder = find_checkpoint(path, output_dir)
    write_text(out, model_card(read_card(folder), run_name(folder)))
    return out


def write_hub(path: Path, out: Path, output_dir: str = ".") -> list[Path]:
    """Write a checkpoint as ``model.safetensors``, ``config.json`` and ``README.md``.

    Keras weights become safetensors, too. `load_predictor` reads the folder; nothing is uploaded.
    """
    folder = find_checkpoint(path, output_dir)
    card, title = read_card(folder), run_name(folder)
    if out.resolve() == folder.resolve():
        raise UsageError(f"{out} is the checkpoint itself: choose another --out")
    weights = out / HUB_WEIGHTS
    with atomic_path(weights) as temporary:
        if card.framework == "torch" or (folder / HUB_WEIGHTS).exists():
            shutil.copyfile(folder / HUB_WEIGHTS, temporary)
        else:
            _write_keras(folder / WEIGHTS["keras"], card, temporary)
        card = replace(card, weights=HUB_WEIGHTS, weights_sha256=sha256(temporary))
    values = {"library_name": "twelvelead", "architectures": [card.name], **card.to_json()}
    write_json(out / CONFIG, values)
    head = {
        "license": "apache-2.0",
        "library_name": "twelvelead",
        "tags": ["ecg", "electrocardiogram", "12-lead", card.framework, card.name, card.task],
    }
    front = yaml.safe_dump(head, sort_keys=False)
    write_text(out / "README.md", f"---\n{front}---\n\n{model_card(card, title, 'FOLDER')}")
    return [weights, out / CONFIG, out / "README.md"]


def _write_keras(path: Path, card: Card, out: Path) -> None:
    """Keras weights as safetensors."""
    import models_tf.backend  # noqa: F401  (first: it decides on Keras' settings)
    from training.keras_io import load_keras, save_safetensors

    model, _ = load_keras(path, card)
    save_safetensors(model, out)
