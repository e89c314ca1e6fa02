"""Score files of a folder of maps, with the record of how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from attribution.engine.store import is_current, read_record, write_entry
from attribution.engine.workspace import Workspace
from attribution.scores.compute import ALL_METRICS, Cell, ScorePlan, Scores
from attribution.scores.summary import COLUMNS, read_score_file
from utils.errors import UsageError
from utils.files import sha256
from utils.tables import write_csv

SECTION = "evaluate"
_COLUMN = ["sign", "metric", "ground_truth"]


@dataclass
class Known:
    """What a folder holds of a method: the lines that stay, their entry, and the columns that are missing."""

    lines: pd.DataFrame
    entry: dict[str, Any]
    missing: list[Cell]


class ScoreFiles:
    """The scores of one folder of maps, in the folder ``scores`` of a result folder."""

    def __init__(self, workspace: Workspace, folder: Path):
        self.workspace, self.folder = workspace, folder
        self.entries: dict[str, Any] = read_record(folder).get(SECTION, {})

    def file(self, method: str) -> Path:
        return self.folder / "scores" / f"{method}.csv"

    def known(self, method: str, plan: ScorePlan, overwrite: bool) -> Known:
        """Scores of the present maps that are kept, and the columns that are missing."""
        path, cells = self.file(method), plan.cells()
        source = {"maps": sha256(self.workspace.map_file(method))}
        entry: dict[str, Any] = {"source": source, "settings": {}, "undefined": []}
        if not path.exists():
            return Known(pd.DataFrame(columns=COLUMNS), entry, cells)
        before, lines = self.entries.get(method), read_score_file(path)
        if before is None or not set(lines["window"]) <= set(self.workspace.rows.tolist()):
            before = {"source": {}}
        if not is_current(path, before, source, {}):
            return Known(lines.iloc[:0], entry, cells)
        entry = before
        # a metric without settings was being written when the command was killed
        lines = lines[lines["metric"].isin(list(entry["settings"]))]
        changed = {
            metric
            for metric in plan.metrics
            if metric in entry["settings"]
            and not is_current(
                f"{path}, {metric},", {"settings": entry["settings"][metric]}, {}, plan.how(metric), overwrite
            )
        }
        if overwrite:
            lines = lines[~_is_in(lines, cells)]
            mixed = sorted(set(lines["metric"]) & changed)
            if mixed:
                raise UsageError(
                    f"{path} has other signs or ground truths of {', '.join(mixed)}, made with other "
                    "settings: replace them all, without --absolute and --ground_truth"
                )
        present = set(lines[_COLUMN].itertuples(index=False, name=None))
        return Known(lines, entry, [cell for cell in cells if tuple(cell) not in present])

    def write(self, method: str, known: Known, plan: ScorePlan, new: Scores) -> None:
        """Add columns to the scores of a method."""
        metrics = {cell.metric for cell in new.columns}
        settings = {name: how for name, how in known.entry["settings"].items() if name not in metrics}
        # new lines are not trusted until the file is complete
        self._record(method, {**known.entry, "settings": settings})
        columns = [
            Column(cell.metric, cell.sign, new.columns[cell], cell.ground_truth) for cell in new.columns
        ]
        table = score_lines(self.workspace, method, columns)
        if len(known.lines):
            table = pd.concat([known.lines, table], ignore_index=True)
        order = {name: place for place, name in enumerate(ALL_METRICS)}
        table = table.iloc[np.argsort(table["metric"].map(order), kind="stable")]
        write_csv(self.file(method), table, na_rep="nan")
        settings |= {metric: plan.how(metric) for metric in metrics}
        kept = set(known.lines[_COLUMN].itertuples(index=False, name=None))
        undefined = [line for line in known.entry["undefined"] if tuple(line[:3]) in kept]
        undefined += [[*cell, reasons] for cell, reasons in new.undefined.items()]
        entry = {
            **known.entry,
            # in the order of the metrics, not in that of the commands: the same scores, the same file
            "settings": {metric: settings[metric] for metric in ALL_METRICS if metric in settings},
            "undefined": sorted(undefined, key=lambda line: order[line[1]]),
        }
        self._record(method, entry)

    def _record(self, method: str, entry: dict[str, Any]) -> None:
        self.entries[method] = entry
        write_entry(self.folder, SECTION, method, entry, self.workspace.args)


class Column(NamedTuple):
    """One number for each window, or for some of them.

    ``scores`` (n,): NaN where undefined.
    ``ground_truth``: what a localization metric compares with.
    """

    metric: str
    sign: str
    scores: np.ndarray
    ground_truth: str = ""


def score_lines(
    workspace: Workspace, method: str, columns: Iterable[Column], positions: np.ndarray | None = None
) -> pd.DataFrame:
    """Lines of a score file: one a score, of all explained windows or of those at these positions.

    Shapes: positions (n,).
    """
    positions = np.arange(len(workspace.rows)) if positions is None else positions
    rows, windows = workspace.rows[positions], workspace.windows
    of_windows = {
        **workspace.labels(),
        "method": method,
        "record": windows.records[rows],
        "patient": windows.patients[rows],
        "window": rows,
        "target": np.array(windows.classes)[workspace.targets[positions]],
    }
    parts = [pd.DataFrame({**of_windows, **c._asdict()}).rename(columns={"scores": "score"}) for c in columns]
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _is_in(lines: pd.DataFrame, cells: Sequence[Cell]) -> np.ndarray:
    columns = {tuple(cell) for cell in cells}
    return np.array([column in columns for column in lines[_COLUMN].itertuples(index=False, name=None)], bool)
