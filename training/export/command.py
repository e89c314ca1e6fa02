"""Write a trained model for other programs.

twelvelead export imle_net                                # results/export/imle_net/model.onnx
twelvelead export imle_net --int8 --data_dir data/ptb     # weights in 8 bits, if the validation score allows
twelvelead export imle_net --format card                  # what it is, for people, as Markdown
twelvelead export imle_net --format hf                    # a folder for the Hugging Face hub; no upload
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from preprocessing.transforms.standardize import Standardizer
from training.checkpoint import find_checkpoint, read_card, run_name
from training.export.hub import write_card, write_hub
from training.export.inside import left_to_caller
from training.export.int8 import quantize_onnx, validation_records
from training.export.write import export_onnx
from utils.config import Options, option, parse
from utils.ecg import NOT_A_DEVICE
from utils.errors import UsageError, run_cli


@dataclass
class ExportOptions(Options):
    """What is written, and where."""

    model: str = option(
        "", "run, pretrained name or checkpoint folder", positional=True, required=True, metavar="RUN"
    )
    format: str = option("onnx", "what is written", choices=("onnx", "hf", "card"))
    int8: bool = option(
        False,
        "True: ONNX with weights in 8 bits, unless the score may fall by more than 0.003; needs --data_dir",
    )
    data_dir: str = option("", "the database, for --int8: its validation records are scored", scope="machine")
    out: Path | None = option(None, "folder to write into (default: results/export/RUN)", scope="machine")
    output_dir: str = option(".", "folder with checkpoints/, output in results/", scope="machine")


def main() -> int:
    """Read the flags, write the files and say what they are."""
    options = parse(ExportOptions, description=__doc__)
    if options.int8 and not (options.data_dir and options.format == "onnx"):
        raise UsageError(
            "--int8 is for --format onnx and needs --data_dir: its validation records are scored"
        )
    folder = find_checkpoint(options.model, options.output_dir)
    out = options.out or Path(options.output_dir) / "results" / "export" / run_name(folder)
    for path in _write(options, folder, out):
        print(f"wrote {path}")
    print(NOT_A_DEVICE)
    return 0


def _write(options: ExportOptions, folder: Path, out: Path) -> list[Path]:
    if options.format == "card":
        return [write_card(folder, out / "model_card.md")]
    if options.format == "hf":
        return write_hub(folder, out)
    path = out / "model.onnx"
    notes = export_onnx(folder, path)
    print(
        f"largest difference from the model's probabilities on random records: {notes['max_abs_error']:.1e}"
    )
    if options.int8:
        records = validation_records(read_card(folder), options.data_dir)
        figures = quantize_onnx(path, out / "model.int8.onnx", records)
        print(
            f"8 bits: {figures['score']} {figures['int8']:.4f} of {figures['records']} validation records, "
            f"{figures['float32']:.4f} before; with more patients the loss may be up to "
            f"{figures['lost_up_to']:.4f}"
        )
    for name, step in left_to_caller(Standardizer.from_json(read_card(folder).inputs.standardization)):
        print(f"note: the network does not do '{name}' {step}: its caller has to, before")
    return [path, out / "model.int8.onnx"] if options.int8 else [path]


if __name__ == "__main__":
    run_cli(main)
