"""What tasks answer, as checked types: classes, labels, tags of steps, waves and R-peaks of records."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from utils.classification_scores import classification_scores
from utils.delineation_scores import delineation_scores, sample_jaccard, waves_of_mask
from utils.errors import DataError, UsageError
from utils.metrics import macro
from utils.rpeak_scores import rpeak_scores

SHARED = {"shared": True}  # of a field that all records have in common


@dataclass(frozen=True)
class Outputs(abc.ABC):
    """Answers for records; fields are arrays whose first axis is records, or properties of all of them.

    ``records`` (N,): ids, text or numbers. ``classes``: names of the C classes.
    ``probabilities`` (N, ..., C): values in [0, 1].
    """

    records: np.ndarray
    classes: tuple[str, ...]
    probabilities: np.ndarray

    def __post_init__(self) -> None:
        self._set("records", np.asarray(self.records))
        self._set("classes", tuple(str(name) for name in self.classes))
        self._set("probabilities", np.asarray(self.probabilities))
        if self.records.ndim != 1:
            raise DataError(f"{self._name}: records must be a list of ids, not of shape {self.records.shape}")
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise DataError(f"{self._name}: classes must be different names, not {', '.join(self.classes)}")
        p = self.probabilities
        if p.dtype.kind != "f" or p.shape[-1:] != (len(self.classes),) or len(p) != len(self.records):
            raise DataError(
                f"{self._name}: probabilities must be floats of shape ({len(self.records)}, ..., "
                f"{len(self.classes)}), not {p.dtype} of shape {p.shape}"
            )
        inside = (p >= 0) & (p <= 1)  # NaN is not
        if not inside.all():
            first = self.records[np.argwhere(~inside)[0][0]]
            raise DataError(f"{self._name}: a probability of record {first} is not in [0, 1]")

    def __len__(self) -> int:
        return len(self.records)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _set(self, field: str, value: Any) -> None:
        object.__setattr__(self, field, value)

    def _check_axes(self, axes: int) -> None:
        if self.probabilities.ndim != axes:
            raise DataError(
                f"{self._name}: probabilities must have {axes} axes, not shape {self.probabilities.shape}"
            )

    def _check_answer(self, field: str, shape: tuple[int, ...], highest: int) -> None:
        """Make a field an array of whole numbers from 0 to `highest`, and refuse any other."""
        value = np.asarray(getattr(self, field))
        if value.shape != shape:
            raise DataError(f"{self._name}: {field} must have the shape {shape}, not {value.shape}")
        if value.dtype.kind not in "iub" or (value.size and not 0 <= value.min() <= value.max() <= highest):
            raise DataError(f"{self._name}: {field} must be whole numbers from 0 to {highest}")
        self._set(field, value)

    def _check_rate(self) -> None:
        rate = getattr(self, "rate", None)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < np.inf:
            raise DataError(f"{self._name}: rate must be a number above 0 Hz, not {rate!r}")

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join the answers for several groups of records.

        ``parts``: one or more, with the same classes, thresholds and rate.
        """
        if not parts:
            raise DataError(f"{cls.__name__}: there is nothing to join")
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            column = [getattr(part, field.name) for part in parts]
            if field.metadata.get("shared") or field.name == "classes":
                if not all(np.array_equal(value, column[0]) for value in column):
                    raise DataError(f"{cls.__name__}: parts differ in their {field.name}")
                values[field.name] = column[0]
            elif isinstance(column[0], np.ndarray):
                if len({value.shape[1:] for value in column}) > 1:
                    shapes = ", ".join(str(value.shape) for value in column)
                    raise DataError(f"{cls.__name__}: {field.name} of the parts has the shapes {shapes}")
                values[field.name] = np.concatenate(column)
            else:
                values[field.name] = tuple(item for value in column for item in value)
        return cls(**values)

    @abc.abstractmethod
    def scores(self, labels: Any, patients: Sequence[object] | None = None, **how: Any) -> dict[str, Any]:
        """Score against the ground truth in the form of the answers.

        ``patients``: of each record, for intervals. ``how``: further options of the function that scores.
        """


@dataclass(frozen=True)
class ClassOutputs(Outputs):
    """One class a record. ``decisions`` (N,): its number; `scores` takes class numbers (N,)."""

    decisions: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_axes(2)
        self._check_answer("decisions", (len(self),), len(self.classes) - 1)

    def scores(self, labels: Any, patients: Sequence[object] | None = None, **how: Any) -> dict[str, Any]:
        each = np.arange(len(self.classes))
        expected = _numbers(labels, self.decisions.shape, len(self.classes))[:, None] == each
        answer = self.decisions[:, None] == each
        return classification_scores(expected, answer, self.probabilities, patients=_ids(patients), **how)


@dataclass(frozen=True)
class LabelOutputs(Outputs):
    """Any number of classes a record. ``decisions`` (N, C): 0 or 1, where ``thresholds`` (C,) are reached."""

    decisions: np.ndarray
    thresholds: np.ndarray = dataclasses.field(metadata=SHARED)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_axes(2)
        self._check_answer("decisions", self.probabilities.shape, 1)
        self._set("thresholds", _thresholds(self.thresholds, self._name, len(self.classes)))

    def scores(self, labels: Any, patients: Sequence[object] | None = None, **how: Any) -> dict[str, Any]:
        return classification_scores(
            np.asarray(labels), self.decisions, self.probabilities, patients=_ids(patients), **how
        )


@dataclass(frozen=True)
class TagOutputs(Outputs):
    """Any number of classes a step. ``decisions`` (N, T, C): 0 or 1. ``rate``: steps in a second."""

    decisions: np.ndarray
    rate: float = dataclasses.field(metadata=SHARED)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_axes(3)
        self._check_answer("decisions", self.probabilities.shape, 1)
        self._check_rate()

    def scores(self, labels: Any, patients: Sequence[object] | None = None, **how: Any) -> dict[str, Any]:
        """Score over all steps; labels (N, T, C) of 0, 1, or negative where a step does not count."""
        labels = np.asarray(labels)
        if labels.shape != self.decisions.shape:
            raise DataError(f"labels have the shape {labels.shape}, the answers {self.decisions.shape}")
        counted = (labels >= 0).all(axis=-1)
        owners = None if patients is None else np.repeat(np.asarray(patients), counted.sum(axis=1))
        parts = (labels[counted], self.decisions[counted], self.probabilities[counted])
        return classification_scores(*parts, patients=owners, **how)


@dataclass(frozen=True)
class WaveOutputs(Outputs):
    """One class a sample. ``mask`` (N, T): its number. ``rate``: Hz; ``background``: class of no wave."""

    mask: np.ndarray
    rate: float = dataclasses.field(metadata=SHARED)
    background: str = dataclasses.field(metadata=SHARED)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_axes(3)
        self._check_answer("mask", self.probabilities.shape[:2], len(self.classes) - 1)
        self._check_rate()
        if self.background and self.background not in self.classes:
            raise DataError(f"{self._name}: background '{self.background}' is not a class")

    @property
    def kinds(self) -> dict[str, int]:
        """Number of each class but the background."""
        return {name: i for i, name in enumerate(self.classes) if name != self.background}

    @property
    def waves(self) -> list[dict[str, np.ndarray]]:
        """For each record and class (W, 2): first and last sample of its waves."""
        return [waves_of_mask(row, self.kinds) for row in self.mask]

    def scores(self, labels: Any, patients: Sequence[object] | None = None, **how: Any) -> dict[str, Any]:
        """``boundaries`` (`delineation_scores`), ``jaccard`` of each class and their mean; labels (N, T)."""
        labels = np.asarray(labels)
        if labels.shape != self.mask.shape:
            raise DataError(f"labels have the shape {labels.shape}, the answers {self.mask.shape}")
        expected = [waves_of_mask(row, self.kinds) for row in labels]
        boundaries = delineation_scores(expected, self.waves, self.rate, patients=patients, **how)
        jaccard = {name: sample_jaccard(labels, self.mask, number) for name, number in self.kinds.items()}
        return {
            "boundaries": boundaries,
            "jaccard": jaccard,
            "macro_jaccard": macro(np.array([*jaccard.values()])),
        }


@dataclass(frozen=True)
class PeakOutputs(Outputs):
    """R-peaks. ``peaks``: for each record ascending sample numbers (M,). ``rate``: Hz of these samples."""

    peaks: tuple[np.ndarray, ...]
    rate: float = dataclasses.field(metadata=SHARED)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rate()
        self._set("peaks", tuple(np.asarray(row) for row in self.peaks))
        if len(self.peaks) != len(self):
            raise DataError(f"{self._name}: {len(self.peaks)} lists of peaks for {len(self)} records")
        for record, row in zip(self.records, self.peaks, strict=True):
            if row.ndim != 1 or (np.diff(row) <= 0).any() or (row < 0).any() or row.dtype.kind not in "iuf":
                raise DataError(
                    f"{self._name}: the peaks of record {record} are not ascending sample numbers"
                )

    def scores(self, labels: Any, patients: Sequence[object] | None = None, **how: Any) -> dict[str, Any]:
        """`rpeak_scores`; labels are sample numbers for each record, at the same rate."""
        return rpeak_scores(list(labels), list(self.peaks), self.rate, patients=patients, **how)


def _ids(patients: Sequence[object] | None) -> np.ndarray | None:
    return None if patients is None else np.asarray(patients)


def _numbers(labels: Any, shape: tuple[int, ...], classes: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != shape or labels.dtype.kind not in "iu":
        raise DataError(f"labels must be class numbers of shape {shape}, not {labels.dtype} {labels.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(f"labels must be class numbers from 0 to {classes - 1}")
    return labels


def _thresholds(value: Any, name: str, classes: int) -> np.ndarray:
    thresholds = np.asarray(value, np.float64)
    if thresholds.shape != (classes,) or not ((thresholds >= 0) & (thresholds <= 1)).all():
        raise DataError(f"{name}: thresholds must be {classes} probabilities, not {value!r}")
    return thresholds


def no_outputs(kind: str) -> UsageError:
    """The error of a task without an output type."""
    return UsageError(f"task {kind} has no type of outputs: use `decode`, or define `Task.outputs`")
