"""Score files of a folder of maps, with the record of how they were made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from attribution.engine.results import ComputeResult
from attribution.scores.compute import Scores
from attribution.scores.plan import ALL_METRICS, Cell, ScorePlan
from attribution.scores.summary import COLUMNS, read_score_file
from utils.errors import DataError
from utils.files import atomic_path, read_json, sha256, write_json

RECORD = "evaluate.json"


@dataclass
class ScoreFiles:
    """The scores of one folder of maps.

    ``folder``: where the score files are.
    """

    result: ComputeResult
    folder: Path

    def __post_init__(self) -> None:
        path = self.folder / RECORD
        self.record: dict[str, Any] = read_json(path) if path.exists() else {}
        if not isinstance(self.record, dict):
            raise DataError(f"{path} holds no record of attribution.evaluate: delete it and evaluate again")

    def file(self, method: str) -> Path:
        """Path of the scores of a method."""
        return self.folder / f"{method}.csv"

    def known(self, method: str) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Scores that are there and belong to the maps as they are now."""
        entry: dict[str, Any] = {"maps": sha256(self.result.map_file(method)), "how": {}, "undefined": []}
        path = self.file(method)
        if not path.exists():
            return pd.DataFrame(columns=COLUMNS), entry
        before = self.record.get(method, {})
        scores = read_score_file(path)
        same = before.get("maps") == entry["maps"]
        same &= set(scores["window"]) <= set(self.result.rows.tolist())
        if not same:
            tqdm.write(f"{method}: its scores are of other maps; they are made again")
            return scores.iloc[:0], entry
        # a metric without a record was being written when the command was killed
        return scores[scores["metric"].isin(list(before["how"]))], before

    def write(
        self, method: str, kept: pd.DataFrame, entry: dict[str, Any], plan: ScorePlan, new: Scores
    ) -> None:
        """Add columns to the scores of a method."""
        metrics = {cell.metric for cell in new.columns}
        entry = {**entry, "how": {name: how for name, how in entry["how"].items() if name not in metrics}}
        self._record(
            method, entry
        )  # whatever happens while the file is written, its new lines are not trusted
        parts = [kept, *(self._lines(method, cell, scores) for cell, scores in new.columns.items())]
        table = pd.concat([part for part in parts if len(part)], ignore_index=True)
        order = {name: place for place, name in enumerate(ALL_METRICS)}
        table = table.iloc[np.argsort(table["metric"].map(order), kind="stable")]
        with atomic_path(self.file(method)) as temporary:
            table.to_csv(temporary, index=False, na_rep="nan")
        how = entry["how"] | {metric: plan.how(metric) for metric in metrics}
        # in the order of the metrics, not in that in which a set gives them: the same scores, the same file
        entry["how"] = {metric: how[metric] for metric in ALL_METRICS if metric in how}
        there = set(kept[["sign", "metric", "truth"]].itertuples(index=False, name=None))
        stays = [line for line in entry["undefined"] if tuple(line[:3]) in there]
        lines = [*stays, *([*cell, reasons] for cell, reasons in new.undefined.items())]
        entry["undefined"] = sorted(lines, key=lambda line: order[line[1]])
        self._record(method, entry)

    def _record(self, method: str, entry: dict[str, Any]) -> None:
        self.record[method] = entry
        write_json(self.folder / RECORD, self.record)

    def _lines(self, method: str, cell: Cell, scores: np.ndarray) -> pd.DataFrame:
        rows, windows = self.result.rows, self.result.windows
        columns = {
            **self.result.labels(),
            "method": method,
            **cell._asdict(),
            "record": windows.records[rows],
            "patient": windows.patients[rows],
            "window": rows,
            "target": np.array(windows.classes)[self.result.targets],
            "score": scores,
        }
        return pd.DataFrame(columns)[COLUMNS]
