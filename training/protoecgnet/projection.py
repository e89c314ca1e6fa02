"""Projection: each prototype becomes the window of a training ECG that is most similar to it.

Candidates are the training records that have one of the prototype's classes. The best window counts, whatever
the pooling of the model, and it is the one that is stored and shown. Batches of records pass once through the
network; what is kept of them is the best window of each prototype so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from models_torch.protoecgnet import ProtoECGNet
from preprocessing import Dataset, Standardizer
from training.protoecgnet.matching import Matches, assign, best_windows
from utils.errors import DataError

_KEEP_BYTES = 256e6  # up to this many bytes of features are kept for a second pass


@dataclass
class Projection:
    """What each prototype becomes, in the order of the model's ``prototype_vectors``.

    ``vectors`` (P, D, T): the new vectors, on the CPU.
    ``prototypes``: what each one is: ``index``, ``classes``, ``kind``, ``ecg_id``, ``leads``,
        ``window``, ``start_ms``, ``end_ms``, ``receptive_field_ms``, ``similarity`` (of the window
        to the vector it replaces), ``true_labels``, ``branch``; JSON values. Without a training
        record, ``ecg_id`` and what depends on it are None, and the vector is as it was.
    ``report``: counts of prototypes, source records and duplicates, classes without a training
        record, and how far the vectors moved; JSON values.
    """

    vectors: Tensor
    prototypes: list[dict[str, Any]]
    report: dict[str, Any]

    def apply(self, model: ProtoECGNet) -> None:
        """Replace the model's prototypes, in place."""
        shape = tuple(model.prototype_vectors.shape)
        if shape != tuple(self.vectors.shape):
            raise DataError(
                f"projected prototypes of shape {tuple(self.vectors.shape)} do not fit a model with {shape}"
            )
        with torch.no_grad():
            model.prototype_vectors.copy_(self.vectors)


def project(
    model: ProtoECGNet,
    records: Dataset,
    standardizer: Standardizer,
    one_to_one: bool = False,
    batch_size: int = 64,
    device: torch.device | str | None = None,
) -> Projection:
    """Find the training window that each prototype is to become; the model is not changed, see
    `Projection.apply`.

    ``records``: the training split, with the model's classes; signals in mV at the model's sampling rate.
    ``one_to_one``: no record serves two prototypes (the assignment with the largest sum of similarities).
        Where records run out, a prototype takes another window of a record, and a window twice where those
        run out, too. Takes memory for records x prototypes numbers; otherwise it does not grow with the
        records.
    ``device``: by default the GPU where there is one.

    Chen et al., This Looks Like That, NeurIPS 2019, arXiv:1806.10574 (projection); Sethi et al., ProtoECGNet,
    MLHC 2025, PMLR 298, arXiv:2504.08713.
    """
    _check(model, records)
    home, was_training = model.prototype_vectors.device, model.training
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    search = _one_to_one if one_to_one else _nearest
    try:
        with torch.inference_mode():
            matches = search(_Reader(model, records, standardizer, batch_size))
    finally:
        model.train(was_training).to(home)
    for name, value in vars(matches).items():  # ordinary tensors again, on the CPU
        setattr(matches, name, value.cpu().clone())
    prototypes = _describe(model, records, matches)
    report = {"one_to_one": one_to_one, **_report(model, records, matches, prototypes)}
    return Projection(matches.vectors, prototypes, report)


def _check(model: ProtoECGNet, records: Dataset) -> None:
    held_out = np.flatnonzero(records.splits != "train")
    if held_out.size:
        first = held_out[0]
        raise DataError(
            f"prototypes must come from training records, but record {records.ids[first]} is in the split "
            f"'{records.splits[first]}' ({held_out.size} such records): pass dataset.split('train')"
        )
    if len(records.classes) != model.identity.shape[1]:
        raise DataError(
            f"the records have {len(records.classes)} classes (task {records.task}) and the model "
            f"{model.identity.shape[1]}: load them with the task that the model was trained on"
        )
    if not torch.isfinite(model.prototype_vectors).all():
        raise DataError("the model's prototypes hold NaN or infinite numbers: its training failed, repeat it")


class _Reader:
    """Features of the records that are candidates for any prototype; the others need no reading."""

    def __init__(self, model: ProtoECGNet, records: Dataset, standardizer: Standardizer, batch_size: int):
        self.model, self.records, self.standardizer = model, records, standardizer
        self.batch_size = batch_size
        self.device = model.prototype_vectors.device
        size = model.prototype_vectors.shape[1] * model.columns * 4
        self._keep = len(records) * size <= _KEEP_BYTES
        self._kept: dict[int, Tensor] = {}
        used = model.identity.any(dim=0).cpu().numpy()
        self.candidates = np.flatnonzero(records.targets[:, used].any(axis=1))
        if not self.candidates.size:
            raise DataError(
                f"none of the {len(records)} training records has a class of this branch: there is nothing "
                "that its prototypes could be"
            )

    def admissible(self, rows: np.ndarray) -> Tensor:
        """Whether each record has a class of each prototype, (B, P)."""
        labels = torch.from_numpy(self.records.targets[rows]).to(self.device)
        return labels.float() @ self.model.identity.float().T > 0

    def batches(self, rows: np.ndarray, text: str) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Numbers and features (B, D, columns) of those records, batch by batch."""
        starts = range(0, len(rows), self.batch_size)
        for start in tqdm(starts, desc=text, unit="batch", leave=False, disable=None):
            batch = rows[start : start + self.batch_size]
            if all(row in self._kept for row in batch.tolist()):
                yield batch, torch.stack([self._kept[row] for row in batch.tolist()])
                continue
            signals = torch.from_numpy(self.standardizer(self.records.signals[batch])).to(self.device)
            features = self.model.features(signals)
            bad = ~torch.isfinite(features).flatten(1).all(dim=1).cpu().numpy()
            if bad.any():
                raise DataError(
                    f"record {self.records.ids[batch[bad][0]]}: NaN or infinite features; drop the "
                    "record if its samples are damaged, else the model's training failed"
                )
            if self._keep:  # a second pass over few records needs no second forward pass
                self._kept |= dict(zip(batch.tolist(), features, strict=True))
            yield batch, features


def _nearest(reader: _Reader) -> Matches:
    """The nearest window for each prototype on its own."""
    matches = Matches(reader.model.prototype_vectors)
    for rows, features in reader.batches(reader.candidates, "projection"):
        best = best_windows(reader.model.activations(features), reader.admissible(rows))
        matches.add(torch.from_numpy(rows).to(reader.device), features, *best)
    return matches


def _one_to_one(reader: _Reader) -> Matches:
    """A record of its own for each prototype; for those that get none, a window of its own."""
    model, candidates = reader.model, reader.candidates
    matches = Matches(model.prototype_vectors)
    similarity = np.empty((len(candidates), len(matches.record)), np.float32)
    window = np.empty(similarity.shape, np.int16)
    done = 0
    for rows, features in reader.batches(candidates, "similarities"):
        best, at = best_windows(model.activations(features), reader.admissible(rows))
        similarity[done : done + len(rows)] = best.cpu().numpy()
        window[done : done + len(rows)] = at.cpu().numpy()
        done += len(rows)
    assigned = assign(similarity)  # a row of `candidates` for each prototype, -1 for none
    source = np.where(assigned < 0, -1, candidates[assigned])
    for rows, features in reader.batches(np.unique(source[source >= 0]), "projection"):
        prototypes = np.flatnonzero(np.isin(source, rows))
        best, of_batch = assigned[prototypes], np.searchsorted(rows, source[prototypes])
        windows, values = window[best, prototypes].astype(np.int64), similarity[best, prototypes]
        arrays = (prototypes, source[prototypes], windows, values, of_batch)
        index, record, at, value, row = (torch.from_numpy(array).to(reader.device) for array in arrays)
        matches.put(index, record, at, value, features, row)
    _share(reader, matches, np.flatnonzero(source < 0))
    return matches


def _share(reader: _Reader, matches: Matches, left: np.ndarray) -> None:
    """Assign a free window, or else the best one, to prototypes without a record of their own.

    Their candidates are few: a record that serves no prototype would have been assigned to one of them.
    """
    admissible = reader.admissible(reader.candidates)[:, left].any(dim=1).cpu().numpy()
    rows = reader.candidates[admissible]
    if not rows.size:
        return
    features, parts = [], []
    for batch, columns in reader.batches(rows, "shared records"):
        inadmissible = ~reader.admissible(batch)[:, left, None]
        activations = reader.model.activations(columns)[:, left].masked_fill(inadmissible, -torch.inf)
        features.append(columns)
        parts.append(activations.transpose(1, 2).cpu().numpy())
    similarity = np.concatenate(parts)  # (records, windows, prototypes)
    free = similarity.copy()
    record, window = matches.record.cpu().numpy(), matches.window.cpu().numpy()
    taken = np.isin(record, rows)
    free[np.searchsorted(rows, record[taken]), window[taken]] = -np.inf
    width = similarity.shape[1]
    similarity = similarity.reshape(-1, len(left))
    pair = assign(free.reshape(-1, len(left)))
    pair = np.where(pair < 0, similarity.argmax(axis=0), pair)
    value = similarity[pair, np.arange(len(left))]
    some = np.isfinite(value)  # the others have no candidate at all
    source, window = pair[some] // width, pair[some] % width
    arrays = (left[some], rows[source], window, value[some], source)
    index, sources, at, values, row = (torch.from_numpy(array).to(reader.device) for array in arrays)
    matches.put(index, sources, at, values, torch.cat(features), row)


def _describe(model: ProtoECGNet, records: Dataset, matches: Matches) -> list[dict[str, Any]]:
    """The card's list of prototypes."""
    to_ms = 1000 / records.sampling_rate
    entries = []
    for index, identity in enumerate(model.identity.cpu().numpy()):
        classes = [records.classes[c] for c in np.flatnonzero(identity)]
        entry = {
            "index": index,
            "classes": classes,
            "kind": "joint" if len(classes) > 1 else "single",
            "ecg_id": None,
            "leads": list(records.leads),
            "window": None,
            "start_ms": None,
            "end_ms": None,
            "receptive_field_ms": None,
            "similarity": None,
            "true_labels": [],
            "branch": model.branch,
        }
        row = int(matches.record[index])
        if row >= 0:
            window = int(matches.window[index])
            start, stop = model.window_span(window)
            entry |= {
                "ecg_id": int(records.ids[row]),
                "window": window,
                "start_ms": start * to_ms,
                "end_ms": stop * to_ms,
                "receptive_field_ms": [at * to_ms for at in model.window_receptive_field(window)],
                "similarity": float(matches.similarity[index]),
                "true_labels": [records.classes[c] for c in np.flatnonzero(records.targets[row])],
            }
        entries.append(entry)
    return entries


def _report(
    model: ProtoECGNet, records: Dataset, matches: Matches, prototypes: list[dict[str, Any]]
) -> dict[str, Any]:
    """Counts, duplicates and how far the vectors moved."""
    projected = [entry for entry in prototypes if entry["ecg_id"] is not None]
    sources = {entry["ecg_id"] for entry in projected}
    windows = {(entry["ecg_id"], entry["window"]) for entry in projected}
    moved = functional.cosine_similarity(
        model.prototype_vectors.detach().cpu().flatten(1), matches.vectors.flatten(1), dim=1
    )[matches.record >= 0]
    classes = {}
    for column, name in enumerate(records.classes):
        of_class = [entry for entry in prototypes if name in entry["classes"]]
        classes[name] = {
            "records": int(records.targets[:, column].sum()),
            "prototypes": len(of_class),
            "distinct_records": len({entry["ecg_id"] for entry in of_class} - {None}),
        }
    return {
        "prototypes": len(prototypes),
        "projected": len(projected),
        "distinct_records": len(sources),
        "duplicate_records": len(projected) - len(sources),
        "duplicate_windows": len(projected) - len(windows),
        "classes_without_record": [name for name, counts in classes.items() if not counts["records"]],
        "cosine_old_new": {"mean": float(moved.mean()), "min": float(moved.min())},
        "classes": classes,
    }
