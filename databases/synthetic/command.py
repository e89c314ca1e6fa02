"""Write a synthetic dataset in the layout of PTB-XL.

python -m databases.synthetic --records 600 --to data/synthetic
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from databases.synthetic.dataset import check_parameters, is_written, write_dataset
from databases.synthetic.recording import FOLDERS
from utils.config import Options, option, parse


@dataclass
class SyntheticOptions(Options):
    """Options of the command."""

    records: int = option(600, "number of 10 s recordings", min=1)
    to: str = option("data/synthetic", "target folder", scope="run")
    seed: int = option(0, "the same seed gives the same bytes", min=0)
    rates: list[int] = option([100], "sampling rates in Hz", choices=tuple(FOLDERS), alias=("sampling_rate",))


def main() -> None:
    """Run the command line."""
    options = parse(
        SyntheticOptions,
        description="Write a synthetic 12-lead ECG dataset in the layout of PTB-XL, with truth.npz saying "
        "where each synthetic finding is.",
    )
    parameters = check_parameters(options.records, options.seed, options.rates)
    if is_written(Path(options.to), parameters):
        print(f"already there: {options.to} ({options.records} records)")
        return
    folder = write_dataset(options.to, options.records, options.seed, options.rates)
    rates = " and ".join(map(str, parameters["rates"]))
    print(f"wrote {options.records} records at {rates} Hz to {folder}")
