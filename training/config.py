"""The configuration of a run: one dataclass, from which the flags and the YAML keys follow."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from preprocessing.targets.ptbxl import canonical_task, tasks
from preprocessing.transforms.augmentation import Augmentation
from utils.errors import UsageError, nearest
from utils.flags import Parser, json_object, true_or_false


def option(default: Any, text: str, choices: Sequence[Any] | None = None, group: str = "run") -> Any:
    """Declare a field of a configuration: a flag and a YAML key."""
    return field(default=default, metadata={"help": text, "choices": choices, "group": group})


@dataclass
class TrainConfig:
    """Everything that decides what a training run does. Each field is a flag and a YAML key.

    The fields document themselves: ``python train.py --help`` prints them.
    """

    model: str = option("", "model to train")
    data_dir: str = option("data/ptb", "PTB-XL folder (holds ptbxl_database.csv)", group="data")
    task: str = option("superdiagnostic", f"label set, one of {', '.join(tasks())}", group="data")
    sub: bool = option(False, "True: second stage, MI sub-diseases ASMI / IMI / NORM", group="data")
    sampling_rate: int = option(100, "Hz", choices=(100, 500), group="data")
    min_likelihood: float = option(0.0, "smallest likelihood at which a code counts", group="data")
    limit: int = option(0, "use at most this many records of each split (0: all)", group="data")
    highpass: float = option(0.0, "remove baseline wander below so many Hz (0: no)", group="data")
    partial: bool = option(
        False, "True: leave out records whose files are absent (partial download)", group="data"
    )

    batchsize: int = option(32, "records of a batch", group="optimisation")
    epochs: int = option(60, "epochs at most", group="optimisation")
    lr: float = option(1e-3, "learning rate of Adam", group="optimisation")
    schedule: str = option(
        "constant",
        "learning rate over the run: constant; cosine; plateau (halved after 5 epochs without a smaller "
        "fold-9 loss); cyclic (triangles from a tenth to ten times lr, up in 4 epochs)",
        choices=("constant", "cosine", "plateau", "cyclic"),
        group="optimisation",
    )
    warmup_epochs: float = option(0.0, "epochs of linear warm-up (cosine only)", group="optimisation")
    weight_decay: float = option(0.0, "decoupled weight decay (AdamW); 0: plain Adam", group="optimisation")
    clip_norm: float = option(
        -1.0,
        "largest norm of each gradient (0: none; -1: the model's reference setting)",
        group="optimisation",
    )
    patience: int = option(
        20, "stop after so many epochs without a better fold-9 ROC-AUC", group="optimisation"
    )
    label_smoothing: float = option(0.0, "label smoothing", group="optimisation")
    keep: str = option(
        "best", "weights to keep: of the best epoch on fold 9, or of the last one",
        choices=("best", "last"), group="optimisation",
    )  # fmt: skip

    crop: int = option(0, "train on random crops of so many samples (0: whole records)", group="augmentation")
    shift: float = option(0.0, "largest circular shift, as a part of the record", group="augmentation")
    scale: float = option(0.0, "amplitudes times 1 - scale .. 1 + scale", group="augmentation")
    noise: float = option(0.0, "largest noise, in units of the standardised signal", group="augmentation")
    lead_dropout: float = option(0.0, "probability that a lead is silenced", group="augmentation")
    mixup: float = option(0.0, "alpha of mixup", group="augmentation")

    seed: int = option(42, "seed of everything")
    run: str = option("", "name of the run (default: the model, with _mi after --sub True)")
    init: str = option("", "start from the weights of this run or checkpoint folder (not its head)")
    resume: bool = option(False, "go on with an interrupted run")
    overwrite: bool = option(False, "replace a run of the same name")
    loggr: bool = option(False, "True: log to wandb (WANDB_MODE=offline needs no account)")
    precision: str = option("32", "arithmetic", choices=("32", "bf16"))
    threads: int = option(0, "CPU threads (0: as many as this process may use)")
    devices: int = option(1, "GPUs of this machine (PyTorch models only)")
    output_dir: str = option(".", "folder that gets checkpoints/, logs/ and results/")
    model_config: dict = field(
        default_factory=dict,
        metadata={"help": "options of the model as JSON", "choices": None, "group": "run"},
    )

    @property
    def augmentation(self) -> Augmentation | None:
        """Augmentation of the training batches, None when nothing is augmented."""
        names = [f.name for f in dataclasses.fields(Augmentation)]
        augmentation = Augmentation(**{name: getattr(self, name) for name in names})
        return None if augmentation == Augmentation() else augmentation

    def to_json(self) -> dict[str, Any]:
        """Give the fields as JSON values."""
        return dataclasses.asdict(self)


Config = TypeVar("Config", bound=TrainConfig)


def add_options(
    parser: argparse.ArgumentParser, models: Sequence[str], kind: type[TrainConfig] = TrainConfig
) -> None:
    """Add one flag for each field of a configuration, grouped."""
    shown = [f for f in dataclasses.fields(kind) if f.metadata]
    parser.add_argument("--config", metavar="FILE", help="YAML file with defaults for these flags; flags win")
    named = dict.fromkeys(f.metadata["group"] for f in shown)
    order = [name for name in named if name != "run"] + ["run"]
    groups = {name: parser.add_argument_group(name) for name in order}
    for f in shown:
        default = f.default_factory() if f.default is dataclasses.MISSING else f.default  # type: ignore[misc]
        text = f.metadata["help"]
        text += (
            f": {', '.join(models)}"
            if f.name == "model"
            else f" (default: {default})"
            if default != ""
            else ""
        )
        reads: Any = {bool: true_or_false, dict: json_object}.get(type(default), type(default))
        flag: dict[str, Any] = {"default": default, "help": text.replace("%", "%%"), "type": reads}
        if f.metadata["choices"]:
            flag["choices"] = f.metadata["choices"]
        if isinstance(default, bool):  # `--resume` alone means True; `--loggr False` is read as written
            flag |= {"nargs": "?", "const": True, "metavar": "True|False"}
        groups[f.metadata["group"]].add_argument(f"--{f.name}", **flag)


def read_yaml(path: str | Path, kind: type[TrainConfig] = TrainConfig) -> dict[str, Any]:
    """Read a configuration file and check its keys and the kind of each value."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"--config {path} must be a mapping of keys to values")
    all_defaults = kind().to_json()
    defaults = {f.name: all_defaults[f.name] for f in dataclasses.fields(kind) if f.metadata}
    for key, value in values.items():
        if key not in defaults:
            raise UsageError(f"--config {path}: unknown key '{key}': {nearest(str(key), defaults)}")
        wanted = type(defaults[key])
        if wanted is str and isinstance(value, int | float) and not isinstance(value, bool):
            values[key] = str(value)  # precision: 32
        elif wanted is float and isinstance(value, int) and not isinstance(value, bool):
            values[key] = float(value)
        elif wanted is float and isinstance(value, str):
            values[key] = _yaml_float(path, key, value)
        elif not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise UsageError(f"--config {path}: key '{key}' must be of type {wanted.__name__}, not {value!r}")
    return values


def _yaml_float(path: str | Path, key: str, text: str) -> float:
    try:
        return float(text)  # YAML 1.1 reads 1e-3 as text
    except ValueError as error:
        raise UsageError(f"--config {path}: key '{key}' must be a number, not '{text}'") from error


def parse_config(
    description: str,
    models: Sequence[str],
    default_model: str,
    args: Sequence[str] | None = None,
    kind: type[Config] = TrainConfig,
    checked: Callable[[Config, Sequence[str]], Config] | None = None,
    prog: str | None = None,
) -> Config:
    """Read flags and the configuration file into a checked configuration."""
    parser = Parser(prog=prog, description=description)
    add_options(parser, models, kind)
    parser.set_defaults(model=default_model)
    first, _ = parser.parse_known_args(args)
    if first.config:
        parser.set_defaults(**read_yaml(first.config, kind))
    values = vars(parser.parse_args(args))
    del values["config"]
    return (checked or check)(kind(**values), models)


def chosen_model(args: Sequence[str]) -> str:
    """Tell which model a command line names, before its flags are known."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model")
    parser.add_argument("--config")
    known, _ = parser.parse_known_args(args)
    if known.model or not known.config:
        return known.model or ""
    try:
        values = yaml.safe_load(Path(known.config).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""  # whoever reads the whole file says what is wrong with it
    return str(values.get("model", "")) if isinstance(values, dict) else ""


def check(config: Config, models: Sequence[str]) -> Config:
    """Refuse impossible values and fill in the names that follow from others."""
    if config.model not in models:
        raise UsageError(f"unknown model '{config.model}': {nearest(config.model, models)}")
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{f.name} must be a finite number, not {value}")
    if not 0 <= config.min_likelihood <= 100:
        raise UsageError(f"--min_likelihood is a percentage from 0 to 100, not {config.min_likelihood}")
    if config.resume and config.overwrite:
        raise UsageError("--resume goes on with a run and --overwrite replaces it: choose one")
    positive = ("batchsize", "epochs", "lr", "patience", "devices")
    for name in positive:
        if not getattr(config, name) > 0:  # NaN too
            raise UsageError(f"--{name} must be above 0, not {getattr(config, name)}")
    for f in dataclasses.fields(config):
        choices = f.metadata.get("choices")
        if choices and getattr(config, f.name) not in choices:
            raise UsageError(f"--{f.name} must be one of {', '.join(map(str, choices))}")
    not_negative = (
        "limit",
        "highpass",
        "crop",
        "shift",
        "scale",
        "noise",
        "mixup",
        "weight_decay",
        "warmup_epochs",
    )
    for name in (*not_negative, "seed", "threads"):
        if not getattr(config, name) >= 0:
            raise UsageError(f"--{name} must not be negative")
    if not 0 <= config.lead_dropout < 1 or not 0 <= config.label_smoothing < 1:
        raise UsageError("--lead_dropout and --label_smoothing must lie in 0..1 (below 1)")
    task = canonical_task("mi" if config.sub and config.task == "superdiagnostic" else config.task)
    if config.sub and not task.startswith("mi"):
        raise UsageError(f"--sub True is the MI stage: its tasks are mi and mi_reference, not {config.task}")
    name = config.run or config.model + ("_mi" if config.sub else "")
    if Path(name).name != name or name.startswith("."):
        raise UsageError(f"--run '{name}' must be a plain folder name")
    if name == "pretrained":
        raise UsageError(
            "--run pretrained is where the weights live that come with the repository: choose another"
        )
    # Rajpurkar et al. clip the gradient norm at 1; the other references do not clip.
    clip = config.clip_norm if config.clip_norm >= 0 else (1.0 if config.model == "rajpurkar" else 0.0)
    return dataclasses.replace(config, task=task, run=name, clip_norm=clip)
