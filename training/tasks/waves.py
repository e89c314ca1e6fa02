"""Waves: P, QRS and T of a lead, their onsets and offsets, from a class for every sample."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from preprocessing.targets import IGNORED
from training.tasks.base import Decision, interval_table
from training.tasks.boundary_scores import count_found, f1_of, intervals_of_f1
from training.tasks.decoding import stretches, waves_of
from training.tasks.registry import register_task
from training.tasks.rpeaks import check_numbers
from training.tasks.segmentation import BACKGROUND, Segmentation
from utils.errors import DataError
from utils.files import jsonable

# How far a boundary may be off, in ms; that of a kind of wave that is not named: 50.
TOLERANCES_MS = {
    "P onset": 50, "P offset": 50, "QRS onset": 40, "QRS offset": 40, "T onset": 50, "T offset": 100
}  # fmt: skip
SHORTEST_S = {"P": 0.02, "QRS": 0.03, "T": 0.05}
MERGE_S = 0.03
DECODING: dict[str, float] = {f"shortest_{name}_s": value for name, value in SHORTEST_S.items()}
# P waves count only where this share of the beats around has one (`decoding.frequent_enough`), because the
# network takes some fibrillation waves for P: the largest of 0.1 to 0.9 that loses less than 0.5 % of the P
# waves of records 61-70 of LUDB.
LEAST_P_SHARE = 0.6
DECODING |= {"merge_s": MERGE_S, "least_p_share": LEAST_P_SHARE}


@register_task("waves")
class Waves(Segmentation):
    """Segmentation judged by the boundaries of waves: the macro F1 over onsets and offsets selects.

    Targets are class numbers (N, T), the first of them the background, `IGNORED` where nobody marked waves;
    predictions are probabilities (N, T, C). `decode` states the post-processing, whose numbers are the
    decision of a card. A boundary is found within `TOLERANCES_MS`; predictions outside of what is annotated
    do not count, nor do reference boundaries that end at what is not.
    """

    select_on = "macro_f1"
    logged: ClassVar[tuple[str, ...]] = ("macro_dice",)
    titles: ClassVar[dict[str, str]] = Segmentation.titles | {"macro_f1": "macro F1 of boundaries"}
    events_file = "waves.csv"

    def check_data(self, train: Any, val: Any) -> None:
        """Refuse classes without a background, and a class that training records do not have."""
        if self.classes[0].lower() not in BACKGROUND or len(self.classes) < 2:
            raise DataError(
                f"{train.task}: the first class must be the background, not '{self.classes[0]}', and one "
                "kind of wave at least must follow"
            )
        super().check_data(train, val)
        absent = [name for number, name in enumerate(self.classes) if not (train.targets == number).any()]
        if absent:
            raise DataError(f"{train.task}: no training record has {', '.join(absent)}: it cannot be learned")

    @property
    def boundaries(self) -> list[str]:
        """Onset and offset of each kind of wave."""
        return [f"{name} {end}" for name in self.classes[1:] for end in ("onset", "offset")]

    def waves(self, prediction: np.ndarray, decision: Decision = None) -> dict[str, np.ndarray]:
        """First and last samples of the waves of each kind, (T, C) -> (W, 2) each."""
        how = DECODING | {"least_p_share": 0.0} | decision if decision else DECODING  # unknown to old cards
        shortest = {name: how.get(f"shortest_{name}_s", 0.0) for name in self.classes[1:]}
        share = {"P": how["least_p_share"]}
        return waves_of(
            prediction, self.sampling_rate, self.classes, shortest, how["merge_s"], least_share=share
        )

    def decode(self, predictions: np.ndarray, decision: Decision = None) -> np.ndarray:
        """Class of each sample after post-processing.

        The most probable class of each sample; waves of one kind less than 30 ms apart are joined; P waves
        below 20 ms, QRS complexes below 30 ms and T waves below 50 ms are dropped; of several P (or T) waves
        between two QRS complexes the one with most probability remains. There may be no P wave, and there is
        none where too few of the beats around have one (`LEAST_P_SHARE`).
        """
        answer = np.zeros(predictions.shape[:2], np.int64)
        for row, prediction in zip(answer, predictions, strict=True):
            for name, found in self.waves(prediction, decision).items():
                for first, last in found.tolist():
                    row[first : last + 1] = self.classes.index(name)
        return answer

    def fit_decision(self, dataset: Any, predictions: np.ndarray) -> Decision:
        """State the numbers of the post-processing, which are fixed."""
        return dict(DECODING)

    def check_decision(self, decision: Decision, where: Any) -> None:
        """Refuse numbers that no waves can be decoded with."""
        check_numbers(decision, tuple(DECODING), where)

    def _boundaries(
        self, targets: np.ndarray, predictions: np.ndarray, decision: Decision
    ) -> tuple[np.ndarray, list[list[np.ndarray]]]:
        """Counts of each record and boundary, (N, K, 3), and the errors of each boundary in ms."""
        self.one_hot(targets)  # refuses other shapes and numbers
        if targets.shape != predictions.shape[:2]:
            raise DataError(f"masks of shape {targets.shape} do not fit predictions of {predictions.shape}")
        names = self.boundaries
        counts = np.zeros((len(targets), len(names), 3), np.int64)
        errors: list[list[np.ndarray]] = [[] for _ in names]
        for row, mask, prediction in zip(counts, targets, predictions, strict=True):
            found, known = self.waves(prediction, decision), mask != IGNORED
            if not known.any():
                continue
            for place, name in enumerate(names):
                kind, end = name.rsplit(" ", 1)
                expected, judged = _ends(mask, self.classes.index(kind), end)
                given = found[kind][:, 0 if end == "onset" else 1].astype(np.float64)
                reach = TOLERANCES_MS.get(name, 50) * self.sampling_rate / 1000
                row[place], distances = count_found(expected, given, judged, reach)
                errors[place].append(distances * 1000 / self.sampling_rate)
        return counts, errors

    def score(
        self, targets: np.ndarray, predictions: np.ndarray, decision: Decision = None
    ) -> dict[str, Any]:
        """Macro F1 and every boundary's F1, counts, and mean and SD of its error in ms; Dice of the masks."""
        counts, errors = self._boundaries(np.asarray(targets), predictions, decision)
        return super().score(targets, predictions, decision) | self._named(counts, errors)

    def _named(self, counts: np.ndarray, errors: list[list[np.ndarray]]) -> dict[str, Any]:
        total = counts.sum(axis=0)
        scores = f1_of(total)
        rows = {}
        for place, name in enumerate(self.boundaries):
            distances = np.concatenate([np.empty(0), *errors[place]])
            tp, fp, fn = total[place].tolist()
            rows[name] = {
                "f1": scores[place],
                "tp": tp,
                "fp": fp,
                "fn": fn,
                "mean_error_ms": float(distances.mean()) if tp else None,
                "sd_error_ms": float(distances.std()) if tp else None,
            }
        known = scores[np.isfinite(scores)]
        return jsonable({"macro_f1": float(known.mean()) if len(known) else 0.0, "boundaries": rows})

    def report(
        self,
        dataset: Any,
        predictions: np.ndarray,
        decision: Decision = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Scores of a split with intervals over patients."""
        counts, _ = self._boundaries(dataset.targets, predictions, decision)
        return {
            "metrics": self.score(dataset.targets, predictions, decision) | {"records": len(counts)},
            "bootstrap": intervals_of_f1(
                counts, dataset.patients, resamples, seed, [*self.boundaries, "macro_f1"]
            ),
        }

    def table(self, report: dict[str, Any]) -> str:
        """Text table of a report."""
        metrics, bounds = report["metrics"], report["bootstrap"]
        values = [row["f1"] for row in metrics["boundaries"].values()] + [metrics["macro_f1"]]
        names = [f"F1 {name}, {TOLERANCES_MS.get(name, 50)} ms" for name in metrics["boundaries"]]
        limits = list(bounds["intervals"].values())
        lines = interval_table(list(zip([*names, self.titles["macro_f1"]], values, limits, strict=True)))
        for name, row in metrics["boundaries"].items():
            if row["tp"]:
                lines.append(
                    f"{name:38s}{row['mean_error_ms']:+10.1f} ms, SD {row['sd_error_ms']:.1f} ms; "
                    f"{row['tp']} found, {row['fp']} false, {row['fn']} missed"
                )
        return "\n".join([*lines, f"{bounds['resamples']} resamples of {bounds['patients']} patients"])

    def describe(self, prediction: np.ndarray, decision: Decision, sampling_rate: float) -> dict[str, Any]:
        """``segments``: kind, onset and offset in seconds of each wave, in order of time."""
        segments = [
            {
                "class": name,
                "start_s": round(first / sampling_rate, 4),
                "end_s": round(last / sampling_rate, 4),
            }
            for name, found in self.waves(prediction, decision).items()
            for first, last in found.tolist()
        ]
        return {"segments": sorted(segments, key=lambda s: (s["start_s"], s["end_s"], s["class"]))}

    def events(self, described: dict[str, Any]) -> list[dict[str, Any]]:
        """A row for each wave of each lead."""
        return [
            {
                "lead": lead,
                "wave": segment["class"],
                "onset_s": segment["start_s"],
                "offset_s": segment["end_s"],
                "duration_ms": round(1000 * (segment["end_s"] - segment["start_s"]), 1),
            }
            for lead, part in _parts(described).items()
            for segment in part["segments"]
        ]

    def lines(self, described: dict[str, Any]) -> list[str]:
        """A line for each lead."""
        rows = {lead: self._counted(part) for lead, part in _parts(described).items()}
        return [
            f"  {lead:4s} " + ", ".join(f"{count} {name}" for name, count in row.items())
            for lead, row in rows.items()
        ]

    def summary(self, described: dict[str, Any]) -> dict[str, Any]:
        """Number of waves of each kind, the median over the leads."""
        rows = [self._counted(part) for part in _parts(described).values()]
        return {name: int(np.median([row[name] for row in rows])) for name in self.classes[1:]}

    def _counted(self, part: dict[str, Any]) -> dict[str, int]:
        names = [segment["class"] for segment in part["segments"]]
        return {name: names.count(name) for name in self.classes[1:]}


def _parts(described: dict[str, Any]) -> dict[str, Any]:
    """What is described, by lead."""
    return described.get("leads", {"all": described})


def _ends(mask: np.ndarray, number: int, end: str) -> tuple[np.ndarray, np.ndarray]:
    """Onsets or offsets of the waves of a class that are marked, and where predictions are judged.

    A boundary that lies at unmarked samples is not one that anybody marked: what is found in that wave is
    not judged either, and so it is at the ends of the mask. The first and the last mark are boundaries.
    """
    found, judged = stretches(mask == number), mask != IGNORED
    if not len(found):
        return np.empty(0), judged
    first_known, last_known = np.flatnonzero(judged)[[0, -1]]
    beside = found[:, 0] - 1 if end == "onset" else found[:, 1] + 1
    within = (beside >= 0) & (beside < len(mask))  # else the record is cut there
    outer = (beside < first_known) | (beside > last_known)
    marked = within & (outer | (mask[np.clip(beside, 0, len(mask) - 1)] != IGNORED))
    for first, last in found[~marked].tolist():
        judged[first : last + 1] = False
    return found[marked, 0 if end == "onset" else 1].astype(np.float64), judged
