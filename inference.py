"""Ask a trained model about one ECG, or about every ECG in a folder.

    python inference.py --dir data/ptb/records100/04000/04827_lr   # a WFDB record
    python inference.py --dir ecg.csv --units uV --model imle_net_mi
    python inference.py --dir folder_of_ecgs/                      # batch mode

Reads WFDB, CSV, .npy, .mat and EDF; prints every assumption; writes probabilities with their thresholds
and, for IMLE-Net, attention painted on the 12-lead ECG; for ProtoECGNet a report of the training ECGs that
the answer rests on. Not a medical device.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from utils.config import Options, option, parse, write_settings
from utils.ecg import NOT_A_DEVICE
from utils.errors import TwelveLeadError, run_cli


@dataclass
class InferenceOptions(Options):
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
    no_pictures: bool = option(False, "True: probabilities only (fast)")


def main() -> int:
    """Read the flags, predict every recording and say what was written."""
    options = parse(InferenceOptions, description=__doc__)
    import pandas as pd

    from explain.attention import explain_recording, predict_recording
    from preprocessing.recordings.external import find_recordings, prepare, read_recording
    from training import load_predictor
    from training.checkpoint import run_name
    from utils.files import write_json
    from utils.tables import write_csv

    sources = find_recordings(options.dir)
    many = Path(options.dir).is_dir()
    predictor = load_predictor(options.model, options.output_dir)
    print(f"model: {predictor.folder} ({', '.join(predictor.classes)})")
    results = Path(options.output_dir) / "results" / run_name(predictor.folder)
    rows, failures = [], []
    stems = Counter(source.with_suffix("") for source in sources)
    for source in tqdm(sources, desc="recordings", unit="ECG", disable=None if many else True):
        inside = source.relative_to(options.dir) if many else Path(source.name)
        if stems[source.with_suffix("")] == 1:  # else a.csv and a.npy would overwrite each other's results
            inside = inside.with_suffix("")
        folder = results / inside
        try:
            recording = read_recording(source, options.sampling_rate, options.units, options.leads)
            recording = prepare(recording, predictor.sampling_rate, predictor.samples, options.start)
            prediction = predict_recording(predictor, recording)
            if options.no_pictures:
                write_json(folder / "prediction.json", prediction)
                written = [folder / "prediction.json"]
            else:
                written = explain_recording(predictor, recording, folder, prediction, options.data_dir)
        except TwelveLeadError as error:  # of a missing rate, too: the other files may say theirs
            if not many:
                raise
            failures.append(f"{source}: {error}")
            rows.append({"record": str(inside), "error": str(error)})
            continue
        rows.append(
            {"record": str(inside)} | {c["class"]: round(c["probability"], 6) for c in prediction["classes"]}
        )
        if not many:
            for note in recording.notes:
                print(f"assumed: {note}" if "assum" in note.lower() else f"note: {note}")
            for c in prediction["classes"]:
                answer = "yes" if c["positive"] else "no"
                calibrated = "" if c["calibrated"] is None else f"  calibrated {c['calibrated']:.3f}"
                scores = f"{c['probability']:.3f}{calibrated}  threshold {c['threshold']:.3f}"
                print(f"  {c['class']:8s} {scores}  {answer}")
            print("wrote " + ", ".join(str(path) for path in written))
            write_settings(folder / "settings.yaml", options)
    if many:
        write_settings(results / "settings.yaml", options)
        write_csv(results / "predictions.csv", pd.DataFrame(rows))
        print(f"{len(rows) - len(failures)} of {len(rows)} recordings predicted")
        print(f"wrote {results / 'predictions.csv'} and a folder for each of them")
        for failure in failures:
            print(f"error: {failure}", file=sys.stderr)
    print(NOT_A_DEVICE)
    return 1 if failures else 0


if __name__ == "__main__":
    run_cli(main)
