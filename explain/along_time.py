"""Answers along time: a recording of any length, lead by lead where the model reads one lead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from databases import Recording
from training.long_records import predict_record
from training.predictor import Predictor
from utils.ecg import LEADS, display_name
from utils.errors import UsageError
from utils.files import write_text
from utils.plotting.ecg_marks import Mark
from utils.tables import csv_text

ALL_LEADS = "all"  # what an answer for all leads together is called
SHOWN_SECONDS = 60.0  # of a recording on a picture


def reads_any_leads(predictor: Predictor) -> bool:
    """Whether a recording needs none of the twelve leads but those that it has."""
    return predictor.task.aligned and len(predictor.leads) == 1


def predict_leads(predictor: Predictor, recording: Recording) -> dict[str, np.ndarray]:
    """Predictions along time, (T, C), for each lead, or for `ALL_LEADS` where the model reads them together.

    A model whose only lead is none of the twelve reads every lead by itself.
    """
    if predictor.task.kind == "rr":
        raise UsageError(
            f"'{predictor.card.name}' in {predictor.folder} reads RR intervals, not recordings: "
            "detect R-peaks first (--task rpeaks) and use training.load_predictor"
        )
    leads, given = tuple(predictor.leads), recording.leads
    if leads == given:
        return {ALL_LEADS: predict_record(predictor, recording.signal)}
    if len(leads) == 1 and (leads[0] in given or leads[0] not in LEADS):
        chosen = leads if leads[0] in given else given
        return {
            display_name(lead): predict_record(predictor, recording.signal[:, [given.index(lead)]])
            for lead in chosen
        }
    raise UsageError(
        f"'{predictor.card.name}' reads the leads {' '.join(leads)}, and {recording.name} has "
        f"{' '.join(given)}"
    )


def describe_leads(
    predictor: Predictor, recording: Recording, predictions: dict[str, np.ndarray]
) -> dict[str, Any]:
    """The answer for prediction.json; seconds count from the beginning of the recording."""
    task, decision, rate = predictor.task, predictor.decision, predictor.sampling_rate
    if set(predictions) == {ALL_LEADS}:
        described = task.describe(predictions[ALL_LEADS], decision, rate)
    else:
        described = task.describe_leads(predictions, decision, rate)
    return _later(described, recording.start) if recording.start else described


def _later(value: Any, seconds: float, key: str = "") -> Any:
    """The same with every time moved by some seconds."""
    if isinstance(value, dict):
        return {name: _later(item, seconds, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_later(item, seconds, key) for item in value]
    return round(value + seconds, 6) if key in ("peaks", "start_s", "end_s") else value


def events_csv(predictor: Predictor, described: dict[str, Any]) -> str:
    """Peaks or waves as a table: lead, what, and when."""
    return csv_text(pd.DataFrame(predictor.task.events(described)))


def write_events(predictor: Predictor, described: dict[str, Any], folder: Path) -> list[Path]:
    """Write that table where the task has one, named after it."""
    if not predictor.task.events_file:
        return []
    path = folder / predictor.task.events_file
    write_text(path, events_csv(predictor, described))
    return [path]


def marks_of(
    predictor: Predictor, described: dict[str, Any], end: float, given: Sequence[str] = LEADS
) -> list[Mark]:
    """What is marked on a picture of the given leads that ends at some second."""
    marks = []
    for event in predictor.task.events(described):
        leads = given
        if event["lead"] != ALL_LEADS:
            leads = [lead for lead in given if display_name(lead) == event["lead"]]
        elif "leads" in described:
            continue  # each lead has marks of its own
        start = float(event["time_s"] if "time_s" in event else event["onset_s"])
        stop = float(event.get("offset_s", start))
        if start < end:
            marks += [Mark(lead, start, min(stop, end), str(event.get("wave", "R"))) for lead in leads]
    return marks
