"""A folder that ``attribution.compute`` fills: which windows were explained, by which model, and the maps."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from attribution.engine.selection import Selection
from attribution.engine.store import RECORD, read_record
from explain.engine.classifier import Classifier, load_classifier
from explain.methods import Settings
from preprocessing.windows import Windows, load_windows
from training.card import WEIGHTS
from utils.errors import DataError, UsageError, nearest
from utils.files import read_npz, sha256

_PUBLISHED_SEGMENTS = {"mitdb": 24, "svdb": 8, "incartdb": 16, "icentia11k": 16, "ptbxl": 32}  # samples


def default_settings() -> dict[str, Any]:
    """Defaults of every setting."""
    values = asdict(Settings())
    del values["seeds"], values["baselines"]
    return values | {"baselines": "training"}


def published_settings(dataset: str, leads: int) -> dict[str, Any]:
    """Noise baselines, segments in samples, nearest upsampling."""
    return default_settings() | {
        "upsampling": "nearest",
        "n_samples": 5000 if leads > 1 else 500,
        "segment_samples": _PUBLISHED_SEGMENTS.get(dataset, 16),
        "n_baselines": 80 if leads > 1 else 250,
        "baselines": "noise",
    }


SELECTION = "selection.npz"
_BASELINES = 100  # training windows that deep_shap draws from


class Workspace:
    """Explained windows, the model that was explained, and the maps of its methods.

    ``args``: how the folder was made: dataset, dataset_path, fingerprint, model, model_path,
        model_fingerprint, seed (of the model's training), settings and the rules of the selection.
    ``windows, model``: where they are loaded already; by default read when they are needed.
    ``model_path``: where the model is now, if not where it was.
    """

    def __init__(
        self,
        folder: Path,
        args: dict[str, Any],
        selection: Selection,
        windows: Windows | None = None,
        model: Classifier | None = None,
        model_path: str | os.PathLike | None = None,
    ):
        self.folder, self.args, self.selection = folder, args, selection
        self.rows, self.targets, self.probability = selection.rows, selection.targets, selection.probability
        self._windows, self._model = windows, model
        self._baselines: np.ndarray | None = None
        self._model_path: str | os.PathLike = model_path or args.get("model_path", "")

    @property
    def seed(self) -> int:
        """Seed that the model was trained with."""
        return int(self.args["seed"])

    @property
    def windows(self) -> Windows:
        """The file of windows, checked to be the one that was explained."""
        if self._windows is None:
            windows = load_windows(self.args["dataset_path"])
            if windows.fingerprint != self.args["fingerprint"]:
                raise DataError(
                    f"{self.args['dataset_path']} is not the file whose windows {self.folder} explains: "
                    "build it again as it was, or compute the maps again"
                )
            self._windows = windows
        return self._windows

    @property
    def model(self) -> Classifier:
        if self._model is None:
            model = load_classifier(self._model_path)
            if weights_fingerprint(model) != self.args["model_fingerprint"]:
                raise DataError(
                    f"{self._model_path} is not the model whose maps {self.folder} holds: name it by "
                    "--model_path"
                )
            self._model = model
        return self._model

    def identity(self) -> dict[str, Any]:
        """What scores are made from, beside the maps."""
        selection = hashlib.sha256(self.rows.tobytes() + self.targets.tobytes()).hexdigest()
        return {
            "windows": self.args["fingerprint"],
            "model": self.args["model_fingerprint"],
            "selection": selection,
        }

    def labels(self) -> dict[str, Any]:
        """What every line of a score file says about the folder."""
        return {name: self.args[name] for name in ("dataset", "model", "seed")}

    def methods(self) -> list[str]:
        """Methods whose maps are complete."""
        names = {path.stem for path in (self.folder / "maps").glob("*.npz") if ".part" not in path.name}
        order = [name for name in self.args["methods"] if name in names]
        return [*order, *sorted(names - set(order))]

    def choose_methods(self, names: Sequence[str]) -> list[str]:
        """Methods that a command names, of those with complete maps; ``all`` means all of them."""
        complete = self.methods()
        if not complete:
            raise DataError(
                f"{self.folder} holds no complete maps: run attribution.compute again, it resumes"
            )
        for name in names:
            if name not in ("all", *complete):
                raise UsageError(f"{self.folder} has no maps of '{name}': {nearest(name, complete)}")
        return [name for name in complete if "all" in names or name in names]

    def map_file(self, method: str) -> Path:
        return self.folder / "maps" / f"{method}.npz"

    def maps(self, method: str) -> np.ndarray:
        """Read the maps of a method, (n, T, leads)."""
        path = self.map_file(method)
        if not path.exists():
            have = ", ".join(self.methods()) or "none"
            raise UsageError(f"{self.folder} has no maps of '{method}' (it has {have}): attribution.compute")
        maps = read_arrays(path)["maps"]
        if maps.shape != (len(self.rows), *self.windows.signals.shape[1:]):
            raise DataError(
                f"{path} holds maps of shape {maps.shape} for {len(self.rows)} windows: compute again"
            )
        return maps

    def signals(self, rows: np.ndarray) -> np.ndarray:
        """Standardized signals of some windows, as the model reads them; rows (B,) -> (B, T, leads)."""
        return self.model.standardize(self.windows.signals[rows])

    def settings(self, rows: np.ndarray) -> Settings:
        """Settings that the maps of some windows were made with; rows (B,)."""
        stored = self.args["settings"]
        # without training windows (LUDB) attribution.compute refuses deep_shap, which alone needs them
        drawn = stored["baselines"] == "training" and (self.windows.splits == "train").any()
        if drawn and self._baselines is None:
            self._baselines = training_baselines(self.windows, self.model, stored["seed"])
        return Settings(**{**stored, "seeds": rows, "baselines": self._baselines})


def open_workspace(folder: str | os.PathLike, model_path: str | os.PathLike | None = None) -> Workspace:
    """Open a folder that ``attribution.compute`` wrote."""
    folder = Path(folder)
    if not (folder / RECORD).exists() or not (folder / SELECTION).exists():
        raise UsageError(
            f"{folder} holds no maps ({RECORD}, {SELECTION}): run python -m attribution.compute first"
        )
    return Workspace(folder, read_record(folder), read_selection(folder), model_path=model_path)


def read_selection(folder: Path) -> Selection:
    """The windows that a folder explains."""
    arrays = read_arrays(folder / SELECTION)
    return Selection(*(arrays[name] for name in ("rows", "targets", "probability")))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz file of plain numbers."""
    return read_npz(path, "delete it and run attribution.compute again")


def weights_fingerprint(model: Classifier) -> str:
    """Fingerprint of the weights of a model."""
    return sha256(model.predictor.folder / WEIGHTS[model.framework])


def model_label(model: Classifier) -> str:
    """Name under which the seeds of one model are one row of a table."""
    return re.sub(r"_seed\d+$", "", model.name)


def training_baselines(windows: Windows, model: Classifier, seed: int) -> np.ndarray:
    """Training windows that deep_shap takes as baselines, drawn evenly over classes, (n, T, leads)."""
    train = np.flatnonzero(windows.splits == "train")
    random = np.random.default_rng([seed, 1])
    columns = [random.permutation(train[windows.labels[train, c] == 1]) for c in range(len(windows.classes))]
    turns = [column[i] for i in range(_BASELINES) for column in columns if i < len(column)]
    rows = np.sort(list(dict.fromkeys(turns))[:_BASELINES])
    return model.standardize(windows.signals[rows])
