"""What is marked on the paper: R-peaks by a detector, P, QRS and T by the shipped model of waves."""

from __future__ import annotations

from typing import Any

import numpy as np

from databases.base import Recording
from explain.along_time import describe_leads, marks_of, predict_leads
from preprocessing.recordings.external import prepare
from preprocessing.rpeaks import detect_rpeaks
from training.predictor import Predictor

WAVES = "waves"  # the shipped model
_DETECTOR = "sleepecg"  # the most accurate one on twelve-lead ECGs, docs/results/rpeaks.md
_WAVE_NAMES = ("P", "QRS", "T")


def rpeaks_of(recording: Recording) -> tuple[list[int], float | None]:
    """R-peaks as samples, and the median RR interval in ms where there are two intervals or more."""
    peaks = np.asarray(detect_rpeaks(recording.signal, recording.sampling_rate, _DETECTOR))
    intervals = np.diff(peaks) / recording.sampling_rate * 1000
    return peaks.tolist(), float(np.median(intervals)) if len(intervals) > 1 else None


def waves_of(predictor: Predictor, shown: Recording) -> list[dict[str, Any]]:
    """Waves of each lead as spans of samples, for the canvas."""
    rate = shown.sampling_rate
    seconds = len(shown.signal) / rate
    recording = shown
    if rate != predictor.sampling_rate:
        recording = prepare(shown, predictor.sampling_rate, int(seconds * predictor.sampling_rate))
    described = describe_leads(predictor, recording, predict_leads(predictor, recording))
    begin = recording.start
    return [
        {
            "lead": mark.lead,
            "start": round((mark.start - begin) * rate),
            "stop": round((mark.end - begin) * rate),
            "kind": mark.kind,
            "text": "",
        }
        for mark in marks_of(predictor, described, begin + seconds)
        if mark.kind in _WAVE_NAMES
    ]


def faults_of(recording: Recording) -> list[dict[str, Any]]:
    """Lost and distorted stretches as spans of samples, for the canvas."""
    rate, begin = recording.sampling_rate, recording.start
    return [
        {
            "lead": fault.lead,
            "start": round((fault.start - begin) * rate),
            "stop": round((fault.end - begin) * rate),
            "kind": "warning",
            "text": fault.kind,
        }
        for fault in recording.faults
    ]
