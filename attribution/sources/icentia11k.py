"""Windows of Icentia11k; the study used a file of its author, made in an unpublished way."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from attribution.sources.options import BuildOptions, spread
from databases.icentia11k import Icentia11k
from preprocessing.beat_windows import BeatWindows, cut_beats
from preprocessing.targets.beats import classify
from preprocessing.windows import Windows

SECONDS = 8
CLASSES = ("normal", "pac", "pvc")
# S: ectopic supraventricular beat (PAC). An aberrated beat (a) or an undefined one (Q) belongs to none of the
# classes. Rhythm marks (+) are not beats.
SYMBOLS = {"N": 0, "S": 1, "V": 2, "a": 3, "Q": 3}


def build_icentia11k(database: Icentia11k, options: BuildOptions) -> Windows:
    """Cut windows of 8 s and choose some of every patient, evenly over the classes and over time.

    Of each patient at most ``windows_per_patient`` windows are taken: equally many of each class while there
    are any, at even distances in time. So the classes are far more balanced than in practice: predictive
    values do not carry over.
    """
    records = database.records
    segments = {patient: list(rows.index) for patient, rows in records.groupby("patient", sort=True)}
    patients = list(segments)
    chosen = [patients[place] for place in spread(len(patients), options.limit)]
    split = dict(zip(records["patient"], records["split"], strict=True))
    collected = BeatWindows(CLASSES)
    for patient in tqdm(chosen, desc="icentia11k", unit="patient", disable=None):
        for record, start, label, beats in _choose(collected, database, segments[patient], options):
            stop = start + SECONDS * database.sampling_rate
            signal = database.read(record, None, start, stop, dtype=np.float64).signal[:, 0]
            collected.add(record, patient, split[patient], start, label, signal, beats)
    settings = {
        "reference": False,
        "window_seconds": SECONDS,
        "limit": options.limit,
        "windows_per_patient": options.windows_per_patient,
    }
    return collected.finish("icentia11k", "ECG", database.sampling_rate, settings)


def share(available: list[int], total: int) -> list[int]:
    """Divide a total evenly among classes, as far as each has windows."""
    given = [0] * len(available)
    order = sorted(range(len(available)), key=available.__getitem__)  # the rarest first
    for done, place in enumerate(order):
        given[place] = min(available[place], -(-total // (len(order) - done)))
        total -= given[place]
    return given


def _choose(
    collected: BeatWindows, database: Icentia11k, segments: list[str], options: BuildOptions
) -> list[tuple[str, int, int, np.ndarray]]:
    """Windows of one patient: record, first sample, class, beats (m, 2)."""
    length = SECONDS * database.sampling_rate
    candidates: list[list[tuple[str, int, int, np.ndarray]]] = [[] for _ in CLASSES]
    for record in segments:
        samples = database.header(record).samples or 0
        marks = database.annotations(record).marks
        kept, classes = classify(marks.symbols.tolist(), SYMBOLS)
        windows = cut_beats(marks.samples[kept], classes, length, samples // length)
        for index, beats in enumerate(windows):
            if not len(beats):
                collected.dropped["no beat"] += 1
            elif (label := collected.label(beats)) is not None:
                candidates[label].append((record, index * length, label, beats))
    numbers = share([len(windows) for windows in candidates], options.windows_per_patient)
    return [
        windows[place]
        for windows, number in zip(candidates, numbers, strict=True)
        if number
        for place in spread(len(windows), number)
    ]
