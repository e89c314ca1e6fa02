"""Cut a database into the windows that the attribution study explains.

python -m attribution.build --dataset mitdb --data_dir data/mitdb
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attribution.sources.holter import build_holter, build_icentia11k
from attribution.sources.ludb import build_ludb
from attribution.sources.options import BuildOptions
from attribution.sources.whole_records import build_any, build_ptbxl, build_synthetic
from databases import list_databases, open_database
from preprocessing.splits import check_patients, fold_names, resplit
from preprocessing.windows import Windows, save_windows
from utils.config import check_values, option, parse, write_settings
from utils.errors import UsageError, nearest, run_cli


@dataclass(frozen=True)
class Builder:
    """How the windows of a database are built, and the options that apply to it beside the common ones."""

    build: Callable[[Any, BuildOptions], Windows]
    options: tuple[str, ...] = ()


BUILDERS = {
    **dict.fromkeys(("mitdb", "svdb", "incartdb"), Builder(build_holter, ("reference",))),
    "icentia11k": Builder(build_icentia11k, ("windows_per_patient",)),  # the study's own file is not public
    "ptbxl": Builder(build_ptbxl, ("reference", "task", "sampling_rate", "cache_dir", "partial")),
    "synthetic": Builder(build_synthetic, ("task", "sampling_rate", "cache_dir")),
    "ludb": Builder(build_ludb, ("sampling_rate",)),
}
ANY_OTHER = Builder(build_any, ("task", "sampling_rate", "cache_dir"))


@dataclass
class CommandOptions(BuildOptions):
    """Options of the command."""

    dataset: str = option("", "database", choices=list_databases, required=True)
    data_dir: str = option("", "folder of the database (default: data/DATASET)", scope="machine")
    to: str = option("", "file to write (default: data/attribution/DATASET.npz)", scope="run")


def build(dataset: str, data_dir: str | os.PathLike, options: BuildOptions | None = None) -> Windows:
    """Build the windows of a database."""
    options = options or BuildOptions()
    check_values(options)
    if dataset not in list_databases():
        raise UsageError(f"unknown dataset '{dataset}': {nearest(dataset, list_databases())}")
    builder, defaults = BUILDERS.get(dataset, ANY_OTHER), BuildOptions()
    for name in sorted({name for other in BUILDERS.values() for name in other.options}):
        if name not in builder.options and getattr(options, name) != getattr(defaults, name):
            others = ", ".join(other for other in BUILDERS if name in BUILDERS[other].options)
            raise UsageError(f"--{name} does not apply to {dataset}, only to {others}: leave it out")
    if options.reference and options.split == "kfold":
        raise UsageError("--reference means the split of the published study: leave out --split kfold")
    windows = builder.build(open_database(dataset, data_dir), options)
    windows = replace(windows, digests=None)  # a file's fingerprint follows from the signals that it holds
    if options.split == "kfold" and windows.split_names != fold_names(options.folds, options.fold):
        windows = resplit(windows, options.folds, options.fold)
    check_patients(windows)
    return windows


def describe_counts(windows: Windows) -> str:
    """Describe the numbers of windows by split and class."""
    lines = []
    for split, numbers in windows.counts().items():
        rest = dict(numbers)
        total, patients = rest.pop("records"), rest.pop("patients")
        listed = ", ".join(f"{name} {number}" for name, number in rest.items())
        lines.append(f"{split:5}  {total} windows of {patients} patients: {listed}")
    return "\n".join(lines)


def _check_target(path: Path) -> None:
    """Refuse a file that cannot be written, before a build that may take hours."""
    if path.suffix != ".npz":
        raise UsageError(f"--to {path}: the name of the file must end in .npz")
    existing = next(parent for parent in path.absolute().parents if os.path.exists(parent))
    if path.is_dir() or not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UsageError(f"--to {path}: no file can be written there; choose another place")


def main() -> None:
    """Run the command line."""
    options = parse(
        CommandOptions,
        description="Cut a database into labeled windows with splits and ground truth, for the attribution "
        "study. Needs the database's own files, as `python -m databases.download` fetches them.",
    )
    path = Path(options.to or f"data/attribution/{options.dataset}.npz")
    _check_target(path)
    windows = build(options.dataset, options.data_dir or f"data/{options.dataset}", options)
    replaced = path.exists()
    save_windows(windows, path)
    write_settings(path.with_suffix(".yaml"), options)
    print(describe_counts(windows))
    for reason, number in windows.settings.get("dropped", {}).items():
        print(f"left out: {number} windows ({reason})")
    size = f"{windows.samples / windows.sampling_rate:g} s at {windows.sampling_rate} Hz"
    leads, known = ", ".join(windows.leads), ", ".join(windows.ground_truths) or "none"
    print(f"wrote {len(windows)} windows of {size} (leads: {leads}; ground truth: {known}) to {path}")
    if replaced:
        print("the existing file was overwritten; --to FILE keeps several")
    print(f"fingerprint {windows.fingerprint}")


if __name__ == "__main__":
    run_cli(main)
