"""R-peaks: one probability for each step of a record, and the peaks that follow from it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from preprocessing.batches import Encoded, Weighted
from preprocessing.targets import IGNORED
from training.tasks.base import Decision, Task, interval_table
from training.tasks.boundary_scores import count_found, f1_of, intervals_of_f1, peaks_of_mask
from training.tasks.decoding import PeakDecoder, peaks_of
from training.tasks.registry import register_task
from utils.errors import DataError
from utils.files import jsonable

TOLERANCES_MS = (150, 75, 25)
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_FOUND = "f1_75ms"  # chooses the threshold, which decides what is found and hardly where it lies
DECODING: dict[str, float] = {"threshold": 0.5, "shortest_s": 0.02, "refractory_s": 0.2}


@register_task("rpeaks")
class RPeaks(Task):
    """R-peaks: binary cross-entropy on steps near a peak, judged by the F1 of peaks within 150, 75, 25 ms.

    Targets are 1 near a peak, 0 elsewhere, `IGNORED` where nobody marked peaks, (N, T, 1); predictions are
    probabilities (N, T, 1). A reference peak is the middle of a stretch of ones. The mean of the three F1
    chooses the checkpoint. The decision is the threshold (of `THRESHOLDS`, with the best F1 within 75 ms on
    the validation records; of equal ones the nearest to 0.5), the shortest stretch and the refractory time.
    """

    loss_name = "bce"
    activation = "sigmoid"
    select_on = "mean_f1"
    logged: ClassVar[tuple[str, ...]] = tuple(f"f1_{tolerance}ms" for tolerance in TOLERANCES_MS)
    titles: ClassVar[dict[str, str]] = {"mean_f1": "mean F1 of 150, 75, 25 ms"} | {
        f"f1_{tolerance}ms": f"F1 within {tolerance} ms" for tolerance in TOLERANCES_MS
    }
    aligned = True
    events_file = "rpeaks.csv"

    @property
    def rate(self) -> float:
        """Steps in a second."""
        return self.sampling_rate / self.reduction

    def encode(self, targets: np.ndarray, smoothing: float = 0.0) -> Encoded:
        """Labels moved towards 0.5 by label smoothing, with a weight of 0 where they are ignored."""
        known = np.asarray(targets) != IGNORED
        labels = (np.asarray(targets) == 1).astype(np.float32) * (1 - smoothing) + smoothing / 2
        return labels if known.all() else Weighted(labels, known.astype(np.float32))

    def check_data(self, train: Any, val: Any) -> None:
        """Refuse targets of another shape, and records without a single peak."""
        super().check_data(train, val)
        for part in (train, val):
            shape, samples = part.targets.shape, part.signals.shape[1]
            steps = samples / self.reduction
            if len(shape) != 3 or shape[2] != len(self.classes) or not steps - 1 < shape[1] <= steps + 1:
                raise DataError(
                    f"{part.task}: {self.kind} targets must be (records, steps, {len(self.classes)}) for "
                    f"{samples} samples, not {shape}"
                )
            if not (part.targets == 1).any():
                name = part.split_names[part.selection if part is val else "train"]
                raise DataError(f"{part.task}: {name} has no R-peak: there is nothing to learn or to judge")

    def peaks(self, prediction: np.ndarray, decision: Decision) -> np.ndarray:
        """Positions in steps; prediction (T, 1) -> (M,)."""
        how = {name: (decision or {}).get(name, value) for name, value in DECODING.items()}
        return peaks_of(prediction[:, 0], self.rate, **how)

    def decoder(self, decision: Decision) -> PeakDecoder:
        """The same for a record that comes in pieces."""
        how = {name: (decision or {}).get(name, value) for name, value in DECODING.items()}
        return PeakDecoder(self.rate, **how)

    def decode(self, predictions: np.ndarray, decision: Decision = None) -> np.ndarray:
        """1 at the step of each peak, else 0; (N, T, 1)."""
        answer = np.zeros(predictions.shape, np.int8)
        for row, prediction in zip(answer, predictions, strict=True):
            row[np.rint(self.peaks(prediction, decision)).astype(np.int64), 0] = 1
        return answer

    def _counts(self, targets: np.ndarray, predictions: np.ndarray, decision: Decision) -> np.ndarray:
        """Counts of each record and tolerance, (N, 3 tolerances, 3)."""
        if targets.shape[:2] != predictions.shape[:2]:
            raise DataError(f"targets {targets.shape} and predictions {predictions.shape} do not fit")
        if not np.isfinite(predictions).all():
            raise DataError("predictions hold NaN or infinite values")
        counts = np.zeros((len(targets), len(TOLERANCES_MS), 3), np.int64)
        for row, target, prediction in zip(counts, targets, predictions, strict=True):
            expected, found = peaks_of_mask(target[:, 0]), self.peaks(prediction, decision)
            known = target[:, 0] != IGNORED
            known &= ~_at_cut_peaks(target[:, 0])
            for place, tolerance in enumerate(TOLERANCES_MS):
                row[place] = count_found(expected, found, known, tolerance * self.rate / 1000)[0]
        return counts

    def score(
        self, targets: np.ndarray, predictions: np.ndarray, decision: Decision = None
    ) -> dict[str, Any]:
        """F1 for each tolerance, their mean, and the counts of 75 ms."""
        return self._scores(self._counts(np.asarray(targets), predictions, decision))

    def _scores(self, counts: np.ndarray) -> dict[str, Any]:
        total = counts.sum(axis=0)
        scores = np.nan_to_num(f1_of(total))
        named = dict(zip(self.logged, scores.tolist(), strict=True))
        tp, fp, fn = total[TOLERANCES_MS.index(75)].tolist()
        return jsonable({"mean_f1": float(scores.mean()), **named, "tp": tp, "fp": fp, "fn": fn})

    def fit_decision(self, dataset: Any, predictions: np.ndarray) -> Decision:
        """Choose the threshold."""
        fixed = DECODING | ({"reduction": self.reduction} if self.reduction > 1 else {})
        scores = {
            threshold: self.score(dataset.targets, predictions, fixed | {"threshold": threshold})[_FOUND]
            for threshold in THRESHOLDS
        }
        best = max(THRESHOLDS, key=lambda threshold: (scores[threshold], -abs(threshold - 0.5)))
        return fixed | {"threshold": best}

    def check_decision(self, decision: Decision, where: Any) -> None:
        """Refuse numbers that no peaks can be decoded with."""
        check_numbers(decision, (*DECODING, "reduction"), where)

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
                counts, dataset.patients, resamples, seed, (*self.logged, "mean_f1")
            ),
        }

    def table(self, report: dict[str, Any]) -> str:
        """Text table of a report."""
        bounds = report["bootstrap"]
        rows = [
            (self.titles[name], report["metrics"][name], interval)
            for name, interval in bounds["intervals"].items()
        ]
        tp, fp, fn = (report["metrics"][name] for name in ("tp", "fp", "fn"))
        last = f"within 75 ms: {tp} found, {fp} false, {fn} missed; "
        last += f"{bounds['resamples']} resamples of {bounds['patients']} patients"
        return "\n".join([*interval_table(rows), last])

    def describe(self, prediction: np.ndarray, decision: Decision, sampling_rate: float) -> dict[str, Any]:
        """``peaks`` in seconds; ``heart_rate_bpm`` from the median interval, None without two peaks."""
        seconds = self.peaks(prediction, decision) * self.reduction / sampling_rate
        return describe_peaks(seconds)

    def describe_leads(
        self, predictions: dict[str, np.ndarray], decision: Decision, sampling_rate: float
    ) -> dict[str, Any]:
        """Peaks of each lead, and those of the mean probability of all leads."""
        together = np.mean(list(predictions.values()), axis=0)
        leads = super().describe_leads(predictions, decision, sampling_rate)
        return self.describe(together, decision, sampling_rate) | leads

    def events(self, described: dict[str, Any]) -> list[dict[str, Any]]:
        """A row for each peak, of all leads together and of each lead."""
        parts = {"all": described} | described.get("leads", {})
        return [{"lead": lead, "time_s": time} for lead, part in parts.items() for time in part["peaks"]]

    def lines(self, described: dict[str, Any]) -> list[str]:
        """A line on the peaks."""
        rate = described["heart_rate_bpm"]
        return [f"  {len(described['peaks'])} R-peaks" + ("" if rate is None else f", {rate:.0f} / min")]

    def summary(self, described: dict[str, Any]) -> dict[str, Any]:
        """Number of peaks and heart rate."""
        return {"R-peaks": len(described["peaks"]), "heart_rate_bpm": described["heart_rate_bpm"]}

    def summary_columns(self) -> dict[str, type]:
        """Number of peaks and heart rate."""
        return {"R-peaks": int, "heart_rate_bpm": float}


def describe_peaks(seconds: np.ndarray) -> dict[str, Any]:
    """Peaks, and the heart rate of their median interval, as JSON values."""
    intervals = np.diff(seconds)
    rate = float(60 / np.median(intervals)) if len(intervals) else None
    return {
        "peaks": np.round(seconds, 4).tolist(),
        "heart_rate_bpm": None if rate is None else round(rate, 1),
    }


def _at_cut_peaks(mask: np.ndarray) -> np.ndarray:
    """Steps near a peak whose place is unknown, because its stretch ends at what is not annotated."""
    changes = np.r_[True, mask[1:] != mask[:-1]]
    numbers = np.cumsum(changes) - 1
    values = mask[changes]
    edged = np.r_[IGNORED, values, IGNORED]
    cut = (values == 1) & ((edged[:-2] == IGNORED) | (edged[2:] == IGNORED))
    return cut[numbers]


def check_numbers(decision: Decision, names: tuple[str, ...], where: Any) -> None:
    """Refuse a decision with other keys than some names, or without numbers from 0 on."""
    if decision is None:
        return
    for name, value in decision.items():
        number = type(value) in (int, float) and 0 <= value < 1e6
        if name not in names or not number or (name == "reduction" and (type(value) is not int or value < 1)):
            raise DataError(f"{where}: 'decision' has no valid '{name}' ({value!r:.40}): the card is damaged")
