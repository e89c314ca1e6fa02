"""Prototypes in TensorBoard: the piece of a training ECG that each one has become, and its similarities."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing import Dataset
from utils.ecg import LEADS
from utils.loggers.events import EventFile
from utils.plotting.windows import draw_window

PICTURES = 100  # of a stage; the gallery of the test command has every prototype


def log_prototypes(
    folder: Path,
    prototypes: list[dict[str, Any]],
    train: Dataset,
    similarities: np.ndarray,
) -> int:
    """Write pictures of prototypes, their similarities to their sources, and a histogram for each class.

    Pictures are shared among the classes evenly where there are more prototypes than `PICTURES`.
    ``prototypes``: as on the card after projection.

    Shapes: similarities (N, P) of the validation records. Returns the number of pictures.
    """
    file = EventFile(folder)
    rows = {record: row for row, record in enumerate(train.ids.tolist())}
    found = [entry for entry in prototypes if entry["ecg_id"] in rows]
    drawn = _chosen(found) if train.leads == LEADS else []  # the paper has the twelve standard leads
    for entry in drawn:
        names, signal = "+".join(entry["classes"]), np.asarray(train.signals[rows[entry["ecg_id"]]])
        field = entry["receptive_field_ms"]
        title = f"Prototype {entry['index']}: {names}"
        subtitle = f"record {entry['ecg_id']} ({', '.join(map(str, entry['true_labels']))})"
        span = (entry["start_ms"], entry["end_ms"])
        png = draw_window(signal, train.sampling_rate, span, (field[0], field[1]), title, subtitle)
        file.picture(0, f"Prototypes/{names}/Prototype_{entry['index']}", png)
    values = {f"Similarity/Prototype_{entry['index']}": entry["similarity"] for entry in found}
    if found:
        file.scalars(0, values | {"Best_Similarity_Mean": float(np.mean(list(values.values())))})
    for name in train.classes:
        columns = [entry["index"] for entry in prototypes if name in entry["classes"]]
        if columns:
            file.histogram(0, f"Activations/{name}", similarities[:, columns])
    return len(drawn)


def _chosen(prototypes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first prototypes of each class, `PICTURES` at most."""
    places: Counter[str] = Counter()
    order = []
    for entry in prototypes:
        key = "+".join(entry["classes"])
        order.append((places[key], entry["index"], entry))
        places[key] += 1
    ranked = sorted(order, key=lambda item: item[:2])[:PICTURES]
    return sorted((entry for _, _, entry in ranked), key=lambda entry: entry["index"])
