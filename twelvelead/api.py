"""What the public API adds to the packages: models of both frameworks and datasets by name."""

from __future__ import annotations

import inspect
import os
from typing import Any

from databases import list_databases
from preprocessing import Dataset, list_targets
from preprocessing import load_dataset as load
from preprocessing.options import DatasetOptions, data_folder, default_rate
from training.model_info import PACKAGES, package_of
from utils.errors import UsageError, nearest

_POSITIONAL = ("database", "data_dir", "task", "sampling_rate")  # of preprocessing.load_dataset


def list_models(framework: str | None = None) -> list[str]:
    """List the registered architectures.

    Parameters
    ----------
    framework : {"keras", "torch"}, optional
        Only those of one framework.

    Returns
    -------
    list of str
        Names for `create_model`.

    Raises
    ------
    UsageError
        No such framework.
    """
    if framework not in (None, *PACKAGES):
        raise UsageError(f"unknown framework '{framework}': {nearest(str(framework), PACKAGES)}")
    return [n for key in PACKAGES if framework in (None, key) for n in PACKAGES[key].list_models()]


def create_model(name: str, **options: Any) -> Any:
    """Build an untrained model.

    Parameters
    ----------
    name : str
        One of `list_models`.
    **options : object
        Options of the architecture, such as ``num_classes``, ``samples`` and ``leads``.

    Returns
    -------
    keras.Model or torch.nn.Module
        Takes (B, T, leads); PyTorch models give logits, Keras models probabilities.
        ``model.config`` holds the options.

    Raises
    ------
    UsageError
        Unknown model or option; the nearest valid one is named.
    """
    return package_of(name).create_model(name, **options)


def load_dataset(
    name: str,
    root: str | os.PathLike | None = None,
    task: str | None = None,
    sampling_rate: float | None = None,
    **options: Any,
) -> Dataset:
    """Load a database for a task, as ``--database NAME --data_dir ROOT --task TASK`` of every command does.

    Parameters
    ----------
    name : str
        One of `list_databases`.
    root : path-like, optional
        Folder of the database, or the table of a ``table``; by default that of the commands: ``data/NAME``
        (``data/ptb`` of PTB-XL).
    task : str, optional
        One of ``preprocessing.list_targets(name)``; by default the only one, of PTB-XL ``superdiagnostic``.
    sampling_rate : float, optional
        In Hz; 0 for that of the recordings. By default that of the target set, else 100.
    **options : object
        Further options of `preprocessing.load_dataset`, such as ``seconds``, ``split``, ``fold`` and
        ``target_options``.

    Returns
    -------
    Dataset
        Records or windows with targets, patients and splits; its length is known without reading signals.

    Raises
    ------
    DataError
        Something in the folder is missing, damaged or contradictory; the message lists the records.
    UsageError
        Unknown database, task or option.
    """
    tasks = list_targets(name) if name in list_databases() else []
    if task is None and len(tasks) == 1:
        task = tasks[0]
    elif task is None and DatasetOptions.task in tasks:
        task = DatasetOptions.task
    elif task is None and tasks:
        raise UsageError(f"{name} has several tasks, choose one: {', '.join(tasks)}")
    folder = (
        os.fspath(root)
        if root is not None
        else data_folder({"database": name, "data_dir": DatasetOptions.data_dir})
    )
    for option in options:
        known = [key for key in inspect.signature(load).parameters if key not in _POSITIONAL]
        if option not in known:
            raise UsageError(f"load_dataset: unknown option '{option}': {nearest(option, known)}")
    rate = default_rate(task, name) if sampling_rate is None and tasks else sampling_rate
    return load(name, folder, task or "", rate, **options)
