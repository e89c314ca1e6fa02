"""Made-up scores and maps of the attribution study for its tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from attribution.scores.summary import COLUMNS
from preprocessing.windows import Beats, Windows, save_windows
from utils.files import write_json, write_npz

METHODS = ("lime", "gradcam", "guided_gradcam", "random_baseline")
METRICS = (("auc", "beats"), ("pointing_game", "beats"), ("region_perturbation_lerf", ""))


def score_lines(
    method="gradcam", patients=7, each=2, seed=1, dataset="mitdb", model="net", metrics=METRICS, random=0
):
    """Tidy scores of one method, both signs: made up, the later in METHODS the better."""
    rng = np.random.default_rng([random, seed, METHODS.index(method) if method in METHODS else 9])
    level = 0 if method == "random_baseline" else 0.2 * METHODS.index(method) + 0.2
    lines = []
    for sign in ("signed", "absolute"):
        for metric, ground_truth in metrics:
            for window in range(patients * each):
                patient = window // each
                where = [f"{100 + patient:03d}", f"p{patient}", window, ("SVEB", "VEB")[window % 2]]
                score = np.clip(level + rng.normal(0, 0.05), 0, 1)
                lines.append([dataset, model, seed, method, sign, metric, ground_truth, *where, score])
    return pd.DataFrame(lines, columns=COLUMNS)


def write_scores(folder, methods=METHODS, **how):
    """A result folder with scores alone."""
    (Path(folder) / "scores").mkdir(parents=True, exist_ok=True)
    for method in methods:
        score_lines(method, **how).to_csv(Path(folder) / "scores" / f"{method}.csv", index=False)
    return Path(folder)


def make_windows(leads=("MLII",), patients=7, each=2, samples=300, rate=100):
    """Windows of a wave with one beat of the window's class in its middle."""
    count = patients * each
    time = np.arange(samples) / rate
    signals = np.zeros((count, samples, len(leads)), np.float32)
    signals += np.sin(2 * np.pi * 1.2 * time)[None, :, None].astype(np.float32)
    labels = np.zeros((count, 3), np.uint8)
    labels[np.arange(count), 1 + np.arange(count) % 2] = 1
    window = np.repeat(np.arange(count), 3)
    sample = np.tile([samples // 6, samples // 2, 5 * samples // 6], count)
    cls = np.stack([np.zeros(count), 1 + np.arange(count) % 2, np.zeros(count)], axis=1).ravel()
    patient = np.arange(count) // each
    return Windows(
        signals=signals,
        targets=labels,
        classes=["N", "SVEB", "VEB"],
        leads=tuple(leads),
        sampling_rate=rate,
        kind="multiclass",
        name="mitdb",
        ids=np.array([f"{100 + p:03d}" for p in patient]),
        patients=np.array([f"p{p}" for p in patient]),
        starts=np.arange(count) * samples,
        splits=np.array(["test"] * count),
        normal=["N"],
        beats=Beats(window, sample, cls),
    )


def write_maps(folder, windows, methods=METHODS):
    """What attribution.compute leaves, without a model."""
    folder = Path(folder)
    save_windows(windows, folder / "windows.npz")
    rng = np.random.default_rng(0)
    args = {
        "dataset": "mitdb",
        "dataset_path": str(folder / "windows.npz"),
        "fingerprint": windows.fingerprint,
        "model": "net",
        "seed": 1,
        "command": "python -m attribution.compute --dataset mitdb",
        "git_commit": "0" * 40,
        "methods": list(methods),
        "not_possible": {"attention": "it has none"},
    }
    write_json(folder / "args.json", args)
    count = len(windows)
    selection = {"rows": np.arange(count), "targets": windows.labels.argmax(axis=1)}
    write_npz(folder / "selection.npz", **selection, probability=np.linspace(0.8, 0.99, count))
    for method in methods:
        maps = rng.normal(size=windows.signals.shape).astype(np.float32)
        write_npz(folder / "maps" / f"{method}.npz", maps=maps)
    return folder


def words_of(figure):
    """Everything that is written in a figure."""
    return " ".join(
        text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))
    )
