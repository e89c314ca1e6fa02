"""Explanations of one recording (`inference.py`) and of a split (`torch_test.py --explain`)."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from databases import Recording
from explain.prototypes.contributions import ClassExplanation, Explanation, explain_records
from explain.prototypes.report import write_report
from explain.prototypes.source_records import find_source_reader
from explain.signal_warnings import painted
from preprocessing import Dataset
from training.predictor import Predictor
from training.protoecgnet.projected import labels_of, prototype_list
from utils.errors import UsageError
from utils.files import write_json, write_npz
from utils.tables import write_csv
from utils.text import printable

# names the reference gives the branches in its columns, and in the entries of top_protos_by_class
COLUMN_OF = {"rhythm": "1d", "morphology": "2d_partial", "global": "2d_global"}
GROUP_OF = {"rhythm": "1", "morphology": "3", "global": "4"}
COLUMNS = (
    "ecg_id",
    "fusion_predictions",
    "true_labels",
    *(f"{name}_true_labels" for name in COLUMN_OF.values()),
    *(f"top_protos_{name}" for name in COLUMN_OF.values()),
    "top_protos_by_class",
)
_PLACE = ("window", "start_ms", "end_ms", "receptive_field_ms")


class RowMaker:
    """Turns explanations into rows; everything but ``ecg_id`` is JSON.

    ``fusion_predictions`` holds the predicted classes with their probabilities, also where the model is a
    single branch; of the other columns only those of the model's branches are filled. ``top_protos_BRANCH``
    lists the most similar prototypes, as in the reference; ``top_protos_by_class`` lists those that
    contributed most, where the reference lists the most similar ones.

    ``top``: prototypes to list for each branch.
    """

    def __init__(self, predictor: Predictor, top: int = 5):
        self.predictor, self.top = predictor, top
        self.prototypes = prototype_list(predictor)
        owner = np.array([entry["branch"] for entry in self.prototypes])
        self.branches = {branch: np.flatnonzero(owner == branch) for branch in dict.fromkeys(owner.tolist())}
        self.classes = {
            branch: {name for p in members for name in self.prototypes[p]["classes"]}
            for branch, members in self.branches.items()
        }

    def row(
        self, ecg_id: int | str, explanation: Explanation, true_labels: Sequence[str] | None = None
    ) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        row["ecg_id"] = ecg_id
        probability = dict(zip(self.predictor.classes, explanation.probabilities, strict=True))
        values: dict[str, Any] = {
            "fusion_predictions": {name: _rounded(probability[name]) for name in explanation.predicted},
            "top_protos_by_class": [self._class(part) for part in explanation.classes],
        }
        for branch, members in self.branches.items():
            best = members[np.argsort(-explanation.similarities[members], kind="stable")[: self.top]]
            entries = [self._entry(p, explanation.similarities[p]) for p in best.tolist()]
            values[f"top_protos_{COLUMN_OF[branch]}"] = entries
            if true_labels is not None:
                of_branch = [name for name in true_labels if name in self.classes[branch]]
                values |= {"true_labels": list(true_labels), f"{COLUMN_OF[branch]}_true_labels": of_branch}
        return row | {name: json.dumps(value) for name, value in values.items()}

    def _class(self, part: ClassExplanation) -> dict[str, Any]:
        return {
            "predicted_class": part.name,
            "predicted": part.predicted,
            "probability": _rounded(part.probability),
            "logit": _rounded(part.logit),
            "bias": _rounded(part.bias),
            "top_protos": [
                self._entry(e.prototype, e.similarity)
                | {
                    "group": GROUP_OF[e.branch],
                    "standardized_similarity": _rounded(e.standardized),
                    "weight": _rounded(e.weight),
                    "contribution": _rounded(e.contribution),
                    **{name: getattr(e, name) for name in _PLACE},
                }
                for e in part.evidence
            ],
            "rest": _rounded(part.rest),
        }

    def _entry(self, prototype: int, similarity: float) -> dict[str, Any]:
        source = self.prototypes[prototype]
        return {
            "prototype_num": prototype,
            "prototype_class": " and ".join(source["classes"]),
            "similarity": _rounded(similarity),
            "ecg_id": source["ecg_id"],
            "all_true_labels": labels_of(source),
            "branch_true_labels": [t for t in source["true_labels"] if t in self.classes[source["branch"]]],
        }


def _rounded(value: float) -> float:
    return round(float(value), 6)


def explain_recording(
    predictor: Predictor,
    recording: Recording,
    folder: str | os.PathLike,
    prediction: dict[str, Any],
    data_dir: str | os.PathLike | None = None,
    top: int = 5,
) -> list[Path]:
    """Write prediction, report, pictures and arrays of one recording."""
    folder = Path(folder)
    (explanation,) = explain_records(predictor, recording.signal[None], top)
    reader = find_source_reader(predictor, data_dir)
    name, picture = printable(recording.name), painted(recording, "")
    written = write_report(predictor, explanation, recording.signal, folder, name, reader, picture=picture)
    arrays, facts = folder / "explanation.npz", folder / "prediction.json"
    write_npz(
        arrays,
        similarities=explanation.similarities,
        windows=explanation.windows,
        probabilities=explanation.probabilities,
        classes=np.array(predictor.classes),
        explained=np.array([part.name for part in explanation.classes]),
        logits=np.array([part.logit for part in explanation.classes]),
        bias=np.array([part.bias for part in explanation.classes]),
        contributions=np.array([part.contributions for part in explanation.classes]),
    )
    write_json(facts, prediction | {"explanation": [_facts(part) for part in explanation.classes]})
    return [facts, *written, arrays]


def _facts(part: Any) -> dict[str, Any]:
    values = dataclasses.asdict(part)
    values["class"] = values.pop("name")
    del values["contributions"]  # all of them are in explanation.npz
    return values


def explain_split(
    predictor: Predictor,
    dataset: Dataset,
    folder: str | os.PathLike,
    count: int = -1,
    pictures: int = 5,
    data_dir: str | os.PathLike | None = None,
    top: int = 5,
    batch_size: int = 32,
) -> list[Path]:
    """Explain the records of a split: one CSV for all, a report with pictures for the first ones.

    The CSV is written first, then one report after the other, so that Ctrl-C loses only the running one.
    """
    for name, value in {"records to explain": count, "reports": pictures}.items():
        if value < -1:
            raise UsageError(f"the number of {name} must be -1 (all) or not negative, got {value}")
    if list(dataset.classes) != predictor.classes:
        raise UsageError(f"{predictor.folder} knows {predictor.classes}, but the data has {dataset.classes}")
    folder = Path(folder)
    total = len(dataset) if count < 0 else min(count, len(dataset))
    reports = total if pictures < 0 else min(pictures, total)
    reader = find_source_reader(predictor, data_dir)
    reported: list[Explanation] = []
    maker, rows = RowMaker(predictor, top), []
    for first in tqdm(range(0, total, batch_size), desc="explain", unit="batch", leave=False, disable=None):
        signals = dataset.signals[first : min(first + batch_size, total)]
        explanations = explain_records(predictor, signals, top, batch_size=batch_size)
        reported += explanations[: max(0, reports - first)]
        for k, explanation in enumerate(explanations, first):
            rows.append(maker.row(int(dataset.ecg_ids[k]), explanation, _labels(dataset, k)))
    written = [write_csv(folder / "explanations.csv", pd.DataFrame(rows, columns=COLUMNS))]
    for k, explanation in enumerate(tqdm(reported, desc="reports", unit="ECG", leave=False, disable=None)):
        ecg_id = str(dataset.ecg_ids[k])
        files = write_report(
            predictor, explanation, dataset.signals[k], folder / ecg_id, ecg_id, reader, _labels(dataset, k)
        )
        written.append(files[0])
    return written


def _labels(dataset: Dataset, row: int) -> list[str]:
    return [name for name, present in zip(dataset.classes, dataset.labels[row], strict=True) if present]
