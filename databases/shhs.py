"""Sleep Heart Health Study: 8,444 nights of polysomnography with one ECG lead.

Quan et al., Sleep 20, 1077-1085 (1997); Zhang et al., J. Am. Med. Inform. Assoc. 25, 1351 (2018),
doi:10.1093/jamia/ocy064 (National Sleep Research Resource, which gives out the files).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from databases.base import Database, Recording
from databases.registry import register_database
from utils.ecg import unit_in_millivolts
from utils.errors import DataError, UsageError

ACCESS = (
    "shhs is given out on request alone: sign the data use agreement at https://sleepdata.org/datasets/shhs, "
    "then copy polysomnography/edfs/shhs1 and shhs2 with the resource's own program"
)


@register_database
class Shhs(Database):
    """Sleep Heart Health Study: the ECG of the files ``**/shhs1-200001.edf``; other channels are left out.

    ``patient`` is the number in the name, the same at both visits (column ``visit``). It has no split.
    """

    name = "shhs"
    title = "Sleep Heart Health Study"
    license = "data use agreement of the National Sleep Research Resource"
    doi = "10.1093/jamia/ocy064"
    size = 8_444
    lead_count = 1
    rates = (125, 250)
    access = ACCESS

    def _read_records(self) -> pd.DataFrame:
        files = {file.stem: file for file in sorted(self.root.glob("**/shhs[12]-[0-9]*.edf"))}
        if not files:
            raise DataError(f"{self.root} has no record of shhs (shhs1-200001.edf): {ACCESS}")
        rows = {}
        for name, file in files.items():
            visit, patient = re.findall(r"\d+", name)
            rows[name] = {
                "patient": patient,
                "path": file.relative_to(self.root).with_suffix("").as_posix(),
                "sampling_rate": _ecg(file).sampling_frequency,
                "leads": ("ECG",),
                "split": "",
                "visit": int(visit),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("record")

    def read(
        self,
        record: Any,
        leads: Sequence[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
    ) -> Recording:
        """Read the ECG or a part of it in mV."""
        path = self.root / f"{self.row(record)['path']}.edf"
        for lead in leads or ():
            if lead.upper() != "ECG":
                raise DataError(f"{path}: has no lead {lead} (it has ECG)")
        signal = _ecg(path)
        factor = unit_in_millivolts(signal.physical_dimension)
        if factor is None:
            raise DataError(
                f"{path}: the unit of the ECG, {signal.physical_dimension!r}, is not one of voltage"
            )
        values = signal.data
        first, last = start or 0, len(values) if stop is None else stop
        if first < 0 or last <= first or last > len(values):
            raise UsageError(f"{path} has {len(values)} samples: there is no part from {start} to {stop}")
        part = (values[first:last, None] * factor).astype(np.float32)
        return Recording(part, float(signal.sampling_frequency), ("ECG",), [], str(record), path)


def _ecg(path: Any) -> Any:
    """The ECG channel of an EDF file, whose samples are read when asked for."""
    import edfio

    try:
        signals = edfio.read_edf(path, header_encoding="latin-1").signals
    except Exception as error:  # edfio raises nearly every built-in type on damaged files
        raise DataError(f"{path}: not a readable EDF file ({type(error).__name__}: {error})") from error
    named = [signal for signal in signals if signal.label.strip().upper() in ("ECG", "EKG")]
    if len(named) != 1:
        raise DataError(f"{path}: has {len(named)} channels named ECG: {', '.join(s.label for s in signals)}")
    return named[0]
