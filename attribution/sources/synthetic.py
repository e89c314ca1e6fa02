"""Windows of a synthetic dataset: its records, with the place of every planted sign as ground truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attribution.sources.options import BuildOptions
from attribution.sources.whole_records import limited, windows_of
from databases.synthetic import load_ground_truth
from databases.synthetic.database import Synthetic
from databases.synthetic.recording import FOLDERS, TRUTH_RATE
from preprocessing import load_ptbxl
from preprocessing.windows import Regions, Windows
from utils.errors import DataError, UsageError

TASK = "superdiagnostic"


def build_synthetic(database: Synthetic, options: BuildOptions) -> Windows:
    """Take the records that ``python -m databases.synthetic`` wrote."""
    if options.task not in (None, TASK):
        raise UsageError(f"signs are planted for the task {TASK}, not for '{options.task}': leave out --task")
    root = database.root
    ecg_ids, _, _ = load_ground_truth(root)
    rate = options.sampling_rate or TRUTH_RATE
    if rate in FOLDERS and not (root / FOLDERS[rate][0]).is_dir():
        raise DataError(
            f"{root} was written without {rate} Hz: "
            "write one with `python -m databases.synthetic --rates 100 500`, or change --sampling_rate"
        )
    dataset = load_ptbxl(root, TASK, rate, cache_dir=options.cache_dir, **options.splitting)
    row_of = {ecg_id: row for row, ecg_id in enumerate(ecg_ids.tolist())}
    dataset = limited(dataset, options.limit)
    absent = [ecg_id for ecg_id in dataset.ids.tolist() if ecg_id not in row_of]
    if absent:
        raise DataError(f"{root}: truth.npz has no record {absent[0]}: write the dataset again")
    rows = np.array([row_of[ecg_id] for ecg_id in dataset.ids.tolist()], dtype=np.int64)

    settings = {"reference": False, "limit": options.limit, "version": dataset.version, "task": TASK}
    parts = []
    for index, name in enumerate(dataset.classes):
        window, lead, start, stop = runs(load_ground_truth(root, name)[1][rows])
        parts.append((window, np.full_like(window, index), lead, start, stop))
    window, cls, lead, start, stop = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    factor = rate // TRUTH_RATE
    kind = np.full(len(window), "planted")
    regions = Regions(window, cls, lead, start * factor, stop * factor, kind)
    windows = windows_of("synthetic", dataset, settings)
    return replace(windows, regions=regions, ground_truths=("planted",))


def runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find stretches of True along time.

    Shapes: mask (N, T, leads) -> window, lead, start, stop (R,).
    """
    steps = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1), (0, 0))), axis=1)
    # with time last, the beginnings and ends of one lead come in pairs in the order of time
    window, lead, start = np.nonzero(np.swapaxes(steps == 1, 1, 2))
    stop = np.nonzero(np.swapaxes(steps == -1, 1, 2))[2]
    return window, lead, start, stop
