"""Measure speed and memory side by side with the plain way.

python -m benchmarks.speed                  # everything, then the page; takes about three quarters of an hour
python -m benchmarks.speed reading --data_dir data/ptb
python -m benchmarks.speed table            # only the page, from the reports that are there
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from utils.config import Options, option, parse
from utils.errors import run_cli
from utils.files import read_json, write_json, write_text

FOLDER = Path(__file__).resolve().parent


@dataclass
class SpeedOptions(Options):
    """What is measured, and on how much."""

    what: str = option("all", "what to measure", choices=["all", *BENCHMARKS, "table"], positional=True)
    data_dir: str = option("", "reading: PTB-XL folder (default: synthetic records)", scope="machine")
    read_records: int = option(1000, "reading: synthetic records", min=1)
    pipeline_records: int = option(PTBXL_RECORDS, "pipeline_memory: records", min=1)
    plain_records: int = option(2000, "pipeline_memory: records without this project's code", min=1)
    work_dir: str = option("", "pipeline_memory: folder with 50 kB a record (default: the temporary one)")
    models: list[str] = option(
        list(model_steps.REFERENCE), "model_steps: models to measure", choices=list(model_steps.REFERENCE)
    )
    batchsize: int = option(32, "pipeline_memory and steps: records in a batch", min=1)
    predictions: str = option("", "resampling: a predictions.npz to measure on, too")
    resamples: int = option(1000, "resampling: resamples", min=1)
    repetitions: int = option(3, "reading and steps: measurements", min=1)
    rounds: int = option(2, "steps: processes of each kind", min=1)
    output_dir: str = option(str(FOLDER), "folder of the reports and the page", scope="machine")


def main() -> None:
    """Measure and write."""
    options = parse(SpeedOptions, prog="python -m benchmarks.speed", description=__doc__)
    output_dir = Path(options.output_dir)
    jobs: dict[str, Callable[[], dict[str, Any]]] = {
        "reading": lambda: reading.measure(
            options.data_dir or None, options.read_records, options.repetitions
        ),
        "pipeline_memory": lambda: pipeline_memory.measure(
            options.pipeline_records,
            options.plain_records,
            batch_size=options.batchsize,
            work_dir=options.work_dir or None,
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
        "resampling": lambda: resampling.measure(options.predictions or None, options.resamples),
        "attribution": attribution.measure,
        "attribution_metrics": attribution_metrics.measure,
    }
    for name in BENCHMARKS:
        if options.what in ("all", name):
            print(f"measuring {name} ...", flush=True)
            path, report = output_dir / f"{name}.json", jobs[name]()
            if name == "model_steps" and path.is_file():  # models that were not measured now stay
                before = read_json(path)["cpu_seconds_per_record"]
                report["cpu_seconds_per_record"] = before | report["cpu_seconds_per_record"]
            write_json(path, report | {"settings": options.to_json("result")})
            print(f"wrote {path}", flush=True)
    write_text(output_dir / "README.md", page(output_dir))
    print(f"wrote {output_dir / 'README.md'}")


if __name__ == "__main__":
    run_cli(main)
