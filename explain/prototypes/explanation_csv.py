"""Explanations of many records as one CSV table, with the columns of the reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from explain.prototypes.contributions import ClassExplanation, Explanation
from training.predictor import Predictor
from training.protoecgnet.projected import labels_of, prototype_list

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
        """Make the row of one record."""
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
