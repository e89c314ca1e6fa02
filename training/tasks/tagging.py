"""Tagging: classes of every step of a record, such as beats or rhythms, and of every RR interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from preprocessing.batches import Encoded, Weighted
from training.tasks.base import Decision, Task, interval_table
from training.tasks.boundary_scores import f1_of, intervals_of_f1
from training.tasks.decoding import clean_waves, stretches
from training.tasks.registry import register_task
from training.tasks.segmentation import Segmentation
from utils.errors import DataError
from utils.files import jsonable

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SHORTEST_AF = 5  # intervals; CPSC 2021 counts episodes of five beats or more


def step_counts(labels: np.ndarray, answer: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Steps of each record and class that are true and false positive and false negative.

    Shapes: labels and answer (N, T, C) of bool, counted (N, T, 1) of bool -> (N, C, 3).
    """
    parts = (labels & answer & counted, ~labels & answer & counted, labels & ~answer & counted)
    return np.stack([part.sum(axis=1, dtype=np.int64) for part in parts], axis=-1)


@register_task("tagging")
class Tagging(Task):
    """Independent classes of every step: binary cross-entropy with weights, F1 over steps.

    Targets are (N, T, C + 1): 0 or 1 for each class, and the weight of the step in the loss; a step without
    weight is not judged either. Predictions are probabilities (N, T, C). The decision is the threshold of
    each class with the best F1 on the validation records; nothing else is done to the answers.
    """

    loss_name = "bce"
    activation = "sigmoid"
    select_on = "macro_f1"
    titles: ClassVar[dict[str, str]] = {"macro_f1": "macro F1 of steps"}
    aligned = True

    def encode(self, targets: np.ndarray, smoothing: float = 0.0) -> Encoded:
        """Labels, moved towards 0.5 by label smoothing, and weights."""
        targets = np.asarray(targets, dtype=np.float32)
        return Weighted(targets[..., :-1] * (1 - smoothing) + smoothing / 2, targets[..., -1:])

    def check_data(self, train: Any, val: Any) -> None:
        """Refuse targets of another shape, and a class without a step among the validation records."""
        super().check_data(train, val)
        for part in (train, val):
            shape = part.targets.shape
            if len(shape) != 3 or shape[2] != len(self.classes) + 1 or shape[1] > part.signals.shape[1]:
                raise DataError(
                    f"{part.task}: {self.kind} targets must be (records, steps, {len(self.classes)} classes "
                    f"and 1 weight), not {shape}"
                )
        labels, counted = self._labels(val.targets)
        if not (labels & counted).any():
            name = val.split_names[val.selection]
            raise DataError(f"{val.task}: {name} has no step of any class, so no F1 can choose a checkpoint")

    def _labels(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels (N, T, C) and whether a step counts (N, T, 1), of bool."""
        return targets[..., :-1] > 0.5, targets[..., -1:] > 0

    def _thresholds(self, decision: Decision) -> np.ndarray:
        given = (decision or {}).get("thresholds")
        return np.array(given) if given else np.full(len(self.classes), 0.5)

    def decode(self, predictions: np.ndarray, decision: Decision = None) -> np.ndarray:
        """Whether each class holds at each step, (N, T, C) of bool."""
        return np.asarray(predictions) >= self._thresholds(decision)

    def _counts(self, targets: np.ndarray, predictions: np.ndarray, decision: Decision) -> np.ndarray:
        if targets.shape[:2] != predictions.shape[:2]:
            raise DataError(f"targets {targets.shape} and predictions {predictions.shape} do not fit")
        if not np.isfinite(predictions).all():
            raise DataError("predictions hold NaN or infinite values")
        labels, counted = self._labels(np.asarray(targets))
        return step_counts(labels, self.decode(predictions, decision), counted)

    def score(
        self, targets: np.ndarray, predictions: np.ndarray, decision: Decision = None
    ) -> dict[str, Any]:
        """F1 of each class over all steps, and their mean."""
        return self._scores(self._counts(targets, predictions, decision))

    def _scores(self, counts: np.ndarray) -> dict[str, Any]:
        scores = f1_of(counts.sum(axis=0))
        known = scores[np.isfinite(scores)]
        by_class = dict(zip(self.classes, scores.tolist(), strict=True))
        return jsonable({"macro_f1": float(known.mean()) if len(known) else 0.0, "class_f1": by_class})

    def fit_decision(self, dataset: Any, predictions: np.ndarray) -> Decision:
        """Choose the thresholds; of equal ones the nearest to 0.5."""
        scores = []
        for threshold in THRESHOLDS:
            fixed = {"thresholds": [threshold] * len(self.classes)}
            scores.append(f1_of(self._counts(dataset.targets, predictions, fixed).sum(axis=0)))
        distance = np.abs(np.array(THRESHOLDS) - 0.5)
        best = [
            max(range(len(THRESHOLDS)), key=lambda i: (column[i], -distance[i]))
            for column in np.nan_to_num(np.array(scores)).T
        ]
        reduction = {"reduction": self.reduction} if self.reduction > 1 else {}
        return {"thresholds": [THRESHOLDS[i] for i in best], **reduction}

    def check_decision(self, decision: Decision, where: Any) -> None:
        """Refuse thresholds that are not one probability for each class."""
        if decision is None:
            return
        given, reduction = decision.get("thresholds"), decision.get("reduction", 1)
        numbers = given if isinstance(given, list) else []
        right = len(numbers) == len(self.classes)
        if not right or not all(type(t) in (int, float) and 0 <= t <= 1 for t in numbers):
            raise DataError(f"{where}: 'thresholds' must be a probability for each class, not {given!r:.60}")
        if type(reduction) is not int or reduction < 1:
            raise DataError(f"{where}: 'reduction' must be a whole number of samples, not {reduction!r:.20}")

    def report(
        self,
        dataset: Any,
        predictions: np.ndarray,
        decision: Decision = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Scores of a split with intervals over patients."""
        counts = self._counts(dataset.targets, predictions, decision)
        return {
            "metrics": self._scores(counts) | {"records": len(counts)},
            "bootstrap": intervals_of_f1(
                counts, dataset.patients, resamples, seed, [*self.classes, "macro_f1"]
            ),
        }

    def table(self, report: dict[str, Any]) -> str:
        """Text table of a report."""
        metrics, bounds = report["metrics"], report["bootstrap"]
        names = [*(f"F1 {name}" for name in metrics["class_f1"]), self.titles["macro_f1"]]
        values = [*metrics["class_f1"].values(), metrics["macro_f1"]]
        limits = list(bounds["intervals"].values())
        last = f"{bounds['resamples']} resamples of {bounds['patients']} patients"
        return "\n".join([*interval_table(list(zip(names, values, limits, strict=True))), last])

    def describe(self, prediction: np.ndarray, decision: Decision, sampling_rate: float) -> dict[str, Any]:
        """``segments``: class, start and end in seconds of each stretch."""
        answer = self.decode(prediction[None], decision)[0]
        return {"segments": segments_of(answer, self.classes, self.reduction / sampling_rate)}

    def lines(self, described: dict[str, Any]) -> list[str]:
        """A line for each segment."""
        return [
            f"  {s['class']:8s} {s['start_s']:.3f} s to {s['end_s']:.3f} s" for s in described["segments"]
        ]

    def summary(self, described: dict[str, Any]) -> dict[str, Any]:
        """Number of segments of each class."""
        names = [segment["class"] for segment in described["segments"]]
        return {name: names.count(name) for name in self.classes}

    def summary_columns(self) -> dict[str, type]:
        """Every class."""
        return dict.fromkeys(self.classes, int)


def segments_of(answer: np.ndarray, classes: Sequence[str], step_s: float) -> list[dict[str, Any]]:
    """Stretches of each class in order of time; answer (T, C) of bool."""
    segments = [
        {"class": name, "start_s": round(first * step_s, 6), "end_s": round((last + 1) * step_s, 6)}
        for column, name in enumerate(classes)
        for first, last in stretches(answer[:, column]).tolist()
    ]
    return sorted(segments, key=lambda s: (s["start_s"], s["end_s"], s["class"]))


@register_task("rr")
class RRIntervals(Segmentation):
    """A class for each RR interval: Dice (F1 over intervals) of the classes other than the first.

    Targets are class numbers (N, L), `IGNORED` behind the end of a sequence; predictions are probabilities
    (N, L, C). Episodes of less than five intervals are taken for the class `none` (see `SHORTEST_AF`).
    """

    titles: ClassVar[dict[str, str]] = {
        "macro_dice": "macro F1 over intervals",
        "sample_accuracy": "accuracy over intervals",
    }

    def decode(self, predictions: np.ndarray, decision: Decision = None) -> np.ndarray:
        """Most probable class of each interval, without short episodes."""
        answer = np.argmax(predictions, axis=-1)
        judged = self._judged()
        if len(judged) == len(self.classes):  # no background that a short episode could become
            return answer
        background = next(i for i in range(len(self.classes)) if i not in judged)
        for row in answer:
            for number in judged:
                every = stretches(row == number)
                kept = clean_waves(every, 1.0, min(SHORTEST_AF, len(row)), 0.0)
                for first, last in every[~np.isin(every[:, 0], kept[:, 0])].tolist():
                    row[first : last + 1] = background
        return answer

    def describe(self, prediction: np.ndarray, decision: Decision, sampling_rate: float) -> dict[str, Any]:
        """``episodes``: class, first and last interval of each stretch, counted from 0."""
        answer = self.one_hot(self.decode(prediction[None], decision))[0]
        episodes = [
            {"class": self.classes[column], "first": first, "last": last}
            for column in self._judged()
            for first, last in stretches(answer[:, column]).tolist()
        ]
        return {"episodes": sorted(episodes, key=lambda episode: (episode["first"], episode["class"]))}

    def lines(self, described: dict[str, Any]) -> list[str]:
        """A line for each episode."""
        return [f"  {e['class']:8s} RR intervals {e['first']} to {e['last']}" for e in described["episodes"]]

    def summary(self, described: dict[str, Any]) -> dict[str, Any]:
        """Number of episodes of each class."""
        names = [episode["class"] for episode in described["episodes"]]
        return {self.classes[column]: names.count(self.classes[column]) for column in self._judged()}
