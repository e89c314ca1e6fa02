"""Score the maps that attribution.compute wrote: against the truth, and by disturbing the input.

python -m attribution.evaluate --attr_dir results/attribution/mitdb_seed1
python -m attribution.evaluate --attr_dir results/attribution/mitdb_seed1 --eval_metric auc pointing_game

Writes scores/<method>.csv, one line a window, sign, metric and truth, and scores/evaluate.json, how they were
made and why scores are missing. What is there already is not made again; a killed command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from attribution.engine.results import ComputeResult, load_maps
from attribution.metrics.disturb import FILLS
from attribution.metrics.localisation import REFERENCE_TOP_K, TOP_FRACTION
from attribution.metrics.perturbation import SIGNS, PerturbationSettings
from attribution.scores.compute import Scores, Subject, localisation_columns
from attribution.scores.files import RECORD, ScoreFiles
from attribution.scores.plan import ALL_METRICS, LOCALISATION, Cell, ScorePlan, resolve_metrics
from attribution.scores.summary import read_score_file
from utils.errors import DataError, UsageError, nearest, run_cli
from utils.files import read_json
from utils.flags import Parser, true_or_false


def evaluate(
    result: ComputeResult,
    methods: Sequence[str],
    plan: ScorePlan,
    scores_dir: Path,
    overwrite: bool = False,
    options: Any = None,
) -> list[Path]:
    """Score the maps of methods and write what was not there."""
    files = ScoreFiles(result, scores_dir)
    todo = {method: _to_do(files, method, plan, overwrite) for method in methods}
    done = [method for method, (cells, _, _) in todo.items() if not cells]
    if done:
        print(f"{len(done)} of {len(methods)} methods are scored already: {', '.join(done)}")
    metrics = {cell.metric for cells, _, _ in todo.values() for cell in cells}
    disturbing = [metric for metric in plan.metrics if metric in metrics and metric not in LOCALISATION]
    subject = controls = None
    if disturbing:
        from explain.engine.fast import speed_up

        classifier = result.classifier(options)
        speed_up(classifier)
        subject = Subject(classifier, result, plan.perturbation, scores_dir)
        controls = subject.controls(
            disturbing, partial(tqdm, desc="without maps", unit="window", leave=False)
        )
    for method, (cells, kept, entry) in todo.items():
        if not cells:
            continue
        maps = result.maps(method)
        new = localisation_columns(result, maps, plan, cells)
        if subject and controls and any(cell.metric in disturbing for cell in cells):
            bar = partial(tqdm, desc=method, unit="window", leave=False)
            disturbed = subject.columns(method, maps, cells, controls, bar)
            new = Scores(new.columns | disturbed.columns, new.undefined | disturbed.undefined)
        files.write(method, kept, entry, plan, new)
        if subject:
            subject.forget(method)
        tqdm.write(f"{method}: {files.file(method)}")
    return [files.file(method) for method in methods]


def _to_do(
    files: ScoreFiles, method: str, plan: ScorePlan, overwrite: bool
) -> tuple[list[Cell], pd.DataFrame, dict[str, Any]]:
    """Columns to make, lines that stay, and their record."""
    kept, entry = files.known(method)
    cells = plan.cells()
    if overwrite:
        replaced = {tuple(cell) for cell in cells}
        columns = kept[["sign", "metric", "truth"]].itertuples(index=False, name=None)
        stays = np.array([column not in replaced for column in columns], dtype=bool)
        made_otherwise = {m for m in plan.metrics if entry["how"].get(m, plan.how(m)) != plan.how(m)}
        mixed = sorted(set(kept["metric"][stays]) & made_otherwise)
        if mixed:
            raise UsageError(
                f"{files.file(method)} has other signs or truths of {', '.join(mixed)}, made with other "
                "settings: replace them all, without --absolute and --truth"
            )
        return cells, kept[stays], entry
    for metric in plan.metrics:
        before = entry["how"].get(metric)
        if before is not None and before != plan.how(metric):
            changes = [
                f"{name} {before.get(name)}, now {value}"
                for name, value in plan.how(metric).items()
                if before.get(name) != value
            ]
            raise UsageError(
                f"{files.file(method)} has {metric} with {'; '.join(changes)}: replace it with --overwrite, "
                "or choose another --result_dir"
            )
    there = set(kept[["sign", "metric", "truth"]].itertuples(index=False, name=None))
    return [cell for cell in cells if tuple(cell) not in there], kept, entry


def summary(files: Sequence[Path], plan: ScorePlan, record: dict[str, Any]) -> str:
    """Make a small table of means, with what is missing in it."""
    table = pd.concat([read_score_file(file) for file in files], ignore_index=True)
    table = table[table["metric"].isin(list(plan.metrics)) & table["sign"].isin(list(plan.signs))]
    table = table[table["truth"].isin([*plan.truths, ""])]
    cells = table.groupby(["truth", "method", "sign", "metric"], sort=False)["score"]
    means, missing = cells.mean(), cells.size() - cells.count()
    shown = means.map("{:.3f}".format) + missing.map(lambda count: f" ({count} NaN)" if count else "")
    blocks = []
    for truth, block in shown.groupby(level="truth", sort=False):
        wide = block.droplevel("truth").unstack("metric")
        wide = wide.reindex(columns=[metric for metric in plan.metrics if metric in wide]).fillna("-")
        wide = wide.reindex(list(dict.fromkeys(block.droplevel(["truth", "metric"]).index)))
        wide.columns = [name.replace("_", " ") for name in wide.columns]
        title = f"Means, truth '{truth}'" if truth else "Means, by disturbing the input"
        blocks.append(f"{title} ({table['window'].nunique()} windows)\n{wide.to_string()}")
    lines = [
        f"no score: {method}, {sign}, {metric}{f', {truth}' if truth else ''}: "
        + ", ".join(f"{count} x {reason}" for reason, count in reasons.items())
        for method in table["method"].unique()
        for sign, metric, truth, reasons in record[method]["undefined"]
        if (sign, metric, truth) in set(plan.cells())
    ]
    return "\n\n".join([*blocks, *(["\n".join(lines)] if lines else [])])


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m attribution.evaluate", description=__doc__)
    add = parser.add_argument
    add("--attr_dir", required=True, help="folder that attribution.compute wrote (its --result_dir)")
    add("--result_dir", help="scores/ is made in it (default: --attr_dir)")
    add("--model_path", help="where the model lies now, if not where it was when the maps were computed")
    add("--attr_method", nargs="+", default=["all"], help="methods (default: all that were computed)")
    add(
        "--eval_metric",
        nargs="+",
        default=["all"],
        metavar="METRIC",
        help=f"all, localisation, perturbation, region_perturbation, {', '.join(ALL_METRICS)} (default: all)",
    )
    add(
        "--absolute",
        nargs="?",
        const=True,
        type=true_or_false,
        help="True: only absolute maps; False: only signed ones (default: both)",
    )
    add("--truth", nargs="+", help="truths of the windows to compare with (default: all there are)")
    add("--top_k", type=int, default=0, help=f"k of top_k_intersection (default: {TOP_FRACTION} of the mask)")
    usual = PerturbationSettings()
    add("--patch_ms", type=float, help=f"patch in milliseconds (default: {usual.patch_ms:g})")
    add("--patch_size", type=int, default=0, help="patch in samples (default: by --patch_ms)")
    add("--perturb_order", choices=["morf", "lerf", "both"], default="both", help="default: %(default)s")
    add("--coverage", type=float, help=f"part that region perturbation removes (default: {usual.coverage})")
    add(
        "--tolerance",
        type=float,
        help="points of a curve are added while a stretch may hide more area; 0: all points "
        f"(default: {usual.tolerance})",
    )
    add("--fill", choices=FILLS, default="zero", help="what removed samples become (default: %(default)s)")
    add("--subset_ratio", type=float, default=0.1, help="subsets of faithfulness (default: %(default)s)")
    add("--runs", type=int, default=100, help="subsets of faithfulness, number (default: %(default)s)")
    add("--random_orders", type=int, default=3, help="deletion, insertion (default: %(default)s)")
    add(
        "--reference",
        type=true_or_false,
        nargs="?",
        const=True,
        metavar="True|False",
        help=f"as the study: 100 patches of 16 samples, k {REFERENCE_TOP_K}, its ties (default: as the maps)",
    )
    add("--seed", type=int, default=0, help="of subsets, orders and ties (default: %(default)s)")
    add("--batch_size", type=int, default=64, help="inputs of a forward pass (default: %(default)s)")
    add("--threads", type=int, default=0, help="CPU threads (0: PyTorch's choice)")
    add("--gpu_num", help="of the published command line; has no meaning here")
    add(
        "--overwrite",
        type=true_or_false,
        nargs="?",
        const=True,
        default=False,
        metavar="True|False",
        help="make scores anew that are there",
    )
    return parser


def make_plan(options: argparse.Namespace, truths: Sequence[str]) -> ScorePlan:
    """Turn flags into a plan."""
    orders = ["morf", "lerf"] if options.perturb_order == "both" else [options.perturb_order]
    metrics = resolve_metrics(options.eval_metric, orders)
    for truth in options.truth or []:
        if truth not in truths:
            raise UsageError(f"the windows have no truth '{truth}': {nearest(truth, truths)}")
    if not truths:
        asked = [name for name in options.eval_metric if name in LOCALISATION or name == "localisation"]
        if asked:
            raise UsageError(f"the windows have no truth that {asked[0]} could compare with")
        metrics = [metric for metric in metrics if metric not in LOCALISATION]
    changes = {
        name: getattr(options, name) for name in ("fill", "subset_ratio", "runs", "seed", "batch_size")
    }
    changes |= {"random_orders": options.random_orders}
    own = {name: getattr(options, name) for name in ("patch_ms", "coverage", "tolerance")}
    own = {name: value for name, value in own.items() if value is not None}
    if options.patch_size and "patch_ms" in own:
        raise UsageError("--patch_ms and --patch_size both say how long a patch is: choose one")
    if options.reference:
        if own:
            raise UsageError(
                f"--{next(iter(own))} does not go with the study's settings (patches in samples, 100 of "
                "them, every point of a curve): leave it out, or add --reference False"
            )
        settings = PerturbationSettings.of_reference(**changes, patch_samples=options.patch_size or 16)
    else:
        settings = PerturbationSettings(patch_samples=options.patch_size, **changes, **own)
    return ScorePlan(
        metrics=metrics,
        signs=SIGNS if options.absolute is None else [SIGNS[options.absolute]],
        truths=list(dict.fromkeys(options.truth or truths)),
        ties="reference" if options.reference else "expected",
        top_k=options.top_k or (REFERENCE_TOP_K if options.reference else 0),
        perturbation=settings,
    )


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags, score, and print a table."""
    options = _parser().parse_args(args)
    if options.gpu_num is not None:
        print("note: --gpu_num has no meaning here: the GPU is used where there is one")
    if options.threads < 0:
        raise UsageError("--threads must not be negative")
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    result = load_maps(options.attr_dir)
    methods = result.methods()
    if not methods:
        raise DataError(f"{options.attr_dir} has no complete maps: run attribution.compute again, it goes on")
    for name in options.attr_method:
        if name not in ("all", *methods):
            raise UsageError(f"no maps of '{name}' in {options.attr_dir}: {nearest(name, methods)}")
    if "all" not in options.attr_method:
        methods = [name for name in methods if name in options.attr_method]
    if options.reference is None:
        options.reference = bool(result.args["reference"])
    if options.reference:
        print("the published study's settings: its patches, its ties, its random numbers")
    plan = make_plan(options, result.windows.ground_truths)
    scores_dir = Path(options.result_dir or options.attr_dir) / "scores"
    files = evaluate(result, methods, plan, scores_dir, options.overwrite, options)
    print(f"\n{summary(files, plan, read_json(scores_dir / RECORD))}\n\nwrote {scores_dir}")


if __name__ == "__main__":
    run_cli(main)
