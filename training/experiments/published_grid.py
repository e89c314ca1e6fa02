"""Keys of the published ECG-CNN configurations under our names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from training.config import TrainConfig
from training.model_info import model_names
from utils.config import present_names
from utils.errors import UsageError

_NAMES = {"n_epochs": "epochs", "n_folds": "folds"}
_WITHOUT_EFFECT = {
    "save_best": "the weights of the best epoch are always kept (--set keep=last for the last ones)",
    "verbose": "each epoch is always printed",
    "plots_enable_ovr": "curves of every class are drawn when a run is tested",
    "plots_ovr_classes": "curves of every class are drawn when a run is tested",
    "tag": "runs are named by what sets them apart",
    "config": "the file itself says what it is",
}


def translate(
    values: Mapping[Any, Any], where: str, kinds: Iterable[type[TrainConfig]] = (TrainConfig,)
) -> tuple[dict[str, Any], list[str]]:
    """Settings under their present names, and notes on keys that mean nothing here.

    ``kinds``: configurations whose further names are understood.
    """
    known = _NAMES | {key: name for kind in kinds for key, name in present_names(kind).items()}
    result: dict[str, Any] = {}
    notes = []
    for key, value in values.items():
        if key in _WITHOUT_EFFECT and key not in known:
            if isinstance(value, list) and any(isinstance(item, list) for item in value):
                raise UsageError(f"{where}: {key} does not change a run: {_WITHOUT_EFFECT[key]}")
            notes.append(f"note: {key} has no meaning here: {_WITHOUT_EFFECT[key]}")
            continue
        name = known.get(key, key) if isinstance(key, str) else str(key)
        if value is None and name in ("data_dir", "sample_dir"):  # published: null for the usual folder
            continue
        if name == "folds" and value == 1:
            notes.append(f"note: {key}: 1 is the official split of the database")
            value = None
        if name in result:
            raise UsageError(f"{where}: {key} is {name}, which is given twice")
        result[name] = our_models(value) if name == "model" else value
    return result, notes


def our_models(value: Any) -> Any:
    """Names of models for published names of classes."""
    if isinstance(value, list):
        return [our_models(item) for item in value]
    lower = str(value).lower()
    return lower if str(value) not in model_names() and lower in model_names() else value
