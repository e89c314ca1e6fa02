"""One recording in, a prediction with its reasons out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from databases import Recording
from explain.along_time import SHOWN_SECONDS, describe_leads, marks_of, predict_leads, write_events
from explain.signal_warnings import painted, quality_facts
from training.predictor import Predictor
from utils.ecg import DISPLAY_NAMES, NOT_A_DEVICE
from utils.files import write_json, write_npz
from utils.plotting.ecg import plot_channels, plot_ecg
from utils.text import printable


def predict_recording(predictor: Predictor, recording: Recording) -> dict[str, Any]:
    """Probabilities of one recording at the model's rate and length, with thresholds and yes or no.

    ``classes`` has one entry a class with ``probability``, ``calibrated``, ``threshold`` (of the validation
    records) and ``positive``; for exclusive classes only the most probable one is positive. A model that
    answers along time reads a recording of any length, see `explain.along_time`.
    """
    return describe_prediction(predictor, recording, ask(predictor, recording))


def ask(predictor: Predictor, recording: Recording) -> Any:
    """Prediction for one recording: an array, or one for each lead of a model that answers along time."""
    if predictor.task.aligned:
        return predict_leads(predictor, recording)
    return predictor.predict(recording.signal[None])[0]


def describe_prediction(predictor: Predictor, recording: Recording, prediction: Any) -> dict[str, Any]:
    """What `predict_recording` gives, for a prediction that was made before (see `ask`)."""
    if isinstance(prediction, dict):
        answer = describe_leads(predictor, recording, prediction)
    else:
        answer = predictor.task.describe(prediction, predictor.decision, predictor.sampling_rate)
    return {
        "record": printable(recording.name),
        "source": printable(str(recording.source)),
        "model": predictor.card.name,
        "checkpoint": predictor.folder.name,
        "task": predictor.card.task,
        "notice": NOT_A_DEVICE,
        **answer,
        "notes": [*recording.notes, *predictor.task.remarks(predictor.decision)],
        "quality": quality_facts(recording),
    }


def attention(predictor: Predictor, recording: Recording) -> dict[str, np.ndarray] | None:
    """Attention levels of a model on one recording at the model's rate and length.

    For IMLE-Net ``beat`` (12, windows, positions), ``rhythm`` (12, windows), ``channel`` (12,) and
    ``heatmap`` (T, 12), each sample's share, which sums to 1. None for models without attention, and for
    those that read crops which do not divide the record.
    """
    reads = predictor.card.model.get("samples", 0)
    if not hasattr(predictor.model, "attention") or len(recording.signal) % reads:
        return None
    levels = predictor.model.attention(predictor.standardize(recording.signal[None]))
    return {name: level[0] for name, level in levels.items()}


def explain_recording(
    predictor: Predictor,
    recording: Recording,
    folder: str | os.PathLike,
    prediction: dict[str, Any] | None = None,
    data_dir: str | os.PathLike | None = None,
) -> list[Path]:
    """Write prediction, pictures and, where the model has them, attention or prototypes of one recording.

    ``folder`` gets ``prediction.json`` and ``ecg.png``, with attention also ``attention.npz``,
    ``channels.png`` and ``channels.html``; with prototypes see `explain.prototypes.explain`, which reads
    their ECGs in ``data_dir``. ``prediction`` is that of `predict_recording`, where it was made already.
    """
    folder = Path(folder)
    prediction = prediction or predict_recording(predictor, recording)
    if hasattr(predictor.model, "contributions"):
        from explain.prototypes.explain import explain_recording as explain_by_prototypes

        return explain_by_prototypes(predictor, recording, folder, prediction, data_dir)
    maps = attention(predictor, recording)
    answer = ", ".join(f"{name} {value}" for name, value in predictor.task.summary(prediction).items())
    if "classes" in prediction:
        answer = ", ".join(
            f"{c['class']} {c['probability']:.2f}{' yes' * c['positive']}" for c in prediction["classes"]
        )
    title = f"{printable(recording.name, 80)}: {prediction['checkpoint']} ({prediction['task']})"
    written = [folder / "prediction.json", folder / "ecg.png"]
    picture: dict[str, Any] = {"title": title} | painted(recording, answer)
    if maps is not None:
        levels = [name for name in ("beat", "rhythm", "channel") if name in maps]
        picture["heat"] = maps["heatmap"] * maps["heatmap"].size
        picture["heat_label"] = f"attention, {' x '.join(levels)} (1 = uniform over the record)"
        picture["channel"] = maps.get("channel")
        if {"rhythm", "channel"} <= maps.keys():
            prediction["strongest_attention"] = strongest(maps, recording.sampling_rate, recording.start)
        if "channel" in maps:
            written += [folder / "channels.png", folder / "channels.html"]
            plot_channels(maps["channel"], written[2], written[3], f"{title}: importance of each lead")
        written.append(folder / "attention.npz")
        arrays = {"heat" if name == "heatmap" else name: values for name, values in maps.items()}
        write_npz(written[-1], **arrays, leads=np.array(DISPLAY_NAMES), sampling_rate=recording.sampling_rate)
    signal = recording.signal
    if predictor.task.aligned:
        written += write_events(predictor, prediction, folder)
        signal = signal[: max(2, round(SHOWN_SECONDS * recording.sampling_rate))]
        if len(signal) < len(recording.signal):
            picture["subtitle"] += f"\nthe first {SHOWN_SECONDS:g} s of {len(recording.signal)} samples"
        picture["marks"] = marks_of(predictor, prediction, recording.start + SHOWN_SECONDS, recording.leads)
        picture["leads"] = recording.leads
    plot_ecg(signal, recording.sampling_rate, written[1], **picture)
    write_json(written[0], prediction)
    return written


def strongest(maps: dict[str, np.ndarray], sampling_rate: float, begin: float = 0.0) -> list[dict[str, Any]]:
    """Five windows with most attention: ``lead``, ``start_s``, ``end_s`` and ``share`` of the record's."""
    share = maps["rhythm"] * maps["channel"][:, None]
    seconds = len(maps["heatmap"]) / sampling_rate / share.shape[1]
    order = np.argsort(-share, axis=None)[:5]
    return [
        {
            "lead": DISPLAY_NAMES[lead],
            "start_s": round(begin + window * seconds, 3),
            "end_s": round(begin + (window + 1) * seconds, 3),
            "share": float(share[lead, window]),
        }
        for lead, window in zip(*np.unravel_index(order, share.shape), strict=True)
    ]
