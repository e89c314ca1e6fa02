"""Options of commands that load a database, and the dataset that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from databases import list_databases
from preprocessing.combined import combine
from preprocessing.dataset import Dataset
from preprocessing.loading import load_dataset
from preprocessing.splits import LEAST_FOLDS, subsample
from preprocessing.targets import find_targets, list_targets
from utils.config import Options, option
from utils.errors import UsageError, nearest

_KEPT_ALL = ("diagnostic", "form", "rhythm")  # they kept unlabeled records before there was an option
_PASSED = ("seconds", "min_likelihood", "keep_unlabeled", "split", "folds", "fold", "target_options")
_RATE = 100  # Hz, of runs of all ages that name none
DEFAULT_SEED = 42  # of a run; it also chooses the records of --subsample_frac


@dataclass
class FoldOptions(Options, group="data"):
    """How a dataset is split."""

    split: str = option(
        "official",
        "official splits of the database, or k-fold: folds of patients, stratified by label",
        choices=("official", "kfold"),
        searchable=False,
    )
    folds: int = option(5, "folds of --split kfold", min=LEAST_FOLDS, searchable=False)
    fold: int = option(
        1, "test fold of --split kfold, from 1 (training: 0 for all folds)", min=0, searchable=False
    )


@dataclass
class DatasetOptions(FoldOptions, group="data"):
    """Which records and targets of a database are loaded, and how they are split."""

    database: str = option(
        "ptbxl", "database to load", choices=lambda: sorted({"ptbxl", *list_databases()}), searchable=False
    )
    data_dir: str = option(
        "data/ptb",
        "folder of the database, or its table (default for others than ptbxl: data/DATABASE)",
        scope="machine",
    )
    also: list[str] = option(
        [],
        "further databases with the same task whose records are added, each DATABASE=FOLDER",
        searchable=False,
        metavar="DATABASE=FOLDER[,..]",
    )
    task: str = option(
        "superdiagnostic",
        f"target set of the database; of PTB-XL: {', '.join(list_targets('ptbxl'))}",
        searchable=False,
    )
    keep_unlabeled: bool = option(
        False, "True: keep records without any statement of the label set", searchable=False
    )
    target_options: dict = option(
        {}, "options of the target set as JSON, such as '{\"tolerance\": 0.05}' of R-peaks", searchable=False
    )
    sampling_rate: int | None = option(
        None, "Hz (0: that of the recordings; default: that of the target set, else 100)", min=0
    )
    seconds: float = option(
        0.0,
        "length to which recordings are cropped or padded with zeros, or of the windows of a target set "
        "(0: that of the target set, else as recorded)",
        min=0,
        searchable=False,
    )
    min_likelihood: float = option(
        0.0, "smallest likelihood (%) at which a statement counts", min=0, max=100, searchable=False
    )
    subsample_frac: float = option(
        1.0,
        "fraction of the training and validation records to use: whole patients, stratified by label, chosen "
        "by the seed of the run; test records are never reduced",
        above=0,
        max=1,
        searchable=False,
        alias=("sample_frac",),
    )
    partial: bool = option(
        False,
        "True: leave out records whose files are absent (partial download) or unreadable",
        scope="machine",
    )


def complete_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run of any age: what did not exist then has the value that had its effect."""
    before = DatasetOptions().to_json() | {"keep_unlabeled": settings.get("task") in _KEPT_ALL}
    if "sampling_rate" not in settings:
        before["sampling_rate"] = default_rate(settings.get("task"), settings.get("database"))
    return before | dict(settings)


def default_rate(task: str | None, database: str | None) -> int:
    """Sampling rate (Hz) of a run that names none."""
    defaults = DatasetOptions()
    target_set = find_targets(task or defaults.task, database or defaults.database)
    return round(target_set.sampling_rate) or _RATE


def data_folder(settings: Mapping[str, Any]) -> str:
    """Folder of the database that settings name."""
    database, folder = settings["database"], settings["data_dir"]
    elsewhere = database != "ptbxl" and folder == DatasetOptions.data_dir
    return f"data/{database}" if elsewhere else folder


def open_dataset(settings: Mapping[str, Any]) -> Dataset:
    """Load the dataset that the settings of a run name."""
    values = complete_settings(settings)
    if values["sampling_rate"] is None:
        values["sampling_rate"] = default_rate(values["task"], values["database"])
    first = _load(values, values["database"], data_folder(values))
    further = [_load(values, name, folder) for name, folder in map(_named_folder, values["also"])]
    dataset = combine([first, *further]) if further else first
    return subsample(dataset, values["subsample_frac"], values.get("seed", DEFAULT_SEED))


def _named_folder(word: str) -> tuple[str, str]:
    """Database and folder of a word ``DATABASE=FOLDER``."""
    name, _, folder = word.partition("=")
    if name not in list_databases():
        raise UsageError(f"--also {word}: unknown database '{name}': {nearest(name, list_databases())}")
    return name, folder or f"data/{name}"


def _load(values: Mapping[str, Any], database: str, folder: str) -> Dataset:
    return load_dataset(
        database,
        folder,
        values["task"],
        values["sampling_rate"],
        on_missing="drop" if values["partial"] else "error",
        **{name: values[name] for name in _PASSED},
    )
