"""Score a trained model: what test.py, torch_test.py and ``twelvelead test`` do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing import Dataset
from preprocessing.targets import find_targets
from training.checkpoint import find_checkpoint, read_card, run_name
from training.config import chosen_model
from training.evaluate import dataset_of, predict_dataset, predictions_csv, score
from training.experiments.published import translate_file
from training.families import SCRIPTS, Family, family_of
from training.fold10_log import record_scoring
from training.model_info import model_names
from training.predictor import Predictor, load_predictor
from training.score_options import ScoreOptions
from utils.config import parse
from utils.errors import UsageError, nearest
from utils.files import read_json, write_json, write_npz, write_text
from utils.flags import first_words
from utils.provenance import command, git_commit, versions

# what a configuration file of the training says about the test
_OF_TRAINING = {"model", "run", "sub", "data_dir", "partial", "threads", "output_dir", "branch"}


def main(framework: str = "", default_model: str = "", args: Sequence[str] | None = None) -> None:
    """Read the flags and score; a script names its framework and the model that it scores by default."""
    words = list(sys.argv[1:] if args is None else args)
    model = chosen_model(words) or default_model  # which imports plugins
    words, model = _with_run(words, model)
    if not model and not {"-h", "--help"} & set(words):
        raise UsageError(f"--model is missing: {nearest('', model_names(framework))}")
    family = family_of(model or model_names(framework)[0], framework)
    options = parse_options(words, family, model)
    predictor = _load(options, family)
    data_dir = options.data_dir or predictor.card.config.get("data_dir")
    if not data_dir:
        raise UsageError("say where the database is: --data_dir FOLDER")
    results = Path(options.output_dir) / "results" / run_name(predictor.folder)
    if options.report:
        _check_report(predictor)
    if options.explain or options.gallery:
        _check_prototypes(predictor)  # a model without any should fail before records are scored
    if options.gallery:
        _write_gallery(predictor, data_dir, results)
        if not options.explain:
            print("the test records were not scored; to score them, leave out --gallery")
            return
    dataset, test = _score(predictor, options, data_dir)
    if options.report:
        _report(predictor, dataset, options, data_dir)
    if options.explain:
        _explain(predictor, test, results, options, data_dir)
    sys.stdout.flush()


def _with_run(words: list[str], model: str) -> tuple[list[str], str]:
    """Words and architecture where ``--model`` is a run or the folder of a checkpoint: its card knows it."""
    if not model or model in model_names():
        return words, model
    try:
        folder = find_checkpoint(model, first_words(words, "output_dir")["output_dir"] or ".")
    except UsageError:  # whoever looks for the model names those that there are
        return words, model
    card = read_card(folder)
    architecture = card.config.get("model", card.name)
    named = [] if first_words(words, "run")["run"] else ["--run", str(folder)]
    return [*words, "--model", architecture, *named], architecture


def parse_options(words: Sequence[str], family: Family, model: str) -> Any:
    """Read the flags of a family's test command; --config may be that of the training."""
    script = SCRIPTS[family.framework][1]
    options = parse(
        family.score_options,
        words,
        description="Score a trained model on the test records, with confidence intervals over patients.",
        epilog=f"models: {', '.join(model_names(family.framework))}\n"
        f"example: python {script} --model {model} --batchsize 32 --data_dir data/ptb",
        defaults={"model": model},
        also={family.config_class: _OF_TRAINING},
        translate=translate_file,
    )
    if options.sub and not options.run:
        options.run = f"{options.model}_mi"
    return options


def _load(options: ScoreOptions, family: Family) -> Predictor:
    """Load the checkpoint that the options name, and refuse one that does not match them."""
    folder = find_checkpoint(family.checkpoint(options), options.output_dir)
    card = read_card(folder)
    if card.framework != family.framework:
        other = SCRIPTS[card.framework][1]
        raise UsageError(f"{folder} was trained with {card.framework}: use python {other}")
    if not options.run and not family.owns(options.model, card.name):
        raise UsageError(f"{folder} holds '{card.name}', not '{options.model}'")
    database = card.config.get("database", "ptbxl")
    if options.task and find_targets(options.task, database).name != card.task:
        raise UsageError(f"{folder} was trained on task {card.task}, not {options.task}")
    return load_predictor(folder, threads=options.threads)


def _score(predictor: Predictor, options: ScoreOptions, data_dir: str) -> tuple[Dataset, Dataset]:
    """Score the test records, write and print what comes of it; gives all records, and these."""
    dataset = dataset_of(predictor.card, data_dir, options.partial)
    test = dataset.split("test")
    if options.limit:
        test = test.select(options.limit, options.seed)
    predictions = predict_dataset(predictor, test, options.batchsize)
    run, fingerprint = run_name(predictor.folder), dataset.fingerprint
    split = dataset.split_names["test"]
    record_scoring(run, predictor.card, test, fingerprint, split, data_dir, options.output_dir)
    logs = Path(options.output_dir) / "logs" / run
    report = {
        "run": run,
        "model": predictor.card.name,
        "task": predictor.card.task,
        "split": split,
        "records": len(test),
        "limit": options.limit,
        "times_scored": _times_scored(logs / "test.json", predictor),
        "trained_on_this_data": predictor.card.data.fingerprint == fingerprint,
        "checkpoint": {
            "weights_sha256": predictor.card.weights_sha256,
            "epoch": predictor.card.metrics.get("epoch"),
        },
        "command": command(),
        "settings": options.to_json(),
        "git_commit": git_commit(),
        "packages": versions(),
        **score(predictor, test, predictions, options.resamples, options.seed),
    }
    written = _write(logs, report, predictor, test, predictions)
    _print(report, predictor)
    print(f"wrote {', '.join(map(str, written[:-1]))} and {written[-1]}")
    return dataset, test


def _times_scored(path: Path, predictor: Predictor) -> int:
    """How often these weights were scored, this time included."""
    before = read_json(path) if path.exists() else {}
    same = before.get("checkpoint", {}).get("weights_sha256") == predictor.card.weights_sha256
    return before.get("times_scored", 0) + 1 if same else 1


def _write(
    logs: Path, report: dict[str, Any], predictor: Predictor, test: Dataset, predictions: np.ndarray
) -> list[Path]:
    paths = [logs / "test.json", logs / "predictions.npz", logs / "predictions.csv"]
    write_json(paths[0], report)
    write_npz(
        paths[1],
        ecg_id=test.ids,
        patient_id=test.patients,
        label=test.targets,
        probability=predictions,
        classes=np.array(test.classes),
    )
    write_text(paths[2], predictions_csv(predictor, test, predictions))
    return paths


def _print(report: dict[str, Any], predictor: Predictor) -> None:
    times = report["times_scored"]
    often = f"{times} time{'s' * (times > 1)}"
    print(f"{predictor.folder}: {report['records']} records of {report['split']}, scored {often}")
    if not report["trained_on_this_data"]:
        print("note: the model was not trained on this copy of the data")
    print(predictor.task.table(report))
    chosen_on = predictor.card.outputs.chosen_on
    if chosen_on:
        what = "checkpoint, " + ", ".join(predictor.decision) if predictor.decision else "checkpoint"
        print(f"{what}: chosen on {chosen_on}")


def _check_prototypes(predictor: Predictor) -> None:
    from explain.prototypes.contributions import prototype_list

    prototype_list(predictor)


def _write_gallery(predictor: Predictor, data_dir: str, results: Path) -> None:
    from explain.prototypes.gallery import write_gallery
    from explain.prototypes.source_records import find_source_reader

    reader = find_source_reader(predictor, data_dir)
    print(f"wrote {write_gallery(predictor, reader, results / 'prototypes.html')}")


def _explain(
    predictor: Predictor, test: Dataset, results: Path, options: ScoreOptions, data_dir: str
) -> None:
    from explain.prototypes.explain import explain_split

    written = explain_split(predictor, test, results, options.explain, options.pictures, data_dir)
    print("wrote " + ", ".join(map(str, written)))


def _check_report(predictor: Predictor) -> None:
    from explain.report.scored import check_kind

    check_kind(run_name(predictor.folder), predictor.card)


def _report(predictor: Predictor, dataset: Dataset, options: ScoreOptions, data_dir: str) -> None:
    from explain.report.records import Source
    from twelvelead.commands.report import ReportOptions, report_run

    names = ("shap", "resamples", "seed", "batchsize", "threads", "output_dir")
    chosen = ReportOptions([predictor.folder.as_posix()], **{name: getattr(options, name) for name in names})
    report_run(predictor.folder, chosen, Source(predictor.card, dataset, data_dir))
