"""Target sets: what a model learns of a database, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.errors import UsageError, nearest
from utils.registry import Registry

if TYPE_CHECKING:
    from databases import Database
    from preprocessing.targets.regions import Beats

CLASS_KINDS = ("multilabel", "multiclass")  # targets of shape (N, C); those of other kinds may have any shape

# Modules that register target sets; imported at the first look-up.
_MODULES = (
    *(f"preprocessing.targets.{name}" for name in ("ptbxl", "statements", "rpeaks", "rpeaks_by_lead")),
    *(f"preprocessing.targets.{name}" for name in ("waves", "heartbeats", "rhythms")),
    "preprocessing.table_database",
)
IGNORED = -1  # in masks: a sample or step that is not annotated, which neither loss nor score counts
_ANY = ""  # the database of target sets that every database has


@dataclass(frozen=True)
class Targets:
    """Targets of the records that have them, or of windows of records.

    Parameters
    ----------
    rows : ndarray of int64, shape (N,)
        Row of each record in the table of the database's records; of windows, that of their record.
    values : ndarray, shape (N, C) or (N, ...)
        uint8 (N, C), 1 where the class is present; for kinds other than classes one array per record.
    classes : list of str
        Names of the classes.
    splits : ndarray of str, shape (N,), optional
        Split of each record, where the target set defines the splits.
    split_names : dict of str to str
        What those splits are, in words.
    starts : ndarray of int64, shape (N,), optional
        First sample of each window, at the rate of `TargetOptions`; None for whole records.
    overlapping : ndarray of bool, shape (N,), optional
        Windows that overlap others, from which only training records are made.
    leads : ndarray of str, shape (N,), optional
        The only lead of each window, where windows are of one lead and differ in it.
    signals : ndarray of float32, shape (N, T, channels), optional
        What a model reads in place of the recordings, such as RR intervals.
    channels : tuple of str
        Names of the columns where `leads` or `signals` decide them.
    beats : Beats, optional
        Annotated beats of each row, at the rate of `TargetOptions`.
    """

    rows: np.ndarray
    values: np.ndarray
    classes: list[str]
    splits: np.ndarray | None = None
    split_names: Mapping[str, str] = field(default_factory=dict)
    starts: np.ndarray | None = None
    overlapping: np.ndarray | None = None
    leads: np.ndarray | None = None
    signals: np.ndarray | None = None
    channels: tuple[str, ...] = ()
    beats: Beats | None = None


@dataclass(frozen=True)
class TargetOptions:
    """What targets are built for.

    Parameters
    ----------
    sampling_rate : float
        Of the signals, in Hz.
    samples : int
        Samples of each signal or window.
    leads : tuple of str
        Leads of the signals.
    min_likelihood : float
        A diagnostic statement counts from this likelihood on (0 to 100); 0 counts every one.
    keep_unlabeled : bool
        Keep records without any class.
    settings : dict
        Options of the target set, complete: see `TargetSet.settle`.
    """

    sampling_rate: float = 100
    samples: int = 1000
    leads: tuple[str, ...] = ()
    min_likelihood: float = 0
    keep_unlabeled: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


Build = Callable[["Database", TargetOptions], Targets]


@dataclass(frozen=True)
class TargetSet:
    """A target set; made by `register_targets`.

    ``alias``: other names.
    ``split_names``: names of the splits, where they are not those of the database.
    ``selection``: split on which checkpoint, thresholds and calibration are chosen.
    ``reference``: whether it reproduces a published selection that lets patients cross splits.
    ``sampling_rate``: in Hz, unless a command names one; 0 for that of the recordings.
    ``seconds``: length of records or windows, unless a command names one; 0 for that of the records.
    ``windows``: targets are of windows, which ``build`` chooses before signals are read.
    ``options``: options of its own, with their defaults.
    """

    name: str
    kind: str
    build: Build
    databases: tuple[str, ...] = ()
    alias: tuple[str, ...] = ()
    split_names: dict[str, str] = field(default_factory=dict)
    selection: str = "val"
    reference: bool = False
    sampling_rate: float = 0
    seconds: float = 0
    windows: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def settle(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Complete the options of its own; unknown names and values of another type are refused."""
        for name, value in given.items():
            if name not in self.options:
                has = nearest(name, self.options) if self.options else "it has none"
                raise UsageError(f"task {self.name} has no option '{name}' (target_options): {has}")
            default = self.options[name]
            number = isinstance(default, int | float) and not isinstance(default, bool)
            fits = isinstance(value, int | float) if number else isinstance(value, type(default))
            whole = not isinstance(default, int) or float(value) == int(value) if number and fits else True
            if not fits or not whole or (number and (isinstance(value, bool) or not 0 <= value < 1e9)):
                raise UsageError(
                    f"option '{name}' of task {self.name} (target_options) is {value!r}; its default is "
                    f"{default!r}"
                )
        return {**self.options, **given}

    @property
    def multilabel(self) -> bool:
        """Whether a record may have several classes."""
        return self.kind == "multilabel"


_SETS: Registry[TargetSet] = Registry("target set")


def register_targets(
    name: str, *, kind: str, build: Build, databases: Sequence[str] = (), **options: Any
) -> TargetSet:
    """Make a target set known under a name.

    Parameters
    ----------
    name : str
        As ``--task`` takes it.
    kind : str
        Training task that learns it.
    build : callable
        ``build(database, options)`` takes a `databases.Database` and `TargetOptions` and gives `Targets`.
    databases : sequence of str
        Databases that have it; empty for every database.
    **options
        Further fields of `TargetSet`.

    Returns
    -------
    TargetSet
        What was registered.

    Raises
    ------
    UsageError
        Another module has registered a target set of this name for one of the databases.
    """
    item = TargetSet(name, kind, build, tuple(databases), **options)
    if build.__module__ not in _MODULES:
        _load()  # so that a name of this package is refused here, not later
    for database in item.databases or (_ANY,):
        for known in (name, *item.alias):
            _SETS.register(f"{database}/{known}", item, build.__module__)
    return item


def _load() -> None:
    for module in _MODULES:
        importlib.import_module(module)


def list_targets(database: str) -> list[str]:
    """List the target sets of a database.

    Parameters
    ----------
    database : str
        Its name.

    Returns
    -------
    list of str
        In alphabetical order, without aliases.
    """
    _load()
    keys = [key for key in _SETS if key.split("/", 1)[0] in (database, _ANY)]
    return sorted({_SETS.get(key).name for key in keys})


def find_targets(name: str, database: str = "ptbxl") -> TargetSet:
    """Look up a target set by its name or an alias; the error for an unknown one gives the nearest."""
    _load()
    for key in (f"{database}/{name}", f"{_ANY}/{name}"):
        if key in _SETS:
            return _SETS.get(key)
    names = list_targets(database)
    if not names:
        raise UsageError(f"no task is registered for the database '{database}': register_targets makes one")
    raise UsageError(f"unknown task '{name}' of {database}: {nearest(name, names)}")
