"""All prototypes of a model on one HTML page, to browse and to rate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from explain.prototypes.source_records import ReadSource
from training.checkpoint import run_name
from training.predictor import Predictor
from training.protoecgnet.projected import labels_of, prototype_list
from utils.ecg import DISPLAY_NAMES
from utils.plotting.windows import seconds
from utils.report.page import fill, register_section, write_page

PAGE = "prototypes"
# Thumbnails count in twentieths of a millimeter of paper: 25 mm/s and 10 mm/mV are whole numbers then.
_PER_SECOND, _PER_MV, _MM = 500, 200, 20
_MARGIN_S = 0.25
_SAMPLES_PER_SECOND = 100
_GAP = 60
_LIMB_TO_CHEST = ((0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11))  # rows of the usual printout
_RHYTHM_STRIPS = ((1,), (6,))  # II and V1, one below the other
_FIELDS = ("representativeness", "clarity", "best", "bad", "comment")


def write_gallery(predictor: Predictor, read_source: ReadSource | None, path: str | os.PathLike) -> Path:
    """Write a page of all prototypes by branch and class, with fields for ratings.

    Ratings (representativeness and clarity, 1 to 5), marks and comments stay in the browser until its user
    downloads them as a CSV.
    """
    prototypes = prototype_list(predictor)
    weights = predictor.model.head.weight.detach().cpu().numpy()
    cards = [
        _card(predictor, index, entry, weights[:, index], read_source)
        for index, entry in enumerate(prototypes)
    ]
    branches: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for card in cards:
        branches.setdefault(card["branch"], {}).setdefault(card["classes"], []).append(card)
    known = ("classes", "branch", "ecg_id")
    facts = {
        "branches": branches,
        "count": len(prototypes),
        "grid": 5 * _MM,
        "pictures": read_source is not None,
        "ratings": {
            "key": f"twelvelead-gallery-{predictor.card.weights_sha256}",
            "file": "prototype_ratings.csv",
            "card": "prototype",
            "columns": ["prototype", *known, *_FIELDS],
            "cards": {card["index"]: {name: card[name] for name in known} for card in cards},
        },
    }
    return write_page(path, PAGE, f"Prototypes of {run_name(predictor.folder)}", facts)


def _card(
    predictor: Predictor,
    index: int,
    entry: dict[str, Any],
    weights: np.ndarray,
    read_source: ReadSource | None,
) -> dict[str, Any]:
    weight_of = dict(zip(predictor.classes, weights, strict=True))
    named = [f"{name} {weight_of[name]:+.3f}" for name in entry["classes"] if name in weight_of]
    card = {name: entry[name] for name in ("branch", "ecg_id", "similarity")} | {
        "index": index,
        "classes": " and ".join(entry["classes"]),
        "labels": ", ".join(labels_of(entry)) or "none",
        "weights": ", ".join(named),
        "window": "the whole record",
        "receptive_field": None,
        "thumbnail": None,
    }
    if entry["ecg_id"] is None:
        return card
    span, field = (entry["start_ms"], entry["end_ms"]), tuple(entry["receptive_field_ms"])
    if field != span:
        card |= {"window": seconds(*span), "receptive_field": seconds(*field)}
    signals = read_source(entry["ecg_id"]) if read_source else None
    if signals is not None:
        card["thumbnail"] = thumbnail(signals, predictor.sampling_rate, *span)
    return card


def thumbnail(signals_mv: np.ndarray, sampling_rate: float, start_ms: float, end_ms: float) -> dict[str, Any]:
    """Paths of a small SVG: a window across all leads, or leads II and V1 of a whole record.

    Shapes: signals_mv (T, 12).
    """
    duration = len(signals_mv) / sampling_rate
    start, end = start_ms / 1000, end_ms / 1000
    whole = end - start >= duration
    left, right = (0, duration) if whole else (max(0, start - _MARGIN_S), min(duration, end + _MARGIN_S))
    step = max(1, round(sampling_rate / _SAMPLES_PER_SECOND))
    samples = signals_mv[round(left * sampling_rate) : round(right * sampling_rate) : step]
    heights = np.rint((samples - np.median(samples, axis=0)) * _PER_MV).astype(int)
    across = np.rint(np.arange(len(samples)) * step / sampling_rate * _PER_SECOND).astype(int)
    width = round((right - left) * _PER_SECOND)
    shades, traces, names, y = [], [], [], 0
    first, length = round((start - left) * _PER_SECOND), round((end - start) * _PER_SECOND)
    rows = _RHYTHM_STRIPS if whole else _LIMB_TO_CHEST
    total = len(rows[0]) * (width + _GAP) - _GAP
    size = total // 42  # of the lead names: readable at the width of a card
    for row in rows:
        up, down = max(60, heights[:, row].max()), max(60, -heights[:, row].min())
        y += up + size + 12
        for column, lead in enumerate(row):
            x = column * (width + _GAP)
            if not whole:
                shades.append(f"M{x + first} {y - up}h{length}v{up + down}h-{length}z")
            traces.append(_path(across + x, y - heights[:, lead]))
            names.append({"x": x + 8, "y": y - up - 8, "lead": DISPLAY_NAMES[lead]})
        y += down
    return {
        "width": total,
        "height": y + 20,
        "shade": "".join(shades),
        "trace": "".join(traces),
        "names": names,
        "font_size": size,
    }


def _path(x: np.ndarray, y: np.ndarray) -> str:
    steps = " ".join(f"{a} {b}" for a, b in zip(np.diff(x), np.diff(y), strict=True))
    return f"M{x[0]} {y[0]}l{steps}".replace(" -", "-")


register_section(
    PAGE,
    "gallery",
    lambda facts, images: fill("explain.prototypes/gallery.html", **facts),
    ["utils.report/ratings.css", "explain.prototypes/gallery.css"],
    ["utils.report/ratings.js", "explain.prototypes/gallery.js"],
)
