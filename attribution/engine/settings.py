"""Settings of the maps of a folder, as its record holds them: by default, and in the published study.

They are those of `explain.methods.Settings`; `baselines` says what deep_shap takes: ``training`` windows or
white ``noise``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from explain.methods import Settings

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
