"""Networks of ProtoECGNet in and out of checkpoint folders: strictly, and saying what was loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from training.checkpoint import WEIGHTS, find_checkpoint, read_card
from training.protoecgnet.config import ProtoConfig
from training.setup import TrainingData
from training.torch_io import load_torch, read_weights
from utils.errors import DataError, UsageError


def stage_folder(config: ProtoConfig, branch: str, stage: str) -> Path:
    """Checkpoint folder of a stage.

    Parameters
    ----------
    config : ProtoConfig
        ``run`` is that of the whole chain.
    branch : str
        Its branch; empty for the fusion.
    stage : str
        One of `STAGES`.

    Returns
    -------
    pathlib.Path
        ``checkpoints/<run>/<branch>/<stage>`` or ``checkpoints/<run>/fusion``.
    """
    return Path(config.output_dir, "checkpoints", config.run, branch, stage)


def source_of(config: ProtoConfig, branch: str, stages: tuple[str, ...]) -> Path:
    """Find the earlier stage that a stage starts from: ``--init``, else the latest one of the same run.

    Parameters
    ----------
    config : ProtoConfig
        ``run`` is that of the whole chain.
    branch : str
        The branch.
    stages : tuple of str
        Stages that it can start from, the preferred one first.

    Returns
    -------
    pathlib.Path
        Its checkpoint folder.

    Raises
    ------
    UsageError
        There is none; the message says which command makes it.
    """
    if config.init:
        return find_checkpoint(config.init, config.output_dir)
    for stage in stages:
        folder = stage_folder(config, branch, stage)
        if (folder / "card.json").exists() or (folder / "card.next.json").exists():
            return folder
    run = "" if config.run == "protoecgnet" else f" --run {config.run}"
    raise UsageError(
        f"there is no stage {' or '.join(stages)} of branch {branch} in "
        f"{stage_folder(config, branch, stages[0]).parent}; make it with: python torch_train.py "
        f"--model protoecgnet --branch {branch} --training_stage {stages[0]}{run}"
    )


def load_network(
    folder: Path, branch: str, classes: list[str] | None
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Load a branch with all its weights.

    Parameters
    ----------
    folder : pathlib.Path
        Checkpoint folder.
    branch : str
        The branch that it has to be.
    classes : list of str or None
        The classes that it has to know; None for any.

    Returns
    -------
    model : ProtoECGNet
        On the CPU, in evaluation mode.
    card : dict
        Its card.

    Raises
    ------
    DataError
        Another kind of model, another branch, another label set, or damaged weights.
    """
    card = read_card(folder)
    if card["model"]["name"] != "protoecgnet":
        raise DataError(f"{folder} holds '{card['model']['name']}', which has no prototypes")
    check_branch(folder, card, branch, classes)
    model, _ = load_torch(folder / WEIGHTS["torch"], card)
    print(f"{folder}: all {len(model.state_dict())} tensors of branch {branch} loaded")
    return model.cpu(), card


def check_branch(folder: Path, card: dict[str, Any], branch: str, classes: list[str] | None) -> None:
    """Refuse a checkpoint of another branch or label set.

    Parameters
    ----------
    folder : pathlib.Path
        Where it is, for the message.
    card : dict
        Its card.
    branch : str
        The branch that it has to be.
    classes : list of str or None
        The classes that it has to know; None for any.

    Raises
    ------
    DataError
        It is another.
    """
    found = card["model"].get("branch")
    if found != branch:
        raise DataError(f"{folder} is a {found} branch, not the {branch} branch")
    if classes is not None and card["classes"] != classes:
        raise DataError(
            f"{folder} was trained on task {card['task']} ({len(card['classes'])} classes), not on these "
            f"{len(classes)} classes: {', '.join(classes[:5])}, ..."
        )


def start_from(folder: Path, model: torch.nn.Module, branch: str, classes: list[str]) -> None:
    """Start a network from a checkpoint: from all of a branch, or from the trunk of a feature extractor.

    Parameters
    ----------
    folder : pathlib.Path
        Checkpoint folder.
    model : ProtoECGNet
        Gets the weights.
    branch : str
        Its branch.
    classes : list of str
        Its classes.

    Raises
    ------
    DataError
        Any tensor is missing, left over or of another shape, or the checkpoint is of another kind.
    """
    card = read_card(folder)
    name = card["model"]["name"]
    if name not in ("protoecgnet", "protoecgnet_trunk"):
        raise DataError(f"--init {folder} holds '{name}', not a ProtoECGNet or its trunk")
    if name == "protoecgnet":
        check_branch(folder, card, branch, classes)
    weights = read_weights(folder / WEIGHTS["torch"])
    own = model.state_dict()
    part = own
    if name == "protoecgnet_trunk":
        part = {key: tensor for key, tensor in own.items() if key.startswith("trunk.")}
        weights = {key: tensor for key, tensor in weights.items() if key.startswith("trunk.")}
    wrong = set(part) ^ set(weights) | {
        key for key in set(part) & set(weights) if part[key].shape != weights[key].shape
    }
    if wrong:
        raise DataError(
            f"--init {folder} does not fit: {len(wrong)} of {len(part)} tensors are missing, left over or of "
            f"another shape ({sorted(wrong)[0]}, ...); use the same --backbone, --width and prototypes"
        )
    model.load_state_dict(own | weights)
    rest = "" if len(part) == len(own) else f"; the other {len(own) - len(part)} start anew"
    print(f"{folder}: {len(part)} tensors loaded{rest}")


def records_fingerprint(data: TrainingData) -> str:
    """Fingerprint of the recordings and folds, whatever the label set.

    Parameters
    ----------
    data : TrainingData
        Splits for training and validation.

    Returns
    -------
    str
        SHA-256; equal for branches that can be fused.
    """
    digest = hashlib.sha256()
    for part in (data.train, data.val):
        digest.update(part.ecg_ids.tobytes())
        digest.update(part.folds.tobytes())
        if part.digests is not None:
            digest.update("".join(part.digests.tolist()).encode())
    return digest.hexdigest()
