"""Scoring of a trained model on fold 10, the same for both frameworks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from preprocessing import ECGDataset, load_ptbxl
from preprocessing.labels import canonical_task
from training.checkpoint import find_checkpoint, read_card, run_name
from training.config import read_yaml
from training.flags import Parser, true_or_false
from training.predictor import Predictor, load_predictor
from training.provenance import command, git_commit, versions
from training.setup import split_names
from utils.bootstrap import bootstrap
from utils.errors import DataError, UsageError, nearest
from utils.files import read_json, write_json, write_npz
from utils.metrics import evaluate

FREQUENT = 5  # patients with a class, and without it, from which on it counts as frequent
INTERVALS = ("macro_roc_auc", "class_roc_auc", "macro_auprc", "mean_accuracy", "macro_f1_at_thresholds")


def predict_dataset(predictor: Predictor, dataset: ECGDataset, batch_size: int = 32) -> np.ndarray:
    """Probabilities of a whole split, read batch by batch.

    Parameters
    ----------
    predictor : Predictor
        Trained model.
    dataset : ECGDataset
        One split.
    batch_size : int
        Records of one forward pass.

    Returns
    -------
    ndarray, shape (N, C), float32
        Probabilities.
    """
    total = len(dataset.labels)
    starts = tqdm(range(0, total, batch_size), desc="predict", unit="batch", leave=False, disable=None)
    return np.concatenate(
        [predictor.predict(dataset.signals[s : s + batch_size], batch_size) for s in starts]
    )


def score(
    predictor: Predictor, dataset: ECGDataset, probabilities: np.ndarray, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Metrics of one split with confidence intervals over patients.

    Parameters
    ----------
    predictor : Predictor
        Gives thresholds and calibration, both chosen on fold 9.
    dataset : ECGDataset
        The split.
    probabilities : ndarray, shape (N, C)
        Predictions for it.
    resamples : int
        Bootstrap resamples.
    seed : int
        Their seed.

    Returns
    -------
    dict
        ``metrics``, ``bootstrap`` and, when the card has a calibrator, ``ece_calibrated``. Where too few
        records of a class make intervals impossible, ``bootstrap`` says so under ``impossible``, and
        ``frequent`` has metrics and intervals over the classes that are frequent enough (or is None).
    """
    result = {"metrics": evaluate(dataset.labels, probabilities, dataset.classes, predictor.thresholds)}
    try:
        result["bootstrap"] = bootstrap(
            dataset.labels,
            probabilities,
            dataset.patient_ids,
            metrics=INTERVALS,
            thresholds=predictor.thresholds,
            classes=dataset.classes,
            resamples=resamples,
            seed=seed,
        )
    except DataError as error:  # too few records of a class: the values stand, and the table says why alone
        result["bootstrap"] = {"intervals": {}, "impossible": str(error)}
        result["frequent"] = _frequent(predictor, dataset, probabilities, resamples, seed)
    if predictor.calibrator is not None:
        calibrated = predictor.calibrator(probabilities)
        result["ece_calibrated"] = evaluate(dataset.labels, calibrated, dataset.classes)["ece"]
    return result


def _frequent(
    predictor: Predictor, dataset: ECGDataset, probabilities: np.ndarray, resamples: int, seed: int
) -> dict[str, Any] | None:
    """Metrics and intervals over the classes that enough patients have, and enough have not."""
    patients = np.unique(dataset.patient_ids)
    having = np.array(
        [len(np.unique(dataset.patient_ids[column > 0])) for column in dataset.labels.T], dtype=np.int64
    )
    chosen = np.flatnonzero((having >= FREQUENT) & (len(patients) - having >= FREQUENT))
    if not chosen.size:
        return None
    labels, p = dataset.labels[:, chosen], probabilities[:, chosen]
    classes = [dataset.classes[column] for column in chosen]
    thresholds = np.asarray(predictor.thresholds)[chosen]
    names = ("macro_roc_auc", "macro_auprc", "macro_f1_at_thresholds")
    metrics = evaluate(labels, p, classes, thresholds)
    found = bootstrap(
        labels,
        p,
        dataset.patient_ids,
        metrics=names,
        thresholds=thresholds,
        classes=classes,
        resamples=resamples,
        seed=seed,
    )
    kept = {name: metrics[name] for name in names}
    return {"least_patients": FREQUENT, "classes": classes, "metrics": kept, "bootstrap": found}


def main(
    framework: str, models: Sequence[str], default_model: str, args: Sequence[str] | None = None
) -> None:
    """Command line of `test.py` and `torch_test.py`.

    Parameters
    ----------
    framework : str
        ``keras`` or ``torch``.
    models : sequence of str
        Names that ``--model`` may take.
    default_model : str
        What it is without ``--model``.
    args : sequence of str, optional
        The words; default the command line's.

    Raises
    ------
    UsageError
        Unknown model, or a run of the other framework.
    """
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
        parser.set_defaults(**{k: v for k, v in read_yaml(first.config).items() if k in known})
    options = parser.parse_args(args)
    if options.sub and not options.run:
        options.run = f"{options.model}_mi"
    if options.model not in models:
        hint = nearest(options.model, models)
        raise UsageError(f"unknown model '{options.model}': {hint}; other models: python {other}")
    for flag, least in {"batchsize": 1, "resamples": 2, "seed": 0, "limit": 0}.items():
        if getattr(options, flag) < least:
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

    config = card.get("config", {})
    data_dir = options.data_dir or config.get("data_dir")
    if not data_dir:
        raise UsageError("say where PTB-XL is: --data_dir FOLDER")
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
    result = score(predictor, test, probabilities, options.resamples, options.seed)

    run = run_name(predictor.folder)
    logs = Path(options.output_dir) / "logs" / run
    before = read_json(logs / "test.json") if (logs / "test.json").exists() else {}
    same_weights = before.get("checkpoint", {}).get("weights_sha256") == card["weights_sha256"]
    times = before.get("times_scored", 0) + 1 if same_weights else 1
    same_data = card.get("data", {}).get("fingerprint") == dataset.fingerprint
    report = {
        "run": run,
        "model": card["model"]["name"],
        "task": card["task"],
        "split": split_names(card["task"])[2],
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
    often = f"{times} time{'s' * (times > 1)}"
    print(f"{predictor.folder}: {len(test.labels)} records of {report['split']}, scored {often}")
    if not same_data:
        print("note: the model was not trained on this copy of the data")
    print(table(report))
    print(f"wrote {logs / 'test.json'} and {logs / 'predictions.npz'}")
    if getattr(options, "explain", 0):
        from training.protoecgnet.explain import explain_split

        explanations = Path(options.output_dir) / "results" / run
        written = explain_split(predictor, test, explanations, options.explain, options.pictures, data_dir)
        print("wrote " + ", ".join(map(str, written)))
    if getattr(options, "gallery", False):
        from training.protoecgnet.gallery import write_gallery
        from training.protoecgnet.sources import find_source_reader

        path = Path(options.output_dir) / "results" / run / "prototypes.html"
        print(f"wrote {write_gallery(predictor, find_source_reader(predictor, data_dir), path)}")
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
        help="write one page with all prototypes, to look through and to rate",
    )


def table(report: dict[str, Any]) -> str:
    """Text table of a test report.

    Parameters
    ----------
    report : dict
        What ``test.json`` holds.

    Returns
    -------
    str
        One line a metric, with its interval where there is one.
    """
    metrics, intervals = report["metrics"], report["bootstrap"]["intervals"]

    def number(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.4f}"

    def interval(bounds: Any) -> str:
        return f"[{bounds['low']:.4f}, {bounds['high']:.4f}]" if bounds else ""

    rows = [
        ("macro ROC-AUC", metrics["macro_roc_auc"], intervals.get("macro_roc_auc")),
        ("mean accuracy at 0.5", metrics["mean_accuracy"], intervals.get("mean_accuracy")),
        ("mean accuracy, fold-9 thresholds", metrics["mean_accuracy_at_thresholds"], None),
        ("max F1 (reference's, 10 thresholds)", metrics["max_f1_reference"], None),
        (
            "macro F1, fold-9 thresholds",
            metrics["macro_f1_at_thresholds"],
            intervals.get("macro_f1_at_thresholds"),
        ),
        ("Fmax", metrics["fmax"], None),
        ("macro AUPRC", metrics["macro_auprc"], intervals.get("macro_auprc")),
        ("ECE", metrics["ece"], None),
        ("ECE, calibrated on fold 9", report.get("ece_calibrated"), None),
    ]
    if metrics.get("top1_accuracy") is not None:
        rows.insert(1, ("accuracy of the most probable class", metrics["top1_accuracy"], None))
    frequent = report.get("frequent")
    if frequent:
        bounds = frequent["bootstrap"]["intervals"]["macro_roc_auc"]
        name = f"macro ROC-AUC of {len(frequent['classes'])} frequent classes"
        rows.insert(1, (name, frequent["metrics"]["macro_roc_auc"], bounds))
    lines = [f"{'metric':38s}{'value':>10s}  95 % interval over patients"]
    lines += [f"{name:38s}{number(value):>10s}  {interval(bounds)}".rstrip() for name, value, bounds in rows]
    by_class = intervals.get("class_roc_auc", {})
    lines += [
        f"{'ROC-AUC ' + name:38s}{number(v):>10s}  {interval(by_class.get(name))}".rstrip()
        for name, v in metrics["class_roc_auc"].items()
    ]
    if metrics["undefined_classes"]:
        lines.append(
            f"undefined here (no positive or no negative record): {', '.join(metrics['undefined_classes'])}"
        )
    counts = report["bootstrap"]
    if "impossible" in counts:
        lines.append(f"no intervals over all classes: {counts['impossible']}")
        if frequent:
            lines.append(
                f"frequent: {frequent['least_patients']} patients or more: {', '.join(frequent['classes'])}"
            )
    else:
        lines.append(
            f"{counts['resamples']} resamples of {counts['patients']} patients; "
            f"{counts['rejected']} more lost a class and were rejected"
        )
    return "\n".join(lines)
