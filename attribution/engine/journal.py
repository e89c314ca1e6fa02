"""Work that goes on where it was killed: arrays that are filled window by window and saved now and then."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from utils.files import write_npz

_SAVE_SECONDS = 20.0


class Journal:
    """Arrays that are filled window by window and kept in a file, so that a killed command goes on.

    ``state``: what the arrays hang on (JSON); a file with another state is begun anew.
    ``arrays``: empty arrays, one row a window.
    """

    def __init__(self, path: Path, state: dict[str, Any], arrays: dict[str, np.ndarray]):
        self.path, self.state, self.arrays, self.done = path, json.dumps(state, sort_keys=True), arrays, 0
        self._saved = time.monotonic()
        self._read()

    def _read(self) -> None:
        try:
            # opened here: np.load leaves a file open that it cannot read
            with open(self.path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                if str(file["state"]) == self.state:
                    done = int(file["done"])
                    for name, array in self.arrays.items():
                        array[:done] = file[name][:done]
                    self.done = done
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # not ours: begin anew
            self.done = 0

    def add(self, stop: int, values: dict[str, np.ndarray]) -> None:
        """Fill the rows from `done` on."""
        for name, array in self.arrays.items():
            array[self.done : stop] = values[name]
        self.done = stop
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write the file."""
        write_npz(self.path, state=np.array(self.state), done=np.array(self.done), **self.arrays)
        self._saved = time.monotonic()
