"""Flags of ProtoECGNet: those of every run, and what belongs to branches, prototypes and losses."""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from models_torch.protoecgnet import BACKBONES, BRANCHES, ProtoECGNet, ProtoECGNet_Trunk, list_trunks
from preprocessing.targets import find_targets
from preprocessing.transforms.augmenters.base import build_augmenters
from training.config import (
    AugmentationOptions,
    DataOptions,
    ModelOptions,
    OptimizerOptions,
    RunOptions,
    TrainConfig,
    check,
    parse_config,
)
from utils.config import Options, check_values, fields_of, option, option_like
from utils.errors import UsageError

logger = logging.getLogger(__name__)

STAGES = ("feature_extractor", "prototypes", "joint", "projection", "classifier", "fusion")
CHAIN = ("joint", "projection", "classifier")
FUSION_TASK = "all"

_GROUPS = {"1": "rhythm", "3": "morphology", "4": "global"}  # of --label_set
_WHOLE_RECORD = "32"  # the published prototype length of the global branch


@dataclass
class HeadOptions(Options, group="optimization"):
    """How the stages that train the last layer are optimized."""

    l2: float = option(
        0.0,
        "L2 penalty on all weights (Adam's weight_decay)",
        min=0,
        search={"low": 1e-6, "high": 1e-2, "log": True},
    )
    classifier_epochs: int = option(
        100, "epochs of the classifier and fusion stages, instead of --epochs; seconds each", scope="stop",
        stage="classifier", min=1, searchable=False,
    )  # fmt: skip
    classifier_lr: float = option(
        1e-3,
        "learning rate of these two stages, instead of --lr",
        stage="classifier",
        above=0,
        search={"low": 1e-6, "high": 1e-2, "log": True},
    )


@dataclass
class PrototypeOptions(Options, group="prototypes"):
    """Which branch and stage, and what the network with its prototypes is like."""

    branch: str = option(
        "", "branch to train; default: all of them", choices=tuple(BRANCHES), searchable=False
    )
    training_stage: str = option(
        "all", f"one of {', '.join(STAGES)}, or all: {' -> '.join(CHAIN)} of each branch, then fusion",
        choices=(*STAGES, "all"), metavar="STAGE", searchable=False,
    )  # fmt: skip
    backbone: str = option("", "trunk, or any model (default: trunk of the paper)", choices=list_trunks)
    backbone_config: dict = option({}, "options of a model as trunk, as JSON", searchable=False)
    imagenet: str = option(
        "", "initial weights of the resnet* trunks: safetensors file of an ImageNet ResNet of the same depth"
    )
    width: int = option(64, "channels of the trunk's first stage", min=1)
    bounded: bool = option(False, "True: a column of features sees 0.75 s of the ECG instead of 4.35 s")
    dropout: float = option(0.0, "dropout in the trunk", min=0, below=1, search={"low": 0.0, "high": 0.5})
    proto_dim: int = option(512, "size of a prototype's feature columns", min=1)
    single_class_prototype_per_class: int = option(
        0,
        "prototypes of each class (0: 5 rhythm, 18 morphology, 7 global)",
        min=0,
        search={"low": 1, "high": 20},
    )
    joint_prototypes_per_border: int = option(0, "prototypes of each pair of classes", min=0)
    proto_time_len: int = option(
        0, "feature columns (0.32 s each) of a prototype (0: 3 morphology, all global)", min=0
    )
    latent_space_type: str = option(
        "arc", "similarity: cosine (arc) or from the distance (l2)", choices=("arc", "l2")
    )
    prototype_activation_function: str = option(
        "log", "similarity from an l2 distance", choices=("log", "linear")
    )
    add_on_layers_type: str = option(
        "linear", "layers before the prototypes", choices=("linear", "other", "identity")
    )
    sigmoid: bool = option(False, "True: sigmoid after these layers, as in the reference")
    pooling: str = option("max", "score of a prototype from its windows", choices=("max", "top", "mean"))
    similarity_scale: str = option("cosine", "range of a score", choices=("cosine", "reference"))
    last_layer_connection_weight: float = option(
        0.0, "initial weight to a prototype's own class (0: 10 / prototypes of the class)"
    )
    off_class_weight: float = option(0.0, "initial weight to the other classes")
    bias: bool = option(True, "False: a classifier without bias, as in the reference")
    reference_layers: bool = option(False, "True: image layers and unused weights of the reference")
    one_to_one: bool = option(
        True, "projection: no training record for two prototypes, where records suffice", stage="projection"
    )
    prune: bool = option(
        True, "classifier: drop duplicate, low-weight and unused prototypes",
        stage="classifier",
    )  # fmt: skip


@dataclass
class LossOptions(Options, group="losses"):
    """Weights and definitions of the losses."""

    class_weights: str = option(
        "none", "pos_weight: negatives / positives (records), that of the reference, or none",
        choices=("records", "reference", "none"), alias=("use_class_weights",),
        values={"True": "records", "true": "records", "False": "none", "false": "none"},
    )  # fmt: skip
    loss_definition: str = option(
        "reference", "clustering and separation as in the reference, or over proper pairs",
        choices=("corrected", "reference"),
    )  # fmt: skip
    lam_clst: float = option(0.1, "weight of the clustering loss", min=0)
    lam_sep: float = option(0.01, "weight of the separation loss", min=0)
    lam_spars: float = option(0.0, "weight of the sparsity loss", min=0)
    lam_div: float = option(2.5, "weight of the diversity loss", min=0)
    lam_cnrst: float = option(3.0, "weight of the contrastive loss (0: off)", min=0)
    l1: float = option(
        1e-4,
        "L1 penalty of the classifier and fusion stages",
        stage="classifier",
        min=0,
        search={"low": 1e-6, "high": 1e-2, "log": True},
    )
    fusion_l1: str = option(
        "others", "fusion: L1 over the weights to other classes, or over all as in the reference",
        choices=("others", "all"), stage="fusion",
    )  # fmt: skip
    positive_own_weights: bool = option(
        True, "classifier and fusion: own-class weights stay >= 0; False: as in the reference",
        stage="classifier",
    )  # fmt: skip
    fusion_standardize: bool = option(
        True, "fusion: similarities over their standard deviation; False: raw, as in the reference",
        stage="fusion", old=("fusion_standardise",),
    )  # fmt: skip
    fusion_start: str = option(
        "branches", "fusion: initial weights are those of the branches, or random as in the reference",
        choices=("branches", "random"), stage="fusion",
    )  # fmt: skip


@dataclass
class ProtoConfig(LossOptions, PrototypeOptions, HeadOptions, TrainConfig):
    """Everything that decides what a run of ProtoECGNet does; the fields document themselves."""

    ignored: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("num_workers", "device"), "--threads and --devices choose what computes"),
        **dict.fromkeys(
            ("save_top_k", "save_weights", "checkpoint_dir", "log_dir", "test_dir", "study_dir"),
            "folders follow from --output_dir and --run",
        ),
        **dict.fromkeys(("class_specific", "m", "standardize"), "there is no such choice"),
    }

    model: str = option_like(ModelOptions, "model", "protoecgnet")
    init: str = option_like(ModelOptions, "init", "", alias=("pretrained_weights",))
    task: str = option_like(
        DataOptions,
        "task",
        "",
        "label set; default: that of the branch (proto_rhythm ...), all for the fusion",
        alias=("label_set",),
        values={number: BRANCHES[branch].task for number, branch in _GROUPS.items()},
    )
    highpass: float = option_like(
        DataOptions,
        "highpass",
        0.0,
        alias=("remove_baseline",),
        values={"True": 0.5, "true": 0.5, "False": 0.0, "false": 0.0},
    )
    schedule: str = option_like(
        OptimizerOptions,
        "schedule",
        "constant",
        alias=("scheduler_type",),
        values={"ReduceLROnPlateau": "plateau", "CosineAnnealingLR": "cosine", "CyclicLR": "cyclic"},
    )
    run: str = option_like(RunOptions, "run", "", alias=("job_name",))
    resume: bool = option_like(RunOptions, "resume", False, alias=("resume_checkpoint",))
    # check_proto refuses these
    weight_decay: float = option_like(OptimizerOptions, "weight_decay", 0.0, searchable=False)
    optimizer: str = option_like(OptimizerOptions, "optimizer", "adam", searchable=False)
    beta2: float = option_like(OptimizerOptions, "beta2", 0.999, searchable=False)
    label_smoothing: float = option_like(OptimizerOptions, "label_smoothing", 0.0, searchable=False)
    crop: int = option_like(AugmentationOptions, "crop", 0, searchable=False)
    mixup: float = option_like(AugmentationOptions, "mixup", 0.0, searchable=False)


def parse_proto_config(description: str | None, args: Sequence[str]) -> ProtoConfig:
    """Read the flags of ``torch_train.py --model protoecgnet``; the reference's names are understood."""
    return parse_config(
        description,
        ["protoecgnet"],
        "protoecgnet",
        translate(args),
        ProtoConfig,
        check_proto,
    )


def translate(args: Sequence[str]) -> list[str]:
    """Add the branch of a published command line, and drop flags that have no effect there."""
    words = [part for word in args for part in (word.split("=", 1) if word.startswith("--") else [word])]
    given = {
        flag: value for flag, value in zip(words, [*words, ""][1:], strict=True) if flag.startswith("--")
    }
    _refuse_elsewhere(given)
    branch = _published_branch(given)
    dropped = {"--custom_groups", "--test_model", "--dimension"}
    if branch == "rhythm":  # accepted there, and without effect
        dropped.add("--proto_time_len")
    result: list[str] = []
    skip = False
    for word in words:
        skip = word in dropped or (skip and not word.startswith("--"))
        if not skip:
            result.append(word)
    if branch and "--branch" not in given:
        logger.info(f"note: the published command line means the {branch} branch: --branch {branch}")
        result += ["--branch", branch]
    return result


def _refuse_elsewhere(given: dict[str, str]) -> None:
    if given.get("--test_model", "False").lower() not in ("false", "0", "no", "n", "f"):
        raise UsageError(
            "--test_model: use the test command instead: python torch_test.py --model protoecgnet"
        )
    known = {f"--{name}" for f in fields_of(ProtoConfig) for name in (f.name, *f.metadata["old"])}
    for flag in given:
        if flag.startswith("--fusion_") and flag not in known:
            raise UsageError(
                f"{flag}: the fusion takes the branches of --run, whose cards say what they are; leave it out"
            )


def _published_branch(given: dict[str, str]) -> str:
    """The branch that a published command line is about; empty where it is none, or the fusion."""
    if given.get("--training_stage") == "fusion":
        return ""
    wide = "global" if given.get("--proto_time_len") == _WHOLE_RECORD else "morphology"
    by_dimension = {"1D": "rhythm", "2D": wide}.get(given.get("--dimension", ""), "")
    branch = _GROUPS.get(given.get("--label_set", ""), by_dimension)
    return given.get("--branch", branch) if branch else ""


def check_proto(config: ProtoConfig, models: Sequence[str]) -> ProtoConfig:
    """Refuse impossible values, before any data is read."""
    check_values(config, {"model": models})
    if not config.branch and config.training_stage not in ("all", "fusion"):
        raise UsageError(
            f"--training_stage {config.training_stage} needs --branch, one of {', '.join(BRANCHES)}"
        )
    mixing = [step.name for step in build_augmenters(config.augment) if step.mixes_labels]
    if config.crop or config.mixup or config.label_smoothing or mixing:
        raise UsageError(
            "--crop, --mixup, --label_smoothing and augmenters that mix labels do not go with protoecgnet: a "
            "prototype is a piece of a whole record with its own labels; --shift, --scale, --noise, "
            "--lead_dropout and other augmenters do"
        )
    if config.sub:
        raise UsageError("--sub belongs to imle_net, the MI stage")
    if config.loss:
        raise UsageError("--loss is not for protoecgnet, which has its own: see --class_weights and --lam_*")
    if config.weight_decay:
        raise UsageError("--weight_decay is AdamW's; protoecgnet is trained with Adam: use --l2")
    if config.optimizer != "adam" or config.beta2 != ProtoConfig().beta2:
        raise UsageError("protoecgnet is trained with plain Adam: leave out --optimizer and --beta2")
    if config.proto_time_len and not config.branch:
        raise UsageError("--proto_time_len belongs to one branch: say which with --branch")
    if config.imagenet:
        _check_imagenet(config)
    task = find_targets(config.task, config.database).name if config.task else ""
    if task and not find_targets(task, config.database).multilabel:
        raise UsageError(
            f"--task {task} has exclusive classes; protoecgnet's are independent: use any other label set"
        )
    checked = check(dataclasses.replace(config, task=task or FUSION_TASK), models)
    return dataclasses.replace(checked, task=task)


def _check_imagenet(config: ProtoConfig) -> None:
    if config.training_stage not in ("feature_extractor", "joint", "all"):
        logger.info(
            f"note: --imagenet does not act in stage {config.training_stage}, whose trunk is trained already"
        )
        return
    if config.init:
        raise UsageError("--imagenet and --init both name initial weights: give one of them")
    if config.width != ProtoConfig().width or config.bounded:
        raise UsageError("--imagenet needs the trunk of an image network: leave out --width and --bounded")
    if not config.resume and not Path(config.imagenet).is_file():
        raise UsageError(
            f"there is no file {config.imagenet}; timm's model.safetensors has the right names, e.g. "
            "https://huggingface.co/timm/resnet18.tv_in1k"
        )


def stage_config(config: ProtoConfig, branch: str, stage: str) -> ProtoConfig:
    """Configuration of one stage of one branch."""
    head_only = stage in ("classifier", "fusion")
    run = f"{config.run}/fusion" if stage == "fusion" else f"{config.run}/{branch}/{stage}"
    changes: dict[str, Any] = {
        "run": run,
        "branch": branch,
        "training_stage": stage,
        "model": "protoecgnet_trunk" if stage == "feature_extractor" else "protoecgnet",
        "task": config.task or (BRANCHES[branch].task if branch else FUSION_TASK),
    }
    if head_only:  # the rest is frozen: it reads scores, not signals
        changes |= {"epochs": config.classifier_epochs, "lr": config.classifier_lr, "schedule": "constant"}
        changes |= {"patience": max(config.patience, 10)}
        changes |= {"shift": 0.0, "scale": 0.0, "noise": 0.0, "lead_dropout": 0.0, "augment": []}
    return dataclasses.replace(config, **changes)


def searched_settings(config: ProtoConfig) -> list[str]:
    """Settings that a study of one stage searches by default."""
    if config.training_stage == "classifier":  # everything before the last layer is frozen
        return ["classifier_lr", "batchsize", "l2", "l1"]
    names = [f.name for f in fields_of(config, searchable=True, stage="") if f.metadata["search"]]
    if config.training_stage == "feature_extractor":  # which has no prototypes yet
        names.remove("single_class_prototype_per_class")
    return names


def model_options(config: ProtoConfig, trunk_only: bool = False) -> dict[str, Any]:
    """Options of the network that the configuration decides."""
    names = inspect.signature(ProtoECGNet_Trunk if trunk_only else ProtoECGNet).parameters
    options = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name in names}
    if not config.backbone or config.backbone in BACKBONES:
        # one column of features stands for 0.32 s at either sampling rate
        options["decimation"] = max(1, (config.sampling_rate or 100) // 100)
    return {**options, **config.model_config}
