"""The seeds in ``corpus/``: small valid files of each target (`python -m tests.fuzz.corpus` writes them)."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import edfio
import h5py
import numpy as np
import scipy.io

from preprocessing.cache import open_cache
from preprocessing.dataset import Dataset
from preprocessing.windows import save_windows
from tests.fuzz import CORPUS
from tests.fuzz.targets import SEPARATOR
from tests.helpers import vendor_files
from tests.helpers.ecg_files import make_signals, write_csv, write_edf, write_wfdb
from tests.helpers.training_files import write_untrained
from training.checkpoint import ROOT, save_state
from training.config import TrainConfig
from utils.config import write_settings
from utils.ecg import DISPLAY_NAMES, LEADS

SIGNALS = make_signals(rate=100, seconds=2)


def _recordings(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    write_wfdb(folder, SIGNALS, LEADS, rate=100, name="record")
    yield "wfdb", [folder / "record.hea", folder / "record.dat"]
    # without checksums, which refuse every damaged sample: begins where no lead is zero
    start = int(np.flatnonzero((SIGNALS != 0).all(axis=1))[0])
    write_wfdb(folder, np.roll(SIGNALS, -start, axis=0), LEADS, rate=100, name="record")
    header = (folder / "record.hea").read_text()
    (folder / "record.hea").write_text(re.sub(r"(16 0) -?\d+ -?\d+ 0", r"\1 0 0 0", header))
    yield "wfdb", [folder / "record.hea", folder / "record.dat"]
    yield "edf", [write_edf(folder / "record.edf", SIGNALS, LEADS, rate=100)]
    names = [f"ECG {lead}" for lead in LEADS]
    span = {"physical_dimension": "mV", "physical_range": (-33, 33)}
    channels = [edfio.BdfSignal(SIGNALS[:, i], 100, label=name, **span) for i, name in enumerate(names)]
    edfio.Bdf(channels).write(folder / "record.bdf")
    yield "bdf", [folder / "record.bdf"]
    yield "csv", [write_csv(folder / "record.csv", SIGNALS, LEADS)]
    np.save(folder / "record.npy", SIGNALS.astype(np.float32))
    yield "npy", [folder / "record.npy"]
    np.savez_compressed(folder / "record.npz", signals=SIGNALS.astype(np.float32))
    yield "npz", [folder / "record.npz"]
    scipy.io.savemat(folder / "record.mat", {"val": (1000 * SIGNALS.T).astype(np.int16)})
    yield "mat", [folder / "record.mat"]
    with h5py.File(folder / "record.h5", "w") as file:
        file["tracings"] = SIGNALS.astype(np.float32)
    yield "hdf5", [folder / "record.h5"]


def _vendors(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    digital = np.round(SIGNALS.T * 1000 / vendor_files.MICROVOLTS).astype(np.int16)
    for name in ("muse", "aecg", "philips", "scp", "ishne", "mfer"):
        getattr(vendor_files, f"write_{name}")(folder / name, digital, list(DISPLAY_NAMES))
        yield name, [folder / name]


class _Blocks:
    """Source of a small cache."""

    shape, dtype = (4, 50, 12), np.dtype("<i2")

    def blocks(self) -> Iterator[np.ndarray]:
        """All recordings at once."""
        yield (1000 * SIGNALS.reshape(4, 50, 12)).astype("<i2")


def _others(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    for model, name in (("ecgnet", "torch_weights"), ("mousavi", "keras_weights")):
        checkpoint = write_untrained(folder / model, model)
        yield "card", [checkpoint / "card.json"]
        yield name, [next(path for path in checkpoint.iterdir() if path.name.startswith("model."))]
    yield "card", [ROOT / "checkpoints" / "pretrained" / "imle_net" / "card.json"]  # of version 1
    save_state(folder, {"w": np.ones((2, 3), np.float32)}, {"epoch": 1, "config": {"model": "ecgnet"}})
    yield "state", [folder / "last" / "state.safetensors"]
    cache = ("fuzzed", "source", 4)
    open_cache(folder, *cache, _Blocks, folder)
    (array,) = folder.rglob("fuzzed_source.npy")
    yield "cache", [array, array.with_suffix(".json")]
    write_settings(folder / "config.yaml", dataclasses.replace(TrainConfig(), model="ecgnet"))
    yield "config", [folder / "config.yaml"]
    count = np.arange(4)
    windows = Dataset(
        signals=SIGNALS.reshape(4, 50, 12).astype(np.float32), targets=np.eye(2, dtype=np.uint8)[count % 2],
        classes=["N", "V"], ids=count.astype(str), patients=count.astype(str),
        splits=np.full(4, "test"), sampling_rate=100, starts=count * 50, task="toy", name="toy",
        leads=list(LEADS), settings={}, normal="N",
    )  # fmt: skip
    save_windows(windows, folder / "windows.npz")
    yield "windows", [folder / "windows.npz"]


def main() -> None:
    """Write the seeds again; inputs that fuzzing has found stay."""
    for old in CORPUS.glob("*/seed-*"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        for make in (_recordings, _vendors, _others):
            for target, files in make(Path(folder)):
                (CORPUS / target).mkdir(parents=True, exist_ok=True)
                number = len(list((CORPUS / target).glob("seed-*"))) + 1
                content = SEPARATOR.join(path.read_bytes() for path in files)
                (CORPUS / target / f"seed-{number}").write_bytes(content)


if __name__ == "__main__":
    main()
