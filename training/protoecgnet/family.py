"""The family of ProtoECGNet: stages and branches, each of them a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from training.families import Family
from training.protoecgnet.config import (
    ProtoConfig,
    check_proto,
    searched_settings,
    stage_config,
    translate,
)
from training.score_options import ScoreOptions
from utils.config import option
from utils.errors import UsageError

if TYPE_CHECKING:
    from training.loops.recorder import OnEpoch


@dataclass
class ProtoScoreOptions(ScoreOptions):
    """Which branch and stage is scored."""

    branch: str = option("", "score this branch alone (default: the fusion)", group="model")
    training_stage: str = option("classifier", "stage of that branch", group="model")


class ProtoFamily(Family):
    """ProtoECGNet, whose run is a chain of stages."""

    framework = "torch"
    config_class = ProtoConfig
    score_options = ProtoScoreOptions
    defaults: ClassVar[dict[str, Any] | None] = {"training_stage": "joint"}

    def models(self) -> list[str]:
        """The one model."""
        return ["protoecgnet"]

    def translate(self, args: Sequence[str]) -> list[str]:
        """Replace the reference's flags and values by ours."""
        return translate(args)

    def check(self, config: Any, models: Sequence[str]) -> ProtoConfig:
        """Refuse impossible values, before any data is read."""
        return check_proto(config, models)

    def train(self, config: Any, on_epoch: OnEpoch | None = None) -> Path:
        """Train one stage."""
        from training.protoecgnet.stages import run_stage

        return run_stage(config, on_epoch)

    def run(self, config: Any) -> None:
        """Train one stage or the whole chain from the command line."""
        from training.protoecgnet.stages import run_command

        run_command(config)

    def check_trial(self, config: Any, models: Sequence[str]) -> ProtoConfig:
        """Refuse what is not one stage with epochs of its own."""
        if config.training_stage in ("all", "projection", "fusion"):
            raise UsageError(
                f"--training_stage {config.training_stage} cannot be tuned: a study tunes one stage of one "
                "--branch: feature_extractor, prototypes, joint (the default) or classifier"
            )
        return check_proto(config, models)

    def epochs(self, config: Any) -> int:
        """Epochs of the stage."""
        return stage_config(config, config.branch, config.training_stage).epochs

    def start(self, config: Any) -> str:
        """The earlier stage: trials have run folders of their own, in which there is none."""
        earlier = {"prototypes": "feature_extractor", "classifier": "projection"}.get(config.training_stage)
        if earlier is None:
            return super().start(config)
        from training.protoecgnet.networks import source_of

        return str(source_of(check_proto(config, self.models()), config.branch, (earlier,)))

    def searched(self, config: Any) -> Sequence[str] | None:
        """The settings of the stage."""
        return searched_settings(config)

    def checkpoint(self, options: Any) -> str:
        """The fusion of a chain, or one stage of a branch."""
        name = super().checkpoint(options)
        return f"{name}/{options.branch}/{options.training_stage}" if options.branch else name

    def owns(self, model: str, name: str) -> bool:
        """The networks of all stages."""
        return name.startswith(model)


FAMILY = ProtoFamily()
