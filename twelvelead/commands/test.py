"""Scoring of a trained model on fold 10, the same for both frameworks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from preprocessing import load_ptbxl
from preprocessing.targets.ptbxl import canonical_task
from training.checkpoint import find_checkpoint, read_card, run_name
from training.config import TrainConfig
from training.evaluate import predict_dataset, predictions_csv, score, table
from training.fold10_log import record_scoring
from training.predictor import load_predictor
from utils.config import read_config
from utils.errors import UsageError, nearest
from utils.files import read_json, write_json, write_npz, write_text
from utils.flags import Parser, true_or_false
from utils.provenance import command, git_commit, versions


def main(
    framework: str, models: Sequence[str], default_model: str, args: Sequence[str] | None = None
) -> None:
    """Command line of `test.py` and `torch_test.py`."""
    script, other = ("test.py", "torch_test.py") if framework == "keras" else ("torch_test.py", "test.py")
    parser = Parser(
        description="Score a trained model on PTB-XL's fold 10, with confidence intervals over patients.",
        epilog=f"example: python {script} --model {default_model} --batchsize 32 --data_dir data/ptb",
    )
    parser.add_argument(
        "--model", default=default_model, help=f"trained model: {', '.join(models)} (default: %(default)s)"
    )
    parser.add_argument("--run", help="name of the run or checkpoint folder (default: the model)")
    parser.add_argument(
        "--sub",
        type=true_or_false,
        nargs="?",
        const=True,
        metavar="True|False",
        help="the run MODEL_mi",
    )
    parser.add_argument("--task", help="label set; refused where the run was trained on another one")
    parser.add_argument("--config", metavar="FILE", help="YAML file of the training: model, run, data")
    parser.add_argument("--data_dir", help="PTB-XL folder (default: the one it was trained on)")
    parser.add_argument(
        "--batchsize", type=int, default=32, help="records of a forward pass (default: %(default)s)"
    )
    parser.add_argument(
        "--resamples", type=int, default=1000, help="bootstrap resamples (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=0, help="score at most this many records (0: all)")
    parser.add_argument(
        "--partial",
        type=true_or_false,
        nargs="?",
        const=True,
        metavar="True|False",
        help="leave out records whose files are absent (default: as in training)",
    )
    parser.add_argument(
        "--output_dir", default=".", help="folder with checkpoints/ and logs/ (default: %(default)s)"
    )
    if framework == "torch":
        _add_protoecgnet_options(parser)
    first, _ = parser.parse_known_args(args)
    if first.config:
        known = {action.dest for action in parser._actions} - {"limit", "seed", "batchsize", "task"}
        parser.set_defaults(**{k: v for k, v in read_config(first.config, TrainConfig).items() if k in known})
    options = parser.parse_args(args)
    if options.sub and not options.run:
        options.run = f"{options.model}_mi"
    if options.model not in models:
        hint = nearest(options.model, models)
        raise UsageError(f"unknown model '{options.model}': {hint}; other models: python {other}")
    least_values = {"batchsize": 1, "resamples": 2, "seed": 0, "limit": 0, "explain": -1, "pictures": 0}
    for flag, least in least_values.items():
        if getattr(options, flag, least) < least:
            raise UsageError(f"--{flag} must be at least {least}, not {getattr(options, flag)}")
    name = options.run or options.model
    if getattr(options, "branch", None):
        name = f"{name}/{options.branch}/{options.training_stage}"
    folder = find_checkpoint(name, options.output_dir)
    card = read_card(folder)
    if card["framework"] != framework:
        raise UsageError(f"{folder} was trained with {card['framework']}: use python {other}")
    if not options.run and not card["model"]["name"].startswith(options.model):
        raise UsageError(f"{folder} holds '{card['model']['name']}', not '{options.model}'")
    if options.task and canonical_task(options.task) != card["task"]:
        raise UsageError(f"{folder} was trained on task {card['task']}, not {options.task}")
    predictor = load_predictor(folder)
    if getattr(options, "explain", 0) or getattr(options, "gallery", False):
        from training.protoecgnet.projected import prototype_list

        prototype_list(predictor)  # an unprojected or another model should fail before fold 10 is scored

    config = card.get("config", {})
    data_dir = options.data_dir or config.get("data_dir")
    if not data_dir:
        raise UsageError("say where PTB-XL is: --data_dir FOLDER")
    run = run_name(predictor.folder)
    if getattr(options, "gallery", False):
        from explain.prototypes.gallery import write_gallery
        from explain.prototypes.source_records import find_source_reader

        path = Path(options.output_dir) / "results" / run / "prototypes.html"
        print(f"wrote {write_gallery(predictor, find_source_reader(predictor, data_dir), path)}")
        if not options.explain:
            print("fold 10 was not scored; to score it, leave out --gallery")
            return
    partial = config.get("partial", False) if options.partial is None else options.partial
    dataset = load_ptbxl(
        data_dir,
        task=card["task"],
        sampling_rate=card["sampling_rate"],
        min_likelihood=config.get("min_likelihood", 0),
        on_missing="drop" if partial else "error",
    )
    if list(dataset.classes) != predictor.classes:
        raise UsageError(
            f"{predictor.folder} knows {predictor.classes}, but {data_dir} has {dataset.classes}"
        )
    test = dataset.split("test")
    if options.limit:
        test = test.select(options.limit, options.seed)
    probabilities = predict_dataset(predictor, test, options.batchsize)
    split, fingerprint = dataset.split_names["test"], dataset.fingerprint
    record_scoring(run, card, test, fingerprint, split, data_dir, options.output_dir)
    result = score(predictor, test, probabilities, options.resamples, options.seed)

    logs = Path(options.output_dir) / "logs" / run
    before = read_json(logs / "test.json") if (logs / "test.json").exists() else {}
    same_weights = before.get("checkpoint", {}).get("weights_sha256") == card["weights_sha256"]
    times = before.get("times_scored", 0) + 1 if same_weights else 1
    same_data = card.get("data", {}).get("fingerprint") == fingerprint
    report = {
        "run": run,
        "model": card["model"]["name"],
        "task": card["task"],
        "split": split,
        "records": len(test.labels),
        "limit": options.limit,
        "times_scored": times,
        "trained_on_this_data": same_data,
        "checkpoint": {
            "weights_sha256": card["weights_sha256"],
            "epoch": card.get("metrics", {}).get("epoch"),
        },
        "command": command(),
        "git_commit": git_commit(),
        "packages": versions(),
        **result,
    }
    write_json(logs / "test.json", report)
    write_npz(
        logs / "predictions.npz",
        ecg_id=test.ecg_ids,
        patient_id=test.patient_ids,
        label=test.labels,
        probability=probabilities,
        classes=np.array(test.classes),
    )
    write_text(logs / "predictions.csv", predictions_csv(test, probabilities, predictor.thresholds))
    often = f"{times} time{'s' * (times > 1)}"
    print(f"{predictor.folder}: {len(test.labels)} records of {report['split']}, scored {often}")
    if not same_data:
        print("note: the model was not trained on this copy of the data")
    print(table(report))
    print(f"wrote {logs / 'test.json'}, {logs / 'predictions.npz'} and {logs / 'predictions.csv'}")
    if getattr(options, "explain", 0):
        from explain.prototypes.explain import explain_split

        explanations = Path(options.output_dir) / "results" / run
        written = explain_split(predictor, test, explanations, options.explain, options.pictures, data_dir)
        print("wrote " + ", ".join(map(str, written)))
    sys.stdout.flush()


def _add_protoecgnet_options(parser: Parser) -> None:
    group = parser.add_argument_group("protoecgnet")
    group.add_argument("--branch", help="score this branch alone (default: the fusion)")
    group.add_argument(
        "--training_stage", default="classifier", help="stage of that branch (default: %(default)s)"
    )
    group.add_argument(
        "--explain",
        type=int,
        default=0,
        metavar="N",
        help="write the prototypes behind the answers for N records, -1 for all (default: %(default)s)",
    )
    group.add_argument(
        "--pictures",
        type=int,
        default=5,
        metavar="N",
        help="of these, make a report with pictures for the first N (default: %(default)s)",
    )
    group.add_argument(
        "--gallery",
        type=true_or_false,
        nargs="?",
        const=True,
        metavar="True|False",
        help="write one page with all prototypes, to look through and to rate; scores only with --explain",
    )
