"""One recording in, a prediction with its reasons out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.recordings.external import Recording
from training.predictor import Predictor
from utils.ecg import DISPLAY_NAMES, NOT_A_DEVICE
from utils.files import write_json, write_npz
from utils.plotting.ecg import plot_channels, plot_ecg


def predict_recording(predictor: Predictor, recording: Recording) -> dict[str, Any]:
    """Probabilities of one prepared recording with thresholds and yes or no.

    Parameters
    ----------
    predictor : Predictor
        Trained model.
    recording : Recording
        At the model's rate and length.

    Returns
    -------
    dict
        ``classes``: one entry a class with ``probability``, ``calibrated``, ``threshold`` (of the
        validation records) and ``positive``; for exclusive classes only the most probable one is positive.
    """
    rows = predictor.predict(recording.signal[None])
    probabilities = rows[0]
    calibrated = predictor.calibrator(rows)[0] if predictor.calibrator else None
    if predictor.card.get("multilabel", True):
        positive = probabilities >= predictor.thresholds
    else:
        positive = np.arange(len(probabilities)) == probabilities.argmax()
    return {
        "record": recording.name,
        "source": str(recording.source),
        "model": predictor.card["model"]["name"],
        "checkpoint": predictor.folder.name,
        "task": predictor.card["task"],
        "notice": NOT_A_DEVICE,
        "classes": [
            {
                "class": name,
                "probability": float(probabilities[i]),
                "calibrated": None if calibrated is None else float(calibrated[i]),
                "threshold": float(predictor.thresholds[i]),
                "positive": bool(positive[i]),
            }
            for i, name in enumerate(predictor.classes)
        ],
        "notes": list(recording.notes),
    }


def attention(predictor: Predictor, recording: Recording) -> dict[str, np.ndarray] | None:
    """The attention of an IMLE-Net on one prepared recording.

    Parameters
    ----------
    predictor : Predictor
        Trained model.
    recording : Recording
        At the model's rate and length.

    Returns
    -------
    dict of ndarray or None
        ``beat`` (12, windows, positions), ``rhythm`` (12, windows), ``channel`` (12,) and ``heatmap``
        (T, 12), the share of every sample, summing to 1; None for models without attention, and for those
        trained on crops that do not divide the record.
    """
    reads = predictor.card["model"].get("samples", 0)
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
    """Write prediction, attention arrays and pictures of one recording; for ProtoECGNet its prototypes.

    Parameters
    ----------
    predictor : Predictor
        Trained model.
    recording : Recording
        At the model's rate and length.
    folder : path-like
        Gets ``prediction.json``, ``ecg.png`` and, for IMLE-Net, ``attention.npz``, ``channels.png`` and
        ``channels.html``; for ProtoECGNet see `explain.prototypes.explain.explain_recording`.
    prediction : dict, optional
        From `predict_recording`, where it was made already.
    data_dir : path-like, optional
        PTB-XL folder with the ECGs of ProtoECGNet's prototypes; no other model needs it.

    Returns
    -------
    list of pathlib.Path
        The files.
    """
    folder = Path(folder)
    prediction = prediction or predict_recording(predictor, recording)
    if predictor.card["model"]["name"] in ("protoecgnet", "protoecgnet_fusion"):
        from explain.prototypes.explain import explain_recording as explain_by_prototypes

        return explain_by_prototypes(predictor, recording, folder, prediction, data_dir)
    maps = attention(predictor, recording)
    answer = ", ".join(
        f"{c['class']} {c['probability']:.2f}{' yes' if c['positive'] else ''}" for c in prediction["classes"]
    )
    title = f"{recording.name}: {prediction['checkpoint']} ({prediction['task']})"
    written = [folder / "prediction.json", folder / "ecg.png"]
    if maps is None:
        plot_ecg(recording.signal, recording.sampling_rate, written[1], title=title, subtitle=answer)
    else:
        prediction["strongest_attention"] = strongest(maps, recording.sampling_rate)
        plot_ecg(
            recording.signal,
            recording.sampling_rate,
            written[1],
            title=title,
            subtitle=answer,
            heat=maps["heatmap"] * maps["heatmap"].size,
            heat_label="attention, beat x rhythm x channel (1 = uniform over the record)",
            channel=maps["channel"],
        )
        written += [folder / "channels.png", folder / "channels.html", folder / "attention.npz"]
        plot_channels(maps["channel"], written[2], written[3], title=f"{title}: importance of each lead")
        arrays = {"heat" if name == "heatmap" else name: values for name, values in maps.items()}
        write_npz(written[4], **arrays, leads=np.array(DISPLAY_NAMES), sampling_rate=recording.sampling_rate)
    write_json(written[0], prediction)
    return written


def strongest(maps: dict[str, np.ndarray], sampling_rate: float, count: int = 5) -> list[dict[str, Any]]:
    """The windows that got most attention.

    Parameters
    ----------
    maps : dict of ndarray
        From `attention`.
    sampling_rate : float
        In Hz.
    count : int
        How many.

    Returns
    -------
    list of dict
        ``lead``, ``start_s``, ``end_s`` and ``share`` of the whole record's attention.
    """
    share = maps["rhythm"] * maps["channel"][:, None]
    seconds = len(maps["heatmap"]) / sampling_rate / share.shape[1]
    order = np.argsort(-share, axis=None)[:count]
    return [
        {
            "lead": DISPLAY_NAMES[lead],
            "start_s": round(window * seconds, 3),
            "end_s": round((window + 1) * seconds, 3),
            "share": float(share[lead, window]),
        }
        for lead, window in zip(*np.unravel_index(order, share.shape), strict=True)
    ]
