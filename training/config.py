"""Options of a training run, composed of groups that other commands take from, too."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from databases.synthetic.sample import FOLDER
from preprocessing.options import DEFAULT_SEED, DatasetOptions, default_rate
from preprocessing.preprocessed import check_same_shape
from preprocessing.targets import find_targets
from preprocessing.transforms.augmentation import Augmentation
from preprocessing.transforms.augmenters import list_augmenters
from preprocessing.transforms.preprocessor import PreprocManager, list_preprocessors
from preprocessing.transforms.resample import Resample
from training.model_info import SPELLINGS, model_info, our_model
from training.tasks.losses import list_losses
from training.tasks.losses.registry import parse_loss
from utils.config import Options, check_values, option, parse
from utils.errors import UsageError
from utils.flags import first_words
from utils.loggers import DEFAULT as DEFAULT_LOGGERS
from utils.loggers import list_loggers
from utils.plugins import load_named
from utils.yaml_files import read_mapping

logger = logging.getLogger(__name__)

_SCHEDULES = ("constant", "cosine", "one_cycle", "step", "plateau", "cyclic")
_OPTIMIZERS = ("adam", "amsgrad", "sgd")


@dataclass
class DataOptions(DatasetOptions, group="data"):
    """Which records a run reads, and what is done to them first."""

    sub: bool = option(False, "True: second stage, MI sub-diseases ASMI / IMI / NORM", searchable=False)
    highpass: float = option(0.0, "high-pass cutoff in Hz (0: off)", min=0)
    preprocess: list[str] = option(
        [],
        "preprocessors in their order, each NAME or NAME:OPTION=VALUE: " + ", ".join(list_preprocessors()),
        searchable=False,
        metavar="NAME[,..]",
    )
    sample_only: bool = option(
        False,
        "True: train on a hundred synthetic records, written to data/sample the first time",
        searchable=False,
    )
    sample_dir: str = option("", "folder of the records of --sample_only", scope="machine")
    limit: int = option(0, "use at most this many records of each split (0: all)", min=0, searchable=False)


@dataclass
class ModelOptions(Options, group="model"):
    """Which model is trained, and from which weights."""

    model: str = option("", "model to train", searchable=False, values=SPELLINGS)
    model_config: dict = option({}, "options of the model as JSON", searchable=False)
    init: str = option(
        "", "start from the weights of this run or checkpoint folder (except the head)", searchable=False
    )


@dataclass
class OptimizerOptions(Options, group="optimization"):
    """How a model is optimized."""

    batchsize: int = option(
        32, "records of a batch", min=1, alias=("batch_size",), search={"choices": (16, 32, 64)}
    )
    epochs: int = option(
        60, "largest number of epochs", scope="stop", min=1, searchable=False, alias=("n_epochs",)
    )
    lr: float = option(1e-3, "learning rate", above=0, search={"low": 1e-6, "high": 1e-2, "log": True})
    optimizer: str = option(
        "adam", "adam, amsgrad or sgd; with --weight_decay adam is AdamW", choices=_OPTIMIZERS,
        values={"adamw": "adam", "adam_amsgrad": "amsgrad", "adamw_amsgrad": "amsgrad"},
    )  # fmt: skip
    beta2: float = option(0.999, "decay of the mean of squared gradients (Adam, AMSGrad)", min=0, below=1)
    momentum: float = option(0.9, "momentum (SGD)", min=0, below=1)
    nesterov: bool = option(False, "True: Nesterov's momentum (SGD)")
    schedule: str = option(
        "constant",
        "learning rate over the run: constant; cosine; one_cycle (up to lr in 30 % of the run, then down to "
        "nearly 0, while the momentum, Adam's beta1 included, goes from 0.95 to 0.85 and back); step (times "
        "--step_factor every --step_epochs); plateau (halved after 5 epochs without a smaller validation "
        "loss); cyclic (triangles from a tenth to ten times lr, up in 4 epochs)",
        choices=_SCHEDULES,
        search={"choices": ("constant", "cosine", "plateau", "cyclic")},
    )
    warmup_epochs: float = option(0.0, "epochs of linear warm-up (cosine only)", min=0)
    step_epochs: int = option(20, "epochs between two steps of the schedule step", min=1, searchable=False)
    step_factor: float = option(
        0.1, "what each step multiplies the rate by (step only)", above=0, max=1, searchable=False
    )
    weight_decay: float = option(
        0.0,
        "decoupled weight decay (AdamW, SGDW) of all weights but biases and normalization",
        min=0,
        search={"low": 1e-5, "high": 1e-1, "log": True},
    )
    clip_norm: float = option(
        -1.0, "largest norm of each gradient (0: none; -1: the model's reference setting)"
    )
    clip_total: float = option(0.0, "largest norm of all gradients together (0: none)", min=0)
    accumulate: int = option(1, "batches whose mean gradient makes one step", min=1, searchable=False)
    flood: float = option(
        0.0, "training loss below which the gradient is reversed (flooding); 0: never", min=0
    )
    ema: float = option(
        0.0,
        "score and keep a moving average of the weights, which forgets at this rate a batch, for example "
        "0.999 (0: the weights themselves)",
        min=0,
        below=1,
    )
    patience: int = option(
        20, "early-stopping patience in epochs, on the validation score", scope="stop", min=1
    )
    loss: str = option(
        "",
        "loss, NAME or NAME:OPTION=VALUE (default: that of the task): " + ", ".join(list_losses()),
        searchable=False, metavar="NAME",
    )  # fmt: skip
    label_smoothing: float = option(0.0, "label smoothing", min=0, below=1, search={"low": 0.0, "high": 0.1})
    keep: str = option(
        "best", "weights to keep: of the epoch with the best validation score, or of the last one",
        choices=("best", "last"), scope="stop",
    )  # fmt: skip
    top_k: int = option(
        0, "also keep the weights of this many best epochs, in checkpoints/RUN/epochs/", scope="stop", min=0,
        searchable=False,
    )  # fmt: skip


@dataclass
class AugmentationOptions(Options, group="augmentation"):
    """How training batches are augmented."""

    crop: int = option(
        0,
        "train on random crops of this many samples (0: whole records)",
        min=0,
        search=lambda config: {
            "choices": tuple(seconds * (config.sampling_rate or 100) // 2 for seconds in (0, 5, 10))
        },
    )
    shift: float = option(0.0, "short for --augment shift:largest=SHIFT", min=0)
    scale: float = option(
        0.0, "short for --augment scale:largest=SCALE", min=0, search={"low": 0.0, "high": 0.3}
    )
    noise: float = option(
        0.0, "short for --augment noise:largest=NOISE", min=0, search={"low": 0.0, "high": 0.1}
    )
    lead_dropout: float = option(0.0, "short for --augment lead_dropout:prob=P", min=0, below=1)
    mixup: float = option(
        0.0, "short for --augment mixup:alpha=ALPHA:prob=1", min=0, search={"low": 0.0, "high": 0.4}
    )
    augment: list[str] = option(
        [],
        "augmenters in their order, after the short forms, each NAME or NAME:OPTION=VALUE: "
        + ", ".join(list_augmenters()),
        searchable=False, metavar="NAME[,..]",
    )  # fmt: skip

    @property
    def augmentation(self) -> Augmentation | None:
        """Augmentation of the training batches, None when nothing is augmented."""
        names = [f.name for f in dataclasses.fields(Augmentation)]
        augmentation = Augmentation(**{n: getattr(self, n) for n in names} | {"augment": tuple(self.augment)})
        return None if augmentation == Augmentation() else augmentation


@dataclass
class RunOptions(Options):
    """Name and place of a run, and how it is carried out."""

    seed: int = option(DEFAULT_SEED, "seed of everything", min=0, searchable=False)
    run: str = option("", "name of the run (default: the model, with _mi after --sub True)", scope="run")
    resume: bool = option(False, "resume an interrupted run", scope="run")
    overwrite: bool = option(False, "replace a run of the same name", scope="run")
    loggers: list[str] = option(
        list(DEFAULT_LOGGERS),
        "where the numbers of each epoch go, in logs/<run>/: metrics.csv, log.txt (text), event files of "
        "TensorBoard, wandb (WANDB_MODE=offline needs no account)",
        choices=list_loggers, scope="run", metavar="NAME[,..]",
    )  # fmt: skip
    loggr: bool = option(False, "short for wandb among --loggers", scope="run")
    precision: str = option("32", "arithmetic", choices=("32", "bf16"))
    threads: int = option(0, "CPU threads (0: as many as this process may use)", scope="machine", min=0)
    devices: int = option(1, "GPUs of this machine (PyTorch models only)", min=1, searchable=False)
    output_dir: str = option(".", "output folder for checkpoints/, logs/ and results/", scope="machine")


@dataclass
class TrainOptions(RunOptions, AugmentationOptions, OptimizerOptions, ModelOptions):
    """What every training run needs, whatever its data."""


@dataclass
class TrainConfig(TrainOptions, DataOptions):
    """Everything that decides what a training run does; ``python train.py --help`` prints the fields."""


Config = TypeVar("Config", bound=TrainOptions)
Recipe = TypeVar("Recipe", bound=TrainConfig)


def chosen_model(args: Sequence[str]) -> str:
    """Model that a command line names, before its flags are known; imports plugins."""
    load_named(args)
    words = first_words(args, "model", "config")
    if words["model"] or not words["config"]:
        return our_model(words["model"])
    try:
        return our_model(str(read_mapping(words["config"]).get("model", "")))
    except UsageError:
        return ""  # whoever reads the whole file says what is wrong with it


def check(config: Recipe, models: Sequence[str]) -> Recipe:
    """Refuse impossible values and fill in the names that follow from others."""
    config = _settle_sample(config)
    task = "mi" if config.sub and config.task == "superdiagnostic" else config.task
    target_set = find_targets(task, config.database)
    task, _ = target_set.name, target_set.settle(config.target_options)
    if config.sub and not task.startswith("mi"):
        raise UsageError(f"--sub True is the MI stage: its tasks are mi and mi_reference, not {config.task}")
    if config.fold > config.folds:
        raise UsageError(f"--fold {config.fold} is above --folds {config.folds}")
    if config.sampling_rate is None:
        config = dataclasses.replace(config, sampling_rate=default_rate(task, config.database))
    config = _read_at_its_rate(config)
    check_same_shape(PreprocManager.from_words(config.preprocess))
    init = config.init or (config.model if config.sub else "")  # the second stage starts from the first
    suffix = "_mi" * config.sub + f"_fold{config.fold}" * (config.split == "kfold" and config.fold > 0)
    run = config.run or config.model + suffix
    return check_run(dataclasses.replace(config, task=task, run=run, init=init), models)


def _settle_sample(config: Recipe) -> Recipe:
    """Follow ``--sample_only``, which names database and folder."""
    if not config.sample_only:
        if config.sample_dir:
            raise UsageError(
                f"--sample_dir {config.sample_dir} has no effect without --sample_only; the folder of a "
                "database is --data_dir"
            )
        return config
    if config.database not in ("ptbxl", "synthetic") or config.also:
        raise UsageError("--sample_only names the database: leave out --database and --also")
    folder = config.sample_dir or FOLDER
    if config.data_dir not in (DataOptions.data_dir, folder):
        logger.info(f"note: --data_dir {config.data_dir} has no meaning here: --sample_only reads {folder}")
    return dataclasses.replace(config, database="synthetic", data_dir=folder)


def _read_at_its_rate(config: Recipe) -> Recipe:
    """Resample as records are read, where that is the first thing that is to be done to them."""
    steps = PreprocManager.from_words(config.preprocess).steps
    if not (steps and isinstance(steps[0], Resample) and steps[0].fs and float(steps[0].fs).is_integer()):
        return config
    rate = int(steps[0].fs)
    logger.info(f"note: --preprocess {config.preprocess[0]} is --sampling_rate {rate}, the rate of the run")
    return dataclasses.replace(config, sampling_rate=rate, preprocess=config.preprocess[1:])


def check_run(config: Config, models: Sequence[str]) -> Config:
    """Refuse impossible values of any training run, and fill in its name and the clipping of gradients."""
    check_values(config, {"model": models})
    if config.resume and config.overwrite:
        raise UsageError("--resume continues a run and --overwrite replaces it: choose one")
    name = config.run or config.model
    if Path(name).name != name or name.startswith("."):
        raise UsageError(f"--run '{name}' must be a plain folder name")
    if name == "pretrained":
        raise UsageError(
            "--run pretrained is where the weights live that come with the repository: choose another"
        )
    # an unknown one should fail before data are read
    _ = config.augmentation and config.augmentation.steps, config.loss and parse_loss(config.loss)
    loggers = config.loggers + ["wandb"] * (config.loggr and "wandb" not in config.loggers)
    return dataclasses.replace(config, run=name, clip_norm=_checked_clipping(config), loggers=loggers)


def _checked_clipping(config: TrainOptions) -> float:
    """Refuse options of the optimization that exclude each other; return the largest norm of a gradient."""
    clip = config.clip_norm
    if clip < 0:
        clip = 0.0 if config.clip_total else model_info(config.model).clip_norm
    if clip and config.clip_total:
        raise UsageError("--clip_norm limits each gradient and --clip_total all together: choose one")
    if config.nesterov and (config.optimizer != "sgd" or not config.momentum):
        raise UsageError("--nesterov True needs --optimizer sgd with --momentum above 0")
    if config.schedule == "one_cycle" and config.patience < config.epochs:
        logger.info(
            f"note: --patience {config.patience} may end the run before its learning rate has come down; "
            f"--patience {config.epochs} trains the whole cycle"
        )
    return clip


def unread(config: TrainOptions) -> dict[str, str]:
    """Settings that the other ones leave without effect, and why."""
    needs: dict[str, tuple[str, tuple[str, ...]]] = {
        "beta2": ("optimizer", ("adam", "amsgrad")),
        "momentum": ("optimizer", ("sgd",)),
        "nesterov": ("optimizer", ("sgd",)),
        "warmup_epochs": ("schedule", ("cosine",)),
        "step_epochs": ("schedule", ("step",)),
        "step_factor": ("schedule", ("step",)),
        "fold": ("split", ("kfold",)),
        "folds": ("split", ("kfold",)),
    }
    found = {}
    for name, (other, values) in needs.items():
        value = getattr(config, other, None)
        if value is not None and value not in values:
            found[name] = f"with {other} {value}"
    return found


def parse_config(
    description: str | None,
    models: Sequence[str] | Callable[[], Sequence[str]],
    default_model: str,
    args: Sequence[str] | None = None,
    kind: type[Config] = TrainConfig,  # type: ignore[assignment]
    checked: Callable[[Any, Sequence[str]], Any] = check,
    **how: Any,
) -> Config:
    """Read flags and the configuration file into a checked configuration."""
    return parse(
        kind,
        args,
        description=description,
        defaults={"model": default_model},
        choices={"model": models},
        check=lambda config: checked(config, models() if callable(models) else models),
        **how,
    )
