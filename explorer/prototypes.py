"""Prototypes beside a record: aligned so that the windows match, and what a reviewer says of them."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explain.prototypes.contributions import ClassExplanation, Evidence, explain_records
from training.predictor import Predictor
from training.protoecgnet.projected import labels_of
from utils.errors import DataError, UsageError
from utils.files import read_json, write_json

SCORES = ("1", "2", "3", "4", "5")
FIELDS = ("representativeness", "clarity", "best", "bad", "comment")
COLUMNS = ("prototype", "classes", "branch", "ecg_id", *FIELDS)  # those of the offline gallery
_FORMULA = ("=", "+", "@", "\t", "\r", "-")
_LONGEST_COMMENT = 5000


def nearest_prototypes(
    predictor: Predictor, signals_mv: np.ndarray, class_name: str, count: int = 5
) -> ClassExplanation:
    """The logit of one class, decomposed into the largest contributions; signals_mv (T, leads)."""
    (explanation,) = explain_records(predictor, signals_mv[None], count, [class_name])
    return explanation.classes[0]


def evidence_table(part: ClassExplanation) -> list[dict[str, Any]]:
    """A row for each prototype, and one for what remains; the contributions add up to the logit."""
    rows = [
        {
            "prototype": str(entry.prototype),
            "class": " and ".join(entry.classes),
            "similarity": round(entry.similarity, 4),
            "weight": round(entry.weight, 4),
            "contribution": round(entry.contribution, 4),
            "training ECG": str(entry.source["ecg_id"]) if entry.source["ecg_id"] is not None else "none",
            "its labels": ", ".join(labels_of(entry.source)),
            "in this record": f"{entry.start_ms / 1000:.2f} to {entry.end_ms / 1000:.2f} s",
        }
        for entry in part.evidence
    ]
    return [*rows, {"prototype": "all others and bias", "contribution": round(part.rest + part.bias, 4)}]


@dataclass(frozen=True)
class Pair:
    """A record and a prototype over equally long parts in which the matched windows begin together.

    ``record``, ``prototype``: (T, 12) in mV. ``window``: first and last sample of the match in both.
    """

    record: np.ndarray
    prototype: np.ndarray
    window: tuple[int, int]


def align(
    record: np.ndarray, prototype: np.ndarray, entry: Evidence, sampling_rate: float, margin: float = 1.0
) -> Pair:
    """Cut a record and the ECG of a prototype so that their windows lie at the same place.

    ``margin``: seconds kept on each side where both have them. Shapes: (T, 12) each, at the model's rate.

    Raises
    ------
    DataError
        The window lies outside of one of them.
    """
    first, last = (round(ms * sampling_rate / 1000) for ms in (entry.start_ms, entry.end_ms))
    begin = round(entry.source["start_ms"] * sampling_rate / 1000)
    length = last - first
    if min(first, begin) < 0 or last > len(record) or begin + length > len(prototype):
        raise DataError(f"the window of prototype {entry.prototype} lies outside of its ECG")
    most = round(margin * sampling_rate)
    before = min(first, begin, most)
    after = min(len(record) - last, len(prototype) - begin - length, most)
    return Pair(
        record[first - before : last + after],
        prototype[begin - before : begin + length + after],
        (before, before + length),
    )


# ---- ratings ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rating:
    """What a reviewer says of a prototype; scores from 1 (strongly disagree) to 5, empty where not given."""

    representativeness: str = ""
    clarity: str = ""
    best: bool = False
    bad: bool = False
    comment: str = ""

    def __post_init__(self) -> None:
        for name in ("representativeness", "clarity"):
            if getattr(self, name) not in ("", *SCORES):
                raise UsageError(f"{name} must be 1 to 5, got '{getattr(self, name)}'")
        if len(self.comment) > _LONGEST_COMMENT:
            raise UsageError(f"a comment may have {_LONGEST_COMMENT} letters, not {len(self.comment)}")


class Ratings:
    """Ratings of one model's prototypes in one file: each change is written at once, and in one step.

    The file is named after the weights, so that ratings never reach the prototypes of other weights.
    """

    def __init__(self, output_dir: str | Path, predictor: Predictor):
        self.weights = predictor.card.weights_sha256
        self.path = Path(output_dir) / "explorer" / f"prototype_ratings_{self.weights[:16]}.json"

    def read(self) -> dict[int, Rating]:
        """All ratings by prototype."""
        if not self.path.exists():
            return {}
        stored = read_json(self.path, "move it away: ratings then start from none")
        try:
            if stored["weights_sha256"] != self.weights:
                raise DataError(f"{self.path} belongs to other weights: move it away")
            return {int(number): Rating(**values) for number, values in stored["ratings"].items()}
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            raise DataError(f"{self.path} is not a file of ratings: move it away") from error

    def save(self, prototype: int, rating: Rating) -> None:
        """Keep one rating; an empty one is removed."""
        ratings = self.read()
        ratings[prototype] = rating
        kept = {str(n): asdict(r) for n, r in sorted(ratings.items()) if r != Rating()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {"weights_sha256": self.weights, "ratings": kept})


def ratings_csv(ratings: dict[int, Rating], prototypes: list[dict[str, Any]]) -> str:
    """Ratings as CSV with the columns of the offline gallery."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, rating in sorted(ratings.items()):
        entry = prototypes[number]
        values = {
            "prototype": number,
            "classes": " and ".join(entry["classes"]),
            "branch": entry["branch"],
            "ecg_id": entry["ecg_id"],
            **asdict(rating),
        }
        writer.writerow([_cell(values[name]) for name in COLUMNS])
    return text.getvalue()


def _cell(value: Any) -> str:
    """Text of a cell; a spreadsheet must not run it as a formula."""
    if isinstance(value, bool):
        return "true" if value else ""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
