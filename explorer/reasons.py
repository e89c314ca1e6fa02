"""Why a model answers what it does: attribution maps on the page's time axis, what is known of a method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from databases.base import Recording
from explain.api import explain
from explorer.sources import for_model
from training.checkpoint import ROOT, is_onnx
from training.predictor import Predictor
from utils.ecg import LEADS
from utils.files import read_json

_STUDIES = ROOT / "benchmarks" / "data" / "attribution"


@dataclass(frozen=True)
class Reason:
    """A map (T, 12) over the part that is shown, its method, and its sum over each lead as a share."""

    method: str
    class_name: str
    heat: np.ndarray
    shares: dict[str, float]


def methods_for(predictor: Predictor) -> list[str]:
    """Attribution methods worth offering for a model: its own first."""
    from explain.methods import get_method, list_methods

    if is_onnx(predictor.folder):  # no gradients
        return [name for name in list_methods() if "n_samples" in get_method(name).uses]
    own = [
        name
        for name, attribute in (("attention", "attention"), ("prototypes", "contributions"))
        if hasattr(predictor.model, attribute)
    ]
    return own + [name for name in list_methods() if name not in ("attention", "prototypes")]


def is_signed(method: str) -> bool:
    """Whether a method tells what raises a class from what lowers it."""
    from explain.methods import get_method

    return get_method(method).signed


def find_reason(predictor: Predictor, shown: Recording, method: str, class_name: str) -> Reason:
    """Explain one class; `CannotExplain` says why a method does not apply, and what does."""
    recording = for_model(shown, predictor.sampling_rate, predictor.samples)
    heat = explain(predictor, recording.signal[None], method, class_name)[0]
    absolute = np.abs(heat).sum(axis=0)
    total = float(absolute.sum())
    shares = {
        lead: float(value / total) if total else 0.0
        for lead, value in zip(predictor.leads, absolute, strict=True)
    }
    return Reason(method, class_name, stretch(heat, predictor, shown), shares)


def color_strength(heat: np.ndarray) -> np.ndarray:
    """How strongly each sample is colored, -1 to 1: full from the map's 99th percentile on.

    A few samples of a gradient exceed all others by far; scaled to the largest, the rest would be invisible.
    """
    size = np.abs(heat)
    full = np.percentile(size, 99) or size.max()
    return np.clip(heat / full, -1, 1) if full else heat


def stretch(heat: np.ndarray, predictor: Predictor, shown: Recording) -> np.ndarray:
    """A map at the rate and with the leads of what is shown; zero where the model does not look.

    Shapes: heat (T, leads) -> (samples shown, 12).
    """
    seconds = np.arange(len(shown.signal)) / shown.sampling_rate
    rows = np.floor(seconds * predictor.sampling_rate + 1e-6).astype(int)
    inside = rows < len(heat)
    result = np.zeros((len(seconds), len(LEADS)), np.float32)
    for column, lead in enumerate(predictor.leads):
        result[inside, LEADS.index(lead)] = heat[rows[inside], column]
    return result


@cache
def _study(path: Path) -> dict[str, Any]:
    return read_json(path)


def what_is_known(checkpoint: str, method: str) -> str:
    """What the attribution study says about a method on a model, in one sentence or two."""
    sentences = []
    own = _STUDIES / f"ptbxl-{checkpoint}.json"
    if own.exists():
        sentence = _place(own, method, "perturbation")
        if sentence:
            sentences.append(f"On this model and PTB-XL: {sentence}.")
    if not sentences:
        sentences.append("Not studied on this model.")
    beats = _place(_STUDIES / "mitdb-mitdb_resnet18.json", method, "localization")
    if beats:
        sentences.append(f"On a ResNet-18 and MIT-BIH, where the deciding beats are known: {beats}.")
    return " ".join(sentences)


def _place(path: Path, method: str, family: str) -> str:
    """Place of a method in a ranking of the study, in words; empty where it has none."""
    if not path.exists():
        return ""
    study = _study(path)
    for entry in study["rankings"]:
        rows = [row for row in entry["ranking"]["rows"] if row["sign"] == "signed"]
        for number, row in enumerate(rows, start=1):
            if entry["family"] == family and row["method"] == method:
                return f"{number} of {len(rows)} methods by {family} ({study['windows']} windows)"
    return ""
