"""Explain the test windows of a dataset by one or all attribution methods.

python -m attribution.compute --dataset mitdb --model_path mitdb_resnet18_seed1 --attr_method all --limit 100
python -m attribution.compute --dataset ptbxl --model_path imle_net --attr_method saliency attention

Every finished map is kept: the same command resumes where it was interrupted.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from attribution.engine.selection import THRESHOLDS, check_fit, select_windows
from attribution.engine.store import RECORD, Arrays, ResumableTable, is_current, read_record
from attribution.engine.workspace import (
    SELECTION,
    Workspace,
    default_settings,
    model_label,
    published_settings,
    read_selection,
    weights_fingerprint,
)
from explain.engine.classifier import Classifier, load_classifier
from explain.engine.fast import speed_up
from explain.methods import CannotExplain, Settings, completeness, explain, get_method, list_methods
from preprocessing.windows import Windows, load_windows
from utils.config import Options, names_of, option, option_like, parse, write_settings
from utils.errors import DataError, TwelveLeadError, UsageError, run_cli
from utils.files import write_json, write_npz
from utils.provenance import command, git_commit, versions

_CHUNK = 8  # windows explained together; where each needs hundreds of forward passes: one
_CHECKED = 64  # windows whose maps are checked to add up
_PASSES_EACH = {"n_samples", "n_baselines", "ig_steps"}
_IDENTITY = ("fingerprint", "model", "model_fingerprint")


@dataclass
class WindowOptions(Options, group="windows"):
    """Which windows are explained."""

    dataset: str = option("mitdb", "dataset that attribution.build wrote")
    dataset_path: str = option("", "its file (default: data/attribution/DATASET.npz)", scope="machine")
    prob_threshold: float | None = option(
        None,
        "explain windows whose label has a greater probability (default: 0.75 for mitdb and ptbxl, 0.9 for "
        "svdb, incartdb and icentia11k, else 0.5)",
        min=0,
        below=1,
    )
    target_label: str = option("", "explain this class only (name or number)")
    limit: int = option(0, "maximum number of windows, evenly over patients and classes; 0: all", min=0)


@dataclass
class MethodOptions(Options, group="methods"):
    """How they are explained."""

    attr_method: list[str] = option(
        ["gradcam"], "methods", scope="run", choices=lambda: ["all", *list_methods()]
    )
    n_samples: int | None = option_like(
        Settings, "n_samples", None, "perturbations of lime and kernel_shap (500)"
    )
    n_baselines: int | None = option_like(
        Settings, "n_baselines", None, "baselines of deep_shap (25; with --reference: --n_samples)"
    )
    baselines: str = option(
        "",
        "baselines of deep_shap: training windows (default), or white noise as in the study",
        choices=("training", "noise"),
    )
    segment_ms: float | None = option_like(
        Settings, "segment_ms", None, "length of the segments of lime and kernel_shap in ms (64)"
    )
    feature_mask_size: int | None = option_like(
        Settings, "segment_samples", None, "the same in samples, as in the study"
    )
    ig_steps: int = option_like(Settings, "ig_steps", 50, "steps of integrated_gradients")
    upsampling: str = option_like(Settings, "upsampling", "", "upsampling of gradcam (centered)")
    reference: bool = option(
        False,
        "settings of the published study: noise baselines (250), segments in samples, nearest upsampling",
    )


@dataclass
class ComputeOptions(MethodOptions, WindowOptions):
    """Options of `python -m attribution.compute`."""

    model_path: str = option(
        "", "checkpoint folder, run, or shipped weights", group="model", scope="machine", required=True
    )
    seed: int = option(0, "seed of the methods and of the selection of windows", min=0)
    batch_size: int = option_like(Settings, "batch_size", 32, "windows per forward pass", scope="machine")
    threads: int = option(0, "CPU threads (0: PyTorch's choice)", scope="machine", min=0)
    result_dir: str = option("", "default: results/attribution/DATASET_MODEL", scope="run")
    overwrite: bool = option(False, "replace what the folder holds", scope="run")


# what the flags decide besides the settings of the methods, where feature_mask_size is segment_samples
RECORDED = sorted(names_of(ComputeOptions, "result") - {"feature_mask_size", *default_settings()})


def parse_options(args: Sequence[str] | None = None) -> ComputeOptions:
    """Read the flags."""
    return parse(
        ComputeOptions,
        args,
        prog="python -m attribution.compute",
        description=__doc__,
        check=_complete,
        ignored={
            "gpu_num": "the GPU is used where there is one",
            "multi_label": "the model's card decides",
        },
    )


def _complete(options: ComputeOptions) -> ComputeOptions:
    if options.feature_mask_size and options.segment_ms is not None:
        raise UsageError("--segment_ms and --feature_mask_size both say how long a segment is: choose one")
    threshold = options.prob_threshold
    methods = list_methods() if "all" in options.attr_method else options.attr_method
    return dataclasses.replace(
        options,
        dataset_path=options.dataset_path or f"data/attribution/{options.dataset}.npz",
        prob_threshold=THRESHOLDS.get(options.dataset, 0.5) if threshold is None else threshold,
        attr_method=list(dict.fromkeys(methods)),
    )


def make_settings(options: ComputeOptions, leads: int) -> dict[str, Any]:
    """Settings of the methods: the defaults or those of the published study, with what the flags change."""
    preset = published_settings(options.dataset, leads) if options.reference else default_settings()
    changes: dict[str, Any] = {name: getattr(options, name) for name in ("seed", "batch_size", "ig_steps")}
    changes |= {name: getattr(options, name) or None for name in ("upsampling", "baselines")}
    changes |= {name: getattr(options, name) for name in ("n_samples", "n_baselines", "segment_ms")}
    changes["segment_samples"] = options.feature_mask_size if options.segment_ms is None else 0
    if options.reference and options.n_baselines is None:
        changes["n_baselines"] = options.n_samples  # the study has one flag for both
    return preset | {name: value for name, value in changes.items() if value is not None}


def prepare(options: ComputeOptions) -> Workspace:
    """Select the windows, or take the selection that an earlier command made."""
    windows = load_windows(options.dataset_path)
    if windows.name != options.dataset:
        raise DataError(f"{options.dataset_path} holds '{windows.name}', not --dataset {options.dataset}")
    model = load_classifier(options.model_path)
    check_fit(windows, model)
    speed_up(model)
    args = _describe(options, windows, model)
    name = model.name.removeprefix(f"{windows.name}_")
    folder = Path(options.result_dir or f"results/attribution/{windows.name}_{name}")
    if (folder / RECORD).exists() and (folder / SELECTION).exists() and not options.overwrite:
        # the windows of the first command: on another machine a probability may cross the threshold
        args = _resumed(folder, args)
        selection = read_selection(folder)
    else:
        selection = select_windows(
            windows,
            model,
            float(options.prob_threshold or 0),
            options.target_label,
            options.limit,
            options.seed,
        )
        # first the record: a command that is killed here leaves nothing that resumes with other windows
        for old in [folder / RECORD, *folder.glob("maps/*"), *folder.glob("scores/*")]:
            old.unlink(missing_ok=True)
        write_npz(folder / SELECTION, **asdict(selection))
    write_json(folder / RECORD, args)
    return Workspace(folder, args, selection, windows, model)


def _describe(options: ComputeOptions, windows: Windows, model: Classifier) -> dict[str, Any]:
    """Record of a folder: its windows, its model, its settings and where they come from."""
    return {
        **{name: getattr(options, name) for name in RECORDED},
        "dataset_path": options.dataset_path,
        "fingerprint": windows.fingerprint,
        "model": model_label(model),
        "model_path": str(options.model_path),
        "model_fingerprint": weights_fingerprint(model),
        "seed": model.card.provenance.seed or 0,
        "settings": make_settings(options, len(windows.leads)),
        "methods": options.attr_method,
        "not_possible": {},
        "command": command(),
        "git_commit": git_commit(),
        "packages": versions(),
    }


def _resumed(folder: Path, args: dict[str, Any]) -> dict[str, Any]:
    """The record of a folder with the methods of this command added; other settings are refused."""
    before = read_record(folder)
    old, new = (
        {name: record.get(name) for name in (*_IDENTITY, *RECORDED)}
        | {**record["settings"], "batch_size": None}
        for record in (before, args)
    )
    is_current(folder, {"settings": old}, {}, new)
    methods = list(dict.fromkeys([*before["methods"], *args["methods"]]))
    return {**before, **args, "methods": methods, "not_possible": before.get("not_possible", {})}


def compute(workspace: Workspace, name: str) -> dict[str, Any]:
    """Make the maps of one method; an interrupted one is resumed."""
    method, path = get_method(name), workspace.map_file(name)
    settings = {**workspace.args["settings"], "batch_size": None}
    table = ResumableTable(path.with_suffix(".table"), workspace.identity(), settings)

    def explain_part(part: slice) -> Arrays:
        rows, began = workspace.rows[part], time.monotonic()
        targets, x = workspace.targets[part], workspace.signals(rows)
        maps = explain(workspace.model, name, x, targets, workspace.settings(rows))
        return {"maps": maps, "seconds": np.full(len(rows), (time.monotonic() - began) / len(rows))}

    # the same groups of windows whether or not it is interrupted: the same maps, bit for bit
    chunk = 1 if _PASSES_EACH & set(method.uses) else _CHUNK
    count = len(workspace.rows)
    try:
        columns = table.rows(count, chunk, explain_part, desc=name, unit="window")
    except KeyboardInterrupt:
        tqdm.write(f"{name}: finished windows are kept in {table.path}; the same command resumes")
        raise
    write_npz(path, maps=columns["maps"])  # nothing but maps: the same ones make the same file
    table.remove()
    return {"windows": count, "seconds": float(columns["seconds"].sum()), "path": path}


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags and compute."""
    options = parse_options(args)
    if options.threads:
        torch.set_num_threads(options.threads)
    workspace = prepare(options)
    write_settings(workspace.folder / "compute.yaml", options)
    _print_selection(workspace)
    _warn_of_few_samples(workspace, options.attr_method)
    lines, refused = [], {}
    for name in options.attr_method:
        if workspace.map_file(name).exists():
            lines.append(f"{name:22s} {'already computed':>34s}  {workspace.map_file(name)}")
            continue
        try:
            _check_baselines(workspace, name)
            done = compute(workspace, name)
        except CannotExplain as error:
            refused[name] = str(error)
            continue
        each = done["seconds"] / done["windows"]
        lines.append(f"{name:22s} {done['windows']:6d} windows  {each:9.3f} s each  {done['path']}")
        lines += _completeness(workspace, name)
    if refused:
        record = read_record(workspace.folder)
        write_json(
            workspace.folder / RECORD, {**record, "not_possible": {**record["not_possible"], **refused}}
        )
    print("\n".join(lines))
    for name, reason in refused.items():
        print(f"{name} was left out: {reason}")
    if not workspace.methods():
        raise TwelveLeadError("none of these methods applies to this model; see the reasons above")
    print(f"wrote {workspace.folder} ({RECORD}, {SELECTION}, maps)")


def _completeness(workspace: Workspace, name: str) -> list[str]:
    """A line on how far maps are from the sum that their method promises, read off evenly spread windows."""
    count = len(workspace.rows)
    places = np.unique(np.linspace(0, count - 1, min(count, _CHECKED)).astype(int))
    rows, targets = workspace.rows[places], workspace.targets[places]
    maps, settings = workspace.maps(name)[places], workspace.settings(rows)
    result = completeness(workspace.model, name, workspace.signals(rows), targets, maps, settings)
    return [f"{'':22s} {result}, in {len(places)} windows"] if result else []


def _print_selection(workspace: Workspace) -> None:
    windows, rows = workspace.windows, workspace.rows
    names, counts = np.unique(np.array(windows.classes)[workspace.targets], return_counts=True)
    listed = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
    print(
        f"{workspace.args['dataset']}, {workspace.model.name}: {len(rows)} explanations of test windows of "
        f"{len(set(windows.patients[rows].tolist()))} patients ({listed}), probability above "
        f"{workspace.args['prob_threshold']:g}"
    )


def _check_baselines(workspace: Workspace, name: str) -> None:
    needed = "baselines" in get_method(name).uses and workspace.args["settings"]["baselines"] == "training"
    if needed and not (workspace.windows.splits == "train").any():
        raise CannotExplain(
            f"'{workspace.args['dataset']}' has no training windows to be {name}'s baselines: --baselines "
            "noise takes white noise, as the published study does"
        )


def _warn_of_few_samples(workspace: Workspace, methods: Sequence[str]) -> None:
    """Warn where KernelSHAP has fewer equations than unknowns."""
    settings, (samples, leads) = workspace.args["settings"], workspace.windows.signals.shape[1:]
    length = settings["segment_samples"] or max(
        1, round(settings["segment_ms"] * workspace.windows.sampling_rate / 1000)
    )
    segments = -(-samples // length) * leads
    if "kernel_shap" in methods and settings["n_samples"] < 2 * segments:
        print(
            f"note: kernel_shap fits {segments} segments to {settings['n_samples']} perturbations, which is "
            f"too few for stable maps: use --n_samples {10 * segments} or longer segments"
        )


if __name__ == "__main__":
    run_cli(main)
