"""Settings of the maps of a folder, and those of the published study."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from explain.methods import Settings

_PUBLISHED_SEGMENTS = {"mitdb": 24, "svdb": 8, "incartdb": 16, "icentia11k": 16, "ptbxl": 32}  # samples


@dataclass(frozen=True)
class MapSettings:
    """How the maps of a folder are made; the fields are those of `explain.methods.Settings`.

    ``baselines``: of deep_shap: ``training`` windows or white ``noise``.
    """

    seed: int = 0
    batch_size: int = 32
    ig_steps: int = 50
    upsampling: str = "centered"
    n_samples: int = 500
    segment_ms: float = 64.0
    segment_samples: int = 0
    n_baselines: int = 25
    baselines: str = "training"

    def __post_init__(self) -> None:
        self.for_windows(np.arange(0), None)  # refuses impossible values

    @classmethod
    def published(cls, dataset: str, leads: int) -> MapSettings:
        """Settings of the published study: noise baselines, segments in samples, nearest upsampling."""
        return cls(
            upsampling="nearest",
            n_samples=5000 if leads > 1 else 500,
            segment_samples=_PUBLISHED_SEGMENTS.get(dataset, 16),
            n_baselines=80 if leads > 1 else 250,
            baselines="noise",
        )

    def for_windows(self, rows: np.ndarray, baselines: np.ndarray | None) -> Settings:
        """Settings for some windows, with the baselines of deep_shap.

        Shapes: rows (B,), baselines (n, T, leads).
        """
        values = asdict(self)
        del values["baselines"]
        return Settings(**values, seeds=np.asarray(rows, dtype=np.int64), baselines=baselines)
