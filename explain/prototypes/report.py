"""The explanation of one record by prototypes: an HTML page and PNG images."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explain.prototypes.contributions import ClassExplanation, Evidence, Explanation
from explain.prototypes.source_records import ReadSource
from training.checkpoint import run_name
from training.predictor import Predictor
from training.protoecgnet.projected import branches_of, labels_of
from utils.files import write_bytes
from utils.plotting.windows import CLASS_COLORS, Mark, draw_record, draw_window, seconds
from utils.report.page import Render, fill, register_section, write_page

PAGE = "explanation"
_LISTED_CLASSES = 10
Span = tuple[float, float]  # ms


@dataclass(frozen=True)
class _Record:
    """An ECG to draw: signals (T, 12) in mV."""

    signals: np.ndarray
    rate: float

    def is_whole(self, span: Span) -> bool:
        return span[1] - span[0] >= len(self.signals) / self.rate * 1000

    def describe(self, span: Span) -> str:
        return "the whole record" if self.is_whole(span) else seconds(*span)

    def draw(self, span: Span, field: Span, title: str, prefix: str = "") -> bytes:
        subtitle = f"Shaded: the window. Bracket: receptive field, {seconds(*field)}."
        if self.is_whole(span):
            subtitle = "Compared as a whole record."
        title = f"{title}, {self.describe(span)}"
        return draw_window(self.signals, self.rate, span, field, title, prefix + subtitle)


def write_report(
    predictor: Predictor,
    explanation: Explanation,
    signals_mv: np.ndarray,
    folder: Path,
    name: str,
    read_source: ReadSource | None = None,
    true_labels: Sequence[str] | None = None,
    picture: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write ``explanation.html``, ``ecg.png`` and the folder ``pictures`` with the PNGs of the evidence.

    ``picture``: warnings to paint on ``ecg.png``, from `explain.signal_warnings.painted`.

    Shapes: signals_mv (T, 12).
    """
    record = _Record(signals_mv, predictor.sampling_rate)
    images = {"ecg.png": _draw_overview(explanation, record, name, picture or {})}
    classes = [
        _class_facts(number, part, predictor, record, read_source, images)
        for number, part in enumerate(explanation.classes, 1)
    ]
    facts = {
        "name": name,
        "true_labels": true_labels,
        "predicted": list(explanation.predicted),
        "class_count": len(predictor.classes),
        "probabilities": _probability_rows(predictor, explanation),
        "classes": classes,
    }
    for file, content in images.items():
        write_bytes(folder / file, content)
    title = f"ECG {name}: explanation of the prediction of {run_name(predictor.folder)}"
    page = write_page(folder / "explanation.html", PAGE, title, facts, images)
    return [page, folder / "ecg.png", folder / "pictures"]


def _probability_rows(predictor: Predictor, explanation: Explanation) -> list[dict[str, Any]]:
    """The most probable classes and all explained ones, which link to their sections."""
    anchors = {part.name: number for number, part in enumerate(explanation.classes, 1)}
    order = np.argsort(-explanation.probabilities, kind="stable").tolist()
    return [
        {
            "class": predictor.classes[c],
            "anchor": anchors.get(predictor.classes[c]),
            "probability": explanation.probabilities[c],
            "threshold": predictor.thresholds[c],
            "predicted": predictor.classes[c] in explanation.predicted,
        }
        for rank, c in enumerate(order)
        if rank < _LISTED_CLASSES or predictor.classes[c] in anchors
    ]


def _draw_overview(explanation: Explanation, record: _Record, name: str, picture: Mapping[str, Any]) -> bytes:
    """The record with the window of the strongest prototype of each explained class."""
    marks: list[Mark] = []
    legend = []
    for number, part in enumerate(explanation.classes, 1):
        span = (part.evidence[0].start_ms, part.evidence[0].end_ms)
        legend.append(f"{number} {part.name} {part.probability:.2f} ({record.describe(span)})")
        if not record.is_whole(span):
            marks.append(Mark(*span, str(number), CLASS_COLORS[len(marks) % len(CLASS_COLORS)]))
    subtitle = "Most contributing window of each predicted class: "
    if not explanation.predicted:
        subtitle = "No class reaches its threshold; most contributing window of the most probable: "
    subtitle += ", ".join(legend) + picture.get("subtitle", "")
    painting = {key: value for key, value in picture.items() if key != "subtitle"}
    return draw_record(record.signals, record.rate, marks, f"ECG {name}", subtitle, painting)


def _class_facts(
    number: int,
    part: ClassExplanation,
    predictor: Predictor,
    record: _Record,
    read_source: ReadSource | None,
    images: dict[str, bytes],
) -> dict[str, Any]:
    """Terms of one logit and their evidence; adds the images of the evidence to `images`."""
    others = len(part.contributions) - len(part.evidence)
    terms = [("bias", part.bias)]
    terms += [
        (f"prototype {e.prototype} ({' and '.join(e.classes)}, {e.branch})", e.contribution)
        for e in part.evidence
    ]
    terms += [(f"all {others} other prototypes together", part.rest)] if others else []
    terms.append((f"sum = logit of {part.name}", part.logit))
    notes = []
    if any(b.pooling != "max" and b.windows > 1 for b in branches_of(predictor.model)):
        notes.append(
            "This model scores a prototype by several windows of the record; the images show the most "
            "similar one."
        )
    if predictor.standardizer.highpass or predictor.standardizer.preprocess:
        notes.append(
            "The receptive field is that of the network; the baseline filter before it reads the whole "
            "record."
        )
    return vars(part) | {
        "number": number,
        "terms": [{"label": label, "value": value} for label, value in terms],
        "largest": max(abs(value) for _, value in terms),
        "notes": notes,
        "evidence": [_evidence_facts(item, record, read_source, images) for item in part.evidence],
    }


def _evidence_facts(
    item: Evidence, record: _Record, read_source: ReadSource | None, images: dict[str, bytes]
) -> dict[str, Any]:
    span, field, source = (item.start_ms, item.end_ms), item.receptive_field_ms, item.source
    start, end = (round(t) for t in span)
    picture = f"pictures/here_{start:05d}-{end:05d}ms.png"
    if picture not in images:
        images[picture] = record.draw(span, field, "This ECG")
    source_picture, missing = f"pictures/prototype_{item.prototype:04d}.png", ""
    if source["ecg_id"] is None:
        missing = "This prototype has no training ECG."
    elif read_source is None:
        missing = "To see it, give the folder of PTB-XL: --data_dir FOLDER."
    elif (
        png := _draw_source(read_source, item.prototype, item.classes, record.rate, **_place(source))
    ) is None:
        missing = "This copy of PTB-XL lacks the record."
    else:
        images[source_picture] = png
    location, source_location, extent = "Compared as whole records; no part is singled out.", "", "as a whole"
    if not record.is_whole(span):
        location = f"Window in this ECG {seconds(*span)}; signal that can influence it (receptive field): "
        location, extent = f"{location}{seconds(*field)}.", "here"
        if source["ecg_id"] is not None:
            window = seconds(source["start_ms"], source["end_ms"])
            source_field = seconds(*source["receptive_field_ms"])
            source_location = f"Window in the prototype's ECG {window}; receptive field: {source_field}."
    return vars(item) | {
        "classes": " and ".join(item.classes),
        "standardized": None if item.standardized == item.similarity else item.standardized,
        "meaning": _meaning(item),
        "location": location,
        "source_location": source_location,
        "extent": extent,
        "source": "no training ECG" if source["ecg_id"] is None else f"training ECG {source['ecg_id']}",
        "labels": ", ".join(labels_of(source)) or "none",
        "picture": picture,
        "missing": missing,
        "source_picture": None if missing else source_picture,
    }


def _place(source: dict[str, Any]) -> dict[str, Any]:
    """Record, window and receptive field of a prototype, as arguments that can be cached."""
    span, field = (source["start_ms"], source["end_ms"]), tuple(source["receptive_field_ms"])
    return {"ecg_id": source["ecg_id"], "span": span, "field": field}


def _meaning(item: Evidence) -> str:
    """What a contribution means where its sign is not simply that of the similarity."""
    direction = "for" if item.contribution > 0 else "against"
    less_similar = item.standardized < 0
    if item.standardized != item.similarity and less_similar:
        return (
            f" (evidence {direction} the class because this ECG is less similar to the prototype than others)"
        )
    if item.weight < 0:
        similarity = "less" if less_similar else "more"
        return f" (its weight is negative: being {similarity} similar is evidence {direction} the class)"
    return ""


@functools.lru_cache(maxsize=256)  # the same prototypes recur in record after record; 15 MB at most
def _draw_source(
    read_source: ReadSource,
    prototype: int,
    classes: tuple[str, ...],
    rate: float,
    ecg_id: int,
    span: Span,
    field: Span,
) -> bytes | None:
    """Image of a prototype's training record; None where the folder lacks it."""
    signals = read_source(ecg_id)
    if signals is None:
        return None
    title = f"Prototype {prototype}: training ECG {ecg_id}"
    return _Record(signals, rate).draw(span, field, title, f"{' and '.join(classes)}. ")


def _section(template: str) -> Render:
    return lambda facts, images: fill(f"explain.prototypes/{template}", images=images, **facts)


register_section(PAGE, "probabilities", _section("explanation.html"), ["explain.prototypes/explanation.css"])
register_section(PAGE, "classes", _section("classes.html"))
