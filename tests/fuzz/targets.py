"""What is fuzzed: a reader, how an input becomes its files, and what an accepted answer must be."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import oracles
from utils.ecg import LEADS
from utils.errors import UsageError
from utils.files import sha256, write_json

SEPARATOR = b"\n=====\n"


@dataclass(frozen=True)
class Target:
    """A reader under test.

    ``files``: names of the files of an input; `read` gets the path of the first one.
    ``check``: raises AssertionError for an accepted answer that cannot be; gives the number of its samples.
    ``prepare``: changes the files before they are read.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], Any]
    check: Callable[[bytes, Any], int] = lambda data, result: 0
    prepare: Callable[[Path], None] = lambda folder: None

    def unpack(self, data: bytes, folder: Path) -> Path:
        """Write the files of an input."""
        parts = data.split(SEPARATOR, len(self.files) - 1)
        for name, part in zip(self.files, parts, strict=False):
            (folder / name).write_bytes(part)
        self.prepare(folder)
        return folder / self.files[0]


def _recording(path: Path, **options: Any) -> Any:
    from preprocessing.recordings.external import read_recording

    return read_recording(path, **options)


def _check_recording(data: bytes, recording: Any, oracle: Any = None) -> int:
    signal = recording.signal
    assert recording.leads == LEADS and signal.shape[1:] == (len(LEADS),) and signal.dtype == np.float32
    assert np.isfinite(recording.sampling_rate) and recording.sampling_rate > 0 and len(signal)
    expected = oracle(data) if oracle else {}
    for lead, values in (expected or {}).items():
        found = signal[:, LEADS.index(lead)]
        assert len(found) == len(values), f"{len(found)} samples of {lead}, not {len(values)}"
        known = np.isfinite(found)  # samples that a format marks as missing
        assert known.any(), f"no sample of {lead}"
        assert np.allclose(found[known], values[known], atol=2e-3, rtol=1e-4), f"another signal in {lead}"
    return int(signal.size)


def _ecg(name: str, *files: str, oracle: Any = None, **options: Any) -> Target:
    read = functools.partial(_recording, **options)
    return Target(name, files, read, functools.partial(_check_recording, oracle=oracle))


@functools.cache
def _small_card(model: str) -> Any:
    """Card of a small model."""
    from tests.helpers.training_files import write_untrained
    from training.checkpoint import read_card

    with tempfile.TemporaryDirectory() as folder:
        return read_card(write_untrained(Path(folder), model))


def _fit_card(folder: Path, model: str) -> None:
    """Put a card beside weights that has their digest, as somebody who means harm would."""
    (weights,) = folder.iterdir()
    card = dataclasses.replace(_small_card(model), weights_sha256=sha256(weights))
    write_json(folder / "card.json", card.to_json())


def _card(path: Path) -> Any:
    from training.card import Card
    from utils.files import read_json

    return Card.from_json(read_json(path), path)


def _check_card(data: bytes, card: Any) -> int:
    leads = card.inputs.leads
    assert set(leads) != set(LEADS) or tuple(leads) == LEADS
    assert card.inputs.unit == "mV" and card.inputs.samples > 0
    return 0


def _predict(path: Path) -> Any:
    from training.predictor import load_predictor

    predictor = load_predictor(path.parent)
    signals = np.zeros((1, predictor.samples, len(predictor.leads)), np.float32)
    return predictor.predict(signals + np.linspace(0, 1, predictor.samples)[:, None])


def _check_predictions(data: bytes, predictions: Any) -> int:
    assert np.isfinite(predictions).all()
    return 0


def _state(path: Path) -> Any:
    from training.checkpoint import load_state

    return load_state(path.parent)


def _move_state(folder: Path) -> None:
    (folder / "last").mkdir()
    (folder / "state.safetensors").rename(folder / "last" / "state.safetensors")


def _windows(path: Path) -> Any:
    from preprocessing.windows import load_windows

    return load_windows(path)


def _config(path: Path) -> Any:
    from training.config import TrainConfig
    from utils.config import check_values, read_config

    values = read_config(path, TrainConfig)
    with contextlib.suppress(UsageError):  # names the option, which a flag may have given as well
        check_values(TrainConfig(**values))
    return values


_CACHED = ("fuzzed", "source", 4)  # name, source and number of records of the cache


def _cache(path: Path) -> Any:
    from preprocessing.cache import find_cache

    found = find_cache(path.parent, *_CACHED, cache_dir=path.parent)
    if found is None:
        return None
    return np.stack([found.samples[row] for row in range(len(found.samples))])


def _move_cache(folder: Path) -> None:
    from preprocessing.cache import cache_folders

    (target,) = cache_folders(folder, folder)
    target.mkdir()
    for path in folder.glob("fuzzed_source.*"):
        shutil.copy(path, target / path.name)


def _check_cache(data: bytes, samples: Any) -> int:
    assert len(samples) == _CACHED[2]
    return int(samples.size)


TARGETS = {
    target.name: target
    for target in (
        _ecg("wfdb", "record.hea", "record.dat", oracle=oracles.wfdb),
        _ecg("edf", "record.edf", oracle=oracles.edf),
        _ecg("bdf", "record.bdf", oracle=oracles.edf),
        _ecg("csv", "record.csv", sampling_rate=100, oracle=oracles.csv),
        _ecg("npy", "record.npy", sampling_rate=100, units="mV"),
        _ecg("npz", "record.npz", sampling_rate=100, units="mV"),
        _ecg("mat", "record.mat", sampling_rate=100, units="1000/mV"),
        _ecg("hdf5", "record.h5", sampling_rate=100, units="mV"),
        *(_ecg(name, f"record.{name}") for name in ("muse", "aecg", "philips", "scp", "ishne", "mfer")),
        Target("card", ("card.json",), _card, _check_card),
        Target(
            "torch_weights",
            ("model.safetensors",),
            _predict,
            _check_predictions,
            functools.partial(_fit_card, model="ecgnet"),
        ),
        Target(
            "keras_weights",
            ("model.weights.h5",),
            _predict,
            _check_predictions,
            functools.partial(_fit_card, model="mousavi"),
        ),
        Target("cache", ("fuzzed_source.npy", "fuzzed_source.json"), _cache, _check_cache, _move_cache),
        Target("state", ("state.safetensors",), _state, prepare=_move_state),
        Target("windows", ("windows.npz",), _windows),
        Target("config", ("config.yaml",), _config),
    )
}
