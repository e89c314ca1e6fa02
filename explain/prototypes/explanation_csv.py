"""Explanations of many records as one CSV table, with the columns of the reference."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from explain.prototypes.contributions import Explanation
from training.predictor import Predictor
from training.protoecgnet.projected import branches_of, labels_of, prototype_list
from utils.files import atomic_path
from utils.tables import escape_cell

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
        self.branches: dict[str, np.ndarray] = {}
        first = 0
        for network in branches_of(predictor.model):
            count = len(network.prototype_vectors)
            self.branches[network.branch] = np.arange(first, first + count)
            first += count
        self.classes = {
            branch: {name for p in members for name in self.prototypes[p]["classes"]}
            for branch, members in self.branches.items()
        }

    def row(
        self, ecg_id: int | str, explanation: Explanation, true_labels: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Make the row of one record."""
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        row["ecg_id"] = escape_cell(ecg_id)
        place = self.predictor.classes.index
        row["fusion_predictions"] = json.dumps(
            {name: _rounded(explanation.probabilities[place(name)]) for name in explanation.predicted}
        )
        if true_labels is not None:
            row["true_labels"] = json.dumps(list(true_labels))
        for branch, members in self.branches.items():
            column = COLUMN_OF[branch]
            if true_labels is not None:
                row[f"{column}_true_labels"] = json.dumps(
                    [t for t in true_labels if t in self.classes[branch]]
                )
            best = members[np.argsort(-explanation.similarities[members], kind="stable")[: self.top]]
            row[f"top_protos_{column}"] = json.dumps(
                [self._entry(p, explanation.similarities[p]) for p in best.tolist()]
            )
        row["top_protos_by_class"] = json.dumps(
            [
                {
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
                            "window": e.window,
                            "start_ms": e.start_ms,
                            "end_ms": e.end_ms,
                            "receptive_field_ms": e.receptive_field_ms,
                        }
                        for e in part.evidence
                    ],
                    "rest": _rounded(part.rest),
                }
                for part in explanation.classes
            ]
        )
        return row

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


def write_rows(path: str | os.PathLike, rows: Iterable[dict[str, Any]]) -> Path:
    """Write rows as they come; the file appears when it is complete."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return Path(path)
