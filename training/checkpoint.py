"""Checkpoint folders: weights with their card, and the state from which a run is resumed.

Nothing here can run code when it is read: weights are HDF5 or safetensors, everything else is JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from training.card import WEIGHTS, Card
from utils.errors import DataError, UsageError, nearest
from utils.files import atomic_path, jsonable, read_json, replace_durably, sha256, write_json
from utils.text import short_reason

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_MODEL = "imle_net"
CONFIG, HUB_WEIGHTS = "config.json", "model.safetensors"  # a folder for the Hugging Face hub
_REMEDY = "copy the whole folder again, or train again with --overwrite"


def find_checkpoint(name: str | os.PathLike, output_dir: str | os.PathLike = ".") -> Path:
    """Find a checkpoint folder by path or by the name of its run."""
    trained, pretrained = Path(output_dir) / "checkpoints", ROOT / "checkpoints" / "pretrained"
    for start in (Path(name), trained / name, pretrained / name):
        for folder in (start, start / "fusion"):  # of a chain of stages, the last one
            if holds_card(folder):
                return folder
    if is_onnx(name) and Path(name).is_file():
        raise UsageError(f"{name} is an exported file: name the checkpoint that it was exported from")
    for folder in (Path(name), trained / name):
        _refuse_parts(folder)
    known = sorted({p.parent.name for base in (trained, pretrained) for p in base.glob("*/card.json")})
    hint = nearest(str(name), known) if known else f"there is none in {trained}"
    raise UsageError(f"no trained model '{name}': {hint}. Train one with train.py or torch_train.py")


def is_onnx(name: str | os.PathLike) -> bool:
    """Whether a model is named by the path of an exported file."""
    return Path(name).suffix == ".onnx"


def choose_model(model: str, task: str, output_dir: str | os.PathLike = ".") -> str:
    """Model that ``--model`` and ``--task`` mean: a card decides; a task alone picks its shipped model."""
    if model or not task:
        name = model or DEFAULT_MODEL
        card = _card_of(name, output_dir) if task else None
        if card is not None and task not in (card.task, card.kind):
            raise UsageError(f"model '{name}' was trained on task {card.task} ({card.kind}), not {task}")
        return name
    shipped = sorted((ROOT / "checkpoints" / "pretrained").glob("*/card.json"))
    cards = {path.parent.name: read_card(path.parent) for path in shipped}
    fitting = [name for name, card in cards.items() if task in (name, card.task, card.kind)]
    if not fitting:
        tasks = dict.fromkeys(word for card in cards.values() for word in (card.task, card.kind))
        raise UsageError(f"no shipped model has task '{task}': {nearest(task, tasks)}; or name a --model")
    if len(fitting) > 1 and task not in fitting:
        raise UsageError(f"several shipped models have task '{task}': choose --model {', '.join(fitting)}")
    return task if task in fitting else fitting[0]


def _card_of(name: str, output_dir: str | os.PathLike) -> Card:
    if is_onnx(name):
        from training.export.onnx_file import read_onnx

        return read_onnx(Path(name))[1]
    return read_card(find_checkpoint(name, output_dir))


def holds_card(folder: Path) -> bool:
    """Whether a folder is that of a checkpoint."""
    return any((folder / name).exists() for name in ("card.json", "card.next.json")) or _is_hub(folder)


def _refuse_parts(folder: Path) -> None:
    """Say of a folder without a card, which has weights or a state to resume, what it lacks."""
    if any((folder / name).is_file() for name in WEIGHTS.values()):
        raise UsageError(
            f"{folder} has weights, but no card.json that says how their model is made and scaled: {_REMEDY}"
        )
    if (folder / "last" / "state.safetensors").is_file():
        raise UsageError(
            f"the run in {folder} was stopped before it kept an epoch: continue it with --resume"
        )


def _is_hub(folder: Path) -> bool:
    """Whether ``twelvelead export --format hf`` wrote a folder."""
    written = (folder / CONFIG).exists() and (folder / HUB_WEIGHTS).exists()
    return written and not any(folder.glob("card.*json"))


def card_file(folder: Path) -> Path:
    """The file with the card of a checkpoint folder; an exported file holds its own."""
    if is_onnx(folder):
        return folder
    return folder / (CONFIG if _is_hub(folder) else "card.json")


def weights_of(folder: Path, card: Card) -> Path:
    """The file with the weights of a checkpoint folder."""
    return folder / (HUB_WEIGHTS if _is_hub(folder) else WEIGHTS[card.framework])


def run_name(folder: Path) -> str:
    """Name of the run that a checkpoint folder or an exported file belongs to."""
    parts = folder.resolve().parts
    if "checkpoints" not in parts:
        return "/".join(parts[1:][-2:]) if is_onnx(folder) else folder.name  # most are called model.onnx
    below = parts[len(parts) - parts[::-1].index("checkpoints") :]
    return "/".join(below[1:] if below[:1] == ("pretrained",) else below) or folder.name


def write_checkpoint(folder: str | os.PathLike, card: Card, save_weights: Callable[[Path], None]) -> None:
    """Write weights and card so that a kill at any moment leaves one of the two versions whole."""
    folder = Path(folder)
    name = WEIGHTS[card.framework]
    with atomic_path(folder / name) as temporary:
        with _native_write_errors():
            save_weights(temporary)
        card = replace(card, weights=name, weights_sha256=sha256(temporary))
        # The next card lies ready before the weights change: `read_card` takes it if the swap was cut short.
        write_json(folder / "card.next.json", card.to_json())
    replace_durably(folder / "card.next.json", folder / "card.json")


def read_card(folder: str | os.PathLike) -> Card:
    """Read the card of a checkpoint and check that the weights beside it are the ones it describes."""
    path, following = card_file(Path(folder)), Path(folder) / "card.next.json"
    if following.exists() and not path.exists():  # the very first swap was cut short
        path = following
    card = Card.from_json(read_json(path, _REMEDY), path)
    weights = weights_of(path.parent, card)
    if not weights.is_file():
        raise DataError(f"{weights} is missing: {_REMEDY}")
    digest = sha256(weights)
    if digest == card.weights_sha256:
        return card
    if following.exists():
        card = Card.from_json(read_json(following), following)
        if digest == card.weights_sha256:
            return card
    raise DataError(
        f"{weights} is not the file that its card describes (SHA-256 differs): it is damaged or belongs to "
        "another model; copy it again, or train again with --overwrite"
    )


@contextlib.contextmanager
def _native_write_errors() -> Iterator[None]:
    """Turn what HDF5 and safetensors say about a full disk into the OSError that it is."""
    try:
        yield
    except (SafetensorError, RuntimeError, OSError) as error:
        number = re.search(r"(?:errno = |os error )(\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def save_state(folder: str | os.PathLike, arrays: dict[str, np.ndarray], progress: dict[str, Any]) -> None:
    """Write ``last/state.safetensors``: one file, replaced in one step."""
    plain = {key: np.ascontiguousarray(value).reshape(np.shape(value)) for key, value in arrays.items()}
    text = json.dumps(jsonable(progress), allow_nan=False)
    metadata = {"progress": text, "sha256": _state_digest(plain, text)}
    with atomic_path(Path(folder) / "last" / "state.safetensors") as temporary, _native_write_errors():
        save_file(plain, temporary, metadata=metadata)


def _state_digest(arrays: dict[str, np.ndarray], progress: str) -> str:
    digest = hashlib.sha256(progress.encode())
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype.str} {arrays[key].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[key]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def load_state(folder: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_state` wrote; a state from before the digest was added has none."""
    path = Path(folder) / "last" / "state.safetensors"
    if not path.exists():
        raise UsageError(
            f"nothing to resume: {path} does not exist; start the run without --resume (with --overwrite "
            "where there are weights already)"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        progress = json.loads(metadata["progress"])
        unknown = sorted(metadata.keys() - {"progress", "sha256"})
        if unknown or not isinstance(progress, dict):
            raise ValueError(f"unknown metadata {', '.join(unknown)}" if unknown else "no progress")
        if "sha256" in metadata and metadata["sha256"] != _state_digest(arrays, metadata["progress"]):
            raise ValueError("SHA-256 differs")
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} is damaged ({short_reason(error)}): start the run again with --overwrite"
        ) from error
    return arrays, progress


def check_kept(folder: Path, progress: dict[str, Any]) -> None:
    """Refuse to resume where the weights of the best epoch are damaged: no later epoch brings them back."""
    if progress.get("best") is None:
        return
    if not holds_card(folder):
        raise DataError(f"{folder} has lost the card of its best epoch: {_REMEDY}")
    read_card(folder)
