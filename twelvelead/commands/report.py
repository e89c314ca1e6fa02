"""Write a report on trained models: what ``twelvelead report`` and ``--report`` of the test commands do.

twelvelead report resnet1d_wang --data_dir data/ptb
twelvelead report my_run --split val --shap fast
twelvelead report my_run my_other_run
twelvelead report results/my_run/report
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from explain.report import Scored, predicted, rebuild_report, stored, write_report
from explain.report.folds import SUMMARY, write_fold_page
from explain.report.lead_importance import lead_importance
from explain.report.records import Source, find_source
from explain.report.scored import check_kind, log_folder
from training.card import Card
from training.checkpoint import find_checkpoint, read_card, run_name
from training.config import RunOptions
from training.families import SCRIPTS
from training.predictor import Predictor, load_predictor
from training.score_options import ScoreOptions
from twelvelead.commands.compare import CompareOptions
from utils.config import Options, option, option_like, parse
from utils.errors import UsageError, run_cli

SPLITS = ("test", "val", "train")


@dataclass
class ReportOptions(Options, group="report"):
    """Options of the command."""

    runs: list[str] = option(
        [],
        "runs, checkpoint folders or shipped models; or folders of reports and k-folds, whose page is built "
        "again from their report.json or fold_summary.json",
        positional=True,
        required=True,
    )
    split: str = option("test", "records to report on; test records are never scored here", choices=SPLITS)
    data_dir: str = option_like(
        ScoreOptions,
        "data_dir",
        "",
        "folder of the database (default: that of the training, if it exists)",
    )
    shap: str = option_like(ScoreOptions, "shap", "off")
    pictures: int = option(8, "records with errors to draw", min=0, max=40)
    intersection: bool = option_like(
        CompareOptions, "intersection", False, "True: compare several runs on the records that all have"
    )
    resamples: int = option_like(ScoreOptions, "resamples", 1000)
    seed: int = option_like(ScoreOptions, "seed", 0)
    batchsize: int = option_like(ScoreOptions, "batchsize", 32)
    threads: int = option_like(RunOptions, "threads", 0)
    output_dir: str = option_like(RunOptions, "output_dir", ".", "folder with checkpoints/ and logs/")


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags and write a report for each run, and the comparison of several."""
    options = parse(ReportOptions, args, description=__doc__)
    runs = []
    for run in options.runs:
        folds = _folder_of_folds(run, options.output_dir)
        if folds:
            _say([write_fold_page(folds)])
        elif (Path(run) / "report.json").is_file():
            _say(rebuild_report(run))
        else:
            runs.append(_prepare(find_checkpoint(run, options.output_dir), options))
    if len(runs) > 1:
        _compare([prepared.scored for prepared in runs], options)
    for prepared in runs:
        _write(prepared, options)


def _folder_of_folds(run: str, output_dir: str) -> Path | None:
    """Folder with the summary of a k-fold, by the folder itself or by the name that its runs share."""
    places = (Path(run), Path(output_dir) / "results" / run)
    return next((place for place in places if (place / SUMMARY).is_file()), None)


def report_run(checkpoint: Path, options: ReportOptions, source: Source | None = None) -> list[Path]:
    """Write the report of a checkpoint and print its files; ``source``: its data where it is loaded."""
    return _write(_prepare(checkpoint, options, source), options)


@dataclass(frozen=True)
class _Run:
    scored: Scored
    source: Source | None
    predictor: Predictor | None


def _prepare(checkpoint: Path, options: ReportOptions, source: Source | None = None) -> _Run:
    """Find or make the predictions of a run."""
    card, run = read_card(checkpoint), run_name(checkpoint)
    check_kind(run, card)
    source = source or find_source(card, options.data_dir)
    needs_model = options.split != "test" or options.shap != "off"
    if needs_model and source is None:
        raise UsageError(
            f"--split {options.split} --shap {options.shap} needs the recordings: --data_dir FOLDER"
        )
    predictor = load_predictor(checkpoint, threads=options.threads) if needs_model else None
    if predictor is not None and source is not None and options.split != "test":
        scored = predicted(predictor, source.dataset, options.split, run, options.batchsize)
    else:
        scored = _stored(run, card, options.output_dir)
    return _Run(scored, source, predictor)


def _write(run: _Run, options: ReportOptions) -> list[Path]:
    scored, source = run.scored, run.source
    if source is None:
        print("note: without the database (--data_dir FOLDER) the report has no subgroups and no pictures")
    leads = None
    if run.predictor is not None and source is not None and options.shap != "off":
        leads = lead_importance(run.predictor, source.reader(scored), scored, options.shap, options.seed)
    written = write_report(
        scored,
        Path(options.output_dir) / "results" / scored.run / _folder_name(options.split),
        records=source.rows(scored) if source else None,
        metrics_csv=log_folder(scored.run, scored.card, options.output_dir) / "metrics.csv",
        read=source.reader(scored) if source else None,
        leads=leads,
        resamples=options.resamples,
        seed=options.seed,
        pictures=options.pictures,
    )
    for note in scored.notes:
        print(f"note: {note}")
    _say(written)
    return written


def _compare(runs: Sequence[Scored], options: ReportOptions) -> None:
    from explain.report.comparison import compare_scored, write_comparison_page

    result = compare_scored(runs, options.intersection, options.resamples, options.seed)
    if result is None:
        print("note: the runs differ in seed and fold alone, so they are not compared with each other")
    else:
        _say(write_comparison_page(result, options.output_dir))


def _stored(run: str, card: Card, output_dir: str) -> Scored:
    scored = stored(run, card, output_dir)
    if scored is not None:
        return scored
    script = SCRIPTS[card.framework][1]
    logs = Path(output_dir) / "logs" / run
    raise UsageError(
        f"the weights of '{run}' have no stored predictions in {logs}: score them with python {script} "
        f"--model {card.name} --run {run} --report, or report on validation records with --split val"
    )


def _folder_name(split: str) -> str:
    return "report" if split == "test" else f"report_{split}"


def _say(written: Sequence[Path]) -> None:
    print(f"wrote {', '.join(map(str, written))}")


if __name__ == "__main__":
    run_cli(main)
