"""Predict recordings with a trained model: what inference.py and ``twelvelead predict`` do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from training.config import RunOptions
from training.score_options import ScoreOptions
from utils.config import Options, option, option_like, parse, write_settings
from utils.ecg import NOT_A_DEVICE
from utils.errors import UsageError
from utils.text import printable


@dataclass
class PredictOptions(Options):
    """Which recordings are read how, and which model is asked."""

    dir: list[Path] = option(
        [], "recordings: files (WFDB with or without ending), folders or patterns such as '*.edf'",
        required=True,
    )  # fmt: skip
    model: str = option(
        "",
        "trained model: run, pretrained name, checkpoint folder or .onnx file (default: imle_net, or that of "
        "--task)",
    )
    task: str = option("", "rpeaks, waves or another task: the shipped model of that task")
    sampling_rate: float | None = option(None, "Hz, for files without it", group="recording", above=0)
    units: str | None = option(
        None, "mV, uV or V, for files without it or with a wrong one", group="recording"
    )
    leads: str | None = option(
        None, "comma-separated lead names in file order, where the file's are missing or wrong",
        group="recording",
    )  # fmt: skip
    start: float | None = option(
        None, "seconds to skip at the beginning (default: 0)", group="recording", min=0
    )
    notch: int | None = option(
        None, "mains frequency to filter out, in Hz", group="recording", choices=(50, 60)
    )
    output_dir: str = option(".", "folder with checkpoints/, output in results/", scope="machine")
    data_dir: str | None = option(
        None, "folder with the training ECGs of prototypes (default: that of the training)", scope="machine"
    )
    threads: int = option_like(RunOptions, "threads", 0)
    batchsize: int = option_like(ScoreOptions, "batchsize", 32, "recordings of a forward pass")
    workers: int = option(
        0, "processes that read ahead of the model, with --engine ray those that predict (0: as many as are "
        "worth it)", scope="machine", min=0,
    )  # fmt: skip
    no_pictures: bool = option(False, "True: probabilities only (fast)")
    table: str = option("csv", "format of the table of several recordings", choices=("csv", "parquet"))
    engine: str = option(
        "local",
        "ray: shards of Parquet by many workers, for archives",
        scope="machine",
        choices=("local", "ray"),
    )
    shard_size: int = option(2000, "recordings of a shard of --engine ray", min=1)


def main(description: str | None = None, args: Sequence[str] | None = None) -> int:
    """Read the flags, predict every recording and say what was written."""
    options = parse(PredictOptions, args, description=description or __doc__)
    if options.engine == "ray" and not options.no_pictures:
        raise UsageError("--engine ray writes no pictures: add --no_pictures, or leave --engine ray out")
    from explain.along_time import reads_any_leads
    from explain.batch import predict_many
    from preprocessing.recordings.ahead import Reading
    from preprocessing.recordings.search import search_recordings
    from training.checkpoint import choose_model, run_name
    from training.lock import locked
    from training.predictor import load_predictor

    search = search_recordings(options.dir, [Path(options.output_dir) / "results"])
    for sentence in search.left_out:
        print(f"left out: {sentence}")
    for remark in search.remarks:
        print(f"note: {remark}; each is predicted")
    model = choose_model(options.model, options.task, options.output_dir)
    predictor = load_predictor(model, options.output_dir, options.threads)
    print(f"model: {predictor.folder} ({', '.join(predictor.classes)})")
    for remark in predictor.task.remarks(predictor.decision):
        print(f"note: {remark}")
    results = Path(options.output_dir) / "results" / run_name(predictor.folder)
    reading = Reading(
        predictor.sampling_rate,
        0 if predictor.task.aligned else predictor.samples,
        options.sampling_rate,
        options.units,
        options.leads,
        options.start,
        options.notch,
        reads_any_leads(predictor),
    )
    outcome = None
    if options.engine == "local" and _is_one_recording(options.dir, search.recordings):
        _predict_file(predictor, search.recordings[0], results, reading, options)
    else:
        remedy = "wait for it, or choose another --output_dir"
        with locked(results, Path(options.output_dir), str(results), remedy=remedy):
            if options.engine == "ray":
                outcome = _predict_on_ray(predictor, search, results, reading, options)
            else:
                outcome = predict_many(
                    predictor,
                    search,
                    results,
                    reading,
                    not options.no_pictures,
                    options.batchsize,
                    options.workers,
                    options.data_dir,
                    options.table,
                )
            write_settings(results / "settings.yaml", options)
        _say(outcome)
    print(NOT_A_DEVICE)
    return 1 if outcome is not None and outcome.failed else 0


def _predict_on_ray(predictor: Any, search: Any, results: Path, reading: Any, options: PredictOptions) -> Any:
    """Predict recordings with the workers of Ray, each on one thread unless more are asked for."""
    from explain.archive import ShardWork, predict_archive
    from explain.ray_engine import run_on_ray

    work = ShardWork(
        predictor.folder.resolve(),
        predictor.card.weights_sha256,
        reading,
        (results / "archive").resolve(),
        options.batchsize,
        options.threads or 1,
    )
    run = partial(run_on_ray, workers=options.workers)
    return predict_archive(predictor, search, work, run, options.shard_size)


def _say(outcome: Any) -> None:
    """Print what became of a batch."""
    print(f"{outcome.recordings - outcome.failed} of {outcome.recordings} recordings predicted")
    print(f"wrote {outcome.table}{'' if outcome.table.is_dir() else ' and a folder for each of them'}")
    for failure in outcome.failures:
        print(f"error: {printable(failure)}", file=sys.stderr)
    if outcome.failed > len(outcome.failures):
        more = outcome.failed - len(outcome.failures)
        print(f"error: {more} more failed, see the column error of the table", file=sys.stderr)


def _is_one_recording(paths: Sequence[Path], recordings: Sequence[Path]) -> bool:
    """Whether a single file was named, whose predictions are printed, and no folder or pattern."""
    from preprocessing.recordings.search import is_pattern

    return len(paths) == len(recordings) == 1 and not paths[0].is_dir() and not is_pattern(paths[0])


def _predict_file(predictor: Any, source: Path, results: Path, reading: Any, options: PredictOptions) -> None:
    """Predict one recording, print the answer and every assumption, and explain it."""
    from explain.along_time import write_events
    from explain.attention import explain_recording, predict_recording
    from explain.batch import in_order_of
    from preprocessing.recordings.formats import result_name
    from utils.files import write_json

    folder = results / result_name(source).name
    recording = in_order_of(predictor, reading.read(source))
    prediction = predict_recording(predictor, recording)
    written = [folder / "prediction.json"]
    if options.no_pictures:
        write_json(written[0], prediction)
        written += write_events(predictor, prediction, folder)
    else:
        written = explain_recording(predictor, recording, folder, prediction, options.data_dir)
    for note in recording.notes:
        kind = "assumed: " if "assum" in note.lower() else "note: "
        print(note if note.startswith("WARNING") else kind + note)
    for line in predictor.task.lines(prediction):
        print(line)
    print("wrote " + ", ".join(map(str, written)))
    write_settings(folder / "settings.yaml", options)
