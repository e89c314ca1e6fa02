"""Score the maps that attribution.compute wrote: against the ground truth, and by perturbing the input.

python -m attribution.evaluate --attr_dir results/attribution/mitdb_seed1
python -m attribution.evaluate --attr_dir results/attribution/mitdb_seed1 --eval_metric auc pointing_game

Writes scores/<method>.csv, one line per window, sign, metric and ground truth; args.json records how they
were made and why scores are missing. Finished scores are kept; a killed command resumes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from attribution.engine.workspace import Workspace, open_workspace
from attribution.metrics.localization import REFERENCE_TOP_K, TOP_FRACTION
from attribution.metrics.perturbation import SIGNS, PerturbationSettings
from attribution.scores.compute import (
    ALL_METRICS,
    LOCALIZATION,
    PerturbationScorer,
    ScorePlan,
    Scores,
    add_localization,
    resolve_metrics,
)
from attribution.scores.files import ScoreFiles
from attribution.scores.summary import read_score_file
from explain.engine.fast import speed_up
from utils.config import Options, option, option_like, parse, write_settings
from utils.errors import UsageError, nearest, run_cli

_USUAL = PerturbationSettings()


@dataclass
class MetricOptions(Options, group="metrics"):
    """How scores are measured."""

    top_k: int = option(0, f"k of top_k_intersection (default: {TOP_FRACTION} of the mask)", min=0)
    patch_ms: float | None = option_like(
        _USUAL, "patch_ms", None, f"patch in milliseconds (default: {_USUAL.patch_ms:g})"
    )
    patch_size: int = option_like(_USUAL, "patch_samples", 0, "patch in samples (default: by --patch_ms)")
    perturb_order: str = option(
        "both", "order of region perturbation", scope="run", choices=("morf", "lerf", "both")
    )
    coverage: float | None = option_like(
        _USUAL, "coverage", None, f"part that region perturbation removes (default: {_USUAL.coverage})"
    )
    tolerance: float | None = option_like(
        _USUAL, "tolerance", None,
        "points of a curve are added while a stretch may hide more area; 0: all points "
        f"(default: {_USUAL.tolerance})",
    )  # fmt: skip
    fill: str = option_like(_USUAL, "fill", _USUAL.fill)
    subset_ratio: float = option_like(_USUAL, "subset_ratio", _USUAL.subset_ratio)
    runs: int = option_like(_USUAL, "runs", _USUAL.runs)
    random_orders: int = option_like(_USUAL, "random_orders", _USUAL.random_orders)
    reference: bool | None = option(
        None,
        f"settings of the published study: 100 patches of 16 samples, k {REFERENCE_TOP_K}, its ties "
        "(default: as for the maps)",
    )


@dataclass
class EvaluateOptions(MetricOptions):
    """Options of `python -m attribution.evaluate`."""

    attr_dir: Path | None = option(
        None, "folder that attribution.compute wrote (its --result_dir)", scope="run", required=True
    )
    result_dir: Path | None = option(None, "folder that gets scores/ (default: --attr_dir)", scope="run")
    model_path: str = option(
        "", "where the model is now, if not where it was when the maps were computed", scope="machine"
    )
    attr_method: list[str] = option(["all"], "methods (all: all that were computed)", scope="run")
    eval_metric: list[str] = option(
        ["all"],
        f"all, localization, perturbation, region_perturbation, {', '.join(ALL_METRICS)}",
        metavar="METRIC", scope="run", values={"localisation": "localization"},
    )  # fmt: skip
    absolute: bool | None = option(
        None, "True: only absolute maps; False: only signed ones (default: both)", scope="run"
    )
    ground_truth: list[str] = option(
        [], "ground truths to compare with (default: all of the windows)", scope="run", old=("truth",)
    )
    seed: int = option_like(_USUAL, "seed", _USUAL.seed)
    batch_size: int = option_like(_USUAL, "batch_size", _USUAL.batch_size)
    threads: int = option(0, "CPU threads (0: PyTorch's choice)", scope="machine", min=0)
    overwrite: bool = option(False, "replace finished scores", scope="run")


def evaluate(
    workspace: Workspace, methods: Sequence[str], plan: ScorePlan, folder: Path, overwrite: bool = False
) -> ScoreFiles:
    """Score the maps of methods and write what is missing."""
    files = ScoreFiles(workspace, folder)
    todo = {method: files.known(method, plan, overwrite) for method in methods}
    finished = [method for method, known in todo.items() if not known.missing]
    if finished:
        print(f"{len(finished)} of {len(methods)} methods are scored already: {', '.join(finished)}")
    missing = {cell.metric for known in todo.values() for cell in known.missing}
    perturbing = [metric for metric in plan.metrics if metric in missing and metric not in LOCALIZATION]
    scorer = controls = None
    if perturbing:
        speed_up(workspace.model)
        scorer = PerturbationScorer(workspace, plan.perturbation, folder / "scores", overwrite)
        controls = scorer.controls(perturbing)
    for method, known in todo.items():
        if not known.missing:
            continue
        maps, scores = workspace.maps(method), Scores()
        add_localization(scores, workspace, maps, plan, known.missing)
        if scorer and controls and any(cell.metric in perturbing for cell in known.missing):
            scorer.add(scores, method, maps, known.missing, controls)
        files.write(method, known, plan, scores)
        if scorer:
            scorer.forget(method)
        tqdm.write(f"{method}: {files.file(method)}")
    return files


def summary(files: ScoreFiles, methods: Sequence[str], plan: ScorePlan) -> str:
    """A small table of means, with what is missing in it."""
    table = pd.concat([read_score_file(files.file(method)) for method in methods], ignore_index=True)
    table = table[table["metric"].isin(list(plan.metrics)) & table["sign"].isin(list(plan.signs))]
    table = table[table["ground_truth"].isin([*plan.ground_truths, ""])]
    cells = table.groupby(["ground_truth", "method", "sign", "metric"], sort=False)["score"]
    means, missing = cells.mean(), cells.size() - cells.count()
    texts = means.map("{:.3f}".format) + missing.map(lambda count: f" ({count} NaN)" if count else "")
    blocks = []
    for ground_truth, block in texts.groupby(level="ground_truth", sort=False):
        wide = block.droplevel("ground_truth").unstack("metric")
        wide = wide.reindex(columns=[metric for metric in plan.metrics if metric in wide]).fillna("-")
        wide = wide.reindex(list(dict.fromkeys(block.droplevel(["ground_truth", "metric"]).index)))
        wide.columns = [name.replace("_", " ") for name in wide.columns]
        title = (
            f"Means, ground truth '{ground_truth}'" if ground_truth else "Means, perturbation of the input"
        )
        blocks.append(f"{title} ({table['window'].nunique()} windows)\n{wide.to_string()}")
    lines = [
        f"no score: {method}, {sign}, {metric}{f', {ground_truth}' if ground_truth else ''}: "
        + ", ".join(f"{count} x {reason}" for reason, count in reasons.items())
        for method in table["method"].unique()
        for sign, metric, ground_truth, reasons in files.entries[method]["undefined"]
        if (sign, metric, ground_truth) in set(plan.cells())
    ]
    return "\n\n".join([*blocks, *(["\n".join(lines)] if lines else [])])


def make_plan(options: EvaluateOptions, ground_truths: Sequence[str]) -> ScorePlan:
    """What the flags ask for, given the ground truths of the windows."""
    orders = ["morf", "lerf"] if options.perturb_order == "both" else [options.perturb_order]
    metrics = resolve_metrics(options.eval_metric, orders)
    for ground_truth in options.ground_truth:
        if ground_truth not in ground_truths:
            hint = nearest(ground_truth, ground_truths)
            raise UsageError(f"the windows have no ground truth '{ground_truth}': {hint}")
    if not ground_truths:
        asked = [name for name in options.eval_metric if name in LOCALIZATION or name == "localization"]
        if asked:
            raise UsageError(f"the windows have no ground truth that {asked[0]} could compare with")
        metrics = [metric for metric in metrics if metric not in LOCALIZATION]
    plan = ScorePlan.published(metrics) if options.reference else ScorePlan(metrics)
    return dataclasses.replace(
        plan,
        signs=SIGNS if options.absolute is None else [SIGNS[options.absolute]],
        ground_truths=list(dict.fromkeys(options.ground_truth or ground_truths)),
        top_k=options.top_k or plan.top_k,
        perturbation=_perturbation(options, plan.perturbation),
    )


def _perturbation(options: EvaluateOptions, preset: PerturbationSettings) -> PerturbationSettings:
    given: dict[str, Any] = {name: getattr(options, name) for name in ("patch_ms", "coverage", "tolerance")}
    given = {name: value for name, value in given.items() if value is not None}
    if options.patch_size and "patch_ms" in given:
        raise UsageError("--patch_ms and --patch_size both say how long a patch is: choose one")
    if options.reference and given:
        raise UsageError(
            f"--{next(iter(given))} contradicts the settings of the published study (patches in samples, 100 "
            "of them, every point of a curve): leave it out, or add --reference False"
        )
    same = ("fill", "subset_ratio", "runs", "random_orders", "seed", "batch_size")
    given |= {name: getattr(options, name) for name in same}
    patch = options.patch_size or preset.patch_samples
    return dataclasses.replace(preset, patch_samples=patch, **given)


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags, score, and print a table."""
    options = parse(
        EvaluateOptions,
        args,
        prog="python -m attribution.evaluate",
        description=__doc__,
        ignored={"gpu_num": "the GPU is used where there is one"},
    )
    if options.threads:
        torch.set_num_threads(options.threads)
    workspace = open_workspace(options.attr_dir or "", options.model_path or None)
    methods = workspace.choose_methods(options.attr_method)
    if options.reference is None:
        options.reference = bool(workspace.args["reference"])
    if options.reference:
        print("the published study's settings: its patches, its ties, its random numbers")
    plan = make_plan(options, workspace.windows.ground_truths)
    files = evaluate(workspace, methods, plan, options.result_dir or workspace.folder, options.overwrite)
    write_settings(files.folder / "evaluate.yaml", options)
    print(f"\n{summary(files, methods, plan)}\n\nwrote {files.folder / 'scores'}")


if __name__ == "__main__":
    run_cli(main)
