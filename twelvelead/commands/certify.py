"""Find thresholds that promise a miss rate, label by label, and say for which labels none can be promised.

    twelvelead certify resnet1d_wang --miss_rate 0.05 --delta 0.1 --data_dir data/ptb
    twelvelead certify my_run --miss_rates '{"AMI": 0.02}' --score

With probability 1 - delta, a record of a patient with the label is missed with a probability of at most
miss_rate. Thresholds are chosen on the validation records by learn-then-test (exact binomial tests on one
record a patient, Bonferroni over the labels); the promise is about patients of the same population.
Written to logs/RUN/certified.json and into the card of the run, so that predictions name certified labels.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.certification import certify, check_on_test, decision_with
from training.checkpoint import ROOT, find_checkpoint, read_card, run_name
from training.predictions import check_classifier, scored_predictions, validation_predictions
from training.score_options import ScoreOptions
from utils.config import Options, option, option_like, parse
from utils.ecg import NOT_A_DEVICE
from utils.files import write_json
from utils.provenance import command, git_commit
from utils.report.certified import certified_summary, certified_table


@dataclass
class CertifyOptions(Options):
    """What is promised, of which run, and on which records."""

    run: str = option(
        "", "run, pretrained name or checkpoint folder", scope="run", positional=True, required=True
    )
    miss_rate: float = option(0.05, "largest share of the positives that may be missed", above=0, below=1)
    delta: float = option(0.1, "probability that a promise is broken", above=0, below=1)
    miss_rates: dict = option({}, "labels with another one, as JSON: '{\"AMI\": 0.02}'")
    labels: list[str] = option([], "labels to certify (default: all); fewer need fewer positives each")
    correction: str = option(
        "bonferroni",
        "bonferroni: all promises hold at once; none: each alone, with the whole delta",
        choices=("bonferroni", "none"),
    )
    seed: int = option(0, "seed of the record that is drawn of a patient with several", min=0)
    score: bool = option(False, "True: also what the thresholds miss on the test records, scored before")
    card: bool | None = option(
        None, "write the thresholds into the run's card (default: True, but not of shipped models)",
        scope="run",
    )  # fmt: skip
    data_dir: str = option_like(ScoreOptions, "data_dir", "")
    batchsize: int = option_like(ScoreOptions, "batchsize", 32)
    threads: int = option_like(ScoreOptions, "threads", 0)
    output_dir: str = option_like(ScoreOptions, "output_dir", ".")


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags, certify, print the table and write it."""
    options = parse(CertifyOptions, sys.argv[1:] if args is None else args, description=__doc__)
    folder = find_checkpoint(options.run, options.output_dir)
    check_classifier(read_card(folder), options.run)
    # what cannot be had should show before records are predicted
    test = scored_predictions(options.run, options.output_dir) if options.score else None
    validation = validation_predictions(
        options.run, options.output_dir, options.data_dir, options.batchsize, options.threads
    )
    result = certify(
        validation,
        options.miss_rate,
        options.delta,
        options.miss_rates,
        options.labels,
        options.correction == "none",
        options.seed,
    )
    if test is not None:
        result["test"] = check_on_test(result, test)
    print(certified_table(result))
    print(f"\n{certified_summary(result)}\n{NOT_A_DEVICE}")
    written = _write(result, folder, options)
    print("wrote " + ", ".join(map(str, written)))


def _write(result: dict[str, Any], folder: Path, options: CertifyOptions) -> list[Path]:
    path = Path(options.output_dir) / "logs" / run_name(folder) / "certified.json"
    written = [path]
    more = {"notice": NOT_A_DEVICE, "settings": options.to_json()}
    write_json(path, {**result, **more, "command": command(), "git_commit": git_commit()})
    shipped = folder.resolve().is_relative_to(ROOT / "checkpoints" / "pretrained")
    if options.card or (options.card is None and not shipped):
        card = read_card(folder)
        outputs = dataclasses.replace(card.outputs, decision=decision_with(card.outputs.decision, result))
        write_json(folder / "card.json", dataclasses.replace(card, outputs=outputs).to_json())
        written.append(folder / "card.json")
    return written
