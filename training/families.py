"""Families of models: how their runs are configured, trained and scored is asked here, never of a name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from training.card import TITLES
from training.config import TrainConfig, check, parse_config, unread
from training.experiments.published import translate_file
from training.model_info import PACKAGES, model_names, package_of
from training.score_options import ScoreOptions
from utils.errors import UsageError

if TYPE_CHECKING:
    from training.loops.recorder import OnEpoch

SCRIPTS = {"keras": ("train.py", "test.py"), "torch": ("torch_train.py", "torch_test.py")}
_DECIDED = ("num_classes", "samples", "leads", "activation")  # options of a model that the data decides


class Family:
    """Models that are configured, trained and scored alike; a subclass may differ in any of it.

    ``framework``: ``keras`` or ``torch``.
    ``config_class, score_options``: options of the training and of the test command.
    ``defaults``: values of flags where a study wants others than a run.
    """

    framework: str = ""
    config_class: type[TrainConfig] = TrainConfig
    score_options: type[ScoreOptions] = ScoreOptions
    defaults: ClassVar[dict[str, Any] | None] = None

    # ---- a run

    @property
    def script(self) -> str:
        """Script that trains one run from the command line."""
        return SCRIPTS[self.framework][0]

    def models(self) -> list[str]:
        """Names that ``--model`` may take."""
        return model_names(self.framework)

    def options(self, model: str) -> dict[str, Any]:
        """Options of a model, with their defaults, that the data does not decide."""
        options = PACKAGES[self.framework].model_options(model)
        return {key: value for key, value in options.items() if key not in _DECIDED}

    def translate(self, args: Sequence[str]) -> list[str]:
        """Replace the flags and values of published command lines by ours."""
        return list(args)

    def check(self, config: Any, models: Sequence[str]) -> Any:
        """Refuse impossible values and settle what follows from others."""
        return check(config, models)

    def parse(self, args: Sequence[str], model: str, description: str | None = None) -> Any:
        """Read the flags of the training command; ``model`` is the default."""
        return parse_config(
            description,
            self.models,
            model,
            self.translate(args),
            self.config_class,
            self.check,
            translate=translate_file,
            epilog="flags and files of the ECG-CNN study are understood as well: docs/ecg_cnn.md",
        )

    def train(self, config: Any, on_epoch: OnEpoch | None = None) -> Path:
        """Train one run and return its checkpoint folder; see `training.loops.recorder` for ``on_epoch``."""
        raise UsageError(f"models of the family {type(self).__name__} cannot be trained")

    def run(self, config: Any) -> None:
        """Train from the command line."""
        self.train(config)

    # ---- a study of runs

    def check_trial(self, config: Any, models: Sequence[str]) -> Any:
        """Check the configuration of a trial."""
        return self.check(config, models)

    def epochs(self, config: Any) -> int:
        """Epochs of a full run."""
        return config.epochs

    def start(self, config: Any) -> str:
        """Checkpoint folder that every trial starts from, as a path; empty for none."""
        from training.checkpoint import find_checkpoint

        return str(find_checkpoint(config.init, config.output_dir)) if config.init else ""

    def searched(self, config: Any) -> Sequence[str] | None:
        """Settings that a study searches by default; None for all that have a range."""
        return None

    def unused(self, config: Any) -> dict[str, str]:
        """Settings that a run with this configuration does not read, and why."""
        return unread(config)

    # ---- a trained model

    def checkpoint(self, options: Any) -> str:
        """Name of the checkpoint that the options of a test command mean."""
        return options.run or options.model

    def owns(self, model: str, name: str) -> bool:
        """Whether a checkpoint of architecture ``name`` is what ``--model`` asked for."""
        return name == model


class KerasFamily(Family):
    """Plain Keras models."""

    framework = "keras"

    def check(self, config: Any, models: Sequence[str]) -> Any:
        """Refuse several devices."""
        if config.devices != 1:
            raise UsageError(
                "--devices is for PyTorch models (torch_train.py); Keras models train on one device"
            )
        return super().check(config, models)

    def train(self, config: Any, on_epoch: OnEpoch | None = None) -> Path:
        """Train one run."""
        import models_tf.backend  # noqa: F401  (first: it decides on Keras' backend and settings)
        from training.loops.keras_loop import train_keras

        if on_epoch is not None:
            import keras

            keras.utils.clear_session()  # the models of earlier trials would fill the memory
        return train_keras(config, on_epoch)


class TorchFamily(Family):
    """Plain PyTorch models."""

    framework = "torch"

    def train(self, config: Any, on_epoch: OnEpoch | None = None) -> Path:
        """Train one run."""
        from training.loops.torch_loop import train_torch

        return train_torch(config, on_epoch)

    def run(self, config: Any) -> None:
        """Train from the command line, in as many processes as there are devices."""
        from training.loops.processes import together

        with together(config.devices):
            self.train(config)


PLAIN: dict[str, Family] = {"keras": KerasFamily(), "torch": TorchFamily()}
_OF_MODELS: dict[str, Family | str] = {}


def register_family(family: Family | str, models: Sequence[str]) -> None:
    """Register a family of its own for some models; as text ``module:NAME`` it is imported when needed."""
    _OF_MODELS.update(dict.fromkeys(models, family))


register_family("training.protoecgnet.family:FAMILY", models=("protoecgnet",))
register_family("training.ridge:FAMILY", models=("minirocket",))


def family_of(model: str, framework: str = "") -> Family:
    """Family of a model, which has to be of the framework where one is given."""
    family = _OF_MODELS.get(model)
    if isinstance(family, str):
        module, _, name = family.partition(":")
        family = _OF_MODELS[model] = getattr(importlib.import_module(module), name)
    if family is None:
        family = PLAIN[package_of(model, framework).model_info(model).framework]
    if framework not in ("", family.framework):
        train, score = SCRIPTS[family.framework]
        raise UsageError(
            f"'{model}' is a {TITLES[family.framework]} model: use python {train} to train it, "
            f"python {score} to score it"
        )
    return family
