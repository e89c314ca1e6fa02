"""Write a synthetic dataset in the layout of PTB-XL.

python -m databases.synthetic --records 600 --to data/synthetic
"""

from __future__ import annotations

from pathlib import Path

from databases.synthetic.dataset import check_parameters, is_written, write_dataset
from databases.synthetic.recording import FOLDERS
from utils.flags import Parser


def main() -> None:
    """Run the command line."""
    parser = Parser(
        prog="python -m databases.synthetic",
        description="Write a synthetic 12-lead ECG dataset in the layout of PTB-XL, with truth.npz saying "
        "where each planted sign of disease is.",
    )
    parser.add_argument("--records", type=int, default=600, help="number of 10 s recordings (default: 600)")
    parser.add_argument("--to", default="data/synthetic", help="target folder (default: data/synthetic)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (default: 0)")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument(
        "--sampling_rate", type=int, choices=sorted(FOLDERS), help="one rate in Hz (default: 100)"
    )
    rate.add_argument("--rates", type=int, nargs="+", choices=sorted(FOLDERS), help="several rates in Hz")
    arguments = parser.parse_args()
    rates = arguments.rates or [arguments.sampling_rate or 100]

    parameters = check_parameters(arguments.records, arguments.seed, rates)
    if is_written(Path(arguments.to), parameters):
        print(f"already there: {arguments.to} ({arguments.records} records)")
        return
    folder = write_dataset(arguments.to, arguments.records, arguments.seed, rates)
    print(
        f"wrote {arguments.records} records at {' and '.join(map(str, parameters['rates']))} Hz to {folder}"
    )
