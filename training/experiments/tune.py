"""Search the settings of a model's training run with Optuna.

python -m training.experiments.tune --model imle_net --n_trials 50 --epochs 30  # Keras or PyTorch, any model
python -m training.experiments.tune --model imle_net --space configs/tuning/imle_net.yaml
python train.py --config tuning/imle_net/best.yaml                        # train with the best settings

Each trial is an ordinary training run in <output_dir>/tuning/<study>/trials/<number>; its value is the
best validation score. Test records are never scored. Hyperband ends poor trials after 1, 3, 9, ... epochs,
TPE chooses the next settings.

The same command resumes a study until --n_trials are done in total. In several terminals (one per GPU:
CUDA_VISIBLE_DEVICES=0, 1, ...) it starts that many workers, which share the trials. Settings of a trial that
was interrupted (Ctrl-C) or whose worker was killed are tried again: a worker counts as killed when its
process is gone from the same host. Trials that another host has left unfinished are taken over with --alone.

Every flag of the training scripts is accepted and is the same in all trials, unless the space names it. The
built-in space leaves out what is given as a flag; a --space file has the last word. It maps a setting, or
model_config.OPTION for an option of the model, to its values:
    lr: {low: 1e-6, high: 1e-2, log: true}
    batchsize: {choices: [16, 32, 64]}
    model_config.dropout: {low: 0, high: 0.5}
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import optuna
import pandas as pd
import yaml
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from training.experiments.plan import changed
from training.experiments.study import (
    best_trial,
    kind,
    locked,
    open_study,
    put_back,
    remove_weights,
    take,
    trials_of,
)
from training.experiments.tune_plan import Plan, check_same_study, parse_plan
from utils.config import names_of, write_settings
from utils.errors import DataError, TwelveLeadError, UsageError, run_cli
from utils.files import write_text
from utils.provenance import command
from utils.tables import write_csv

# What PyTorch and TensorFlow raise when a batch or a model is too large for the device.
_OUT_OF_MEMORY = {"OutOfMemoryError", "ResourceExhaustedError", "MemoryError"}


def run_trial(study: Study, trial: Trial, plan: Plan) -> None:
    """Train one trial and tell the study how it went."""
    values = {d.name: d.suggest(trial) for d in plan.space}
    print(f"trial {trial.number}: {_in_words(values)}", flush=True)
    config = changed(plan.fixed, values)
    folder = plan.folder / "trials" / str(trial.number)
    config = dataclasses.replace(config, output_dir=str(folder), init=plan.start, overwrite=True)
    epochs = plan.family.epochs(config)
    scores: list[float] = []

    pruned = False

    def on_epoch(epoch: int, score: float) -> bool:
        nonlocal pruned
        scores.append(score)
        trial.report(score, epoch + 1)
        # a trial that has all its epochs is complete, whatever its rank
        pruned = epoch + 1 < epochs and trial.should_prune()
        return pruned

    try:
        plan.family.train(plan.family.check_trial(config, [config.model]), on_epoch)
    except UpdateFinishedTrialError as error:
        raise TwelveLeadError(
            f"trial {trial.number} was taken over by another worker: "
            "use --alone only where no other worker runs"
        ) from error
    except TwelveLeadError as error:
        if isinstance(error.__cause__, OSError) or (isinstance(error, DataError) and not scores):
            put_back(study, _frozen(study, trial))
            raise
        works = any(other.intermediate_values for other in study.get_trials(deepcopy=False))
        if isinstance(error, UsageError) and not works:  # no trial has finished an epoch
            study.tell(trial, state=TrialState.FAIL)  # not to be tried again
            raise
        _fail(study, trial, error)
    except Exception as error:
        _fail(study, trial, error)
        if type(error).__name__ not in _OUT_OF_MEMORY:
            raise
    except BaseException:
        put_back(study, _frozen(study, trial))
        raise
    else:
        if pruned:
            study.tell(trial, state=TrialState.PRUNED)
            print(f"trial {trial.number}: pruned after {len(scores)} epochs, best {max(scores):.4f}")
        else:
            study.tell(trial, max(scores))
            print(f"trial {trial.number}: validation score {max(scores):.4f}")


def _fail(study: Study, trial: Trial, error: Exception) -> None:
    message = f"{error}" if isinstance(error, TwelveLeadError) else f"{type(error).__name__}: {error}"
    trial.set_user_attr("error", message)
    study.tell(trial, state=TrialState.FAIL)
    print(f"trial {trial.number}: failed: {message}")


def _frozen(study: Study, trial: Trial) -> FrozenTrial:
    return study.get_trials(deepcopy=False)[trial.number]


def _in_words(values: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())


def write_results(study: Study, plan: Plan) -> None:
    """Write ``best.yaml`` and ``trials.csv``. To be called inside `locked`."""
    trials = [t for t in study.get_trials(deepcopy=False) if kind(t) != "waiting"]
    lines = [
        {
            "trial": t.number,
            "state": kind(t),
            "val_score": max(t.intermediate_values.values(), default=None),
            "epochs": len(t.intermediate_values),
            "seconds": f"{t.duration.total_seconds():.1f}" if t.duration else "",
            **{d.name: t.params.get(d.name) for d in plan.space},
            "error": t.user_attrs.get("error", ""),
        }
        for t in trials
    ]
    write_csv(plan.folder / "trials.csv", pd.DataFrame(lines, dtype=object))
    best = best_trial(study)
    if best:
        head = (
            f"# Best of {len(trials_of(study, 'complete', 'pruned', 'failed'))} trials of the study "
            f"'{plan.study}': trial {best.number}, validation score {best.value:.6f}.\n"
        )
        write_text(
            plan.folder / "best.yaml", head + yaml.safe_dump(_best_settings(best, plan), sort_keys=False)
        )


def _best_settings(best: FrozenTrial, plan: Plan) -> dict[str, Any]:
    """Settings for a --config file: the searched ones, and the fixed ones that differ from the defaults."""
    values = {d.name: d.value(best.params[d.name]) for d in plan.space}
    config = changed(plan.fixed, values).to_json()
    defaults = plan.family.config_class().to_json()
    config["run"] = config["run"] or f"{plan.study}_best"
    config["init"] = config["init"] or plan.start  # trials of a later stage start from an earlier one
    needed = {"model", "training_stage", "branch", *values}
    relevant = names_of(plan.fixed, ("result", "stop")) | {"run", "data_dir", "partial"}
    return {k: v for k, v in config.items() if k in needed or (k in relevant and v != defaults[k])}


def tune(plan: Plan) -> FrozenTrial | None:
    """Work on a study until no trial is left to start."""
    write_settings(plan.folder / "settings.yaml", plan.options)
    with locked(plan.folder):
        study = open_study(plan.folder, plan.study, plan.options.storage, plan.family.epochs(plan.fixed))
        check_same_study(study, plan)
    print(f"study '{plan.study}' in {plan.folder} searches {'; '.join(map(str, plan.space))}")
    alone = plan.options.alone
    while True:
        with locked(plan.folder):
            trial = take(study, plan.options.n_trials, plan.fixed.seed, alone)
        alone = False  # trials that start from now on belong to running workers
        if trial is None:
            break
        try:
            run_trial(study, trial, plan)
        finally:
            with locked(plan.folder):
                if not plan.options.keep_weights:
                    remove_weights(study, plan.folder)
                write_results(study, plan)
    with locked(plan.folder):
        write_results(study, plan)
    return _report(study, plan)


def _report(study: Study, plan: Plan) -> FrozenTrial | None:
    counts = {k: len(trials_of(study, k)) for k in ("complete", "pruned", "failed", "running")}
    print(f"study '{plan.study}': " + ", ".join(f"{count} {k}" for k, count in counts.items()))
    for trial in trials_of(study, "running"):
        worker = trial.user_attrs["worker"]
        where = f"process {worker['pid']} on {worker['host'].split()[0]}"
        print(f"trial {trial.number} runs in {where}, which will complete the results (ended? use --alone)")
    best = best_trial(study)
    if best is None:
        if counts["running"]:
            return None
        errors = [trial.user_attrs["error"] for trial in trials_of(study, "failed")]
        raise TwelveLeadError(
            f"no trial of {plan.options.n_trials} is complete, see {plan.folder / 'trials.csv'}; the first "
            f"failed with: {errors[0] if errors else 'no error'}. Change the space, or give more --n_trials"
        )
    values = {d.name: d.value(best.params[d.name]) for d in plan.space}
    print(f"best: trial {best.number}, validation score {best.value:.4f} with {_in_words(values)}")
    weights = plan.folder / "trials" / str(best.number) / "checkpoints"
    print(f"wrote {plan.folder / 'best.yaml'}, {plan.folder / 'trials.csv'} and {weights}")
    print(f"train with it: python {plan.family.script} --config {plan.folder / 'best.yaml'}")
    return best


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags and tune."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = parse_plan(sys.argv[1:] if args is None else args, __doc__)
    try:
        tune(plan)
    except KeyboardInterrupt:
        print(f"stopped; the settings of the interrupted trial will be tried again. Resume with: {command()}")
        raise


if __name__ == "__main__":
    run_cli(main)
