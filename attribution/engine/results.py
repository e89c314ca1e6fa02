"""What ``attribution.compute`` leaves: which windows were explained, by which model, and the maps."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from explain.engine.classifier import Classifier, load_classifier
from explain.methods import Settings
from preprocessing.windows import Windows, load_windows
from training.checkpoint import WEIGHTS
from utils.errors import DataError, UsageError
from utils.files import read_json, read_npz, sha256

ARGS = "args.json"
SELECTION = "selection.npz"
_BASELINES = 100  # training windows that deep_shap draws from


@dataclass(frozen=True)
class ComputeResult:
    """A folder of maps.

    ``args``: how it was made: dataset, dataset_path, fingerprint, model, model_path,
        model_fingerprint, seed (of the model's training), settings and the rules of the selection.
    ``rows`` (n,): explained windows, rows of the windows' file.
    ``targets`` (n,): explained class of each; a window of several classes stands here several
        times.
    ``probability`` (n,): the model's probability of that class.
    """

    folder: Path
    args: dict[str, Any]
    rows: np.ndarray
    targets: np.ndarray
    probability: np.ndarray

    @property
    def seed(self) -> int:
        """Seed that the model was trained with."""
        return int(self.args["seed"])

    @cached_property
    def windows(self) -> Windows:
        """The windows' file, checked to be the one that was explained."""
        windows = load_windows(self.args["dataset_path"])
        if windows.fingerprint != self.args["fingerprint"]:
            raise DataError(
                f"{self.args['dataset_path']} is not the file whose windows {self.folder} explains: build it "
                "again as it was, or compute the maps again"
            )
        return windows

    def labels(self) -> dict[str, Any]:
        """What every line of a score file says about the folder."""
        return {name: self.args[name] for name in ("dataset", "model", "seed")}

    def methods(self) -> list[str]:
        """Methods whose maps are complete."""
        found = {
            path.stem for path in (self.folder / "maps").glob("*.npz") if not path.stem.endswith(".part")
        }
        order = [name for name in self.args["methods"] if name in found]
        return [*order, *sorted(found - set(order))]

    def map_file(self, method: str) -> Path:
        """Path of the maps of a method."""
        return self.folder / "maps" / f"{method}.npz"

    def maps(self, method: str) -> np.ndarray:
        """Read the maps of a method.

        Returns shape (n, T, leads).
        """
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

    def settings(self, rows: np.ndarray) -> Settings:
        """Settings that the maps of some windows were made with.

        Shapes: rows (B,).
        """
        values = dict(self.args["settings"])
        kind = values.pop("baselines")
        # without training windows (LUDB) attribution.compute refuses deep_shap, and no other method asks
        drawn = kind == "training" and (self.windows.splits == "train").any()
        baselines = self._baselines if drawn else None
        return Settings(**values, keys=np.asarray(rows, dtype=np.int64), baselines=baselines)

    @cached_property
    def _baselines(self) -> np.ndarray:
        return training_baselines(self.windows, self.classifier(), self.args["settings"]["seed"])

    def classifier(self, options: Any = None) -> Classifier:
        """Load the model that was explained."""
        path = getattr(options, "model_path", None) or self.args["model_path"]
        classifier = load_classifier(path)
        if weights_fingerprint(classifier) != self.args["model_fingerprint"]:
            raise DataError(
                f"{path} is not the model whose maps {self.folder} holds: name it by --model_path"
            )
        return classifier


def load_maps(folder: str | os.PathLike) -> ComputeResult:
    """Open a folder that ``attribution.compute`` wrote."""
    place = Path(folder)
    if not (place / ARGS).exists() or not (place / SELECTION).exists():
        raise UsageError(
            f"{place} holds no maps ({ARGS}, {SELECTION}): run python -m attribution.compute first"
        )
    selection = read_arrays(place / SELECTION)
    return ComputeResult(
        place, read_json(place / ARGS), *(selection[n] for n in ("rows", "targets", "probability"))
    )


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz file of plain numbers."""
    return read_npz(path, "delete it and run attribution.compute again")


def weights_fingerprint(classifier: Classifier) -> str:
    """Fingerprint of the weights of a model."""
    return sha256(classifier.predictor.folder / WEIGHTS[classifier.framework])


def model_label(classifier: Classifier) -> str:
    """Name under which seeds of one model are one row of a table."""
    return re.sub(r"_seed\d+$", "", classifier.name)


def training_baselines(windows: Windows, classifier: Classifier, seed: int) -> np.ndarray:
    """Training windows that deep_shap takes as baselines, drawn evenly over classes.

    Returns shape (n, T, leads).
    """
    train = np.flatnonzero(windows.splits == "train")
    if not len(train):
        raise UsageError(
            f"'{windows.name}' has no training windows that deep_shap could take as baselines: "
            "--baselines noise, as in the published study"
        )
    random = np.random.default_rng([seed, 1])
    columns = [random.permutation(train[windows.labels[train, c] == 1]) for c in range(len(windows.classes))]
    turns = [column[i] for i in range(_BASELINES) for column in columns if i < len(column)]
    rows = np.sort(list(dict.fromkeys(turns))[:_BASELINES])
    return classifier.standardize(windows.signals[rows])
