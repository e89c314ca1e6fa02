"""What one study is, as the command line describes it: model, fixed settings, space, place."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.study import Study

from training.checkpoint import read_card
from training.config import TrainConfig, chosen_model
from training.experiments.search_space import Dimension, check_space, default_space, read_space
from training.families import Family, family_of, model_names
from utils.config import add_options, read_config
from utils.errors import UsageError, nearest
from utils.files import jsonable
from utils.flags import Parser, true_or_false

# What may differ between the workers of a study and between its continuations.
_FREE = {"data_dir", "partial", "init", "resume", "overwrite", "loggr", "threads", "output_dir", "run"}


@dataclass(frozen=True)
class Plan:
    """One study as the command line describes it.

    ``storage``: ``sqlite:///FILE``, or empty for the journal in the folder.
    ``n_trials``: of all workers together.
    ``keep_weights``: keep the checkpoints of all trials.
    ``alone``: no other worker is at work.
    ``fixed``: what is the same in all trials.
    ``start``: checkpoint folder that every trial starts from; empty for none.
    ``family``: how a run is trained.
    """

    study: str
    folder: Path
    storage: str
    n_trials: int
    keep_weights: bool
    alone: bool
    fixed: TrainConfig
    start: str
    space: list[Dimension]
    family: Family


def parse_plan(args: Sequence[str], description: str = "") -> Plan:
    """Read the flags."""
    model = chosen_model(args)
    names = model_names(model)
    family = family_of(model) if model in names else None
    args = family.translate(args) if family else args
    parser = Parser(prog="python -m training.experiments.tune", description=description)
    group = parser.add_argument_group("study")
    group.add_argument("--study", default="", help="name of the study (default: the model)")
    group.add_argument(
        "--n_trials", type=int, default=50, help="trials of all workers together (default: 50)"
    )
    group.add_argument("--space", metavar="FILE", help="YAML file of what is searched (default: built in)")
    group.add_argument(
        "--storage", default="", help="sqlite:///FILE (default: journal.log in the folder of the study)"
    )
    switch: Any = {
        "nargs": "?",
        "const": True,
        "default": False,
        "type": true_or_false,
        "metavar": "True|False",
    }
    group.add_argument(
        "--keep_weights", **switch, help="keep the weights of all trials, not of the best alone"
    )
    group.add_argument(
        "--alone", **switch, help="no other worker is at work: take over whatever was left unfinished"
    )
    add_options(parser, family.config_class if family else TrainConfig, {"model": names})
    if {"-h", "--help"} & set(args):
        parser.parse_args(args)
    if family is None:
        what = f"unknown model '{model}'" if model else "--model is missing"
        raise UsageError(f"{what}: {nearest(model, names)}")
    file = parser.parse_known_args(args)[0].config
    parser.set_defaults(
        **{**(family.defaults or {}), **(read_config(file, family.config_class) if file else {})}
    )
    flags = parser.parse_args(args)
    settings = {f.name: getattr(flags, f.name) for f in dataclasses.fields(family.config_class)}
    # --resume changes nothing: a study always goes on
    fixed = family.config_class(**{**settings, "model": model, "resume": False})
    return _checked_plan(flags, fixed, family, names, args)


def _checked_plan(
    flags: argparse.Namespace, fixed: TrainConfig, family: Family, names: list[str], args: Sequence[str]
) -> Plan:
    if fixed.sub and not fixed.init:  # as the training scripts do
        fixed = dataclasses.replace(fixed, init=fixed.model)
    checked = family.check(fixed, names)
    study = flags.study or fixed.model
    folder = Path(fixed.output_dir) / "tuning" / study
    if Path(study).name != study or study.startswith("."):
        raise UsageError(f"--study '{study}' must be a plain folder name")
    if flags.n_trials < 1:
        raise UsageError(f"--n_trials must be above 0, not {flags.n_trials}")
    if fixed.overwrite:
        raise UsageError(f"--overwrite is for single runs: to begin a study anew, remove {folder}")
    if fixed.devices != 1:
        raise UsageError("--devices: a trial runs on one device; start one worker for each GPU instead")
    if checked.task == "mi_reference":
        raise UsageError(
            "--task mi_reference has no validation fold: its test records would make every choice"
        )
    given = [f.name for f in dataclasses.fields(fixed) if any(w.split("=")[0] == f"--{f.name}" for w in args)]
    space = (
        read_space(flags.space, fixed, family.options)
        if flags.space
        else default_space(fixed, family.options, given)
    )
    check_space(space, fixed, names, family.check)
    return Plan(
        study,
        folder,
        flags.storage,
        flags.n_trials,
        flags.keep_weights,
        flags.alone,
        fixed,
        family.start(fixed),
        space,
        family,
    )


def check_same_study(study: Study, plan: Plan) -> None:
    """Refuse to mix trials that cannot be compared. To be called inside `locked`."""
    searched = {d.name for d in plan.space}
    now = {k: v for k, v in plan.fixed.to_json().items() if k not in _FREE | searched}
    now["space"] = [str(d) for d in plan.space]
    now["first weights"] = read_card(plan.start)["weights_sha256"] if plan.start else ""
    before = study.user_attrs.get("settings")
    if before is None:
        study.set_user_attr("settings", jsonable(now))
        return
    now = jsonable(now)
    names = sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
    if names:
        changed = ", ".join(f"{n} was {before.get(n)!r}, is {now.get(n)!r}" for n in names)
        raise UsageError(
            f"study '{plan.study}' was started with other settings: {changed}; choose another --study"
        )
