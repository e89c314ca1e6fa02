"""Target sets of rhythms along time: which rhythm, and where atrial fibrillation or flutter is.

``tagging`` targets have one column more than classes: the weight of the step in the loss, 0 for what lies
behind the end of a record. ``rr`` targets are class numbers, `IGNORED` behind the end of a sequence. Windows
of training records overlap where an option says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from databases import Annotations, Database
from preprocessing.targets.masks import border_weights, cut_windows, scaled, thin_out, window_starts
from preprocessing.targets.records import episode_splits, of_records, read_beats
from preprocessing.targets.registry import IGNORED, TargetOptions, Targets, register_targets
from preprocessing.targets.rpeaks import flutter_gaps
from utils.errors import UsageError

# PhysioNet's abbreviations, those of MIT-BIH without the records of paced patients
RHYTHMS = (
    *("N", "AB", "AFIB", "AFL", "B", "BII", "IVR", "NOD"),
    *("PREX", "SBR", "SVTA", "T", "VFL", "VT"),
)
FIBRILLATION = ("AFIB", "AFL")  # CPSC 2021 counts both as one
_WEIGHTS = {"foreground_weight": 2.0, "border_weight": 5.0, "border_width": 0.8}


def _masks(
    database: Database, options: TargetOptions, numbers: dict[str, int], elsewhere: int
) -> Iterator[np.ndarray]:
    """Number of the rhythm of each sample, record by record; `elsewhere` outside of the named rhythms."""
    records, rate = database.records, options.sampling_rate
    annotated = of_records(
        database, records.index, lambda record: read_beats(database, record).rhythms, "rhythms"
    )
    for record, rhythms, source in zip(records.index, annotated, records["sampling_rate"], strict=True):
        mask = np.full(-int(-database.samples(record) * rate // source), elsewhere, dtype=np.int8)
        first, last = scaled(rhythms.start, source, rate), scaled(rhythms.end, source, rate)
        for begin, end, name in zip(first.tolist(), last.tolist(), rhythms.name.tolist(), strict=True):
            mask[begin:end] = numbers.get(name, elsewhere)
        yield mask


def overlapping_starts(
    mask: np.ndarray, length: int, hop: int, border_hop: int
) -> tuple[np.ndarray, np.ndarray]:
    """First samples of all windows of a record, and which of them overlap those that follow each other.

    Windows begin every `hop` samples, those with a border of the mask in them every `border_hop`.
    """
    base = window_starts(len(mask), length, length)
    fine = np.arange(0, max(len(mask) - length + 1, 1), border_hop)
    borders = np.flatnonzero(np.diff(mask)) + 1
    holds_border = np.searchsorted(borders, fine + length) > np.searchsorted(borders, fine, side="right")
    more = fine[(fine % hop == 0) | holds_border]
    starts = np.union1d(base, more)
    return starts, ~np.isin(starts, base)


def _hops(options: TargetOptions) -> tuple[int, int]:
    """Samples from one training window to the next, and around borders."""
    hops = []
    for name in ("overlap", "border_overlap"):
        seconds = options.settings[name]
        if seconds * options.sampling_rate >= options.samples:
            raise UsageError(f"target option '{name}' is {seconds:g} s, as long as the windows or longer")
        hops.append(options.samples - round(seconds * options.sampling_rate))
    return hops[0], hops[1]


def _windows(
    masks: Iterable[np.ndarray],
    columns_of: Callable[[np.ndarray], list[np.ndarray]],
    options: TargetOptions,
    fill: int,
) -> dict[str, Any]:
    """Windows of the columns of each record, cut as its mask and the overlap say: fields of `Targets`."""
    length, hops, parts = options.samples, _hops(options), []
    for row, mask in enumerate(masks):
        starts, overlapping = overlapping_starts(mask, length, *hops)
        cut = (cut_windows(column, starts, length, fill) for column in columns_of(mask))
        values = np.stack([thin_out(part, options.settings.get("reduction", 1)) for part in cut], axis=-1)
        parts.append((np.full(len(starts), row), values, starts, overlapping))
    rows, values, starts, overlapping = (np.concatenate(part) for part in zip(*parts, strict=True))
    return {"rows": rows, "values": values, "starts": starts, "overlapping": overlapping}


def _splits_of(database: Database, rows: np.ndarray) -> dict[str, Any]:
    splits = episode_splits(database.records)
    return splits | {"splits": splits["splits"][rows]} if splits else {}


def _segmentation(database: Database, options: TargetOptions) -> Targets:
    """Rhythm of each sample, int8 (N, T); ignored before the first rhythm and after the end."""
    masks = _masks(database, options, {name: number for number, name in enumerate(RHYTHMS)}, IGNORED)
    parts = _windows(masks, lambda mask: [mask], options, IGNORED)
    parts["values"] = parts["values"][..., 0]
    return Targets(classes=list(RHYTHMS), **parts, **_splits_of(database, parts["rows"]))


def _fibrillation(database: Database, options: TargetOptions) -> Targets:
    """Atrial fibrillation or flutter, and the weight of each step, float16 (N, T // reduction, 2).

    ``foreground_weight``, ``border_weight``, ``border_width`` (seconds): see `border_weights`.
    """
    foreground, border, width = (float(options.settings[name]) for name in _WEIGHTS)

    def with_weights(mask: np.ndarray) -> list[np.ndarray]:
        weights = border_weights(mask, options.sampling_rate, foreground, border, width)
        return [mask.astype(np.float16), weights.astype(np.float16)]

    masks = _masks(database, options, dict.fromkeys(FIBRILLATION, 1), 0)
    parts = _windows(masks, with_weights, options, 0)
    return Targets(classes=["AF"], **parts, **_splits_of(database, parts["rows"]))


def rr_sequences(
    annotations: Annotations, samples: int, rate: float, length: int, overlap: int
) -> list[tuple[int, np.ndarray, np.ndarray, bool]]:
    """Sequences of RR intervals: first beat, intervals in s, AF at their ends, whether it overlaps.

    No interval spans ventricular flutter, in which beats are not marked. Shorter sequences come last.
    """
    beats = annotations.beats.samples
    gaps = np.array(flutter_gaps(annotations, samples), dtype=np.int64).reshape(-1, 2)
    edges = np.searchsorted(beats, gaps[:, 0])
    fibrillation = np.zeros(len(beats), dtype=np.uint8)
    for first, last, name in zip(*annotations.rhythms, strict=True):
        fibrillation[(beats >= first) & (beats < last)] = name in FIBRILLATION
    sequences = []
    for segment in np.split(np.arange(len(beats)), edges):
        intervals = np.diff(beats[segment]) / rate
        base = set(range(0, len(intervals), length))
        further = set(range(0, max(len(intervals) - length + 1, 0), length - overlap))
        for start in sorted(base | further):
            ends = segment[1:][start : start + length]
            sequences.append(
                (
                    int(beats[segment[start]]),
                    intervals[start : start + length],
                    fibrillation[ends],
                    start not in base,
                )
            )
    return sequences


def _rr(database: Database, options: TargetOptions) -> Targets:
    """``length`` RR intervals (s) each, 1 for AF at the beat that ends one, int8 (N, length)."""
    records, settings = database.records, options.settings
    length, overlap = settings["length"], settings["overlap"]
    if not 0 <= overlap < length:
        raise UsageError(f"target option 'overlap' is {overlap}: choose 0 to {length - 1} intervals")
    annotated = of_records(
        database, records.index, lambda record: read_beats(database, record), "beats and rhythms"
    )
    rows, starts, signals, values, overlapping = [], [], [], [], []
    for row, (record, found, source) in enumerate(
        zip(records.index, annotated, records["sampling_rate"], strict=True)
    ):
        for first, intervals, labels, again in rr_sequences(
            found, database.samples(record), source, length, overlap
        ):
            rows.append(row)
            starts.append(int(scaled(np.array([first]), source, options.sampling_rate)[0]))
            overlapping.append(again)
            pad = (0, length - len(intervals))
            signals.append(np.pad(intervals, pad))
            values.append(np.pad(labels.astype(np.int8), pad, constant_values=IGNORED))
    places = np.array(rows, dtype=np.int64)
    return Targets(
        places,
        np.array(values, dtype=np.int8).reshape(-1, length),
        ["none", "AF"],
        starts=np.array(starts, dtype=np.int64),
        overlapping=np.array(overlapping, dtype=bool),
        signals=np.array(signals, dtype=np.float32).reshape(-1, length, 1),
        channels=("RR",),
        **_splits_of(database, places),
    )


def _register(name: str, rate: int, episodes: str, overlap: float, border_overlap: float) -> None:
    overlaps = {"overlap": overlap, "border_overlap": border_overlap}
    register_targets(
        episodes,
        kind="tagging",
        build=_fibrillation,
        databases=(name,),
        alias=() if episodes == "af_event" else ("af_event",),
        sampling_rate=rate,
        seconds=30,
        windows=True,
        options=overlaps | _WEIGHTS | {"reduction": 8},
    )
    register_targets(
        "rr_lstm",
        kind="rr",
        build=_rr,
        databases=(name,),
        sampling_rate=rate,
        windows=True,
        options={"length": 30, "overlap": 15},
    )


_register("mitdb", 360, "af_event", 0.0, 0.0)
_register("cpsc2021", 200, "main", 15.0, 25.0)
register_targets(
    "rhythm_segmentation",
    kind="segmentation",
    build=_segmentation,
    databases=("mitdb",),
    sampling_rate=360,
    seconds=30,
    windows=True,
    options={"overlap": 0.0, "border_overlap": 0.0},
)
