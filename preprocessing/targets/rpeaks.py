"""Target sets of R-peaks: 1 near a peak, 0 elsewhere, `IGNORED` where nobody marked peaks.

Values are int8 (N, T // reduction, 1). The peaks themselves are the beats of the dataset. ``target_options``:
``tolerance`` in seconds on either side of a peak, and ``reduction``, samples of a step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from databases import Annotations, Database
from preprocessing.targets.masks import (
    cut_windows,
    ignore_outside,
    mark_peaks,
    scaled,
    thin_out,
    window_starts,
)
from preprocessing.targets.records import episode_splits, of_records, read_beats, split_patients
from preprocessing.targets.regions import Beats
from preprocessing.targets.registry import IGNORED, TargetOptions, Targets, register_targets
from preprocessing.targets.waves import LUDB_NAMES, annotated_spans, ludb_splits, merged_peaks

CLASSES = ["R-peak"]
OPTIONS = {"tolerance": 0.075, "reduction": 1}
END_S = 0.5  # of CPSC 2019, what its score leaves out at both ends; peaks are missing there
RATES_S = (0.6, 1.0)  # limits between fast, usual and slow beats, by which CPSC 2019 is stratified


class Peaks(NamedTuple):
    """Peaks of a record (M,), and what is annotated: from `start` to before `stop`, without `gaps`."""

    samples: np.ndarray
    start: int
    stop: int
    gaps: list[tuple[int, int]]


def _mask(peaks: Peaks, samples: int, options: TargetOptions) -> np.ndarray:
    """Mask of a record, (samples,)."""
    reach = options.settings["tolerance"] * options.sampling_rate
    mask = ignore_outside(np.zeros(samples, np.int8), peaks.start, peaks.stop)
    for first, last in peaks.gaps:
        mask[first:last] = IGNORED
    mask[mark_peaks(peaks.samples, samples, reach) == 1] = 1
    return mask


def _beats(peaks: list[np.ndarray]) -> Beats:
    """Beats of rows (M,) each."""
    counts = [len(samples) for samples in peaks]
    samples = np.concatenate([np.empty(0, np.int64), *peaks])
    return Beats(np.repeat(np.arange(len(peaks)), counts), samples, np.zeros(len(samples), np.int64))


def whole_records(peaks: list[Peaks], options: TargetOptions, **splits: Any) -> Targets:
    """Targets of whole records."""
    masks = np.stack([_mask(one, options.samples, options) for one in peaks])
    inside = [one.samples[(one.samples >= 0) & (one.samples < options.samples)] for one in peaks]
    values = thin_out(masks, options.settings["reduction"])[..., None]
    return Targets(np.arange(len(peaks)), values, CLASSES, beats=_beats(inside), **splits)


def windows(peaks: list[Peaks], lengths: list[int], options: TargetOptions, **splits: Any) -> Targets:
    """Targets of windows, one after the other."""
    rows, starts, values, beats = [], [], [], []
    for row, (one, length) in enumerate(zip(peaks, lengths, strict=True)):
        first = window_starts(length, options.samples, options.samples)
        rows.append(np.full(len(first), row))
        starts.append(first)
        values.append(cut_windows(_mask(one, length, options), first, options.samples))
        for start in first:
            inside = (one.samples >= start) & (one.samples < start + options.samples)
            beats.append(one.samples[inside] - start)
    masks = thin_out(np.concatenate(values), options.settings["reduction"])[..., None]
    parts = {name: value[np.concatenate(rows)] for name, value in splits.items() if name == "splits"}
    return Targets(
        np.concatenate(rows),
        masks,
        CLASSES,
        starts=np.concatenate(starts),
        beats=_beats(beats),
        **{**splits, **parts},
    )


def _cpsc2019(database: Database, options: TargetOptions) -> Targets:
    """All records of 10 s; half a second at either end is ignored."""
    records, rate = database.records, options.sampling_rate
    found = of_records(
        database, records.index, lambda record: database.annotations(record).beats.samples, "R-peaks"
    )
    peaks, classes = [], np.zeros((len(found), len(RATES_S) + 1), dtype=np.uint8)
    for row, (samples, source) in enumerate(zip(found, records["sampling_rate"], strict=True)):
        length = round(database.samples(records.index[row]) * rate / source)
        end = round(END_S * rate)
        peaks.append(Peaks(scaled(samples, source, rate), end, length - end, []))
        interval = np.median(np.diff(samples)) / source if len(samples) > 1 else np.inf
        classes[row, np.searchsorted(RATES_S, interval)] = 1
    splits, names = split_patients(records["patient"].to_numpy(), classes)
    return whole_records(peaks, options, splits=splits, split_names=names)


def _ludb(database: Database, options: TargetOptions) -> Targets:
    """Peaks of the QRS complexes over all leads."""
    records, rate = database.records, options.sampling_rate
    peaks = []
    delineated = of_records(
        database, records.index, lambda record: database.annotations(record).waves, "waves"
    )
    for waves, source in zip(delineated, records["sampling_rate"], strict=True):
        spans = annotated_spans(waves)
        start, stop = np.median(spans, axis=0).astype(np.int64) if len(spans) else (0, 0)
        start, stop = scaled(np.array([start, stop]), source, rate).tolist()
        merged = scaled(merged_peaks(waves, 0.2 * source), source, rate)
        peaks.append(Peaks(merged, start, stop, []))
    return whole_records(peaks, options, splits=ludb_splits(records.index), split_names=LUDB_NAMES)


def flutter_gaps(annotations: Annotations, samples: int) -> list[tuple[int, int]]:
    """Stretches of ventricular flutter, ``[`` to ``]``, in which beats are not marked."""
    gaps, begin = [], None
    for sample, symbol in zip(annotations.marks.samples.tolist(), annotations.marks.symbols, strict=True):
        if symbol == "[" and begin is None:
            begin = sample
        elif symbol == "]" and begin is not None:
            gaps.append((begin, sample + 1))
            begin = None
    return gaps if begin is None else [*gaps, (begin, samples)]


def _holter(database: Database, options: TargetOptions) -> Targets:
    """Windows of records in which every beat is annotated, but those of ventricular flutter."""
    records, rate = database.records, options.sampling_rate
    peaks, lengths = [], []
    annotated = of_records(database, records.index, lambda name: read_beats(database, name), "beats")
    for record, found, source in zip(records.index, annotated, records["sampling_rate"], strict=True):
        samples = database.samples(record)
        lengths.append(-int(-samples * rate // source))
        gaps = scaled(np.array(flutter_gaps(found, samples)).reshape(-1, 2), source, rate).tolist()
        beats = scaled(found.beats.samples, source, rate)
        peaks.append(Peaks(beats, 0, lengths[-1], [(first, last) for first, last in gaps]))
    return windows(peaks, lengths, options, **episode_splits(records))


for _name, _build, _more in (
    ("cpsc2019", _cpsc2019, {"sampling_rate": 500}),
    ("ludb", _ludb, {"sampling_rate": 500}),
    ("mitdb", _holter, {"sampling_rate": 360, "seconds": 30, "windows": True}),
    ("cpsc2021", _holter, {"sampling_rate": 200, "seconds": 30, "windows": True}),
):
    register_targets(
        "qrs_detection", kind="rpeaks", build=_build, databases=(_name,), options=OPTIONS, **_more
    )
