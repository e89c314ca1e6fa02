"""Cut a public dataset into the windows that the attribution study explains.

python -m attribution.build --dataset mitdb --data_dir data/mitdb
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attribution.sources.beat_sets import BEAT_SETS, build_beat_set
from attribution.sources.icentia11k import build_icentia11k
from attribution.sources.ludb import build_ludb
from attribution.sources.options import BuildOptions
from attribution.sources.ptbxl import build_ptbxl
from attribution.sources.synthetic import build_synthetic
from preprocessing.splits import check_patients
from preprocessing.windows import Windows, save_windows
from utils.errors import UsageError, nearest, run_cli

BUILDERS: dict[str, Callable[[str | os.PathLike, BuildOptions], Windows]] = {
    **{name: partial(build_beat_set, table) for name, table in BEAT_SETS.items()},
    "icentia11k": build_icentia11k,
    "ptbxl": build_ptbxl,
    "synthetic": build_synthetic,
    "ludb": build_ludb,
}
# options that only some datasets have
_ONLY = {
    "task": ("ptbxl", "synthetic"),
    "sampling_rate": ("ptbxl", "synthetic", "ludb"),
    "cache_dir": ("ptbxl", "synthetic"),
    "partial": ("ptbxl",),
    "windows_per_patient": ("icentia11k",),
}


def build(dataset: str, data_dir: str | os.PathLike, options: BuildOptions | None = None) -> Windows:
    """Build the windows of a dataset."""
    options = options or BuildOptions()
    if dataset not in BUILDERS:
        raise UsageError(f"unknown dataset '{dataset}': {nearest(dataset, BUILDERS)}")
    defaults = BuildOptions()
    for name, datasets in _ONLY.items():
        if getattr(options, name) != getattr(defaults, name) and dataset not in datasets:
            raise UsageError(
                f"--{name} does not apply to {dataset}, only to {', '.join(datasets)}: leave it out"
            )
    windows = BUILDERS[dataset](data_dir, options)
    check_patients(windows)
    return windows


def describe_counts(windows: Windows) -> str:
    """Put the numbers of windows by split and class into a text."""
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
    parser = argparse.ArgumentParser(
        prog="python -m attribution.build",
        description="Cut a public dataset into labelled windows with splits and ground truth, for the "
        "attribution study. Needs the dataset's own files, downloaded from PhysioNet.",
    )
    parser.add_argument("--dataset", required=True, help=f"one of {', '.join(BUILDERS)}")
    parser.add_argument("--data_dir", help="folder of the dataset's files (default: data/DATASET)")
    parser.add_argument("--to", help="file to write (default: data/attribution/DATASET.npz)")
    parser.add_argument(
        "--reference",
        action="store_true",
        help="the published study's own choices: every annotation counts as a beat, leads by column, no "
        "validation split (mitdb, svdb, incartdb); its 22 targets at 500 Hz (ptbxl)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        help="at most so many records (icentia11k: patients, of whom 200 give the study's 12,000 windows and "
        "all 11,000 take many hours), spread evenly",
    )
    parser.add_argument("--task", help="label set of ptbxl (default: superdiagnostic)")
    parser.add_argument(
        "--sampling_rate", type=int, help="in Hz, for ptbxl, synthetic and ludb (default: 100)"
    )
    parser.add_argument(
        "--windows_per_patient",
        type=int,
        default=BuildOptions.windows_per_patient,
        help="icentia11k: at most so many windows of a patient (default: %(default)s)",
    )
    parser.add_argument(
        "--partial", action="store_true", help="ptbxl: leave out records whose files are absent"
    )
    parser.add_argument("--cache_dir", help="ptbxl, synthetic: where the cache of recordings goes")
    arguments = vars(parser.parse_args())

    dataset, data_dir, to = (arguments.pop(name) for name in ("dataset", "data_dir", "to"))
    path = Path(to or f"data/attribution/{dataset}.npz")
    _check_target(path)
    windows = build(dataset, data_dir or f"data/{dataset}", BuildOptions(**arguments))
    replaced = path.exists()
    save_windows(windows, path)
    print(describe_counts(windows))
    for reason, number in windows.settings.get("dropped", {}).items():
        print(f"left out: {number} windows ({reason})")
    size = f"{windows.samples / windows.sampling_rate:g} s at {windows.sampling_rate} Hz"
    leads, truths = ", ".join(windows.leads), ", ".join(windows.ground_truths) or "none"
    print(f"wrote {len(windows)} windows of {size} (leads: {leads}; truth: {truths}) to {path}")
    if replaced:
        print("the windows that were there before are gone; --to FILE keeps several")
    print(f"fingerprint {windows.fingerprint}")


if __name__ == "__main__":
    run_cli(main)
