"""How alike the maps of models are that differ in nothing but the seed of their training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from attribution.engine.results import ComputeResult
from attribution.metrics.agreement import correlation
from attribution.sanity.files import Column, tidy, write_scores
from utils.errors import DataError


def models_file(folder: Path, method: str) -> Path:
    """Path of the scores of `compare_models`."""
    return folder / "scores" / f"sanity_models_{method}.csv"


def compare_models(results: Sequence[ComputeResult], methods: Sequence[str]) -> list[Path]:
    """Write how alike the maps of models with other training seeds are: ``model_stability``.

    For each window and target that two folders share: Spearman's correlation of their absolute maps; a
    window's score is the mean over the other folders that have it, NaN where none has.

    References
    ----------
    Arends et al., European Heart Journal - Digital Health, 2026, call it self-consistency.
    """
    models: dict[str, Path] = {}
    for result in results:
        if result.args["fingerprint"] != results[0].args["fingerprint"]:
            raise DataError(f"{result.folder} and {results[0].folder} explain windows of different files")
        twin = models.setdefault(result.args["model_fingerprint"], result.folder)
        if twin != result.folder:
            raise DataError(f"{result.folder} and {twin} explain the same model: name those of other seeds")
    keys = [list(zip(r.rows.tolist(), r.targets.tolist(), strict=True)) for r in results]
    written = []
    for method in methods:
        maps = [np.abs(result.maps(method)) for result in results]
        scores = [np.full((len(results), len(own)), np.nan) for own in keys]
        for (i, first), (j, second) in combinations(enumerate(keys), 2):
            place = {key: k for k, key in enumerate(second)}
            shared = np.array([(k, place[key]) for k, key in enumerate(first) if key in place], int).reshape(
                -1, 2
            )
            here, there = shared.T
            alike = correlation(maps[i][here], maps[j][there])
            scores[i][j, here] = scores[j][i, there] = alike
        for result, against in zip(results, scores, strict=True):
            path = models_file(result.folder, method)
            write_scores(
                path, tidy(result, method, [Column("model_stability", "absolute", _mean_of_known(against))])
            )
            written.append(path)
    return written


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    return np.divide(
        np.where(known, values, 0).sum(axis=0), counts, out=np.full(len(counts), np.nan), where=counts > 0
    )
