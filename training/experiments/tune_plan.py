"""What one study is, as the command line describes it: model, fixed settings, space, place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.study import Study

from training.checkpoint import read_card
from training.config import TrainConfig, chosen_model
from training.experiments.search_space import Dimension, check_space, default_space, read_space
from training.families import Family, family_of
from training.model_info import model_names
from utils.config import Options, fields_of, given_names, names_of, option, parse, stored_settings
from utils.errors import UsageError, nearest
from utils.files import jsonable


@dataclass
class StudyOptions(Options, group="study"):
    """What a study is, beside the settings of its runs."""

    study: str = option("", "name of the study (default: the model)", scope="run")
    n_trials: int = option(50, "trials of all workers together", scope="run", min=1)
    space: str = option("", "YAML file of what is searched (default: built in)", scope="run", metavar="FILE")
    storage: str = option(
        "",
        "sqlite:///FILE, postgresql://USER@HOST/DATABASE, mysql://..., or Optuna's proxy grpc://HOST:PORT "
        "(default: journal.log in the folder of the study)",
        scope="machine",
    )
    keep_weights: bool = option(
        False, "True: keep the weights of all trials, not of the best alone", scope="run"
    )
    alone: bool = option(False, "True: no other worker runs: take over all unfinished trials", scope="run")


@dataclass(frozen=True)
class Plan:
    """One study: the options of its command, and what follows from them.

    ``study``: its name.
    ``fixed``: what is the same in all trials.
    ``start``: checkpoint folder that every trial starts from; empty for none.
    """

    options: StudyOptions
    study: str
    folder: Path
    fixed: TrainConfig
    start: str
    space: list[Dimension]
    family: Family


def parse_plan(args: Sequence[str], description: str | None = "") -> Plan:
    """Read the flags."""
    model = chosen_model(args)
    names = model_names()
    family = family_of(model) if model in names else None
    if family is None and not {"-h", "--help"} & set(args):
        what = f"unknown model '{model}'" if model else "--model is missing"
        raise UsageError(f"{what}: {nearest(model, names)}")
    config_class = family.config_class if family else TrainConfig
    kind: Any = dataclasses.make_dataclass("TuneOptions", [], bases=(StudyOptions, config_class))
    options = parse(
        kind,
        family.translate(args) if family else args,
        prog="python -m training.experiments.tune",
        description=description,
        defaults=family.defaults if family else None,
        choices={"model": names},
    )
    assert family is not None  # else --help has ended the process
    settings = {f.name: getattr(options, f.name) for f in fields_of(config_class)}
    # --resume changes nothing: a study always continues
    return _checked_plan(options, config_class(**{**settings, "resume": False}), family, names, args)


def _checked_plan(
    options: StudyOptions, fixed: TrainConfig, family: Family, names: list[str], args: Sequence[str]
) -> Plan:
    if fixed.sub and not fixed.init:  # as the training scripts do
        fixed = dataclasses.replace(fixed, init=fixed.model)
    checked = family.check_trial(fixed, names)
    study = options.study or fixed.model
    folder = Path(fixed.output_dir) / "tuning" / study
    if Path(study).name != study or study.startswith("."):
        raise UsageError(f"--study '{study}' must be a plain folder name")
    if fixed.overwrite:
        raise UsageError(f"--overwrite is for single runs: to start a study over, remove {folder}")
    if fixed.devices != 1:
        raise UsageError("--devices: a trial runs on one device; start one worker for each GPU instead")
    if checked.task == "mi_reference":
        raise UsageError(
            "--task mi_reference has no validation split: its test records would make every choice"
        )
    if options.space:
        space = read_space(options.space, fixed, family.options(fixed.model))
    else:
        given, searched = given_names(fixed, args), family.searched(fixed)
        space = default_space(fixed, family.options(fixed.model), given, searched)
    check_space(space, fixed, names, family.check_trial)
    return Plan(options, study, folder, fixed, family.start(fixed), space, family)


def check_same_study(study: Study, plan: Plan) -> None:
    """Refuse to mix trials that cannot be compared. To be called inside `locked`."""
    free = names_of(plan.fixed, ("machine", "run")) | {"init"} | {d.name for d in plan.space}
    now = {k: v for k, v in plan.fixed.to_json().items() if k not in free}
    now["space"] = sorted(str(d) for d in plan.space)
    now["first weights"] = read_card(plan.start).weights_sha256 if plan.start else ""
    before = study.user_attrs.get("settings")
    if before is None:
        study.set_user_attr("settings", jsonable(now))
        return
    now = jsonable(now)
    before = {k: v for k, v in stored_settings(type(plan.fixed), before).items() if k not in free}
    before["space"] = sorted(before["space"])
    names = sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
    if names:
        changed = ", ".join(f"{n} was {before.get(n)!r}, is {now.get(n)!r}" for n in names)
        raise UsageError(
            f"study '{plan.study}' was started with other settings: {changed}; choose another --study"
        )
