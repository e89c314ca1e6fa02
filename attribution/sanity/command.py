"""Sanity checks of the maps that attribution.compute wrote: random weights, other seeds, sums, sparseness.

python -m attribution.sanity --attr_dir results/attribution/mitdb_seed1
python -m attribution.sanity --attr_dir results/attribution/mitdb_seed1 results/attribution/mitdb_seed2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from attribution.engine.selection import turns
from attribution.engine.store import ResumableTable, is_current, read_record, write_entry
from attribution.engine.workspace import Workspace, open_workspace
from attribution.metrics.agreement import gini
from attribution.sanity.checks import (
    Subject,
    cascade_similarity,
    check_reproducible,
    compare_models,
    completeness_columns,
    flag,
    models_file,
    randomization_columns,
    score_file,
    seed_columns,
)
from attribution.sanity.randomization import Group, layer_groups
from attribution.scores.files import Column, score_lines
from attribution.scores.summary import read_score_file
from explain.engine.fast import speed_up
from utils.config import Options, option, parse, write_settings
from utils.errors import UsageError
from utils.files import sha256
from utils.tables import write_csv

SECTION = "sanity"


@dataclass
class SanityOptions(Options):
    """Options of `python -m attribution.sanity`."""

    attr_dir: list[Path] = option(
        [],
        "folder that attribution.compute wrote; several (the same windows explained by models trained with "
        "other seeds) are also compared with each other",
        scope="run", required=True, metavar="DIR",
    )  # fmt: skip
    attr_method: list[str] = option(["all"], "methods (all: all that were computed)", scope="run")
    windows: int = option(
        20,
        "windows whose maps are made again with random weights and with other seeds, drawn evenly over "
        "patients; 0: all",
        min=0,
    )
    seeds: int = option(2, "further seeds of random methods", min=1)
    independent: bool = option(
        False, "also randomize each group of layers alone, not only all from the head down to it"
    )
    seed: int = option(0, "seed of the drawn windows and the random weights", min=0)
    model_path: str = option(
        "", "where the model is now, if not where it was when the maps were computed", scope="machine"
    )
    threads: int = option(0, "CPU threads (0: PyTorch's choice)", scope="machine", min=0)
    overwrite: bool = option(False, "replace finished scores", scope="run")


def draw_evenly(patients: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw windows so that patients have as equal a share as their windows allow.

    Shapes: patients (N,) -> (min(count, N),).
    """
    order = np.random.default_rng(seed).permutation(len(patients))
    order = order[np.argsort(turns(np.asarray(patients)[order]), kind="stable")]
    return np.sort(order[: count or None])


def check_folder(workspace: Workspace, options: SanityOptions) -> list[str]:
    """Check every method of a folder of maps; finished checks are kept."""
    folder = workspace.folder
    methods = workspace.choose_methods(options.attr_method)
    entries = read_record(folder).get(SECTION, {})
    settings = {name: getattr(options, name) for name in ("windows", "seeds", "seed", "independent")}
    sources = {method: {"maps": sha256(workspace.map_file(method))} for method in methods}
    todo = [
        method
        for method in methods
        if options.overwrite
        or method not in entries
        or not score_file(folder, method).exists()
        or not is_current(score_file(folder, method), entries[method], sources[method], settings)
    ]
    if len(todo) < len(methods):
        print(f"{folder}: {len(methods) - len(todo)} of {len(methods)} methods are done already")
    if not todo:
        return methods
    speed_up(workspace.model)
    groups = layer_groups(workspace.model.module)
    positions = draw_evenly(workspace.windows.patients[workspace.rows], options.windows, options.seed)
    for method in todo:
        table = ResumableTable(
            folder / "scores" / f"sanity_{method}.table",
            {**workspace.identity(), **sources[method]},
            settings,
            options.overwrite,
        )
        lines = check_method(workspace, method, positions, groups, options, table)
        path = write_csv(score_file(folder, method), lines, na_rep="nan")
        listed = {group.name: list(group.layers) for group in groups}
        entry = {"source": sources[method], "settings": settings, "groups": listed}
        write_entry(folder, SECTION, method, entry)
        table.remove()
        print(f"wrote {path}")
    return methods


def check_method(
    workspace: Workspace,
    method: str,
    positions: np.ndarray,
    groups: Sequence[Group],
    options: SanityOptions,
    table: ResumableTable,
) -> pd.DataFrame:
    """Scores of all checks of one method; maps are made again for the explained windows at `positions`."""
    maps, rows = workspace.maps(method), workspace.rows[positions]
    subject = Subject(
        workspace.model,
        method,
        workspace.signals(rows),
        workspace.targets[positions],
        workspace.settings(rows),
        maps[positions],
    )
    progress = partial(tqdm, desc=method, unit="step", leave=False)
    check_reproducible(subject)
    columns = randomization_columns(subject, groups, options.seed, options.independent, progress, table.item)
    columns += seed_columns(subject, options.seeds, progress, table.item)
    columns += completeness_columns(subject)
    sparseness = Column("sparseness_gini", "absolute", gini(maps))
    lines = score_lines(workspace, method, columns, positions)
    return pd.concat([lines, score_lines(workspace, method, [sparseness])])


def summary(folder: Path, methods: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Means of the written scores, and remarks on them."""
    lines, remarks = {}, []
    for method in methods:
        files = [score_file(folder, method), models_file(folder, method)]
        scores = pd.concat([read_score_file(file) for file in files if file.exists()])
        of_signed = scores["metric"].isin(["seed_stability", "completeness_error"])
        of_table = (of_signed == (scores["sign"] == "signed")) & (
            scores["metric"] != "seed_stability_pearson"
        )
        known = scores[of_table].groupby("metric", sort=False)["score"].agg(["mean", "count", "size"])
        lines[method] = known["mean"].copy()
        missing = [
            f"{metric} {size - count} of {size}"
            for metric, _, count, size in known[known["count"] < known["size"]].itertuples()
        ]
        if missing:
            remarks.append(f"{method}: windows without score (a zero map, or none): {', '.join(missing)}")
        lines[method]["randomization"] = similarity = cascade_similarity(scores)
        if warning := flag(similarity):
            remarks.append(f"FLAG {method}: {warning}")
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


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags, check, and print a table."""
    options = parse(
        SanityOptions,
        args,
        prog="python -m attribution.sanity",
        description=__doc__,
        ignored={"gpu_num": "the GPU is used where there is one"},
    )
    folders = list(dict.fromkeys(options.attr_dir))
    if options.model_path and len(folders) > 1:
        raise UsageError("--model_path names one model: give it with one --attr_dir")
    if options.threads:
        torch.set_num_threads(options.threads)
    workspaces = [open_workspace(folder, options.model_path or None) for folder in folders]
    methods = [check_folder(workspace, options) for workspace in workspaces]
    if len(workspaces) > 1:
        shared = [name for name in methods[0] if all(name in others for others in methods)]
        for path in compare_models(workspaces, shared):
            print(f"wrote {path}")
    for folder, names in zip(folders, methods, strict=True):
        write_settings(folder / "sanity.yaml", options)
        table, remarks = summary(folder, names)
        # the groups alone are in the files: they would make the lines too long
        columns = table[[column for column in table if "_only_" not in column]]
        columns = columns.rename(columns=lambda name: name.removeprefix("randomization_"))
        print(f"\nMeans, {folder}\n{columns.to_string(float_format='{:.3f}'.format, na_rep='-')}")
        print("\n".join(remarks))
