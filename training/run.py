"""One training run: its folders, its saved state, and the lock that keeps other processes out."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from preprocessing.options import DatasetOptions, complete_settings
from training.checkpoint import check_kept, load_state, save_state
from training.config import TrainOptions
from training.lock import RunLock
from utils.config import names_of, stored_settings
from utils.errors import DataError, UsageError
from utils.files import write_text
from utils.loggers import check_wandb


class Run:
    """A run that this process may write, from `Run.claim`; a context manager that releases it.

    ``folder``: weights, card and state.
    ``logs``: files of the loggers (metrics.csv, ...), test report.
    ``arrays, progress``: the saved state of a resumed run, else None.
    """

    def __init__(self, config: TrainOptions):
        self.config = config
        self.folder = Path(config.output_dir) / "checkpoints" / config.run
        self.logs = Path(config.output_dir) / "logs" / config.run
        self.arrays: dict[str, np.ndarray] | None = None
        self.progress: dict[str, Any] | None = None
        self._lock = RunLock(self.folder, Path(config.output_dir))

    @classmethod
    def claim(cls, config: TrainOptions) -> Run:
        """Lock a run and make sure that it neither destroys nor mixes with another one.

        Nothing is removed yet: `clear` removes a replaced run after all other checks.

        Raises
        ------
        UsageError
            Another process trains it, it exists already, or is resumed with other settings.
        """
        run = cls(config)
        run._lock.acquire(f"run '{config.run}' in {run.folder}")
        try:
            run._open()
        except BaseException:
            run.close()
            raise
        return run

    def _open(self) -> None:
        config = self.config
        if "wandb" in config.loggers:
            check_wandb()
        if config.resume:
            self.arrays, self.progress = load_state(self.folder)
            check_same_settings(config, self.progress["config"])
            check_kept(self.folder, self.progress)
            return
        # what a kill during the very first write leaves is not a run
        files = [p for p in self.folder.rglob("*") if p.is_file() and not p.name.startswith(".")]
        if files and not config.overwrite:
            raise UsageError(
                f"run '{config.run}' exists in {self.folder}: --resume continues it, --overwrite replaces "
                "it, --run NAME starts another"
            )

    def clear(self) -> None:
        """Remove the run that is replaced, or half-written files of the one that is resumed."""
        for folder in (self.folder, self.logs):
            if self.config.resume:
                for partial in folder.rglob(".partial-*"):
                    partial.unlink()
            else:
                shutil.rmtree(folder, ignore_errors=True)
        # a folder that cannot be written to should show before an epoch is lost
        probe = self.folder / "last" / ".partial-probe"
        write_text(probe, "")
        probe.unlink()

    def save(self, arrays: dict[str, np.ndarray], progress: dict[str, Any]) -> None:
        """Write the state from which ``--resume`` continues."""
        save_state(self.folder, arrays, {"config": self.config.to_json(), **progress})

    def check_parents(self, made_from: list[str] | None) -> None:
        """Refuse to resume from other weights than the run was started from."""
        if self.progress and self.progress.get("made_from") != made_from:
            raise DataError(
                f"run '{self.config.run}' was started from other weights than its earlier stage has now: "
                "use --overwrite"
            )

    def close(self) -> None:
        """Release the run for other processes."""
        self._lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_same_settings(config: TrainOptions, before: dict[str, Any]) -> None:
    """Refuse to resume a run with other settings than it was started with."""
    free = names_of(config, ("stop", "machine", "run"))
    if config.schedule not in ("constant", "step"):
        free.remove("epochs")
    now = config.to_json()
    if isinstance(config, DatasetOptions):
        before = complete_settings(before)
    before = stored_settings(type(config), before)
    names = [name for name in now if name not in free and before.get(name) != now[name]]
    if names:
        changed = ", ".join(f"--{n} was {before.get(n)!r}, is {now[n]!r}" for n in names)
        raise UsageError(f"--resume needs the settings the run was started with: {changed}")
