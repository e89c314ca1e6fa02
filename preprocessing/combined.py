"""Datasets of several databases as one, for a target set that all of them have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from preprocessing.dataset import Dataset
from preprocessing.signals import ScaledSignals
from preprocessing.targets.regions import Beats
from utils.errors import UsageError


def combine(datasets: Sequence[Dataset]) -> Dataset:
    """One dataset of the records of several; their signals are read into memory.

    Records and patients are named ``database/record``, so that those of two databases are never the same.
    Splits, and with them the patients of each, stay as they are.
    """
    first = datasets[0]
    for other in datasets[1:]:
        for name in ("task", "kind", "classes", "leads", "sampling_rate", "selection", "samples"):
            ours, theirs = getattr(first, name), getattr(other, name)
            if ours != theirs:
                raise UsageError(
                    f"{first.name} and {other.name} cannot be one dataset: {name} is {ours} and {theirs}"
                )
        if first.targets.shape[1:] != other.targets.shape[1:]:
            raise UsageError(
                f"{first.name} and {other.name} cannot be one dataset: targets are of shape "
                f"{first.targets.shape[1:]} and {other.targets.shape[1:]}"
            )
    parts = {
        split: " and ".join(f"{one.split_names[split]} of {one.name}" for one in datasets)
        for split in first.split_names
    }
    digests = [one.digests for one in datasets if one.digests is not None]
    return Dataset(
        signals=_signals(datasets),
        targets=np.concatenate([one.targets for one in datasets]),
        classes=first.classes,
        ids=_named(datasets, "ids"),
        patients=_named(datasets, "patients"),
        splits=np.concatenate([one.splits for one in datasets]),
        sampling_rate=first.sampling_rate,
        task=first.task,
        leads=first.leads,
        kind=first.kind,
        name="+".join(one.name for one in datasets),
        version="; ".join(one.version for one in datasets),
        split_names=parts,
        selection=first.selection,
        starts=np.concatenate(
            [np.zeros(len(one), np.int64) if one.starts is None else one.starts for one in datasets]
        ),
        digests=np.concatenate(digests) if len(digests) == len(datasets) else None,
        beats=_beats(datasets),
    )


def _named(datasets: Sequence[Dataset], field: str) -> np.ndarray:
    """Names of records or patients with the database in front."""
    return np.concatenate(
        [np.array([f"{one.name}/{value}" for value in getattr(one, field).tolist()]) for one in datasets]
    )


def _signals(datasets: Sequence[Dataset]) -> ScaledSignals | np.ndarray:
    """Stored samples where all are integers of one unit, else millivolts."""
    signals = [one.signals for one in datasets]
    units = {one.units_per_mv for one in signals if isinstance(one, ScaledSignals) and one.whole_numbers}
    integers = all(isinstance(one, ScaledSignals) and one.whole_numbers for one in signals)
    if integers and len(units) == 1:
        raw = [one.raw(slice(None)) for one in signals if isinstance(one, ScaledSignals)]
        return ScaledSignals(np.concatenate(raw), units_per_mv=units.pop())
    return np.concatenate([np.asarray(one, np.float32) for one in signals])


def _beats(datasets: Sequence[Dataset]) -> Beats | None:
    """Annotated beats of all, where all have them."""
    beats = [one.beats for one in datasets]
    if any(one is None for one in beats):
        return None
    offsets = np.cumsum([0, *map(len, datasets)])
    parts = [
        (one.window + offset, one.sample, one.cls) for one, offset in zip(beats, offsets, strict=False) if one
    ]
    return Beats(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
