"""The journal of a study, of which a damaged line loses that line alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.distributions import json_to_distribution
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

_CREATE_STUDY, _SET_STUDY, _CREATE_TRIAL, _SET_PARAM, _SET_STATE = 0, 2, 4, 5, 6  # Optuna's op_code
_KEYS = {
    _CREATE_STUDY: ("study_name", "directions"),
    1: ("study_id",),
    _SET_STUDY: ("study_id", "user_attr"),
    3: ("study_id", "system_attr"),
    _CREATE_TRIAL: ("study_id", "datetime_start"),
    _SET_PARAM: ("trial_id", "param_name", "param_value_internal", "distribution"),
    _SET_STATE: ("trial_id", "state", "values"),
    7: ("trial_id", "step", "intermediate_value"),
    8: ("trial_id", "user_attr"),
    9: ("trial_id", "system_attr"),
}
# Stands for a lost line, because lines are counted: Optuna passes over attributes of a study that is unknown.
_NOTHING = {"op_code": _SET_STUDY, "worker_id": "", "study_id": -1, "user_attr": {}}
_FIRST_DAY = "1970-01-01T00:00:00+00:00"
_log = logging.getLogger(__name__)


class TolerantJournal(JournalFileBackend):
    """Optuna's journal file; lines that cannot be read are passed over.

    ``study``: name of the study, should the line that creates it be among them.
    """

    def __init__(self, path: Path, study: str, lock: JournalFileOpenLock):
        super().__init__(str(path), lock_obj=lock)
        self._path = path
        self._offsets = {0: 0}
        lines = path.read_bytes().splitlines(keepends=True)
        parts = [read_line(line) for line in lines if line.endswith(b"\n")]
        lost = [number for number, entries in enumerate(parts, 1) if None in entries]
        self._repairs = repairs([entry for entries in parts for entry in entries], study)
        if lost:
            _log.warning(f"{path}: line {', '.join(map(str, lost))} cannot be read; nothing else is lost")

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Entries from a number on; a last line that is still being written is left for the next time."""
        with open(self._path, "rb") as file:
            number = max(known for known in self._offsets if known <= log_number_from)
            file.seek(self._offsets[number])
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset = self._offsets[number] + len(line)
                for entry in read_line(line):
                    if number >= log_number_from:
                        yield entry or self._repairs.get(number, _NOTHING)
                    number += 1
                self._offsets[number] = offset


def read_line(line: bytes) -> list[dict[str, Any] | None]:
    """Entry of a line, None for one that cannot be read; half a line may stand before a whole one."""
    for start in dict.fromkeys((0, max(0, line.rfind(b'{"op_code"')))):
        try:
            entry = json.loads(line[start:])
            if _is_valid(entry):
                return [None, entry] if start else [entry]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return [None]


def _is_valid(entry: Any) -> bool:
    """Whether Optuna can replay an entry."""
    operation = entry["op_code"]
    if operation not in _KEYS or not isinstance(entry["worker_id"], str):
        return False
    for name in _KEYS[operation]:
        value = entry[name]
        if name.endswith("_id") and not (isinstance(value, int) and value >= 0):
            return False
        if name.endswith("_attr") and not (isinstance(value, dict) and len(value) == 1):
            return False
    if operation == _SET_PARAM:
        json_to_distribution(entry["distribution"]).to_external_repr(entry["param_value_internal"])
    if operation == _CREATE_TRIAL and entry["datetime_start"] is not None:
        datetime.fromisoformat(entry["datetime_start"])
    if operation == _SET_STATE:
        finished = TrialState(entry["state"]).is_finished()
        if finished or entry["state"] == TrialState.RUNNING.value:
            datetime.fromisoformat(entry["datetime_complete" if finished else "datetime_start"])
        if not all(isinstance(value, int | float) for value in entry["values"] or ()):
            return False
    return True


def repairs(entries: Iterable[dict[str, Any] | None], study: str) -> dict[int, dict[str, Any]]:
    """What stands for lost lines, by number, that created the study or a trial.

    Optuna numbers studies and trials as they are created: without their line, later ones would take their
    place. A line that names a number not yet created tells that its creation is among the lost ones.
    """
    found: dict[int, dict[str, Any]] = {}
    lost: list[int] = []
    studies: set[str] = set()
    trials, day = 0, _FIRST_DAY
    for number, entry in enumerate(entries):
        if entry is None:
            lost.append(number)
            continue
        day = entry.get("datetime_start") or day
        if entry["op_code"] == _CREATE_STUDY:
            studies.add(entry["study_name"])
        elif entry.get("study_id", -1) >= len(studies) and lost and study not in studies:
            found[lost.pop(0)] = {
                "op_code": _CREATE_STUDY,
                "worker_id": "",
                "study_name": study,
                "directions": [2],
            }
            studies.add(study)
        if entry["op_code"] == _CREATE_TRIAL:
            trials += 1
        while entry.get("trial_id", -1) >= trials and lost:
            created = {"op_code": _CREATE_TRIAL, "worker_id": "", "study_id": 0, "datetime_start": day}
            found[lost.pop()] = created
            trials += 1
    return found
