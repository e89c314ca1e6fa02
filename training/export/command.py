"""Write a trained model for other programs.

twelvelead export imle_net                                        # results/export/imle_net/model.onnx
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from preprocessing.transforms.standardize import Standardizer
from training.checkpoint import find_checkpoint, read_card, run_name
from training.export.inside import left_to_caller
from training.export.write import export_onnx
from utils.config import Options, option, parse
from utils.ecg import NOT_A_DEVICE
from utils.errors import run_cli


@dataclass
class ExportOptions(Options):
    """What is written, and where."""

    model: str = option(
        "", "run, pretrained name or checkpoint folder", positional=True, required=True, metavar="RUN"
    )
    format: str = option("onnx", "what is written", choices=("onnx",))
    out: Path | None = option(None, "folder to write into (default: results/export/RUN)", scope="machine")
    output_dir: str = option(".", "folder with checkpoints/, output in results/", scope="machine")


def main() -> int:
    """Read the flags, write the files and say what they are."""
    options = parse(ExportOptions, description=__doc__)
    folder = find_checkpoint(options.model, options.output_dir)
    out = options.out or Path(options.output_dir) / "results" / "export" / run_name(folder)
    for path in _write(options, folder, out):
        print(f"wrote {path}")
    print(NOT_A_DEVICE)
    return 0


def _write(options: ExportOptions, folder: Path, out: Path) -> list[Path]:
    path = out / "model.onnx"
    notes = export_onnx(folder, path)
    print(
        f"largest difference from the model's probabilities on random records: {notes['max_abs_error']:.1e}"
    )
    for name, step in left_to_caller(Standardizer.from_json(read_card(folder).inputs.standardization)):
        print(f"note: the network does not do '{name}' {step}: its caller has to, before")
    return [path]


if __name__ == "__main__":
    run_cli(main)
