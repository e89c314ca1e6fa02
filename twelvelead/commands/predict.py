"""Ask a trained model about recordings: what inference.py and ``twelvelead predict`` do."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.config import RunOptions
from utils.config import Options, option, option_like, parse, write_settings
from utils.ecg import NOT_A_DEVICE
from utils.errors import TwelveLeadError


@dataclass
class PredictOptions(Options):
    """Which recordings are read how, and which model is asked."""

    dir: str = option("", "record (with or without ending), file or folder", required=True)
    model: str = option("imle_net", "trained model: run, pretrained name or checkpoint folder")
    sampling_rate: float | None = option(None, "Hz, for files that do not say it", group="recording", above=0)
    units: str | None = option(
        None, "mV, uV or V, for files that do not say it or are wrong", group="recording"
    )
    leads: str | None = option(
        None, "comma-separated lead names in file order, where the file's are missing or wrong",
        group="recording",
    )  # fmt: skip
    start: float | None = option(
        None, "seconds to skip at the beginning (default: 0)", group="recording", min=0
    )
    output_dir: str = option(".", "folder with checkpoints/, gets results/", scope="machine")
    data_dir: str | None = option(
        None, "folder with the training ECGs of prototypes (default: that of the training)", scope="machine"
    )
    threads: int = option_like(RunOptions, "threads", 0)
    no_pictures: bool = option(False, "True: probabilities only (fast)")


def main(description: str | None = None, args: Sequence[str] | None = None) -> int:
    """Read the flags, predict every recording and say what was written."""
    options = parse(PredictOptions, args, description=description or __doc__)
    from preprocessing.recordings.external import find_recordings
    from training.checkpoint import run_name
    from training.predictor import load_predictor

    sources = find_recordings(options.dir)
    predictor = load_predictor(options.model, options.output_dir, options.threads)
    print(f"model: {predictor.folder} ({', '.join(predictor.classes)})")
    for remark in predictor.task.remarks(predictor.decision):
        print(f"note: {remark}")
    results = Path(options.output_dir) / "results" / run_name(predictor.folder)
    if Path(options.dir).is_dir():
        failures = _predict_folder(predictor, sources, results, options)
    else:
        failures = 0
        _predict_file(predictor, sources[0], results, options)
    print(NOT_A_DEVICE)
    return 1 if failures else 0


def _predict_file(predictor: Any, source: Path, results: Path, options: PredictOptions) -> None:
    folder = results / Path(source.name).with_suffix("")
    recording, prediction, written = _predict(predictor, source, folder, options)
    for note in recording.notes:
        print(f"assumed: {note}" if "assum" in note.lower() else f"note: {note}")
    for line in predictor.task.lines(prediction):
        print(line)
    print("wrote " + ", ".join(map(str, written)))
    write_settings(folder / "settings.yaml", options)


def _predict_folder(predictor: Any, sources: Sequence[Path], results: Path, options: PredictOptions) -> int:
    """Predict every recording of a folder; one that fails is a row of the table. Gives how many failed."""
    import pandas as pd

    from utils.tables import write_csv

    rows: list[dict[str, Any]] = []
    failures = []
    stems = Counter(source.with_suffix("") for source in sources)
    for source in tqdm(sources, desc="recordings", unit="ECG", disable=None):
        inside = source.relative_to(options.dir)
        if stems[source.with_suffix("")] == 1:  # else a.csv and a.npy would overwrite each other's results
            inside = inside.with_suffix("")
        try:
            _, prediction, _ = _predict(predictor, source, results / inside, options)
        except TwelveLeadError as error:  # of a missing rate, too: the other files may say theirs
            failures.append(f"{source}: {error}")
            rows.append({"record": str(inside), "error": str(error)})
            continue
        rows.append({"record": str(inside)} | predictor.task.summary(prediction))
    write_settings(results / "settings.yaml", options)
    write_csv(results / "predictions.csv", pd.DataFrame(rows))
    print(f"{len(rows) - len(failures)} of {len(rows)} recordings predicted")
    print(f"wrote {results / 'predictions.csv'} and a folder for each of them")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return len(failures)


def _predict(
    predictor: Any, source: Path, folder: Path, options: PredictOptions
) -> tuple[Any, dict[str, Any], list[Path]]:
    """Read, predict and explain one recording; gives it with its prediction and the files."""
    from explain.attention import explain_recording, predict_recording
    from preprocessing.recordings.external import prepare, read_recording
    from utils.files import write_json

    recording = read_recording(source, options.sampling_rate, options.units, options.leads)
    recording = prepare(recording, predictor.sampling_rate, predictor.samples, options.start)
    if tuple(predictor.leads) != recording.leads and set(predictor.leads) == set(recording.leads):
        order = [recording.leads.index(lead) for lead in predictor.leads]
        recording = replace(recording, signal=recording.signal[:, order], leads=tuple(predictor.leads))
    prediction = predict_recording(predictor, recording)
    if not options.no_pictures:
        written = explain_recording(predictor, recording, folder, prediction, options.data_dir)
        return recording, prediction, written
    write_json(folder / "prediction.json", prediction)
    return recording, prediction, [folder / "prediction.json"]
