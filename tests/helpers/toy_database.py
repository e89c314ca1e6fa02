"""A toy database of sine waves in small text files, with two target sets, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from databases import Database, Recording, register_database
from databases import registry as databases_registry
from preprocessing import register_targets
from preprocessing.targets import Targets, registry
from utils.errors import DataError

SECONDS, RATE = 4, 250


class ToyDatabase(Database):
    """Files ``r000.toy``, ...: sampling rate, seconds, leads, amplitude and whether there are splits."""

    name = "toy"
    title = "A toy database"
    license = doi = ""
    split_names: ClassVar = {"train": "most", "val": "some", "test": "few"}
    reads = 0

    def _read_records(self) -> pd.DataFrame:
        paths = sorted(self.root.glob("*.toy"))
        described = [path.read_text().split(";") for path in paths]
        table = pd.DataFrame(index=pd.Index([path.stem for path in paths], name="record"))
        table["patient"] = [f"p{int(path.stem[1:]) // 2:02}" for path in paths]
        table["path"] = [path.stem for path in paths]
        table["sampling_rate"] = [int(text[0]) for text in described]
        table["leads"] = [tuple(text[2].split()) for text in described]
        splits = [("train", "train", "val", "test")[int(p[1:]) % 4] for p in table["patient"]]
        table["split"] = splits if all(text[4] == "True" for text in described) else ""
        return table

    def read(self, record, leads=None, start=None, stop=None) -> Recording:
        """Read a recording."""
        type(self).reads += 1
        rate, seconds, names, largest, _ = (self.root / f"{record}.toy").read_text().split(";")
        if seconds == "damaged":
            raise DataError(f"record {record} is damaged")
        every = tuple(names.split())
        signal = signal_of(int(record[1:]), int(rate), float(seconds), len(every), float(largest))
        chosen = [every.index(lead) for lead in leads or every]
        return Recording(signal[start:stop, chosen], int(rate), tuple(leads or every))


def signal_of(number: int, rate: float, seconds: float, leads: int, largest: float) -> np.ndarray:
    """A sine of 1, 2 or 3 Hz with another amplitude in each lead, float32 (T, leads)."""
    time = np.arange(round(rate * seconds)) / rate
    wave = largest * (1 - number / 1000) * np.sin(2 * np.pi * (1 + number % 3) * time)
    return np.stack([wave * (lead + 1) / leads for lead in range(leads)], axis=1).astype(np.float32)


def write_toy(
    folder: Path,
    count: int = 24,
    seconds: tuple[float, ...] = (SECONDS,),
    rate: int = RATE,
    leads: tuple[tuple[str, ...], ...] = (("I", "II"),),
    largest: float = 1.0,
    split: bool = True,
) -> Path:
    """Write a toy database; `seconds` and `leads` go round the records."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        names = " ".join(leads[number % len(leads)])
        text = f"{rate};{seconds[number % len(seconds)]};{names};{largest};{split}"
        (folder / f"r{number:03}.toy").write_text(text)
    return folder


def _speed(database, options) -> Targets:
    numbers = np.array([int(name[1:]) for name in database.records.index])
    return Targets(np.arange(len(numbers)), np.eye(3, dtype=np.uint8)[numbers % 3], ["slow", "mid", "fast"])


def _odd(database, options) -> Targets:
    rows = np.arange(0, len(database.records), 2)
    return Targets(rows, np.tile(np.arange(options.samples) % 2, (len(rows), 1)), ["odd"])


def register() -> None:
    """Make the database and its target sets known."""
    register_database(ToyDatabase)
    register_targets("speed", kind="multiclass", build=_speed, databases=["toy"])
    register_targets("odd", kind="segmentation", build=_odd, databases=["toy"])


def forget() -> None:
    """Undo `register`."""
    databases_registry._DATABASES.remove("toy")
    for name in ("speed", "odd"):
        registry._SETS.remove(f"toy/{name}")
