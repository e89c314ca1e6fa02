"""Recordings and table rows behind predictions: the database of a run, where it is at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from databases import open_database
from explain.report.facts import Read
from explain.report.scored import Scored
from preprocessing import Dataset
from preprocessing.options import complete_settings, data_folder
from training.card import Card
from training.evaluate import dataset_of
from utils.errors import DataError
from utils.text import listed


@dataclass(frozen=True)
class Source:
    """The dataset of a run, loaded as the model was trained on it, and the folder that it is in."""

    card: Card
    dataset: Dataset
    data_dir: str

    def places(self, scored: Scored) -> np.ndarray:
        """Row of the dataset for each row of the predictions; other records and labels are refused."""
        own = np.flatnonzero(self.dataset.splits == scored.split)
        if np.array_equal(self.dataset.ids[own], scored.ids):
            rows = own
        else:
            place = {identifier: row for row, identifier in enumerate(self.dataset.ids.tolist())}
            if len(place) < len(self.dataset):
                raise DataError(
                    f"run '{scored.run}' was scored on a part of the windows of {self.data_dir}: score it "
                    "again without --limit"
                )
            absent = [str(i) for i in scored.ids.tolist() if i not in place]
            if absent:
                raise DataError(
                    f"run '{scored.run}' was scored on records that {self.data_dir} does not have "
                    f"({listed(absent, 5)}): give the folder that it was scored on, or score it again"
                )
            rows = np.array([place[i] for i in scored.ids.tolist()])
        if not np.array_equal(self.dataset.targets[rows], scored.labels):
            raise DataError(
                f"run '{scored.run}' was scored on other labels than {self.data_dir} has now: score it again"
            )
        return rows

    def rows(self, scored: Scored) -> pd.DataFrame:
        """Rows of the table of records, one for each row of the predictions."""
        name = self.card.config.get("database", "ptbxl")
        rate = {"sampling_rate": self.card.inputs.sampling_rate} if name == "ptbxl" else {}
        records = open_database(name, self.data_dir, **rate).records
        rows = records.reindex(scored.ids)
        return rows.drop(columns=[name for name in ("fold",) if name in rows])

    def reader(self, scored: Scored) -> Read:
        """Function that reads the signal, (T, leads) in mV, of a row of the predictions."""
        rows = self.places(scored)
        return lambda row: np.asarray(self.dataset.signals[int(rows[row])], np.float32)


def find_source(card: Card, data_dir: str = "") -> Source | None:
    """The database of a run: in the folder that is named, else in that of the training where it exists."""
    settings = complete_settings(card.config)
    folder = data_dir or data_folder(settings)
    if not data_dir and not Path(folder).exists():
        return None
    return Source(card, dataset_of(card, folder), folder)
