"""Explain the test windows of a dataset by one or all attribution methods.

python -m attribution.compute --dataset mitdb --model_path mitdb_resnet18_seed1 --attr_method all --limit 100
python -m attribution.compute --dataset ptbxl --model_path imle_net --attr_method saliency attention

Every finished map is kept: the same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from attribution.engine.results import (
    ARGS,
    SELECTION,
    ComputeResult,
    load_maps,
    model_label,
    read_arrays,
    weights_fingerprint,
)
from attribution.engine.selection import THRESHOLDS, check_fit, select_windows
from explain.engine.classifier import Classifier, load_classifier
from explain.engine.fast import speed_up
from explain.methods import CannotExplain, Settings, explain, get_method, list_methods
from preprocessing.windows import load_windows
from utils.errors import DataError, TwelveLeadError, UsageError, run_cli
from utils.files import read_json, write_json, write_npz
from utils.flags import Parser, true_or_false
from utils.provenance import command, git_commit, versions

_SAVE_EVERY = 30.0  # seconds
_CHUNK = 8  # windows explained together; where each needs hundreds of forward passes: one
_PASSES_EACH = {"n_samples", "n_baselines", "ig_steps"}
_REFERENCE_SEGMENTS = {"mitdb": 24, "svdb": 8, "incartdb": 16, "icentia11k": 16, "ptbxl": 32}
_DESCRIBES = ("command", "git_commit", "packages", "methods", "not_possible", "dataset_path", "model_path")


def parse(args: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the flags."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dataset", default="mitdb", help="dataset that attribution.build wrote (%(default)s)"
    )
    parser.add_argument("--dataset_path", help="its file (default: data/attribution/DATASET.npz)")
    parser.add_argument("--model_path", required=True, help="checkpoint folder, run, or shipped weights")
    parser.add_argument(
        "--attr_method", nargs="+", default=["gradcam"], metavar="METHOD",
        help=f"all, or some of: {', '.join(list_methods())} (default: gradcam)",
    )  # fmt: skip
    parser.add_argument(
        "--prob_threshold", type=float,
        help="explain windows whose label has a greater probability (default: 0.75 for mitdb and ptbxl, 0.9 "
        "for svdb, incartdb and icentia11k, else 0.5)",
    )  # fmt: skip
    parser.add_argument("--target_label", default="", help="explain this class only (name or number)")
    parser.add_argument(
        "--limit", type=int, default=0, help="windows at most, evenly over patients and classes"
    )
    parser.add_argument("--n_samples", type=int, help="perturbations of lime and kernel_shap (500)")
    parser.add_argument(
        "--n_baselines", type=int, help="baselines of deep_shap (25; with --reference: --n_samples)"
    )
    parser.add_argument(
        "--baselines", choices=("training", "noise"),
        help="deep_shap's baselines: training windows (default), or white noise as in the study",
    )  # fmt: skip
    parser.add_argument("--segment_ms", type=float, help="segments of lime and kernel_shap in ms (64)")
    parser.add_argument("--feature_mask_size", type=int, help="the same in samples, as in the study")
    parser.add_argument("--ig_steps", type=int, default=50, help="steps of integrated_gradients (50)")
    parser.add_argument("--upsampling", choices=("centered", "nearest"), help="of gradcam (centered)")
    parser.add_argument(
        "--reference", type=true_or_false, nargs="?", const=True, default=False, metavar="True|False",
        help="the study's settings: noise baselines (250), segments in samples, nearest upsampling",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the methods and of the draw (0)")
    parser.add_argument("--batch_size", type=int, default=32, help="rows of one forward pass (32)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: PyTorch's choice)")
    parser.add_argument("--result_dir", help="default: results/attribution/DATASET_MODEL")
    parser.add_argument(
        "--overwrite", type=true_or_false, nargs="?", const=True, default=False, metavar="True|False",
        help="replace what the folder holds",
    )  # fmt: skip
    for name in ("--gpu_num", "--multi_label"):
        parser.add_argument(
            name, nargs="?", const=True, help="of the published command line; has no meaning here"
        )
    options = parser.parse_args(args)
    for name in ("gpu_num", "multi_label"):
        if getattr(options, name) is not None:
            print(f"note: --{name} has no meaning here: the GPU and the model's card decide")
    options.dataset_path = options.dataset_path or f"data/attribution/{options.dataset}.npz"
    if options.prob_threshold is None:
        options.prob_threshold = THRESHOLDS.get(options.dataset, 0.5)
    if not 0 <= options.prob_threshold < 1:
        raise UsageError(f"--prob_threshold must lie in 0..1 (below 1), not {options.prob_threshold}")
    if options.limit < 0 or options.threads < 0:
        raise UsageError("--limit and --threads must not be negative")
    wanted = list_methods() if options.attr_method == ["all"] else options.attr_method
    options.methods = [get_method(name).name for name in dict.fromkeys(wanted)]
    return options


def make_settings(options: argparse.Namespace, leads: int) -> dict[str, Any]:
    """Settings of the methods as the flags want them."""
    reference = options.reference
    segments = options.feature_mask_size or 0
    if segments and options.segment_ms is not None:
        raise UsageError("--segment_ms and --feature_mask_size both say how long a segment is: choose one")
    if options.feature_mask_size is None and options.segment_ms is None:
        segments = _REFERENCE_SEGMENTS.get(options.dataset, 16) if reference else 0
    many, baselines = (5000, 80) if reference and leads > 1 else (500, 250 if reference else 25)
    if reference and options.n_samples is not None:
        baselines = options.n_samples  # the study's one flag for both
    values = {
        "seed": options.seed,
        "batch_size": options.batch_size,
        "ig_steps": options.ig_steps,
        "upsampling": options.upsampling or ("nearest" if reference else "centered"),
        "n_samples": options.n_samples if options.n_samples is not None else many,
        "segment_ms": 64.0 if options.segment_ms is None else options.segment_ms,
        "segment_samples": segments,
        "n_baselines": options.n_baselines if options.n_baselines is not None else baselines,
    }
    Settings(**values)  # refuses what cannot be right
    return {**values, "baselines": options.baselines or ("noise" if reference else "training")}


def open_result(options: argparse.Namespace) -> tuple[ComputeResult, Classifier]:
    """Choose the windows, or take up the choice that an earlier command made."""
    windows = load_windows(options.dataset_path)
    if windows.name != options.dataset:
        raise DataError(f"{options.dataset_path} holds '{windows.name}', not --dataset {options.dataset}")
    classifier = load_classifier(options.model_path)
    check_fit(windows, classifier)
    speed_up(classifier)
    args = {
        "dataset": windows.name,
        "dataset_path": options.dataset_path,
        "fingerprint": windows.fingerprint,
        "model": model_label(classifier),
        "model_path": str(options.model_path),
        "model_fingerprint": weights_fingerprint(classifier),
        "seed": int(classifier.card.get("seed", 0)),
        "settings": make_settings(options, len(windows.leads)),
        "prob_threshold": options.prob_threshold,
        "target_label": options.target_label,
        "limit": options.limit,
        "reference": options.reference,
        "methods": options.methods,
        "not_possible": {},
        "command": command(),
        "git_commit": git_commit(),
        "packages": versions(),
    }
    name = classifier.name.removeprefix(f"{windows.name}_")
    folder = Path(options.result_dir or f"results/attribution/{windows.name}_{name}")
    goes_on = (folder / ARGS).exists() and (folder / SELECTION).exists() and not options.overwrite
    if goes_on:  # the windows of the first command: on another machine a probability may cross the threshold
        args = _continued(folder, args)
        kept = read_arrays(folder / SELECTION)
        result = ComputeResult(folder, args, *(kept[n] for n in ("rows", "targets", "probability")))
    else:
        chosen = select_windows(
            windows, classifier, options.prob_threshold, options.target_label, options.limit, options.seed
        )
        result = ComputeResult(folder, args, chosen.rows, chosen.targets, chosen.probability)
        # first the settings: a command that is killed here leaves nothing that goes on with other windows
        for old in [folder / ARGS, *folder.glob("maps/*.npz"), *folder.glob("scores/*")]:
            old.unlink(missing_ok=True)
        write_npz(
            folder / SELECTION, rows=chosen.rows, targets=chosen.targets, probability=chosen.probability
        )
    result.__dict__["windows"] = windows  # read already
    write_json(folder / ARGS, args)
    return result, classifier


def _continued(folder: Path, args: dict[str, Any]) -> dict[str, Any]:
    """The folder's settings with the methods of this command added; refuse other settings."""
    before = read_json(folder / ARGS)
    flat = [{**a, **a["settings"], "settings": None, "batch_size": None} for a in (before, args)]
    differ = [
        f"{name} was {flat[0].get(name)!r}, is {value!r}"
        for name, value in flat[1].items()
        if name not in _DESCRIBES and flat[0].get(name) != value
    ]
    if differ:
        raise UsageError(
            f"{folder} holds maps that were made otherwise ({'; '.join(differ)}): --overwrite replaces them, "
            "--result_dir makes another folder"
        )
    methods = list(dict.fromkeys([*before["methods"], *args["methods"]]))
    return {**args, "methods": methods, "not_possible": before.get("not_possible", {})}


def compute(result: ComputeResult, classifier: Classifier, name: str) -> dict[str, Any]:
    """Make the maps of one method, going on where it was interrupted."""
    path, part = result.map_file(name), result.folder / "maps" / f"{name}.part.npz"
    count = len(result.rows)
    maps, done, before = np.zeros((count, *result.windows.signals.shape[1:]), np.float32), 0, 0.0
    if part.exists():
        kept = read_arrays(part)
        if kept["maps"].shape != maps.shape:
            raise DataError(f"{part} is of other windows: delete it")
        maps, done, before = kept["maps"].copy(), int(kept["done"]), float(kept["seconds"])
    # the same groups of windows whether or not it is interrupted: the same maps, bit for bit
    chunk = 1 if _PASSES_EACH & set(get_method(name).uses) else _CHUNK
    began = saved = time.monotonic()
    with tqdm(total=count, initial=done, desc=name, unit="window") as bar:
        try:
            while done < count:
                rows = result.rows[done : done + chunk]
                x = classifier.standardize(result.windows.signals[rows])
                targets = result.targets[done : done + chunk]
                maps[done : done + chunk] = explain(classifier, name, x, targets, result.settings(rows))
                done += len(rows)
                bar.update(len(rows))
                if time.monotonic() - saved > _SAVE_EVERY:
                    _save_part(part, maps, done, before + time.monotonic() - began)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            _save_part(part, maps, done, before + time.monotonic() - began)
            tqdm.write(f"{name}: {done} of {count} windows kept in {part}; the same command goes on")
            raise
    seconds = before + time.monotonic() - began
    write_npz(path, maps=maps)  # nothing but maps: the same ones make the same file
    part.unlink(missing_ok=True)
    return {"windows": count, "seconds": seconds, "path": path}


def _save_part(path: Path, maps: np.ndarray, done: int, seconds: float) -> None:
    write_npz(path, maps=maps, done=np.int64(done), seconds=np.float64(seconds))


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags and compute."""
    options = parse(args)
    if options.threads:
        torch.set_num_threads(options.threads)
    result, classifier = open_result(options)
    result.__dict__["classifier"] = lambda _options=None: classifier
    names, counts = np.unique(np.array(result.windows.classes)[result.targets], return_counts=True)
    patients = len(set(result.windows.patients[result.rows].tolist()))
    print(
        f"{result.args['dataset']}, {classifier.name}: {len(result.rows)} explanations of test windows of "
        f"{patients} patients ({', '.join(f'{n} {c}' for n, c in zip(names, counts, strict=True))}), "
        f"probability above {options.prob_threshold:g}"
    )
    _warn_of_few_samples(result, options.methods)
    lines, refused = [], {}
    for name in options.methods:
        if result.map_file(name).exists():
            lines.append(f"{name:22s} {'there already':>34s}  {result.map_file(name)}")
            continue
        try:
            _check_baselines(result, name)
            made = compute(result, classifier, name)
        except CannotExplain as error:
            refused[name] = str(error)
            continue
        each = made["seconds"] / made["windows"]
        lines.append(f"{name:22s} {made['windows']:6d} windows  {each:9.3f} s each  {made['path']}")
    if refused:
        write_json(
            result.folder / ARGS, {**result.args, "not_possible": result.args["not_possible"] | refused}
        )
    print("\n".join(lines))
    for name, reason in refused.items():
        print(f"{name} was left out: {reason}")
    if not load_maps(result.folder).methods():
        raise TwelveLeadError("none of these methods applies to this model; the reasons stand above")
    print(f"wrote {result.folder} ({ARGS}, {SELECTION}, maps)")


def _check_baselines(result: ComputeResult, name: str) -> None:
    wants = "baselines" in get_method(name).uses and result.args["settings"]["baselines"] == "training"
    if wants and not (result.windows.splits == "train").any():
        raise CannotExplain(
            f"'{result.args['dataset']}' has no training windows to be {name}'s baselines: --baselines "
            "noise takes white noise, as the published study does"
        )


def _warn_of_few_samples(result: ComputeResult, methods: Sequence[str]) -> None:
    """Say where KernelSHAP has fewer equations than unknowns."""
    settings, (samples, leads) = result.args["settings"], result.windows.signals.shape[1:]
    length = settings["segment_samples"] or max(
        1, round(settings["segment_ms"] * result.windows.sampling_rate / 1000)
    )
    segments = -(-samples // length) * leads
    if "kernel_shap" in methods and settings["n_samples"] < 2 * segments:
        print(
            f"note: kernel_shap fits {segments} segments to {settings['n_samples']} perturbations, which "
            f"leaves much to chance: --n_samples {10 * segments} or longer segments"
        )


if __name__ == "__main__":
    run_cli(main)
