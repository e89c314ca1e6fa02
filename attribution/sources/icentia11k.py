"""Build windows from the Icentia11k Continuous ECG Database: one lead, 11,000 patients, 250 Hz.

Tan et al., Icentia11k: an unsupervised representation learning dataset for arrhythmia subtype discovery
(2019), arXiv:1910.09570; files at doi:10.13026/kk0v-r952: ``p00/p00000/p00000_s00.{hea,dat,atr}``, up to 50
segments of about 70 minutes a patient. The study used a file of its author, made in an unpublished way.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from attribution.sources.collect import BeatWindows, cut_beats
from attribution.sources.options import BuildOptions, spread
from databases.wfdb_reader import check_folder, read_annotations, read_header, read_leads
from preprocessing.targets.beats import classify
from preprocessing.windows import Windows
from utils.errors import DataError, UsageError

SAMPLING_RATE = 250
SECONDS = 8
CLASSES = ("normal", "pac", "pvc")
# S: ectopic supraventricular beat (PAC). An aberrated beat (a) or an undefined one (Q) is of none of the
# classes. Marks of rhythm (+) are no beats.
SYMBOLS = {"N": 0, "S": 1, "V": 2, "a": 3, "Q": 3}


def build_icentia11k(data_dir: str | os.PathLike, options: BuildOptions) -> Windows:
    """Cut windows of 8 s and choose some of every patient, evenly over the classes and over time.

    Of each patient at most ``windows_per_patient`` windows are taken: as many of each class as of the others
    as long as there are any, at even distances in time. So the classes are far more balanced than in life:
    predictive values do not carry over. Splits go by the last digit of the patient's number: 0-3 training, 4
    validation, 5-9 test (the study, too, tests on half).
    """
    if options.reference:
        raise UsageError(
            "icentia11k has no --reference: the study's own file was made in an unpublished way; leave it out"
        )
    folder = check_folder(data_dir, "icentia11k")
    segments: dict[str, list[Path]] = {}
    for header in sorted(folder.rglob("p?????_s??.hea")):
        segments.setdefault(header.name[:6], []).append(header.with_suffix(""))
    if not segments:
        raise DataError(
            f"{folder} has no record of icentia11k (such as p00/p00000/p00000_s00.hea): "
            "point --data_dir at the folder that holds p00"
        )
    patients = sorted(segments)
    print(f"icentia11k: {len(patients)} of 11,000 patients are in {folder}")
    chosen = [patients[place] for place in spread(len(patients), options.limit)]
    collected = BeatWindows(CLASSES)
    for patient in tqdm(chosen, desc="icentia11k", unit="patient", disable=None):
        _add_patient(collected, patient, segments[patient], options.windows_per_patient)
    settings = {
        "reference": False,
        "window_seconds": SECONDS,
        "limit": options.limit,
        "windows_per_patient": options.windows_per_patient,
    }
    return collected.finish("icentia11k", "ECG", SAMPLING_RATE, settings)


def split_of(patient: str) -> str:
    """Name the split of a patient."""
    digit = int(patient[-1])
    return "train" if digit < 4 else "val" if digit == 4 else "test"


def share(available: list[int], total: int) -> list[int]:
    """Divide a number of places evenly; what one cannot fill goes to the others."""
    given = [0] * len(available)
    order = sorted(range(len(available)), key=available.__getitem__)  # the rarest first
    for done, place in enumerate(order):
        given[place] = min(available[place], -(-total // (len(order) - done)))
        total -= given[place]
    return given


def _add_patient(collected: BeatWindows, patient: str, segments: list[Path], limit: int) -> None:
    length = SECONDS * SAMPLING_RATE
    candidates: list[list[tuple[Path, int, np.ndarray]]] = [[] for _ in CLASSES]
    for path in segments:
        header = read_header(path, SAMPLING_RATE)
        annotations = read_annotations(path, "atr")
        kept, classes = classify(annotations.symbol.tolist(), SYMBOLS)
        shared = cut_beats(annotations.sample[kept], classes, length, header.sig_len // length)
        for index, beats in enumerate(shared):
            if not len(beats):
                collected.dropped["no beat"] += 1
            elif (label := collected.label(beats)) is not None:
                candidates[label].append((path, index * length, beats))
    wanted = share([len(windows) for windows in candidates], limit)
    for label, (windows, number) in enumerate(zip(candidates, wanted, strict=True)):
        for place in spread(len(windows), number) if number else ():
            path, start, beats = windows[place]
            signal = read_leads(path, [0], start, start + length)[:, 0]
            collected.add(path.name, patient, split_of(patient), start, label, signal, beats)
