"""Measure speed and memory side by side with the plain way.

python -m benchmarks.speed                  # everything, then the page; takes about three quarters of an hour
python -m benchmarks.speed reading --data_dir data/ptb
python -m benchmarks.speed table            # only the page, from the reports that are there
"""

from __future__ import annotations

import importlib
from pathlib import Path

from benchmarks.speed.machine import describe
from benchmarks.speed.options import BENCHMARKS, SpeedOptions
from benchmarks.speed.report import page
from utils.config import parse
from utils.errors import run_cli
from utils.files import read_json, write_json, write_text


def main() -> None:
    """Measure and write."""
    options = parse(SpeedOptions, prog="python -m benchmarks.speed", description=__doc__)
    output_dir, settings = Path(options.output_dir), options.to_json("result")
    for name in BENCHMARKS:
        if options.what in ("all", name):
            print(f"measuring {name} ...", flush=True)
            path = output_dir / f"{name}.json"
            report = importlib.import_module(f"benchmarks.speed.{name}").measure(options)
            key = {"model_steps": "cpu_seconds_per_record", "backbones": "backbones"}.get(name)
            if key and path.is_file():  # networks that were not measured now stay
                report[key] = read_json(path)[key] | report[key]
            write_json(path, {"benchmark": name, **report, "machine": describe(), "settings": settings})
            print(f"wrote {path}", flush=True)
    write_text(output_dir / "README.md", page(output_dir))
    print(f"wrote {output_dir / 'README.md'}")


if __name__ == "__main__":
    run_cli(main)
