"""Networks of ProtoECGNet in and out of checkpoint folders: strictly, and saying what was loaded."""

from __future__ import annotations

import hashlib
import inspect
import logging
import shlex
from pathlib import Path
from typing import Any

import torch

from models_torch.protoecgnet import ProtoECGNet
from models_torch.protoecgnet.imagenet import trunk_weights
from models_torch.protoecgnet.resnet import ResNet
from training.card import WEIGHTS, Card
from training.checkpoint import find_checkpoint, holds_card, read_card
from training.protoecgnet.config import ProtoConfig
from training.setup import TrainingData
from training.torch_io import load_torch, read_weights
from utils.config import flags_of, names_of
from utils.errors import DataError, UsageError
from utils.files import sha256

logger = logging.getLogger(__name__)


def stage_folder(config: ProtoConfig, branch: str, stage: str) -> Path:
    """Checkpoint folder of a stage."""
    return Path(config.output_dir, "checkpoints", config.run, branch, stage)


def source_of(config: ProtoConfig, branch: str, stages: tuple[str, ...]) -> Path:
    """Find the earlier stage that a stage starts from: ``--init``, else one of the same run."""
    if config.init:
        return find_checkpoint(config.init, config.output_dir)
    for stage in stages:
        folder = stage_folder(config, branch, stage)
        if holds_card(folder):
            return folder
    raise UsageError(
        f"there is no stage {' or '.join(stages)} of branch {branch} in "
        f"{stage_folder(config, branch, stages[0]).parent}; make it with: python torch_train.py "
        f"--model protoecgnet --branch {branch} --training_stage {stages[0]}{_flags(config)}"
    )


def _flags(config: ProtoConfig) -> str:
    """The flags of this command that the command for another stage needs as well: stages must agree."""
    said_or_of_one_start = {"model", "branch", "training_stage", "init", *names_of(config, "run")} - {"run"}
    words = flags_of(config, type(config)(run="protoecgnet"), said_or_of_one_start)
    return "".join(f" {shlex.quote(word)}" for word in words)


def load_network(folder: Path, branch: str, classes: list[str] | None) -> tuple[torch.nn.Module, Card]:
    """Load a branch with all its weights."""
    card = read_card(folder)
    if card.name != "protoecgnet":
        raise DataError(f"{folder} holds '{card.name}', which has no prototypes")
    check_branch(folder, card, branch, classes)
    model, _ = load_torch(folder / WEIGHTS["torch"], card)
    logger.info(f"{folder}: all {len(model.state_dict())} tensors of branch {branch} loaded")
    return model.cpu(), card


def check_branch(folder: Path, card: Card, branch: str, classes: list[str] | None) -> None:
    """Refuse a checkpoint of another branch or label set."""
    of_card = card.model.get("branch")
    if of_card != branch:
        raise DataError(f"{folder} is a {of_card} branch, not the {branch} branch: name another checkpoint")
    if classes is not None and card.classes != classes:
        raise DataError(
            f"{folder} was trained on task {card.task} ({len(card.classes)} classes), not on these "
            f"{len(classes)} classes: {', '.join(classes[:5])}, ...; use its --task, or train again"
        )


def start_from(folder: Path, model: torch.nn.Module, branch: str, classes: list[str]) -> None:
    """Start a network from a checkpoint: from all of a branch, or from the trunk of a feature extractor."""
    card = read_card(folder)
    if card.name not in ("protoecgnet", "protoecgnet_trunk"):
        raise DataError(f"--init {folder} holds '{card.name}', not a ProtoECGNet or its trunk")
    trunk_only = card.name == "protoecgnet_trunk"
    if not trunk_only:
        check_branch(folder, card, branch, classes)
    present, weights = (
        {key: tensor for key, tensor in state.items() if key.startswith("trunk.") or not trunk_only}
        for state in (model.state_dict(), read_weights(folder / WEIGHTS["torch"]))
    )
    shapes = [{key: tensor.shape for key, tensor in state.items()} for state in (present, weights)]
    wrong = sorted(key for key in present | weights if shapes[0].get(key) != shapes[1].get(key))
    if wrong:
        raise DataError(
            f"--init {folder} does not fit: {len(wrong)} of {len(present)} tensors are missing, left over or "
            f"of another shape ({wrong[0]}, ...); use the same --backbone, --width and prototypes"
        )
    differing = [
        f"{key} {value} (here {model.config[key]})"
        for key, value in card.model.items()
        if not trunk_only and key in model.config and model.config[key] != value
    ]
    if differing:
        logger.info(f"note: those weights were trained with {', '.join(differing)}")
    model.load_state_dict(weights, strict=False)
    others = len(model.state_dict()) - len(present)
    rest = f"; the other {others} start from random weights" if others else ""
    logger.info(f"{folder}: {len(present)} tensors loaded{rest}")


def start_from_imagenet(path: str, trunk: ResNet) -> dict[str, Any]:
    """Start a trunk from an image network; other backbones stay untouched, with a note."""
    if not isinstance(trunk, ResNet) or trunk.backbone.startswith("resnet1d"):
        logger.info(f"note: --imagenet does not act on {trunk.backbone}, which is not an image network")
        return {}
    try:
        trunk.load_state_dict(trunk_weights(read_weights(Path(path)), trunk))
    except DataError as error:
        raise DataError(f"--imagenet {path} does not fit {trunk.backbone}: {error}") from error
    logger.info(f"{path}: the trunk {trunk.backbone} starts from ImageNet weights")
    return {"imagenet": {"file": Path(path).name, "sha256": sha256(path)}}


def check_records(folder: Path, card: Card, data: TrainingData) -> None:
    """Refuse a stage of other records, folds or filters: its numbers would not be comparable."""
    if card.extra.get("records_fingerprint") != records_fingerprint(data):
        raise DataError(
            f"{folder} was trained on other records or folds than these: use the same --data_dir, "
            "--sampling_rate, --limit and --seed for all stages"
        )
    if card.inputs.standardization != data.standardization:
        raise DataError(
            f"{folder} was trained with another standardization: use the same --highpass and --preprocess"
        )
    if card.task == data.train.task and card.data.fingerprint != data.fingerprint:
        raise DataError(f"{folder} was trained on other labels: use the same --min_likelihood")


def check_options(config: ProtoConfig, card: Card) -> None:
    """Refuse network options that a later stage cannot follow: the network is that of its checkpoint."""
    defaults = type(config)()
    for name in inspect.signature(ProtoECGNet).parameters:
        given = getattr(config, name, None)
        has = card.model.get(name)
        if given is not None and given not in (getattr(defaults, name), has):
            raise UsageError(
                f"--{name} {given}: the checkpoint was trained with {has}; train it again, or leave out the "
                "flag"
            )


def records_fingerprint(data: TrainingData) -> str:
    """Fingerprint of the recordings and folds, whatever the label set."""
    digest = hashlib.sha256()
    for part in data.parts.values():
        digest.update(part.ids.tobytes())
        digest.update((part.splits if part.folds is None else part.folds).tobytes())
        if part.digests is not None:
            digest.update("".join(part.digests.tolist()).encode())
    return digest.hexdigest()
