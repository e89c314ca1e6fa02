"""The recordings of the toy database; apart from it, so that a test can write them without registering it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

RATE, SECONDS = 100, 10
SPIKE = slice(300, 340)


def write(folder: Path, count: int = 48) -> Path:
    """Write the database: every second record is tall, every third has a spike from 3.0 s to 3.4 s."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        time = np.arange(RATE * SECONDS) / RATE
        tall, spike = number % 2 == 0, number % 3 == 0
        lead_i = (1.5 if tall else 0.5) * np.sin(2 * np.pi * 1.2 * time) + 0.02 * rng.standard_normal(
            len(time)
        )
        lead_ii = 0.7 * np.roll(lead_i, 5)
        if spike:
            lead_ii[SPIKE] += 1.0
        chest = [lead_i * scale for scale in (0.3, 0.5, 0.8, 1.0, 0.9, 0.7)]
        limb = [lead_i, lead_ii, lead_ii - lead_i, -(lead_i + lead_ii) / 2]
        limb += [lead_i - lead_ii / 2, lead_ii - lead_i / 2]
        np.save(folder / f"t{number:02}.npy", np.stack([*limb, *chest], axis=1).astype(np.float32))
        split = ("train", "train", "val", "test")[number * 4 // count]
        rows.append((f"t{number:02}", f"p{number // 2}", f"t{number:02}", split, int(tall), int(spike)))
    columns = ["record", "patient", "path", "split", "tall", "spike"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "records.csv", index=False)
    return folder
