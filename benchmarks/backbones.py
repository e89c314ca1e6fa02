"""Size, operations and reach of every backbone, for the page of backbones.

python -m benchmarks backbones
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.rows import DATA
from utils.config import Options, option
from utils.files import write_json

LEADS, SAMPLES, RATE = 12, 5000, 500


@dataclass
class BackboneOptions(Options):
    """What ``backbones`` measures and where it writes."""

    names: list[str] = option([], "backbones (default: all)")
    data: Path = option(DATA, "folder of the collected rows", scope="machine")


def describe(name: str) -> dict[str, Any]:
    """Parameters, operations of one record, and the deepest map of a backbone; nothing is computed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from models_torch.backbones import create_backbone

    with torch.device("meta"):
        backbone = create_backbone(name, LEADS).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            backbone(torch.empty(1, SAMPLES, LEADS))
    explained = next((info for info in backbone.feature_info if info.explained), None)
    last = backbone.feature_info[-1]
    return {
        "family": type(backbone).name,
        "parameters": backbone.module_size,
        "operations": counter.get_total_flops(),
        "shape": list(backbone.output_shape(SAMPLES)),
        "minimum_samples": backbone.minimum_samples,
        "receptive_field_s": last.receptive_field / RATE,
        "explained": None if explained is None else [explained.name, explained.stride],
    }


def run_backbones(options: BackboneOptions) -> Path:
    """Describe the backbones and write them to the file of the page."""
    from models_torch.backbones import list_backbones

    rows = {name: describe(name) for name in tqdm(options.names or list_backbones(), leave=False)}
    path = options.data / "backbones.json"
    write_json(path, rows)
    return path
