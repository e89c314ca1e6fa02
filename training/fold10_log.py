"""The log of scorings of PTB-XL's test records: benchmarks/fold10_log.csv, one line each.

Choices are made on validation records. How often test records were scored, with which weights and by which
command, is recorded there, because the code that scores them appends the line.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from preprocessing import Dataset
from training.card import Card
from training.checkpoint import ROOT
from utils.provenance import PUBLIC_DATA_DIR, SCORING_LOG, command, git_commit, portable

logger = logging.getLogger(__name__)

try:
    import fcntl
except ImportError:  # Windows: without a lock, but a line is still one write to the end of the file
    fcntl = None  # type: ignore[assignment]

VARIABLE = "TWELVELEAD_FOLD10_LOG"  # names another file, for the tests
COLUMNS = (
    *("time_utc", "run", "model", "task", "split", "records", "release"),
    *("weights_sha256", "data_fingerprint", "git_commit", "command"),
)
_DIGITS = 16  # of weights, data and commit


def record_scoring(
    run: str,
    card: Card,
    test: Dataset,
    fingerprint: str,
    split: str,
    data_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
) -> None:
    """Append a scoring of PTB-XL's test records to the log, unless they are synthetic.

    A part of PTB-XL counts as the whole does. The log is the repository's, whatever `output_dir` is; where it
    cannot be written, the line is printed. Absolute folders are written as ``data/ptb`` and ``.``.
    """
    if test.name != "ptbxl" or test.version.startswith("synthetic"):  # `databases.ptbxl.release_of`
        return
    folders = {str(ROOT): ".", str(Path(output_dir).resolve()): "."}
    for folder, public in ((output_dir, "."), (data_dir, PUBLIC_DATA_DIR)):
        if Path(folder).is_absolute():
            folders[str(folder).rstrip("/")] = public
    commit, changes, _ = (git_commit() or "").partition("+")
    append(
        {
            "time_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "run": run,
            "model": card.name,
            "task": card.task,
            "split": split,
            "records": len(test.targets),
            "release": test.version,
            "weights_sha256": card.weights_sha256[:_DIGITS],
            "data_fingerprint": fingerprint[:_DIGITS],
            "git_commit": commit[:_DIGITS] + ("+changes" if changes else ""),
            "command": portable(command(), folders),
        },
        Path(os.environ.get(VARIABLE) or ROOT / SCORING_LOG),
    )


def append(values: dict[str, Any], path: Path) -> None:
    """Append one line, a value for each of `COLUMNS`, to a log; several processes may do so at once.

    A new log gets its header. Where it cannot be written, the line is printed instead.
    """
    line = _csv(" ".join(str(values[name]).splitlines()) for name in COLUMNS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            before = _csv(COLUMNS)
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                before = "" if file.read(1) == b"\n" else "\n"  # the last line was cut short
            file.write((before + line).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        logger.info(
            f"note: this scoring is not in {path}, which cannot be written ({error.strerror or error}): "
            "add the line by hand\n" + line.removesuffix("\n"),
        )


def _csv(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
