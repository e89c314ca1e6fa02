"""A dipole model of the heart: one moving vector in three dimensions.

Each wave of a beat is a Gaussian in time along a fixed direction (McSharry et al. 2003,
doi:10.1109/TBME.2003.808805; in three dimensions Sameni et al. 2007, doi:10.1155/2007/43407).
`rhythm` strings the beats together, `electrodes` looks at them from the body surface.

Axes: x to the patient's left, y to the feet, z to the back. Times in seconds from the R peak, vectors in mV.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Waves:
    """The waves of one beat, one row each."""

    names: list[str]
    groups: np.ndarray
    times: np.ndarray
    widths: np.ndarray
    vectors: np.ndarray

    @classmethod
    def from_table(cls, table: list[tuple]) -> Waves:
        """Build from rows (name, group, time, width, x, y, z)."""
        numbers = np.array([row[2:] for row in table], dtype=float)
        groups = np.array([row[1] for row in table], dtype="U3")
        return cls([row[0] for row in table], groups, numbers[:, 0], numbers[:, 1], numbers[:, 2:])

    def copy(self) -> Waves:
        return Waves(
            list(self.names), self.groups.copy(), self.times.copy(), self.widths.copy(), self.vectors.copy()
        )

    def add(
        self,
        name: str,
        group: str,
        time: float,
        width: float,
        vector: np.ndarray | tuple[float, float, float],
    ) -> None:
        self.names.append(name)
        self.groups = np.append(self.groups, group)
        self.times = np.append(self.times, time)
        self.widths = np.append(self.widths, width)
        self.vectors = np.vstack([self.vectors, vector])

    def row(self, name: str) -> int:
        return self.names.index(name)

    def window(self, group: str, rr: float = 1.0) -> tuple[float, float]:
        """Time span of a group of waves."""
        of_group = self.groups == group
        stretch = np.sqrt(rr) if group in ("ST", "T") else 1.0
        reach = 2.2 * self.widths[of_group]
        start, end = np.min(self.times[of_group] - reach), np.max(self.times[of_group] + reach)
        return float(start * stretch), float(end * stretch)


def healthy_waves() -> Waves:
    """The textbook beat: R grows from V1 to V5, aVR points down, T follows QRS."""
    return Waves.from_table(
        [
            ("P_right", "P", -0.145, 0.017, 0.045, 0.080, -0.035),
            ("P_left", "P", -0.113, 0.018, 0.075, 0.065, 0.045),
            ("septal", "QRS", -0.024, 0.0065, -0.15, 0.01, -0.24),
            ("apical", "QRS", -0.011, 0.0068, 0.35, 0.24, -0.26),
            ("free_wall", "QRS", 0.001, 0.0082, 1.02, 0.58, 0.12),
            ("posterior", "QRS", 0.014, 0.0092, 0.32, 0.08, 0.85),
            ("terminal", "QRS", 0.030, 0.0072, -0.18, -0.08, 0.18),
            ("ST_early", "ST", 0.085, 0.025, 0.025, 0.010, -0.030),
            ("ST_late", "ST", 0.140, 0.032, 0.040, 0.015, -0.040),
            ("T_rise", "T", 0.222, 0.046, 0.16, 0.08, -0.11),
            ("T_peak", "T", 0.280, 0.033, 0.30, 0.15, -0.20),
        ]
    )


def rotation(frontal: float, horizontal: float = 0.0) -> np.ndarray:
    """Rotation of the heart vector, (3, 3)."""
    c, s = np.cos(frontal), np.sin(frontal)
    around_z = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    c, s = np.cos(horizontal), np.sin(horizontal)
    around_y = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    return around_y @ around_z


def evaluate_beats(waves: Waves, times: np.ndarray, rr: np.ndarray) -> np.ndarray:
    """Heart vector of several beats of the same shape; times (B, S), rr (B,) -> (B, S, 3)."""
    repolarization = np.isin(waves.groups, ("ST", "T"))
    stretch = np.where(repolarization, np.sqrt(rr)[:, None], 1.0)
    center = (waves.times * stretch)[:, :, None]
    width = (waves.widths * stretch)[:, :, None]
    bumps = np.exp(-0.5 * ((times[:, None, :] - center) / width) ** 2)
    return np.einsum("bks,kd->bsd", bumps, waves.vectors)
