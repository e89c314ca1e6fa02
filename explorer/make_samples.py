"""Write a recording as a sample of the explorer: time, lead1 ... lead12, in seconds and mV.

python -m explorer.make_samples --record ecg.hea --to sample.csv      # any recording that inference.py reads
python -m explorer.make_samples --shipped --data_dir data/ptb         # the five that come with the explorer
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from databases.base import Recording
from databases.ptbxl import DATABASE_CSV
from explorer.sources import SAMPLES, SECONDS, LocalPtbxl
from preprocessing.recordings.external import prepare, read_recording
from utils.config import Options, option, parse
from utils.errors import DataError, UsageError, run_cli
from utils.files import write_json, write_text

RATE = 100.0
LICENSE = """\
The five recordings sample_ecg_*.csv are records of PTB-XL 1.0.3 (fold 10), written as CSV and otherwise
unchanged.

Wagner, P., Strodthoff, N., Bousseljot, R.-D., Kreiseler, D., Lunze, F. I., Samek, W., Schaeffter, T.: PTB-XL,
a large publicly available electrocardiography dataset. Scientific Data 7, 154 (2020).
https://doi.org/10.1038/s41597-020-0495-6, https://physionet.org/content/ptb-xl/1.0.3/
Creative Commons Attribution 4.0 International (CC BY 4.0), https://creativecommons.org/licenses/by/4.0/
"""
_NOISE = ("baseline_drift", "static_noise", "burst_noise", "electrodes_problems", "pacemaker", "extra_beats")
_TYPICAL = {"CD": "CLBBB", "HYP": "LVH", "MI": "IMI", "NORM": "NORM", "STTC": "ISC_"}
_COLUMNS = (*_NOISE, "validated_by_human")


@dataclass
class SampleOptions(Options):
    """Which recording becomes a sample."""

    record: Path | None = option(None, "a recording of any format")
    to: Path | None = option(None, "CSV file to write")
    start: float | None = option(None, "second at which the sample starts (default: 0)", min=0)
    shipped: bool = option(False, "True: write the five samples that come with the explorer")
    data_dir: str = option("data/ptb", "PTB-XL, for --shipped", scope="machine")


def to_csv(recording: Recording, path: Path) -> None:
    """Write ten seconds as CSV at 100 Hz, with microvolts as the last digit."""
    signal = prepare(recording, RATE, round(SECONDS * RATE), None).signal
    names = ["time", *(f"lead{number}" for number in range(1, 13))]
    lines = [",".join(names)]
    lines += [
        f"{row / RATE:.2f},{','.join(f'{value:.3f}' for value in signal[row])}" for row in range(len(signal))
    ]
    write_text(path, "\n".join(lines) + "\n")


def choose(ptbxl: LocalPtbxl) -> dict[str, int]:
    """One record of fold 10 for each superclass: the first with a typical statement and no other label.

    It has no remarks about noise, all of its diagnostic statements were made with a likelihood of 100, and a
    cardiologist confirmed them.
    """
    table = ptbxl.database.records
    remarks = pd.read_csv(
        ptbxl.database.root / DATABASE_CSV, index_col="ecg_id", usecols=["ecg_id", *_COLUMNS]
    )
    chosen: dict[str, int] = {}
    for ecg_id in ptbxl.find(fold=10):
        labels = ptbxl.labels.get(ecg_id, ())
        if len(labels) != 1 or labels[0] in chosen:
            continue
        codes = table.loc[ecg_id, "scp_codes"]
        row = remarks.loc[ecg_id]
        sure = row["validated_by_human"] and all(value in (0, 100) for value in codes.values())
        if sure and _TYPICAL[labels[0]] in codes and row[list(_NOISE)].isna().all():
            chosen[labels[0]] = ecg_id
    missing = [name for name in _TYPICAL if name not in chosen]
    if missing:
        raise DataError(f"{ptbxl.database.root} has no record to choose for {', '.join(missing)}")
    return dict(sorted(chosen.items()))


def write_shipped(ptbxl: LocalPtbxl, folder: Path = SAMPLES) -> list[Path]:
    """Write the five samples with their labels and license."""
    facts, written = {}, []
    for label, ecg_id in choose(ptbxl).items():
        path = folder / f"sample_ecg_{label.lower()}.csv"
        to_csv(ptbxl.read(ecg_id).recording, path)
        row = ptbxl.database.records.loc[ecg_id]
        facts[path.name] = {
            "title": f"{label}: PTB-XL record {ecg_id}",
            "labels": [label],
            "statements": sorted(code for code, value in row["scp_codes"].items()),
            "ecg_id": ecg_id,
            "source": f"PTB-XL 1.0.3 record {ecg_id}, fold 10 (CC BY 4.0, Wagner et al. 2020)",
        }
        written.append(path)
    write_json(folder / "samples.json", facts)
    write_text(folder / "LICENSE.txt", LICENSE)
    return [*written, folder / "samples.json", folder / "LICENSE.txt"]


def main() -> None:
    """Read the flags and write."""
    options = parse(SampleOptions, description=__doc__)
    if options.shipped == (options.record is not None):
        raise UsageError("name --record and --to, or --shipped")
    if options.shipped:
        written = write_shipped(LocalPtbxl(options.data_dir))
    else:
        if options.to is None or options.record is None:
            raise UsageError("--to: name the CSV file to write")
        to_csv(read_recording(options.record, start=options.start, seconds=SECONDS), options.to)
        written = [options.to]
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    run_cli(main)
