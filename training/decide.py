"""Fit the decision of a trained model again, such as its thresholds, on its validation records.

python -m training.decide --run rpeaks --data_dir data/mitdb

The weights stay. The card says by which command and commit the decision was made; score the run again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from training.checkpoint import find_checkpoint
from training.evaluate import dataset_of, predict_dataset
from training.predictor import load_predictor
from utils.config import Options, option, parse
from utils.errors import UsageError, run_cli
from utils.files import write_json
from utils.provenance import command, git_commit


def decide(
    run: str, data_dir: str = "", output_dir: str = ".", batchsize: int = 64, threads: int = 0
) -> Path:
    """Fit the decision of a run by its task, and write it into the card; returns the folder."""
    folder = find_checkpoint(run, output_dir)
    predictor = load_predictor(folder, threads=threads)
    dataset = dataset_of(predictor.card, data_dir)
    part = dataset.split(dataset.selection)
    decision = predictor.task.fit_decision(part, predict_dataset(predictor, part, batchsize))
    if decision is None:
        raise UsageError(f"'{run}' has task {predictor.card.task}, which fits no decision")
    card = predictor.card
    made = {"command": command(), "git_commit": git_commit(), "before": card.outputs.decision}
    changed = replace(
        card,
        outputs=replace(card.outputs, decision=decision),
        extra={**card.extra, "decided": made},
        metrics={name: value for name, value in card.metrics.items() if name != "test"},
    )
    write_json(folder / "card.json", changed.to_json())
    return folder


@dataclass
class DecideOptions(Options):
    """Whose decision is fitted, and on which data."""

    run: str = option("", "a trained run", required=True, scope="run")
    data_dir: str = option("", "folder of the database (default: that of the training)", scope="machine")
    batchsize: int = option(64, "records of a batch", min=1, scope="machine")
    threads: int = option(0, "CPU threads (0: as many as this process may use)", scope="machine", min=0)
    output_dir: str = option(".", "folder with checkpoints/", scope="machine")


def main() -> None:
    """Read the flags and fit."""
    options = parse(DecideOptions, description=__doc__)
    folder = decide(options.run, options.data_dir, options.output_dir, options.batchsize, options.threads)
    print(f"wrote {folder / 'card.json'}; score the run again")


if __name__ == "__main__":
    run_cli(main)
