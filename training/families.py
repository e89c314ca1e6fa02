"""How the runs of each model are configured, checked and trained: what a study has to know of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from training.checkpoint import find_checkpoint
from training.config import TrainConfig, check
from training.loops.recorder import OnEpoch
from utils.errors import UsageError


def _epochs(config: TrainConfig) -> int:
    return config.epochs


def _start(config: TrainConfig) -> str:
    return str(find_checkpoint(config.init, config.output_dir)) if config.init else ""


@dataclass(frozen=True)
class Family:
    """How the runs of a model are configured, checked and trained.

    ``config_class``: `TrainConfig` or a class made from it.
    ``train``: ``train(config, on_epoch)`` trains one run; ``on_epoch(epoch, fold9_macro_auc)`` ends
        it with True.
    ``script``: trains one run from the command line.
    ``options``: the model's own options with their defaults.
    ``check``: ``check(config, models)`` refuses impossible values and settles what follows from
        others.
    ``translate``: turns other names of flags and values into ours.
    ``epochs``: epochs of a full run.
    ``start``: checkpoint folder that every trial starts from, as a path; empty for none.
    ``searched``: names of the settings that a study of this run searches by default; None for all that
        have a range.
    ``defaults``: values of flags where a study wants others than a run.
    """

    config_class: type[TrainConfig]
    train: Callable[[Any, OnEpoch], Any]
    script: str
    options: dict[str, Any]
    check: Callable[[Any, Sequence[str]], Any] = check
    translate: Callable[[Sequence[str]], list[str]] = list
    epochs: Callable[[Any], int] = _epochs
    start: Callable[[Any], str] = _start
    searched: Callable[[Any], Sequence[str] | None] = lambda config: None
    defaults: dict[str, Any] | None = None


def model_names(model: str) -> list[str]:
    """Names that ``--model`` may take; Keras is imported only where the model is not a PyTorch one."""
    import models_torch

    names = models_torch.list_models()
    if model not in names:
        import models_tf

        names = names + models_tf.list_models()
    return sorted(names)


def family_of(model: str) -> Family:
    """Say how the runs of a model are configured, checked and trained."""
    import models_torch

    if model == "protoecgnet":
        return _proto_family(_options(models_torch, model))
    if model in models_torch.list_models():
        from training.loops.torch_loop import train_torch

        return Family(TrainConfig, train_torch, "torch_train.py", _options(models_torch, model))
    import models_tf.backend
    from training.loops.keras_loop import train_keras

    def train(config: TrainConfig, on_epoch: OnEpoch) -> Any:
        import keras

        keras.utils.clear_session()  # the models of earlier trials would fill the memory
        return train_keras(config, on_epoch)

    return Family(TrainConfig, train, "train.py", _options(models_tf, model))


def _proto_family(options: dict[str, Any]) -> Family:
    from training.protoecgnet.config import (
        ProtoConfig,
        check_proto,
        searched_settings,
        stage_config,
        translate,
    )
    from training.protoecgnet.networks import source_of
    from training.protoecgnet.stages import run_stage

    def check_stage(config: ProtoConfig, models: Sequence[str]) -> ProtoConfig:
        if config.training_stage in ("all", "projection", "fusion"):
            raise UsageError(
                f"--training_stage {config.training_stage} cannot be tuned: a study tunes one stage of one "
                "--branch: feature_extractor, prototypes, joint (the default) or classifier"
            )
        return check_proto(config, models)

    def epochs(config: ProtoConfig) -> int:
        return stage_config(config, config.branch, config.training_stage).epochs

    def start(config: ProtoConfig) -> str:
        earlier = {"prototypes": "feature_extractor", "classifier": "projection"}.get(config.training_stage)
        # the trials have run folders of their own, in which no earlier stage lies
        return (
            str(source_of(check_proto(config, [config.model]), config.branch, (earlier,)))
            if earlier
            else _start(config)
        )

    return Family(
        ProtoConfig,
        run_stage,
        "torch_train.py",
        options,
        check=check_stage,
        translate=translate,
        epochs=epochs,
        start=start,
        searched=searched_settings,
        defaults={"training_stage": "joint"},
    )


def _options(models: Any, name: str) -> dict[str, Any]:
    decided = ("num_classes", "samples", "leads", "activation")  # by the data
    return {key: value for key, value in models.model_options(name).items() if key not in decided}
