"""Similarity of the maps of models that differ only in the seed of their training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from attribution.engine.workspace import Workspace
from attribution.metrics.agreement import correlation
from attribution.sanity.files import Column, tidy
from utils.errors import DataError
from utils.tables import write_csv


def models_file(folder: Path, method: str) -> Path:
    """Path of the scores of `compare_models`."""
    return folder / "scores" / f"sanity_models_{method}.csv"


def compare_models(workspaces: Sequence[Workspace], methods: Sequence[str]) -> list[Path]:
    """Write how similar the maps of models with other training seeds are: ``model_stability``.

    For each window and target that two folders share: Spearman's correlation of their absolute maps; a
    window's score is the mean over the other folders that have it, NaN where none has.

    References
    ----------
    Arends et al., European Heart Journal - Digital Health, 2026, call it self-consistency.
    """
    models: dict[str, Path] = {}
    for workspace in workspaces:
        if workspace.args["fingerprint"] != workspaces[0].args["fingerprint"]:
            raise DataError(
                f"{workspace.folder} and {workspaces[0].folder} explain windows of different files"
            )
        twin = models.setdefault(workspace.args["model_fingerprint"], workspace.folder)
        if twin != workspace.folder:
            raise DataError(
                f"{workspace.folder} and {twin} explain the same model: name those of other seeds"
            )
    windows = [list(zip(w.rows.tolist(), w.targets.tolist(), strict=True)) for w in workspaces]
    written = []
    for method in methods:
        maps = [np.abs(workspace.maps(method)) for workspace in workspaces]
        scores = [np.full((len(workspaces), len(explained)), np.nan) for explained in windows]
        for (i, first), (j, second) in combinations(enumerate(windows), 2):
            position = {window: k for k, window in enumerate(second)}
            shared = [(k, position[window]) for k, window in enumerate(first) if window in position]
            in_first, in_second = np.array(shared, int).reshape(-1, 2).T
            similarity = correlation(maps[i][in_first], maps[j][in_second])
            scores[i][j, in_first] = scores[j][i, in_second] = similarity
        for workspace, against in zip(workspaces, scores, strict=True):
            column = Column("model_stability", "absolute", _mean_of_known(against))
            path = models_file(workspace.folder, method)
            written.append(write_csv(path, tidy(workspace, method, [column]), na_rep="nan"))
    return written


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    return np.divide(
        np.where(known, values, 0).sum(axis=0), counts, out=np.full(len(counts), np.nan), where=counts > 0
    )
