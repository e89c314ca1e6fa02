"""Segmentation: a class, or several, for every sample of a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from preprocessing.batches import Encoded, Weighted
from preprocessing.targets import IGNORED
from training.tasks.base import Decision, Task, interval_table
from training.tasks.registry import register_task
from utils.errors import DataError
from utils.files import jsonable
from utils.outputs import Outputs, TagOutputs, WaveOutputs

BACKGROUND = ("background", "none")  # classes of these names are left out of the macro mean


def overlap_counts(ground_truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Samples of each record and class that are true positive, false positive and false negative.

    Shapes: ground_truth (N, T, C) of bool, answer (N, T, C) of bool -> (N, C, 3).
    """
    parts = (ground_truth & answer, ~ground_truth & answer, ground_truth & ~answer)
    return np.stack([part.sum(axis=1, dtype=np.int64) for part in parts], axis=-1)


def dice(counts: np.ndarray) -> np.ndarray:
    """Dice score (the F1 score over samples) from counts; NaN where a class is nowhere.

    Shapes: counts (..., 3) -> (...).

    Dice, Ecology 26 (1945) 297-302, doi:10.2307/1932409.
    """
    true, false, missed = (counts[..., i] for i in range(3))
    whole = 2 * true + false + missed
    return np.divide(2 * true, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


@register_task("segmentation")
class Segmentation(Task):
    """One class for each sample: cross-entropy, Dice over the classes other than the background.

    Targets are class numbers (N, T), or `IGNORED` (-1) for samples that do not count; predictions are
    probabilities (N, T, C).
    """

    loss_name = "ce"
    activation = "softmax"
    select_on = "macro_dice"
    logged: ClassVar[tuple[str, ...]] = ("sample_accuracy",)
    titles: ClassVar[dict[str, str]] = {
        "macro_dice": "macro Dice",
        "sample_accuracy": "accuracy over samples",
    }
    aligned = True

    def one_hot(self, targets: np.ndarray) -> np.ndarray:
        """Targets as one column of bool a class; none of them holds where a sample is ignored."""
        targets = np.asarray(targets)
        known = targets[targets != IGNORED]
        if targets.ndim != 2 or (known.size and not 0 <= known.min() <= known.max() < len(self.classes)):
            raise DataError(
                f"{self.kind} targets must be class numbers 0 to {len(self.classes) - 1} (or {IGNORED}: "
                f"ignored) of shape (records, samples), not {targets.dtype} of shape {targets.shape}"
            )
        return targets[..., None] == np.arange(len(self.classes))

    def counted(self, targets: np.ndarray) -> np.ndarray:
        """Whether a sample is learned and judged, (N, T, 1) of bool."""
        return (np.asarray(targets) != IGNORED)[..., None]

    def _smoothed_over(self) -> int:
        return len(self.classes)

    def encode(self, targets: np.ndarray, smoothing: float = 0.0) -> Encoded:
        """One column a class as float32, moved towards equal probabilities by label smoothing."""
        labels = (
            self.one_hot(targets).astype(np.float32) * (1 - smoothing) + smoothing / self._smoothed_over()
        )
        counted = self.counted(targets)
        return labels if counted.all() else Weighted(labels, counted.astype(np.float32))

    def check_data(self, train: Any, val: Any) -> None:
        """Refuse targets without a value for each sample, and validation records without any segment."""
        for part in (train, val):
            if part.targets.shape[1:2] != part.signals.shape[1:2]:
                raise DataError(
                    f"{part.task}: targets of shape {part.targets.shape} do not have one value for each of "
                    f"{part.signals.shape[1]} samples"
                )
        if not self.one_hot(val.targets)[..., self._judged()].any():
            name = val.split_names[val.selection]
            raise DataError(
                f"{val.task}: {name} has no segment of any class, so no Dice can choose a checkpoint"
            )

    def decode(self, predictions: np.ndarray, decision: Decision = None) -> np.ndarray:
        """Most probable class of each sample."""
        return np.argmax(predictions, axis=-1)

    def outputs(
        self, predictions: np.ndarray, decision: Decision = None, records: Sequence[Any] | None = None
    ) -> Outputs:
        """A mask of class numbers; its rate is 1 where that of the samples is not known to the task."""
        ids = np.arange(len(predictions)) if records is None else np.asarray(records)
        background = next((name for name in self.classes if name.lower() in BACKGROUND), "")
        mask = self.decode(predictions, decision)
        rate = getattr(self, "sampling_rate", 0) or 1.0
        return WaveOutputs(ids, tuple(self.classes), predictions, mask, rate, background)

    def score(
        self, targets: np.ndarray, predictions: np.ndarray, decision: Decision = None
    ) -> dict[str, Any]:
        """Dice of each class over all samples, their mean, and the share of right samples."""
        if not np.isfinite(predictions).all():
            raise DataError("predictions hold NaN or infinite values")
        ground_truth, answer = self._judged_samples(targets, predictions, decision)
        counted = self.counted(targets)[..., 0]
        right = (ground_truth == answer).all(-1)[counted]
        return self._scores(overlap_counts(ground_truth, answer)) | {
            "sample_accuracy": float(right.mean()) if right.size else None
        }

    def _judged_samples(
        self, targets: np.ndarray, predictions: np.ndarray, decision: Decision
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ground truth and answer, one column of bool a class, without samples that are ignored."""
        answer = self.one_hot(self.decode(predictions, decision)) & self.counted(targets)
        return self.one_hot(targets), answer

    def report(
        self,
        dataset: Any,
        predictions: np.ndarray,
        decision: Decision = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Scores of a split with percentile intervals of the Dice scores over patients."""
        metrics = self.score(dataset.targets, predictions, decision)
        ground_truth, answer = self._judged_samples(dataset.targets, predictions, decision)
        patients = np.unique(dataset.patients, return_inverse=True)[1]
        counts = np.zeros((patients.max() + 1, len(self.classes), 3))
        np.add.at(counts, patients, overlap_counts(ground_truth, answer))
        rng = np.random.default_rng(seed)
        drawn = np.stack(
            [dice(counts[rng.integers(len(counts), size=len(counts))].sum(axis=0)) for _ in range(resamples)]
        )
        intervals = {f"dice {name}": _interval(drawn[:, i]) for i, name in enumerate(self.classes)}
        intervals["macro_dice"] = _interval(_mean_of_defined(drawn[:, self._judged()]))
        described = {"intervals": intervals, "level": 0.95, "resamples": resamples, "seed": seed}
        return {
            "metrics": metrics,
            "bootstrap": described | {"patients": len(counts), "records": len(patients)},
        }

    def table(self, report: dict[str, Any]) -> str:
        """Text table of a report: values, and their intervals over patients."""
        metrics, intervals = report["metrics"], report["bootstrap"]["intervals"]
        rows = [
            (self.titles[name], metrics[name], intervals.get(name))
            for name in ("macro_dice", "sample_accuracy")
        ]
        rows += [
            (f"Dice {name}", value, intervals[f"dice {name}"])
            for name, value in metrics["class_dice"].items()
        ]
        counts = report["bootstrap"]
        return "\n".join(
            [*interval_table(rows), f"{counts['resamples']} resamples of {counts['patients']} patients"]
        )

    def describe(self, prediction: np.ndarray, decision: Decision, sampling_rate: float) -> dict[str, Any]:
        """``segments``: class, start and end in seconds of each stretch, without the background."""
        answer = self.one_hot(self.decode(prediction[None], decision))[0]
        segments = []
        for column in self._judged():
            padded = np.concatenate([[False], answer[:, column], [False]])
            edges = np.flatnonzero(padded[1:] != padded[:-1])
            for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                segments.append(
                    {
                        "class": self.classes[column],
                        "start_s": round(start / sampling_rate, 6),
                        "end_s": round(end / sampling_rate, 6),
                    }
                )
        return {"segments": sorted(segments, key=lambda s: (s["start_s"], s["end_s"], s["class"]))}

    def lines(self, described: dict[str, Any]) -> list[str]:
        """A line for each segment."""
        return [
            f"  {s['class']:8s} {s['start_s']:.3f} s to {s['end_s']:.3f} s" for s in described["segments"]
        ]

    def summary(self, described: dict[str, Any]) -> dict[str, Any]:
        """Number of segments of each class."""
        names = [segment["class"] for segment in described["segments"]]
        return {self.classes[column]: names.count(self.classes[column]) for column in self._judged()}

    def summary_columns(self) -> dict[str, type]:
        """Every class but the background."""
        return {self.classes[column]: int for column in self._judged()}

    def _judged(self) -> list[int]:
        judged = [i for i, name in enumerate(self.classes) if name.lower() not in BACKGROUND]
        return judged or list(range(len(self.classes)))

    def _scores(self, counts: np.ndarray) -> dict[str, Any]:
        values = dice(counts.sum(axis=0))
        by_class = dict(zip(self.classes, values.tolist(), strict=True))
        macro = float(_mean_of_defined(values[self._judged()][None])[0])
        return jsonable({"records": len(counts), "macro_dice": macro, "class_dice": by_class})


@register_task("multilabel_segmentation")
class MultilabelSegmentation(Segmentation):
    """Any number of classes for each sample: binary cross-entropy, threshold 0.5.

    Targets are 0 or 1 (N, T, C); a row of `IGNORED` (-1) does not count.
    """

    loss_name = "bce"
    activation = "sigmoid"

    def one_hot(self, targets: np.ndarray) -> np.ndarray:
        """Targets as bool."""
        targets = np.asarray(targets)
        if targets.ndim != 3 or targets.shape[2] != len(self.classes):
            raise DataError(
                f"{self.kind} targets must be 0 or 1 of shape (records, samples, {len(self.classes)}), "
                f"not of shape {targets.shape}"
            )
        return targets > 0

    def counted(self, targets: np.ndarray) -> np.ndarray:
        """Whether a sample is learned and judged, (N, T, 1) of bool."""
        return (np.asarray(targets) != IGNORED).all(axis=-1, keepdims=True)

    def _smoothed_over(self) -> int:
        return 2  # present and absent

    def decode(self, predictions: np.ndarray, decision: Decision = None) -> np.ndarray:
        """Classes of each sample with a probability of at least 0.5."""
        return np.asarray(predictions) >= 0.5

    def outputs(
        self, predictions: np.ndarray, decision: Decision = None, records: Sequence[Any] | None = None
    ) -> Outputs:
        """Classes of each sample."""
        ids = np.arange(len(predictions)) if records is None else np.asarray(records)
        rate = getattr(self, "sampling_rate", 0) or 1.0
        return TagOutputs(ids, tuple(self.classes), predictions, self.decode(predictions, decision), rate)


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN; NaN where all are; values (N, C) -> (N,)."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0).sum(axis=-1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _interval(values: np.ndarray) -> dict[str, float] | None:
    """The 2.5 and 97.5 percentiles, None where a resample has no value."""
    if np.isnan(values).any():
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return {"low": float(low), "high": float(high)}
