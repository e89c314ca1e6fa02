"""Preprocessors, augmenters, reader and metrics of torch_ecg, timed by the interpreter where it is installed.

PYTHON benchmarks/speed/peer_signals.py torch_ecg RECORDS   # CPU seconds as JSON, without this project

RECORDS is a folder with records of the CinC challenge 2021, as `write_records` makes it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CHAIN: dict[str, dict[str, Any]] = {"resample": {"fs": 250}, "bandpass": {}, "normalize": {}}
CHAINS: dict[str, dict[str, Any]] = {
    "baseline removal": {"baseline_remove": {}},
    "resample, bandpass, z-score": CHAIN,
    "baseline removal, resample, bandpass, z-score": {"baseline_remove": {}, **CHAIN},
}
AUGMENTERS = (
    "baseline_wander",
    "label_smooth",
    "mixup",
    "random_flip",
    "random_masking",
    "random_renormalize",
    "stretch_compress",
)
AUGMENTATIONS = {
    "baseline wander": ("baseline_wander",),
    "the seven augmenters of the published example": AUGMENTERS,
}


def record() -> np.ndarray:
    """Twelve leads of 10 s at 500 Hz.

    Returns shape (12, 5000).
    """
    noise = np.random.default_rng(0).normal(size=(12, 5000))
    return (np.cumsum(noise, axis=1) / 50 + noise / 10).astype(np.float32)


def batch(records: int = 64, samples: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    """Signals (records, 12, samples) and labels (records, 26)."""
    rng = np.random.default_rng(0)
    signals = rng.normal(size=(records, 12, samples)).astype(np.float32)
    return signals, (rng.random((records, 26)) < 0.3).astype(np.float32)


READING, METRICS = "reading a MATLAB/WFDB record", "all metrics of 2,000 x 26"
_RECORDS = 50
_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def write_records(folder: Path) -> None:
    """Write records as the CinC challenge 2021 does: MATLAB 4 matrices of int16 and WFDB headers."""
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    for number in range(1, _RECORDS + 1):
        name, samples = f"A{number:04d}", rng.integers(-900, 900, (12, 5000), dtype=np.int16)
        savemat(folder / f"{name}.mat", {"val": samples}, format="4")
        lines = [f"{name} 12 500 5000"]
        for lead, row in zip(_LEADS, samples, strict=True):
            checksum = (int(row.sum(dtype=np.int64)) + 2**15) % 2**16 - 2**15
            lines.append(f"{name}.mat 16+24 1000/mV 16 0 {row[0]} {checksum} 0 {lead}")
        lines += ["#Age: 60", "#Sex: Male", "#Dx: 426783006", "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown"]
        (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")


def answers() -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of 2,000 records and 26 classes."""
    rng = np.random.default_rng(0)
    labels = (rng.random((2000, 26)) < 0.15).astype(int)
    return labels, np.clip(0.3 * labels + 0.5 * rng.random((2000, 26)), 0, 1)


def best_seconds(job: Callable[[], Any], least: float = 0.2, repetitions: int = 5) -> float:
    """CPU seconds of one call, the best of some rounds of at least `least` seconds, after a warm-up."""
    job()
    start = time.process_time()
    job()
    count = max(1, round(least / max(time.process_time() - start, 1e-4)))
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        for _ in range(count):
            job()
        times.append((time.process_time() - start) / count)
    return min(times)


def main() -> None:
    """Time everything and print it."""
    warnings.simplefilter("ignore")
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    package = sys.argv[1]  # no dependency of this project
    manager = importlib.import_module(f"{package}._preprocessors").PreprocManager
    augmenters = importlib.import_module(f"{package}.augmenters").AugmenterManager
    config = importlib.import_module(f"{package}.cfg").CFG
    seconds: dict[str, float] = {}
    signal = record()
    for name, chain in CHAINS.items():
        preprocess = manager.from_config(config(chain))
        seconds[name] = best_seconds(lambda preprocess=preprocess: preprocess(signal, 500))  # type: ignore[misc]
    signals, labels = (torch.from_numpy(array) for array in batch())
    for name, names in AUGMENTATIONS.items():
        # Its augmenters write into the batch: out of place, as ours work, they copy it.
        options = {key: {"inplace": False} for key in names}
        augment = augmenters.from_config(config(fs=500, random=False, **options))
        seconds[name] = best_seconds(lambda augment=augment: augment(signals, labels))  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as work:
        database = importlib.import_module(f"{package}.databases").CINC2021(
            sys.argv[2], working_dir=work, verbose=0
        )
        every = range(len(database))
        seconds[READING] = best_seconds(lambda: [database.load_data(i) for i in every]) / len(every)
    metrics = importlib.import_module(f"{package}.components.metrics").ClassificationMetrics(multi_label=True)
    given = answers()
    seconds[METRICS] = best_seconds(lambda: metrics.compute(*given))
    print(json.dumps({"version": importlib.metadata.version(package), "seconds": seconds}))


if __name__ == "__main__":
    main()
