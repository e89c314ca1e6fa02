"""Measure speed and memory side by side with the plain way.

python -m benchmarks.speed                  # everything, then the page; takes about three quarters of an hour
python -m benchmarks.speed reading --data_dir data/ptb
python -m benchmarks.speed table            # only the page, from the reports that are there
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed import (
    attribution,
    attribution_metrics,
    imle_net_variants,
    model_steps,
    pipeline_memory,
    protoecgnet,
    reading,
    resampling,
)
from benchmarks.speed.large_dataset import PTBXL_RECORDS
from benchmarks.speed.report import BENCHMARKS, page
from utils.errors import UsageError, nearest, run_cli
from utils.files import read_json, write_json, write_text
from utils.flags import Parser

FOLDER = Path(__file__).resolve().parent


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "what", nargs="?", default="all", choices=["all", *BENCHMARKS, "table"], help="default: %(default)s"
    )
    add = parser.add_argument
    add("--data_dir", help="reading: PTB-XL folder (default: synthetic records)")
    add("--read_records", type=int, default=1000, help="reading: synthetic records (default: %(default)s)")
    add(
        "--pipeline_records",
        type=int,
        default=PTBXL_RECORDS,
        help="pipeline_memory: records (default: %(default)s, as many as PTB-XL has)",
    )
    add(
        "--plain_records",
        type=int,
        default=2000,
        help="pipeline_memory: of the plain way (default: %(default)s)",
    )
    add(
        "--work_dir",
        help="pipeline_memory: folder on a disk with 50 kB a record (default: the temporary one)",
    )
    add("--models", nargs="+", default=list(model_steps.REFERENCE), help="model_steps: which (default: all)")
    add(
        "--batchsize",
        type=int,
        default=32,
        help="pipeline_memory and steps (default: %(default)s)",
    )
    add("--predictions", help="resampling: a predictions.npz to measure on too")
    add("--resamples", type=int, default=1000, help="resampling: resamples of ours (default: %(default)s)")
    add("--repetitions", type=int, default=3, help="reading and steps: measurements (default: %(default)s)")
    add("--rounds", type=int, default=2, help="steps: processes of each kind (default: %(default)s)")
    add(
        "--output_dir",
        type=Path,
        default=FOLDER,
        help="folder of the reports and the page (default: benchmarks/speed)",
    )
    return parser


def main() -> None:
    """Read the flags, measure and write."""
    options = _parser().parse_args()
    for flag in (
        "read_records",
        "pipeline_records",
        "plain_records",
        "batchsize",
        "resamples",
        "repetitions",
        "rounds",
    ):
        if getattr(options, flag) < 1:
            raise UsageError(f"--{flag} must be at least 1")
    for name in options.models:
        if name not in model_steps.REFERENCE:
            raise UsageError(f"unknown model '{name}': {nearest(name, model_steps.REFERENCE)}")
    jobs: dict[str, Callable[[], dict[str, Any]]] = {
        "reading": lambda: reading.measure(options.data_dir, options.read_records, options.repetitions),
        "pipeline_memory": lambda: pipeline_memory.measure(
            options.pipeline_records,
            options.plain_records,
            batch_size=options.batchsize,
            work_dir=options.work_dir,
        ),
        "model_steps": lambda: model_steps.measure(
            options.models, options.batchsize, options.repetitions, options.rounds
        ),
        "imle_net_variants": lambda: imle_net_variants.measure(
            options.batchsize, options.repetitions, options.rounds
        ),
        "protoecgnet": lambda: protoecgnet.measure(
            batch_size=options.batchsize, repetitions=options.repetitions
        ),
        "resampling": lambda: resampling.measure(options.predictions, options.resamples),
        "attribution": attribution.measure,
        "attribution_metrics": attribution_metrics.measure,
    }
    for name in BENCHMARKS:
        if options.what in ("all", name):
            print(f"measuring {name} ...", flush=True)
            path, report = options.output_dir / f"{name}.json", jobs[name]()
            if name == "model_steps" and path.is_file():  # models that were not measured now stay
                before = read_json(path)["cpu_seconds_per_record"]
                report["cpu_seconds_per_record"] = before | report["cpu_seconds_per_record"]
            write_json(path, report)
            print(f"wrote {options.output_dir / name}.json", flush=True)
    write_text(options.output_dir / "README.md", page(options.output_dir))
    print(f"wrote {options.output_dir / 'README.md'}")


if __name__ == "__main__":
    run_cli(main)
