"""Checkpoint folders: weights with their card, and the state from which a run goes on.

Nothing here can run code when it is read: weights are HDF5 or safetensors, everything else is JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from utils.errors import DataError, UsageError, nearest
from utils.files import atomic_path, jsonable, read_json, sha256, write_json

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = {"keras": "model.weights.h5", "torch": "model.safetensors"}
_REQUIRED = (
    "framework",
    "model",
    "task",
    "classes",
    "leads",
    "unit",
    "sampling_rate",
    "samples",
    "standardization",
)


def find_checkpoint(name: str | os.PathLike, output_dir: str | os.PathLike = ".") -> Path:
    """Find a checkpoint folder by path or by the name of its run."""
    own, pretrained = Path(output_dir) / "checkpoints", ROOT / "checkpoints" / "pretrained"
    for start in (Path(name), own / name, pretrained / name):
        for folder in (start, start / "fusion"):  # of a chain of runs, the last one
            if (folder / "card.json").exists() or (folder / "card.next.json").exists():
                return folder
    known = sorted({p.parent.name for base in (own, pretrained) for p in base.glob("*/card.json")})
    hint = nearest(str(name), known) if known else f"there is none in {own}"
    raise UsageError(f"no trained model '{name}': {hint}. Train one with train.py or torch_train.py")


def run_name(folder: Path) -> str:
    """Name of the run that a checkpoint folder belongs to."""
    parts = folder.resolve().parts
    if "checkpoints" not in parts:
        return folder.name
    below = parts[len(parts) - parts[::-1].index("checkpoints") :]
    return "/".join(below[1:] if below[:1] == ("pretrained",) else below) or folder.name


def write_checkpoint(
    folder: str | os.PathLike, card: dict[str, Any], save_weights: Callable[[Path], None]
) -> None:
    """Write weights and card so that a kill at any moment leaves one of the two versions whole."""
    folder = Path(folder)
    name = WEIGHTS[card["framework"]]
    with atomic_path(folder / name) as temporary:
        with _native_write_errors():
            save_weights(temporary)
        card = {**card, "weights": name, "weights_sha256": sha256(temporary)}
        # The next card lies ready before the weights change: `read_card` takes it if the swap was cut short.
        write_json(folder / "card.next.json", card)
    os.replace(folder / "card.next.json", folder / "card.json")


def read_card(folder: str | os.PathLike) -> dict[str, Any]:
    """Read the card of a checkpoint and check that the weights beside it are the ones it describes."""
    path, following = Path(folder) / "card.json", Path(folder) / "card.next.json"
    if following.exists() and not path.exists():  # the very first swap was cut short
        path = following
    card = _check_card(path)
    weights = path.with_name(WEIGHTS[card["framework"]])
    if not weights.exists():
        raise DataError(f"{weights} is missing: copy the whole folder, or train again with --overwrite")
    digest = sha256(weights)
    if digest == card.get("weights_sha256"):
        return card
    if following.exists():
        card = _check_card(following)
        if digest == card.get("weights_sha256"):
            return card
    raise DataError(
        f"{weights} is not the file that its card describes (SHA-256 differs): it is damaged or belongs to "
        "another model; copy it again, or train again with --overwrite"
    )


def _check_card(path: Path) -> dict[str, Any]:
    """Read a card and refuse one that no loader could use."""
    card = read_json(path)
    missing = [key for key in _REQUIRED if not isinstance(card, dict) or key not in card]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}: it is no card of a trained model")
    if card["framework"] not in WEIGHTS:
        raise DataError(f"{path}: unknown framework '{card['framework']}' (keras or torch)")
    if not isinstance(card["model"], dict) or "name" not in card["model"]:
        raise DataError(f"{path}: 'model' must hold the model's name and options")
    count = card["model"].get("num_classes")
    for key in ("classes", "thresholds"):
        if key in card and (not isinstance(card[key], list) or len(card[key]) != count):
            raise DataError(f"{path}: '{key}' must be a list with one entry for each of {count} classes")
    for key in ("samples", "sampling_rate"):
        if type(card[key]) is not int or card[key] < 1:
            raise DataError(f"{path}: '{key}' must be a whole number above 0, not {card[key]!r}")
    if not all(isinstance(t, int | float) and 0 <= t <= 1 for t in card.get("thresholds", [])):
        raise DataError(f"{path}: 'thresholds' must be probabilities, not {card['thresholds']}")
    crop = card.get("crop", 0)
    reads = crop or card["samples"]
    if type(crop) is not int or crop < 0 or card["model"].get("samples", reads) != reads:
        raise DataError(f"{path}: 'crop', 'samples' and the model's samples contradict each other")
    leads = card["leads"]
    if not isinstance(leads, list) or len(leads) != card["model"].get("leads", len(leads)):
        raise DataError(f"{path}: 'leads' must be a list of {card['model'].get('leads', 12)} names")
    return card


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
    with atomic_path(Path(folder) / "last" / "state.safetensors") as temporary, _native_write_errors():
        metadata = {"progress": json.dumps(jsonable(progress), allow_nan=False)}
        save_file(plain, temporary, metadata=metadata)


def load_state(folder: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_state` wrote."""
    path = Path(folder) / "last" / "state.safetensors"
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"nothing to resume: {path} does not exist; start the run without --resume (with --overwrite "
            "where there are weights already)"
        ) from error
    try:
        arrays = load(content)
        (length,) = struct.unpack("<Q", content[:8])
        progress = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["progress"])
    except (SafetensorError, ValueError, KeyError, struct.error) as error:
        raise DataError(f"{path} is damaged ({error}): start the run again with --overwrite") from error
    return arrays, progress
