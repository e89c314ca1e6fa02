"""TwelveLead: 12-lead ECG deep learning, reproduced, compared and explained.

>>> import twelvelead as tl
>>> predictor = tl.load_predictor("imle_net")          # weights that come with the repository, or your run
>>> probabilities = predictor.predict(signals_mv)      # (N, 1000, 12) in mV -> (N, 5)

Names are imported when they are first used, so that ``import twelvelead`` takes no time.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

__version__ = "0.2.0"

_MODULES = {
    "create_model": "twelvelead.api",
    "evaluate": "utils.metrics",
    "explain": "explain",
    "list_databases": "databases",
    "list_models": "twelvelead.api",
    "load_dataset": "twelvelead.api",
    "load_predictor": "training",
    "load_ptbxl": "preprocessing",
    "read_recording": "preprocessing.recordings.external",
}
__all__ = [
    "create_model",
    "evaluate",
    "explain",
    "list_databases",
    "list_models",
    "load_dataset",
    "load_predictor",
    "load_ptbxl",
    "read_recording",
]

_ROOT = Path(__file__).resolve().parent.parent


def _check_package(name: str) -> None:
    """Refuse a foreign package or module that Python would import in the place of one of ours."""
    module = sys.modules.get(name)
    spec = module.__spec__ if module is not None else importlib.util.find_spec(name)
    file = Path(spec.origin).resolve() if spec is not None and spec.origin else None
    if file is None or _ROOT not in file.parents:
        where = f"{file} first" if file else "no such package"
        raise ImportError(
            f"TwelveLead needs its own package '{name}' in {_ROOT}, but Python finds {where}: "
            "rename that file, or start Python in another folder"
        )


for _name in ("utils", "databases", "preprocessing", "training", "explain"):
    _check_package(_name)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'twelvelead' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
