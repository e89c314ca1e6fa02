"""Evaluate a trained classifier on records that it did not learn from, with tables for each class.

twelvelead evaluate --enable_ovr --prefer accuracy           # the best run of checkpoints/
twelvelead evaluate --run ecgconvnet_fold2 --shap fast

The validation records are scored; of a k-fold run its own held-out fold. --split test scores the test
records, which PTB-XL has for one final number: benchmarks/fold10_log.csv says how often.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from explain.report import Scored, write_report
from explain.report.lead_importance import COLUMNS, lead_importance
from explain.report.records import Source
from explain.report.scored import log_folder, notes_on
from preprocessing import Dataset
from training.card import NOTICE, Card
from training.checkpoint import find_checkpoint, read_card, run_name
from training.config import RunOptions
from training.evaluate import dataset_of, predict_dataset, predictions_csv, score
from training.experiments.evaluation_tables import (
    classification_report,
    confusion,
    errors_near,
    threshold_sweep,
)
from training.experiments.trained import CLASSIFIERS, PREFERENCES, best, read_trained
from training.fold10_log import record_scoring
from training.predictor import Predictor, load_predictor
from training.score_options import ScoreOptions
from utils.config import Options, option, option_like, parse
from utils.errors import UsageError, nearest
from utils.files import slug, write_json, write_text
from utils.provenance import command
from utils.tables import write_csv

logger = logging.getLogger(__name__)

_PICTURES = 4  # records with errors that the page draws


@dataclass
class EvaluateOptions(Options, group="evaluation"):
    """Which run is evaluated, on which records, and which tables are written."""

    ignored: ClassVar[dict[str, str]] = {
        "shap_bg": "a lead is silenced by laying it flat at its median; there are no background records",
        "shap_stride": "records are explained with all of their samples",
    }

    run: str = option("", "run to evaluate, by its name (default: chosen by --prefer)", scope="run")
    checkpoint: str = option("", "checkpoint folder to evaluate, instead of --run", scope="run")
    prefer: str = option(
        "auto", "of several runs: the best validation score (auto), accuracy or loss, or the latest",
        choices=PREFERENCES,
    )  # fmt: skip
    fold: int = option(0, "of k-fold runs, the one of this fold, from 1 (0: any)", min=0)
    split: str = option(
        "", "val, test or train (default: val; of a k-fold run test, its held-out fold)",
        choices=("val", "test", "train"),
    )  # fmt: skip
    enable_ovr: bool = option(False, "True: tables of each class against the rest (they are the default)")
    disable_ovr: bool = option(False, "True: leave out the tables of single classes")
    ovr_classes: list[str] = option([], "classes of these tables (default: all)", metavar="CLASS[,..]")
    shap: str = option(
        "medium", "effort for the Shapley values of the leads",
        choices=("off", "fast", "medium", "thorough", "custom"),
    )  # fmt: skip
    shap_n: int = option(0, "records of each class to explain, with --shap custom", min=0)
    report: bool = option(True, "False: tables alone, without the page with curves, as twelvelead report")
    data_dir: str = option_like(ScoreOptions, "data_dir", "")
    batchsize: int = option_like(ScoreOptions, "batchsize", 32)
    resamples: int = option_like(ScoreOptions, "resamples", 1000)
    seed: int = option_like(ScoreOptions, "seed", 0, "seed of the bootstrap and of the Shapley values")
    threads: int = option_like(RunOptions, "threads", 0)
    output_dir: str = option_like(RunOptions, "output_dir", ".", "folder with checkpoints/ and results/")


def check_options(options: EvaluateOptions) -> None:
    """Refuse options that exclude each other or would have no effect."""
    if options.run and options.checkpoint:
        raise UsageError("--run and --checkpoint name a model each: choose one")
    if options.enable_ovr and options.disable_ovr:
        raise UsageError("--enable_ovr and --disable_ovr exclude each other")
    if options.disable_ovr and options.ovr_classes:
        raise UsageError("--ovr_classes has no effect with --disable_ovr: leave one out")
    if bool(options.shap_n) != (options.shap == "custom"):
        raise UsageError("--shap_n N is the number of records of --shap custom: give both or none")
    if options.shap_n == 1:
        raise UsageError("--shap_n 1: the spread over records needs at least 2 of each class")
    if (options.run or options.checkpoint) and options.prefer != "auto":
        raise UsageError("--prefer chooses among runs: it has no effect with --run or --checkpoint")


def choose_run(options: EvaluateOptions) -> Path:
    """Checkpoint folder that the options mean."""
    named = options.run or options.checkpoint
    if named:
        folder = find_checkpoint(named, options.output_dir)
        if options.fold and _fold_of(read_card(folder)) != options.fold:
            raise UsageError(f"{folder} is not a run of fold {options.fold}: leave out --fold")
        return folder
    warnings: list[str] = []
    base = Path(options.output_dir) / "checkpoints"
    cards = read_trained(base, warnings)
    for warning in warnings:
        logger.warning(warning)
    folds = sorted({_fold_of(card) for card in cards.values()} - {0})
    if options.fold:
        cards = {folder: card for folder, card in cards.items() if _fold_of(card) == options.fold}
    if not cards:
        which = f"of fold {options.fold}; there are folds {', '.join(map(str, folds)) or 'of no run'}"
        what = f"classifier {which}" if options.fold else "trained classifier"
        raise UsageError(f"{base} has no {what}: train one with twelvelead train, or name a --checkpoint")
    return best(cards, options.prefer)


def _fold_of(card: Card) -> int:
    """Held-out fold of a k-fold run; 0 for another one."""
    return int(card.config.get("fold", 0)) if card.config.get("split") == "kfold" else 0


def evaluate(options: EvaluateOptions, folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """Score one run and write its tables.

    Returns what evaluation.json holds, and the files.
    """
    predictor = load_predictor(folder, threads=options.threads)
    if predictor.card.kind not in CLASSIFIERS:
        raise UsageError(f"{folder} is not a classifier of records: score it with twelvelead test")
    classes = _classes(options, predictor)
    asked = options.split or ("test" if _fold_of(predictor.card) else "val")
    data_dir = options.data_dir or predictor.card.config.get("data_dir")
    if not data_dir:
        raise UsageError("say where the database is: --data_dir FOLDER")
    dataset = dataset_of(predictor.card, data_dir)
    split = dataset.selection if asked == "val" else asked
    records = dataset.split(split)
    if split == "train":
        logger.warning("warning: these are the records that the model was trained on: no evaluation of it")
    predictions = predict_dataset(predictor, records, options.batchsize)
    run, name = run_name(folder), dataset.split_names[split]
    if split == "test":
        record_scoring(run, predictor.card, records, dataset.fingerprint, name, data_dir, options.output_dir)
    results = Path(options.output_dir) / "results" / run / f"evaluation_{asked}"
    written = write_tables(results, predictor, records, predictions, classes)
    scored = Scored(
        run,
        predictor.card,
        split,
        name,
        records.ids,
        records.patients,
        records.targets,
        predictions,
        "Predicted by twelvelead evaluate.",
        notes_on(predictor.card, dataset, split),
        folds=records.folds,
    )
    report: dict[str, Any] = {
        "run": run,
        "model": predictor.card.name,
        "task": predictor.card.task,
        "split": name,
        "trained_on": split == "train",
        "records": len(records),
        "epoch": predictor.card.metrics.get("epoch"),
        "weights_sha256": predictor.card.weights_sha256,
        "data_fingerprint": dataset.fingerprint,
        "command": command(),
        "settings": options.to_json(),
        "notes": scored.notes,
        "notice": NOTICE,
        **score(predictor, records, predictions, options.resamples, options.seed),
    }
    written += _write_leads_and_page(
        results, predictor, scored, Source(predictor.card, dataset, str(data_dir)), options
    )
    write_json(results / "evaluation.json", report)
    write_text(results / "predictions.csv", predictions_csv(predictor, records, predictions))
    return report, [results / "evaluation.json", results / "predictions.csv", *written]


def _write_leads_and_page(
    results: Path, predictor: Predictor, scored: Scored, source: Source, options: EvaluateOptions
) -> list[Path]:
    """Write the importance of the leads, and the page with curves, confusion and drawn errors."""
    written, leads, read = [], None, source.reader(scored)
    if options.shap != "off":
        effort = "medium" if options.shap == "custom" else options.shap
        leads = lead_importance(predictor, read, scored, effort, options.seed, options.shap_n)
        table = pd.DataFrame(leads["rows"], columns=COLUMNS)
        written.append(write_csv(results / "lead_importance.csv", table))
    if options.report:
        written += write_report(
            scored,
            results / "report",
            records=source.rows(scored),
            metrics_csv=log_folder(scored.run, scored.card, options.output_dir) / "metrics.csv",
            read=read,
            leads=leads,
            resamples=options.resamples,
            seed=options.seed,
            pictures=_PICTURES,
        )
    return written


def _classes(options: EvaluateOptions, predictor: Predictor) -> list[str]:
    """Classes of the tables of single classes."""
    for name in options.ovr_classes:
        if name not in predictor.classes:
            raise UsageError(f"--ovr_classes {name}: {nearest(name, predictor.classes)}")
    return [] if options.disable_ovr else options.ovr_classes or predictor.classes


def write_tables(
    results: Path,
    predictor: Predictor,
    records: Dataset,
    predictions: np.ndarray,
    classes: Sequence[str],
) -> list[Path]:
    """Write the report, the confusion and the tables of single classes.

    Shapes: predictions (N, C).
    """
    answers = predictor.task.decode(predictions, predictor.decision)
    labels = records.targets
    report = classification_report(labels, answers, predictor.classes)
    counts = confusion(labels, answers, predictor.classes, predictor.card.kind)
    written = [
        write_csv(results / "classification_report.csv", report.round(6)),
        write_csv(results / "confusion.csv", counts),
    ]
    for name in classes:
        column = predictor.classes.index(name)
        scores, threshold = predictions[:, column], predictor.thresholds[column]
        stem = slug(name)
        sweep = threshold_sweep(labels[:, column], scores)
        written.append(write_csv(results / f"threshold_sweep_{stem}.csv", sweep.round(6)))
        for kind, positive in (("false_negatives", False), ("false_positives", True)):
            table = errors_near(records, column, scores, float(threshold), positive)
            written.append(write_csv(results / f"{kind}_{stem}.csv", table))
    return written


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags and evaluate."""
    options = parse(EvaluateOptions, args, description=__doc__, check=check_options)
    folder = choose_run(options)
    report, written = evaluate(options, folder)
    print(f"{folder}: {report['records']} records of {report['split']}, epoch {report['epoch']}")
    print(load_table(report, folder))
    for note in report["notes"]:
        print(f"note: {note}")
    names = [path.relative_to(written[0].parent).as_posix() for path in written]
    print(f"wrote {len(written)} files to {written[0].parent}: {', '.join(names)}")


def load_table(report: dict[str, Any], folder: Path) -> str:
    """Text table of a report."""
    from training.tasks import create_task

    card = read_card(folder)
    return create_task(card.kind, card.classes).table(report)


def options_for_fold(run: str, output_dir: str, threads: int) -> EvaluateOptions:
    """Options that score the held-out fold of one run of a k-fold."""
    return dataclasses.replace(
        EvaluateOptions(),
        run=run,
        shap="off",
        output_dir=output_dir,
        threads=threads,
        split="test",
    )
