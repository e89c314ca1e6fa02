"""An Optuna study that lives in a folder, that several workers share and that survives their death."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import HyperbandPruner
from optuna.samplers import TPESampler
from optuna.storages.journal import JournalFileOpenLock
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from training.experiments.storages import open_storage
from utils.errors import DataError

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock under which workers count, take and finish trials."""
    lock = JournalFileOpenLock(str(folder / "study"))
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def open_study(folder: Path, name: str, storage: str, epochs: int) -> Study:
    """Open a study, or make it. To be called inside `locked`.

    .. [1] L. Li et al., "Hyperband: a novel bandit-based approach to hyperparameter optimization", JMLR 18
       (2018), 1-52; https://jmlr.org/papers/v18/16-558.html
    """
    try:
        return optuna.create_study(
            study_name=name,
            storage=open_storage(storage, folder / "journal.log", name),
            direction="maximize",
            load_if_exists=True,
            pruner=HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3),
        )
    except (ValueError, KeyError, AssertionError) as error:  # what replaying a journal with wrong lines gives
        raise DataError(
            f"{storage or folder / 'journal.log'} is damaged ({error}): remove it, or choose another --study"
        ) from error


def this_worker() -> dict[str, Any]:
    """Identity of this process, by which others can tell whether it still runs."""
    with contextlib.suppress(OSError):
        return {"host": f"{platform.node()} {os.readlink('/proc/self/ns/pid')}", **_process(os.getpid())}
    return {"host": platform.node(), **_process(os.getpid())}


def _process(pid: int) -> dict[str, Any]:
    started = None
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) if fields[0] != "Z" else None  # a zombie is gone
    return {"pid": pid, "started": started}


def is_alive(worker: dict[str, Any] | None) -> bool:
    """Whether the worker of a trial may still be running."""
    if worker is None:
        return False
    if worker["host"] != this_worker()["host"]:
        return True
    try:
        os.kill(worker["pid"], 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's process
    return _process(worker["pid"])["started"] == worker["started"]


def kind(trial: FrozenTrial) -> str:
    """State of a trial; failed with an error, or unfinished."""
    if trial.state == TrialState.FAIL:
        return "failed" if "error" in trial.user_attrs else "unfinished"
    return trial.state.name.lower()


def trials_of(study: Study, *kinds: str) -> list[FrozenTrial]:
    """Trials in any of these states."""
    return [trial for trial in study.get_trials(deepcopy=False) if kind(trial) in kinds]


def best_trial(study: Study) -> FrozenTrial | None:
    """The complete trial with the highest value, the first of equals."""
    return max(trials_of(study, "complete"), key=lambda t: (t.value, -t.number), default=None)


def put_back(study: Study, trial: FrozenTrial) -> None:
    """End a trial that nobody will finish, and queue its settings again."""
    study.tell(trial.number, state=TrialState.FAIL)
    settings = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    if settings:
        study.enqueue_trial(settings)


def take(study: Study, n_trials: int, seed: int, alone: bool = False) -> Trial | None:
    """Take the next trial, after requeuing those of dead workers. To be called inside `locked`.

    .. [1] J. Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 24 (2011), 2546-2554.
    """
    for trial in trials_of(study, "running"):
        worker = trial.user_attrs.get("worker")
        if alone or not is_alive(worker):
            put_back(study, trial)
            who = f"process {worker['pid']} on {worker['host'].split()[0]}" if worker else "a worker"
            logger.info(
                f"trial {trial.number} was left unfinished by {who}: its settings will be tried again"
            )
    if len(trials_of(study, "complete", "pruned", "failed", "running")) >= n_trials:
        return None
    new = study.ask()
    new.set_user_attr("worker", this_worker())
    trial_seed = int(np.random.SeedSequence([seed, new.number]).generate_state(1)[0])
    study.sampler = TPESampler(seed=trial_seed, constant_liar=True)  # avoids settings being tried
    new.should_prune()  # Hyperband learns its brackets, from which the sampler chooses its examples
    return new


def remove_weights(study: Study, folder: Path) -> None:
    """Remove the checkpoints of all finished trials but the best. To be called inside `locked`."""
    best = best_trial(study)
    for trial in trials_of(study, "complete", "pruned", "failed", "unfinished"):
        if best is None or trial.number != best.number:
            shutil.rmtree(folder / "trials" / str(trial.number) / "checkpoints", ignore_errors=True)
