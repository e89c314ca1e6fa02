"""Sanity checks of the maps that attribution.compute wrote: weights at random, other seeds, sums, sparseness.

python -m attribution.sanity --attr_dir results/attribution/mitdb_seed1
python -m attribution.sanity --attr_dir results/attribution/mitdb_seed1 results/attribution/mitdb_seed2
"""

from __future__ import annotations

import argparse
import collections
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from attribution.engine.results import ComputeResult, load_maps
from attribution.metrics.agreement import gini
from attribution.sanity.checks import (
    Subject,
    check_reproducible,
    completeness_columns,
    randomization_columns,
    seed_columns,
)
from attribution.sanity.files import Column, cascade_similarity, flag, score_file, tidy, write_scores
from attribution.sanity.model_stability import compare_models, models_file
from attribution.sanity.randomization import layer_groups
from attribution.scores.summary import read_score_file
from explain.engine.fast import speed_up
from utils.errors import DataError, UsageError, nearest
from utils.files import read_json, sha256, write_json
from utils.flags import Parser, true_or_false

RECORD = "sanity.json"


def draw_evenly(patients: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw windows so that patients have as equal a share as their windows allow.

    Shapes: patients (N,) -> (min(count, N).
    """
    places = np.random.default_rng(seed).permutation(len(patients))
    seen: collections.Counter[Any] = collections.Counter()
    turns = []
    for patient in np.asarray(patients)[places].tolist():
        turns.append(seen[patient])
        seen[patient] += 1
    return np.sort(places[np.argsort(turns, kind="stable")][: count or None])


def check_folder(result: ComputeResult, options: argparse.Namespace) -> list[str]:
    """Check every method of a folder of maps; what is finished is written and not made again."""
    folder = result.folder
    methods = _chosen(options.attr_method, result)
    path = folder / "scores" / RECORD
    finished: dict[str, Any] = read_json(path) if path.exists() else {}
    asked = {name: getattr(options, name) for name in ("windows", "seeds", "seed", "independent")}
    state = {m: {**asked, "maps_sha256": sha256(result.map_file(m))} for m in methods}
    todo = [
        m
        for m in methods
        if options.overwrite
        or not score_file(folder, m).exists()
        or any(finished.get(m, {}).get(key) != value for key, value in state[m].items())
    ]
    if len(todo) < len(methods):
        print(f"{folder}: {len(methods) - len(todo)} of {len(methods)} methods are done already")
    if not todo:
        return methods
    classifier = result.classifier(options)
    speed_up(classifier)
    groups = layer_groups(classifier.module)
    places = draw_evenly(result.windows.patients[result.rows], options.windows, options.seed)
    rows = result.rows[places]
    x = classifier.standardize(result.windows.signals[rows])
    for method in todo:
        maps = result.maps(method)
        subject = Subject(classifier, method, x, result.targets[places], result.settings(rows), maps[places])
        steps = partial(tqdm, desc=method, unit="step", leave=False)
        check_reproducible(subject)
        columns = randomization_columns(subject, groups, options.seed, options.independent, steps)
        columns += seed_columns(subject, options.seeds, steps)
        columns += completeness_columns(subject)
        scores = pd.concat(
            [
                tidy(result, method, columns, places),
                tidy(result, method, [Column("sparseness_gini", "absolute", gini(maps))]),
            ]
        )
        write_scores(score_file(folder, method), scores)
        finished[method] = {**state[method], "groups": {g.name: list(g.layers) for g in groups}}
        write_json(path, finished)
        print(f"wrote {score_file(folder, method)}")
    return methods


def _chosen(names: Sequence[str], result: ComputeResult) -> list[str]:
    """Methods that the command names, of those that the folder has maps of."""
    there = result.methods()
    if not there:
        raise DataError(f"{result.folder} holds no finished maps yet: let attribution.compute finish")
    for name in names:
        if name != "all" and name not in there:
            raise UsageError(f"{result.folder} has no maps of '{name}': {nearest(name, there)}")
    return there if "all" in names else list(dict.fromkeys(names))


def summary(folder: Path, methods: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Means of the written scores, and what is striking about them."""
    lines, remarks = {}, []
    for method in methods:
        files = [score_file(folder, method), models_file(folder, method)]
        scores = pd.concat([read_score_file(file) for file in files if file.exists()])
        of_signed = scores["metric"].isin(["seed_stability", "completeness_error"])
        shown = (of_signed == (scores["sign"] == "signed")) & (scores["metric"] != "seed_stability_pearson")
        known = scores[shown].groupby("metric", sort=False)["score"].agg(["mean", "count", "size"])
        lines[method] = known["mean"].copy()
        missing = [
            f"{metric} {size - count} of {size}"
            for metric, _, count, size in known[known["count"] < known["size"]].itertuples()
        ]
        if missing:
            remarks.append(f"{method}: windows without score (a zero map, or none): {', '.join(missing)}")
        lines[method]["randomization"] = similarity = cascade_similarity(scores)
        if told := flag(similarity):
            remarks.append(f"FLAG {method}: {told}")
    columns = dict.fromkeys(metric for line in lines.values() for metric in line.index)
    table = pd.DataFrame(lines).T[[*columns]]
    for metric, reason in _WITHOUT.items():
        none = [m for m in methods if metric not in table or np.isnan(table[metric][m])]
        if none:
            remarks.append(f"no {metric} of {', '.join(none)}: {reason}")
    return table, remarks


_WITHOUT = {
    "seed_stability": "they draw no random numbers and repeat themselves",
    "completeness_error": "they promise no sum",
}


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m attribution.sanity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--attr_dir", nargs="+", required=True, type=Path, metavar="DIR",
        help="folder that attribution.compute wrote; several (the same windows explained by models trained "
        "with other seeds) are also compared with each other",
    )  # fmt: skip
    add("--attr_method", nargs="+", default=["all"], metavar="METHOD", help="methods (default: all computed)")
    add(
        "--windows", type=int, default=20, metavar="N",
        help="windows whose maps are made again with random weights and with other seeds, drawn evenly over "
        "patients; 0: all (default: %(default)s)",
    )  # fmt: skip
    add("--seeds", type=int, default=2, help="further seeds of random methods (default: %(default)s)")
    add(
        "--independent", type=true_or_false, nargs="?", const=True, default=False, metavar="True|False",
        help="also randomise each group of layers alone, not only all from the head down to it",
    )  # fmt: skip
    add(
        "--seed",
        type=int,
        default=0,
        help="of the drawn windows and the random weights (default: %(default)s)",
    )
    add("--model_path", help="where the model lies now, if not where it was when the maps were computed")
    add("--threads", type=int, default=0, help="CPU threads (0: PyTorch's choice)")
    add("--gpu_num", help="of the published command line; has no meaning here")
    add(
        "--overwrite", type=true_or_false, nargs="?", const=True, default=False, metavar="True|False",
        help="make finished scores again",
    )  # fmt: skip
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags, check, and print a table."""
    options = _parser().parse_args(args)
    if options.gpu_num is not None:
        print("note: --gpu_num has no meaning here: the GPU is used where there is one")
    for name, least in (("windows", 0), ("seeds", 1), ("seed", 0), ("threads", 0)):
        if getattr(options, name) < least:
            raise UsageError(f"--{name} must be {least} or more, not {getattr(options, name)}")
    folders = list(dict.fromkeys(options.attr_dir))
    if options.model_path and len(folders) > 1:
        raise UsageError("--model_path names one model: give it with one --attr_dir")
    if options.threads:
        torch.set_num_threads(options.threads)
    results = [load_maps(folder) for folder in folders]
    methods = [check_folder(result, options) for result in results]
    if len(results) > 1:
        shared = [name for name in methods[0] if all(name in there for there in methods)]
        for path in compare_models(results, shared):
            print(f"wrote {path}")
    for folder, names in zip(folders, methods, strict=True):
        table, remarks = summary(folder, names)
        # the groups alone are in the files: they would make the lines too long
        shown = table[[column for column in table if "_only_" not in column]]
        shown = shown.rename(columns=lambda name: name.removeprefix("randomization_"))
        print(f"\nMeans, {folder}\n{shown.to_string(float_format='{:.3f}'.format, na_rep='-')}")
        print("\n".join(remarks))
