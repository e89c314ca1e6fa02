"""Scoring of a trained model on its test records, the same for both frameworks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from preprocessing.options import open_dataset
from preprocessing.targets import find_targets
from training.checkpoint import find_checkpoint, read_card, run_name
from training.evaluate import predict_dataset, predictions_csv, score, table
from training.fold10_log import record_scoring
from training.predictor import load_predictor
from twelvelead.commands.test_options import parse_test
from utils.errors import UsageError
from utils.files import read_json, write_json, write_npz, write_text
from utils.provenance import command, git_commit, versions


def main(
    framework: str,
    list_models: Callable[[], Sequence[str]],
    default_model: str,
    args: Sequence[str] | None = None,
) -> None:
    """Command line of `test.py` and `torch_test.py`."""
    other = "torch_test.py" if framework == "keras" else "test.py"
    options = parse_test(framework, list_models, default_model, args)
    name = options.run or options.model
    if getattr(options, "branch", None):
        name = f"{name}/{options.branch}/{options.training_stage}"
    folder = find_checkpoint(name, options.output_dir)
    card = read_card(folder)
    if card.framework != framework:
        raise UsageError(f"{folder} was trained with {card.framework}: use python {other}")
    if not options.run and not card.name.startswith(options.model):
        raise UsageError(f"{folder} holds '{card.name}', not '{options.model}'")
    database = card.config.get("database", "ptbxl")
    if options.task and find_targets(options.task, database).name != card.task:
        raise UsageError(f"{folder} was trained on task {card.task}, not {options.task}")
    predictor = load_predictor(folder)
    if getattr(options, "explain", 0) or getattr(options, "gallery", False):
        from training.protoecgnet.projected import prototype_list

        prototype_list(predictor)  # an unprojected or another model should fail before records are scored

    config = card.config
    data_dir = options.data_dir or config.get("data_dir")
    if not data_dir:
        raise UsageError("say where the database is: --data_dir FOLDER")
    run = run_name(predictor.folder)
    if getattr(options, "gallery", False):
        from explain.prototypes.gallery import write_gallery
        from explain.prototypes.source_records import find_source_reader

        path = Path(options.output_dir) / "results" / run / "prototypes.html"
        print(f"wrote {write_gallery(predictor, find_source_reader(predictor, data_dir), path)}")
        if not options.explain:
            print("the test records were not scored; to score them, leave out --gallery")
            return
    partial = config.get("partial", False) if options.partial is None else options.partial
    named = {"data_dir": data_dir, "task": card.task, "sampling_rate": card.inputs.sampling_rate}
    dataset = open_dataset({**config, **named, "partial": partial})
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
    same_weights = before.get("checkpoint", {}).get("weights_sha256") == card.weights_sha256
    times = before.get("times_scored", 0) + 1 if same_weights else 1
    same_data = card.data.fingerprint == fingerprint
    report = {
        "run": run,
        "model": card.name,
        "task": card.task,
        "split": split,
        "records": len(test.labels),
        "limit": options.limit,
        "times_scored": times,
        "trained_on_this_data": same_data,
        "checkpoint": {
            "weights_sha256": card.weights_sha256,
            "epoch": card.metrics.get("epoch"),
        },
        "command": command(),
        "settings": options.to_json(),
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
    write_text(logs / "predictions.csv", predictions_csv(predictor, test, probabilities))
    often = f"{times} time{'s' * (times > 1)}"
    print(f"{predictor.folder}: {len(test.labels)} records of {report['split']}, scored {often}")
    if not same_data:
        print("note: the model was not trained on this copy of the data")
    print(table(predictor, report))
    if card.outputs.chosen_on:
        print(f"checkpoint, thresholds and calibration: chosen on {card.outputs.chosen_on}")
    print(f"wrote {logs / 'test.json'}, {logs / 'predictions.npz'} and {logs / 'predictions.csv'}")
    if getattr(options, "explain", 0):
        from explain.prototypes.explain import explain_split

        explanations = Path(options.output_dir) / "results" / run
        written = explain_split(predictor, test, explanations, options.explain, options.pictures, data_dir)
        print("wrote " + ", ".join(map(str, written)))
    sys.stdout.flush()
