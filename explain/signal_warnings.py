"""Warnings about the signal of a recording, for prediction.json and for pictures."""

from __future__ import annotations

from typing import Any

from databases.base import Recording
from preprocessing.recordings.lost import LOST
from utils.ecg import display_name
from utils.plotting.ecg import Stretch


def quality_facts(recording: Recording) -> list[dict[str, Any]]:
    """What is lost or distorted, for prediction.json; seconds count from the start of the recording."""
    return [
        {"lead": display_name(lead), "start_s": start, "end_s": end, "kind": kind}
        | ({"detail": detail} if detail else {})
        for kind, lead, start, end, detail in recording.faults
    ]


def painted(recording: Recording, subtitle: str) -> dict[str, Any]:
    """Arguments of `plot_ecg` that put the warnings on the picture and below its title."""
    stretches = [
        Stretch(lead, start, end, f"{kind} {detail}" if kind == "rail" else kind, kind in LOST)
        for kind, lead, start, end, detail in recording.faults
    ]
    warnings = [note for note in recording.notes if note.startswith("WARNING")]
    return {"subtitle": "\n".join([subtitle, *warnings]), "stretches": stretches, "begin": recording.start}
