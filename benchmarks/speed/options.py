"""What the speed benchmarks measure, and on how much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from utils.config import Options, option

BENCHMARKS = (
    "reading",
    "pipeline_memory",
    "model_steps",
    "busy_cpu",
    "imle_net_variants",
    "protoecgnet",
    "resampling",
    "signals",
    "backbones",
    "attribution",
    "attribution_metrics",
    "folder",
    "archive",
)
PTBXL_RECORDS = 21799
# CPU seconds of a training step per record that the reference took on another machine, one core.
REFERENCE_STEP = {
    "imle_net": 0.113,
    "mousavi": 0.0037,
    "rajpurkar": 0.019,
    "ecgnet": 0.026,
    "resnet101": 0.37,
}


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
        list(REFERENCE_STEP), "model_steps: models to measure", choices=list(REFERENCE_STEP)
    )
    batchsize: int = option(32, "pipeline_memory and steps: records in a batch", min=1)
    predictions: str = option("", "resampling: a predictions.npz to measure on, too")
    resamples: int = option(1000, "resampling: resamples", min=1)
    folder_records: int = option(2000, "folder and archive: recordings", min=1)
    repetitions: int = option(3, "folder, reading and steps: measurements", min=1)
    backbones: list[str] = option([], "backbones: names to measure (default: all that are compared)")
    rounds: int = option(2, "steps and signals: processes of each kind; backbones: turns", min=1)
    peer: str = option(
        "", "signals and backbones: a Python interpreter that has torch_ecg, to compare with", scope="machine"
    )
    output_dir: str = option(
        str(Path(__file__).resolve().parent), "folder of the reports and the page", scope="machine"
    )
