"""Windows that are whole records: of PTB-XL, and of any other database labeled by one of its target sets.

With ``reference`` the labels of PTB-XL are the study's 22 targets, which it took from the PhysioNet/CinC
Challenge's copy of PTB-XL. `CINC_TARGETS` says from which SCP codes of the official table each is made here;
two of them, the deviations of the electrical axis, come from its column ``heart_axis``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from attribution.sources.options import BuildOptions, spread
from databases import Database
from databases.ptbxl import DATABASE_CSV, Ptbxl
from databases.synthetic import load_ground_truth
from databases.synthetic.database import Synthetic
from databases.synthetic.recording import FOLDERS, MASK_RATE
from preprocessing import Dataset, list_targets, load_dataset, load_ptbxl
from preprocessing.targets.registry import CLASS_KINDS
from preprocessing.windows import Regions, Windows
from utils.errors import DataError, UsageError

# The Challenge's copy maps SCP codes to SNOMED CT. Its counts in PTB-XL tell how, and agree with the codes
# here: PAC 398 and SVARR 157 (as "supraventricular premature beats", which count as PAC), LAD 5146 (LAD and
# ALAD), NSIVCB 789 (IVCD), NSR 18,092 (SR or NORM), TAb 2345 (more than NDT, NT_ and TAB_ have together, so
# that low T waves must be in it).
CINC_TARGETS = {
    "AF": ("AFIB",),  # atrial fibrillation
    "AFL": ("AFLT",),  # atrial flutter
    "CRBBB": ("CRBBB",),  # complete right bundle branch block
    "IAVB": ("1AVB",),  # first degree AV block
    "IRBBB": ("IRBBB",),  # incomplete right bundle branch block
    "LAD": (),  # left axis deviation: heart_axis LAD or ALAD
    "LAnFB": ("LAFB",),  # left anterior fascicular block
    "LBBB": ("CLBBB",),  # (complete) left bundle branch block
    "LQRSV": ("LVOLT",),  # low QRS voltages
    "NSIVCB": ("IVCD",),  # non-specific intraventricular conduction disturbance
    "NSR": ("SR", "NORM"),  # sinus rhythm; a normal ECG counts without a statement on rhythm
    "PAC": ("PAC", "SVARR"),  # premature atrial contraction
    "PR": ("PACE",),  # pacing rhythm
    "LPR": ("LPR",),  # prolonged PR interval
    "LQT": ("LNGQT",),  # prolonged QT interval
    "QAb": ("QWAVE",),  # abnormal Q wave
    "RAD": (),  # right axis deviation: heart_axis RAD or ARAD
    "SA": ("SARRH",),  # sinus arrhythmia
    "SB": ("SBRAD",),  # sinus bradycardia
    "STach": ("STACH",),  # sinus tachycardia
    "TAb": ("NDT", "NT_", "TAB_", "LOWT"),  # abnormal T wave
    "TInv": ("INVT",),  # inverted T wave
}
AXIS_TARGETS = {"LAD": ("LAD", "ALAD"), "RAD": ("RAD", "ARAD")}


def build_ptbxl(database: Ptbxl, options: BuildOptions) -> Windows:
    """Take the records of a task, with the official folds.

    The default is the task superdiagnostic at 100 Hz, which the models of this repository read. With
    ``reference``: the study's 22 targets at 500 Hz; records with none of them are left out, as there. Its
    split is not reproduced (it ignores patients and follows the order of files on its author's disk), nor are
    its raw integers: signals are in mV.
    """
    if options.reference and options.task:
        raise UsageError("--reference means the study's 22 targets: leave out --task")
    task = "all" if options.reference else options.task or "superdiagnostic"
    dataset = load_ptbxl(
        database.root,
        task,
        options.sampling_rate or (500 if options.reference else 100),
        cache_dir=options.cache_dir,
        on_missing="drop" if options.partial else "error",
        **options.splitting,
    )
    settings = {"reference": options.reference, "limit": options.limit, "version": dataset.version}
    if options.reference:
        dataset = _with_cinc_targets(dataset, database.root)
        task = "22 targets of the study"
    return windows_of("ptbxl", limited(dataset, options.limit), settings | {"task": task})


def build_any(database: Database, options: BuildOptions) -> Windows:
    """Take the records of the task, with the splits of the database."""
    if not options.task:
        targets = ", ".join(list_targets(database.name)) or "none is registered"
        raise UsageError(f"--task must name a target set of {database.name}: {targets}")
    rate = options.sampling_rate
    how = {"cache_dir": options.cache_dir, **options.splitting}
    dataset = load_dataset(database.name, database.root, options.task, rate, **how)
    if dataset.kind not in CLASS_KINDS:
        raise UsageError(f"--task {options.task}: maps explain classes, not targets of kind {dataset.kind}")
    settings = {"reference": False, "limit": options.limit, "version": dataset.version, "task": options.task}
    return windows_of(database.name, limited(dataset, options.limit), settings)


def limited(dataset: Dataset, limit: int | None) -> Dataset:
    """Choose evenly among the records of each split."""
    by_split = np.argsort(dataset.splits, kind="stable")
    return dataset.take(np.sort(by_split[spread(len(dataset), limit)]))


def windows_of(name: str, dataset: Dataset, settings: dict) -> Windows:
    """Describe whole records as windows."""
    return replace(
        dataset,
        ids=np.array([f"{i:05}" if isinstance(i, int) else i for i in dataset.ids.tolist()], dtype=str),
        patients=dataset.patients.astype(str),
        starts=np.zeros(len(dataset), dtype=np.int64),
        task=name,
        name=name,
        normal=[name for name in dataset.classes if name == "NORM"],
        settings=settings,
    )


def _with_cinc_targets(dataset: Dataset, data_dir: Path) -> Dataset:
    """The same records with the 22 targets as labels, without records that have none."""
    path = data_dir / DATABASE_CSV
    try:
        axes = pd.read_csv(path, usecols=["ecg_id", "heart_axis"], index_col="ecg_id")["heart_axis"]
    except ValueError as error:  # load_ptbxl has read the rest of the table
        raise DataError(f"{path} has no column heart_axis: restore the official table") from error
    axis = axes.reindex(dataset.ids).fillna("").to_numpy()
    labels = np.zeros((len(dataset), len(CINC_TARGETS)), dtype=np.uint8)
    for column, (target, codes) in enumerate(CINC_TARGETS.items()):
        places = [dataset.classes.index(code) for code in codes if code in dataset.classes]
        labels[:, column] = dataset.targets[:, places].any(axis=1) | np.isin(
            axis, AXIS_TARGETS.get(target, ())
        )
    dataset = replace(dataset, targets=labels, classes=list(CINC_TARGETS))
    return dataset.take(np.flatnonzero(labels.any(axis=1)))


TASK = "superdiagnostic"


def build_synthetic(database: Synthetic, options: BuildOptions) -> Windows:
    """Take the records that ``python -m databases.synthetic`` wrote."""
    if options.task not in (None, TASK):
        raise UsageError(f"findings are planted for the task {TASK}, not '{options.task}': leave out --task")
    root = database.root
    ecg_ids, _, _ = load_ground_truth(root)
    rate = options.sampling_rate or MASK_RATE
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
    factor = rate // MASK_RATE
    kind = np.full(len(window), "planted")
    regions = Regions(window, cls, lead, start * factor, stop * factor, kind)
    windows = windows_of("synthetic", dataset, settings)
    return replace(windows, regions=regions, ground_truths=("planted",))


def runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find stretches of True along time; mask (N, T, leads) -> window, lead, start, stop (R,)."""
    steps = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1), (0, 0))), axis=1)
    # with time last, the beginnings and ends of one lead come in pairs in the order of time
    window, lead, start = np.nonzero(np.swapaxes(steps == 1, 1, 2))
    stop = np.nonzero(np.swapaxes(steps == -1, 1, 2))[2]
    return window, lead, start, stop
