"""What version 1 (commit 9911de1) outputs, kept so that later code can be held to it bit for bit.

    python -m tests.goldens.version1_outputs compare [--to FOLDER] [--data_dir PTBXL]
    python -m tests.goldens.version1_outputs store [--to FOLDER] [--data_dir PTBXL]   # with version 1's code
    python -m tests.goldens.version1_outputs checkpoint                               # with version 1's code

Probabilities, IMLE-Net's attention, ProtoECGNet's contributions and attribution maps of four synthetic
records (made anew each time) and seven real ones (read from PTB-XL, skipped where it is absent). Only outputs
are kept. The weights that version 1 shipped are read from the repository's history, because newer ones take
their place in checkpoints/pretrained; a copy without the history (a shallow clone, an archive) lacks them.

Each Keras backend gets a process of its own with one thread, because the number of threads decides the order
of sums. On the processor model that `about` in each file names, `compare` should find every array bit-equal;
on others the last digits of float32 may differ. Only `read_millivolts`, `write_synthetic`, `predictor_arrays`
and `attribution_arrays` import the code under test: when a function moves, change it there.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
FOLDER = HERE / "version1"
RUNS = HERE / "version1_checkpoint"  # an output folder, as the training commands fill it
FILES = {"synthetic": "synthetic.npz", "real": "real.npz"}
TOLERANCE = 1e-6

COMMIT = "9911de1"
PRETRAINED = "checkpoints/pretrained"
SHIPPED = ("imle_net", "imle_net_mi", "mousavi", "ecgnet", "protoecgnet_rhythm")
TRAINED = {  # run: script, and a model small enough to be kept
    "ecgnet": ("torch_train.py", {"filters": 4, "stem_kernels": [15], "blocks": 2, "lstm_units": 4}),
    "mousavi": ("train.py", {"filters": [2], "lstm_units": 2, "dense_units": 4}),
    "resnet18": ("torch_train.py", {"widths": [2, 4, 4, 8]}),
}
CHAIN = "protoecgnet"  # a run of stages, each with a folder of its own
CHAIN_OPTIONS = (
    "--epochs 1 --classifier_epochs 1 --width 2 --proto_dim 4 --single_class_prototype_per_class 1"
)
KEPT = ("metrics.csv", "test.json", "predictions.npz")  # TensorBoard's files name the machine

RECORDS, SEED = 60, 7
SYNTHETIC = (25, 29, 54, 60)  # of fold 10
REAL = (1, 63, 172, 271, 318, 382)  # NORM, ASMI, CRBBB, ischemia, AFIB and a pacemaker
SAMPLE = "04827_lr"  # IMI

# The ResNet-18 for DeepLIFT, DeepSHAP and LRP, which have no rules for LSTMs and prototypes.
EXPLAINED = ("ecgnet", "imle_net", "protoecgnet_rhythm", "version1_checkpoint/resnet18")
CHEAP = {"ig_steps": 4, "n_samples": 48, "segment_ms": 640.0, "n_baselines": 2, "seed": 3, "batch_size": 16}
SLOW = {"n_samples": 8}  # of IMLE-Net, which reads a record crop by crop
STRIDE = {"synthetic": 2, "real": 10}  # samples of a map: every one would take megabytes
ONE_THREAD = {
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def checkpoint_folder(name: str, weights: Path) -> Path:
    """Where a checkpoint is; `weights` is the folder that `extract_weights` filled."""
    return weights / PRETRAINED / name if name in SHIPPED else RUNS / "checkpoints" / Path(name).name


@cache
def has_history() -> bool:
    """Whether this copy of the repository has the commit of version 1."""
    words = ["git", "cat-file", "-e", f"{COMMIT}:{PRETRAINED}"]
    return (
        shutil.which("git") is not None
        and not subprocess.run(words, cwd=ROOT, capture_output=True).returncode
    )


def extract_weights(folder: Path) -> None:
    """Write the weights and cards that version 1 shipped under a folder."""
    words = ["git", "archive", "--format=tar", COMMIT, PRETRAINED]
    archive = subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")


def default_data_dir() -> Path:
    """PTB-XL where the other tests look for it."""
    return Path(os.environ.get("TWELVELEAD_DATA", ROOT.parent / "shared" / "data")) / "ptbxl"


# ---- the code under test -------------------------------------------------------------------------


def write_synthetic(folder: Path) -> Path:
    """Write the synthetic dataset, the same bytes each time."""
    from databases.synthetic.command import write_dataset

    return write_dataset(folder, RECORDS, SEED)


def read_millivolts(paths: Iterable[Path]) -> np.ndarray:
    """Read records as inference.py does, (N, 1000, 12) float32 in mV."""
    from preprocessing.recordings.external import prepare, read_recording

    return np.stack([prepare(read_recording(path), 100, 1000).signal for path in paths])


def predictor_arrays(name: str, signals: np.ndarray, weights: Path) -> dict[str, np.ndarray]:
    """Outputs of one checkpoint for records in millivolts."""
    from training import load_predictor

    predictor = load_predictor(checkpoint_folder(name, weights))
    found = {
        f"{name}/probabilities": predictor.predict(signals),
        f"{name}/calibrated": predictor.predict(signals, calibrated=True),
    }
    kind = predictor.card.name
    if kind == "imle_net" and not keras_on_torch():  # its maps on PyTorch are among the attribution methods
        from models_tf.imle_net import attention_maps

        levels = attention_maps(predictor.model, predictor.standardize(signals))
        names = ("beat", "rhythm", "channel")
        found |= {f"{name}/attention_{n}": level for n, level in zip(names, levels, strict=True)}
    if kind == "protoecgnet":
        from explain.prototypes.contributions import explain_records

        records = explain_records(predictor, signals, classes=predictor.classes)
        found[f"{name}/similarities"] = np.stack([record.similarities for record in records])
        found[f"{name}/windows"] = np.stack([record.windows for record in records])
        for row, record in enumerate(records):
            # The explanation lists the most probable class first, and rounding decides between equal ones.
            parts = sorted(record.classes, key=lambda part: predictor.classes.index(part.name))
            found[f"{name}/record{row}/logits"] = np.array([part.logit for part in parts])
            found[f"{name}/record{row}/rests"] = np.array([part.rest for part in parts])
            found[f"{name}/record{row}/contributions"] = np.stack([part.contributions for part in parts])
    return found


def attribution_arrays(name: str, signals: np.ndarray, which: str, weights: Path) -> dict[str, np.ndarray]:
    """Attribution maps of the last record, by every method that applies; the others serve as baselines."""
    from explain.engine.classifier import load_classifier
    from explain.engine.fast import speed_up
    from explain.methods import CannotExplain, Settings, explain, list_methods

    classifier = load_classifier(checkpoint_folder(name, weights))
    speed_up(classifier)
    inputs = classifier.standardize(signals)
    changes = SLOW if classifier.framework == "keras" else {}
    settings = Settings(**{**CHEAP, **changes, "baselines": inputs[:-1]})
    logits = classifier.logits(inputs)
    found, target = {f"attribution/{name}/logits": logits}, logits[-1:].argmax(axis=1)
    for method in list_methods():
        # Beside the gradient, gradient times input would give a real recording away.
        if which == "real" and method == "input_gradient":
            continue
        try:
            maps = explain(classifier, method, inputs[-1:], target, settings)
        except CannotExplain:
            continue
        found[f"attribution/{name}/{method}"] = maps[:, :: STRIDE[which]]
        found[f"attribution/{name}/{method}/sum"] = maps.sum(axis=1, dtype=np.float64)  # of all samples
    return found


# ---- one process a backend -----------------------------------------------------------------------


def keras_on_torch() -> bool:
    """Whether this process runs Keras on PyTorch."""
    return os.environ.get("KERAS_BACKEND") == "torch"


def recordings(temporary: Path, data_dir: Path) -> dict[str, list[Path]]:
    """Records to read: synthetic ones that are written first, and real ones where they all are."""
    synthetic = write_synthetic(temporary / "synthetic")
    found = {"synthetic": [synthetic / "records100" / "00000" / f"{i:05d}_lr" for i in SYNTHETIC]}
    real = [data_dir / "records100" / "00000" / f"{i:05d}_lr" for i in REAL]
    real.append(data_dir.parent / "sample" / SAMPLE)
    if all(path.with_suffix(".hea").exists() for path in real):
        found["real"] = real
    return found


def compute_here(into: Path, data_dir: Path, weights: Path) -> None:
    """Write the outputs on this process' Keras backend, a file for each kind of record."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        paths = recordings(Path(temporary), data_dir)
        signals = {which: read_millivolts(paths[which]) for which in paths}
    for which, records in signals.items():
        found: dict[str, np.ndarray] = {}
        if keras_on_torch():
            for name in ("imle_net", "mousavi"):
                arrays = predictor_arrays(name, records, weights)
                found |= {f"keras_on_torch/{name}": array for name, array in arrays.items()}
            for name in EXPLAINED:
                if (name, which) != ("imle_net", "real"):  # it takes longest
                    found |= attribution_arrays(name, records, which, weights)
        else:
            for name in (*SHIPPED, *(f"version1_checkpoint/{run}" for run in TRAINED)):
                found |= predictor_arrays(name, records, weights)
        np.savez(into / f"{which}.npz", **found)


def compute(data_dir: Path) -> dict[str, dict[str, np.ndarray]]:
    """Outputs of the code as it stands: kind of record -> name -> array."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor() as both:
        weights = Path(temporary) / "weights"
        extract_weights(weights)

        def one(backend: str) -> None:
            (Path(temporary) / backend).mkdir()
            words = ["-m", "tests.goldens.version1_outputs", "compute", "--to", f"{temporary}/{backend}"]
            words += ["--weights", str(weights)]
            run([*words, "--data_dir", str(data_dir.resolve())], ROOT, KERAS_BACKEND=backend)

        list(both.map(one, ("tensorflow", "torch")))  # a list, so that an error is raised
        for path in sorted(Path(temporary).glob("*/*.npz")):
            found.setdefault(path.stem, {}).update(read(path))
    return found


def run(words: list[str], folder: Path, **environment: str) -> None:
    """Run Python in a folder with one thread and this checkout's modules."""
    variables = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT), **environment}
    subprocess.run([sys.executable, *words], cwd=folder, env=variables, check=True)


# ---- store and compare ---------------------------------------------------------------------------


def read(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def about() -> dict[str, Any]:
    """Processor and libraries, on which the last digits depend."""
    from importlib.metadata import version

    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
    fields = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    return {
        "processor": {
            **{key: fields[key] for key in ("model name", "cpu family", "model") if key in fields},
            "machine": platform.machine(),
            "vectors": [flag for flag in ("avx2", "avx512f") if flag in fields.get("flags", "").split()],
        },
        "python": platform.python_version(),
        "libraries": {
            name: version(name)
            for name in ("numpy", "scipy", "scikit-learn", "keras", "tensorflow", "torch", "wfdb")
        },
        "records": {"synthetic": SYNTHETIC, "seed": SEED, "real": [*REAL, SAMPLE]},
    }


def store(folder: Path, data_dir: Path) -> None:
    """Write the files that later code is compared with."""
    found = compute(data_dir)
    if "real" not in found:
        raise SystemExit(f"the real records are not in {data_dir} and its neighbor sample/")
    folder.mkdir(parents=True, exist_ok=True)
    words = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    text = np.array(json.dumps({**about(), "commit": commit}))
    for which, name in FILES.items():
        np.savez_compressed(folder / name, about=text, **found[which])
        size = (folder / name).stat().st_size
        print(f"{name}: {len(found[which])} arrays, {size / 1000:.0f} kB")


def difference(new: np.ndarray | None, old: np.ndarray) -> float:
    """Largest difference, in units of max(1, largest stored value); infinite where none is defined."""
    if new is None or new.shape != old.shape or new.dtype.kind != old.dtype.kind:
        return float("inf")
    if new.dtype.kind not in "fiu":
        return 0.0 if np.array_equal(new, old) else float("inf")
    if not np.isfinite(new).all():
        return float("inf")
    off = np.abs(new.astype(np.float64) - old.astype(np.float64)).max(initial=0.0)
    return float(off / max(1.0, np.abs(old).max(initial=0.0)))


def bit_equal(new: np.ndarray | None, old: np.ndarray) -> bool:
    """The same type, shape and bytes."""
    if new is None or (new.dtype, new.shape) != (old.dtype, old.shape):
        return False
    return new.tobytes() == old.tobytes()


@cache
def on_the_same_processor() -> bool:
    """Whether this processor is the one that the stored outputs come from."""
    with np.load(FOLDER / FILES["synthetic"], allow_pickle=False) as file:
        return json.loads(str(file["about"]))["processor"] == about()["processor"]


def tolerance(name: str) -> float:
    """Difference to allow on this processor: another one adds in another order.

    A gradient jumps where a pooling or ReLU decides otherwise by a last digit: with the instructions of an
    older processor ECGNet's saliency differs by 2e-3, what is no attribution map by less than 1e-6.
    """
    if on_the_same_processor():
        return TOLERANCE
    return 1e-2 if name.startswith("attribution/") else 1e-5


def stored(folder: Path, which: str) -> dict[str, np.ndarray]:
    """Stored arrays of one kind of record."""
    return {name: array for name, array in read(folder / FILES[which]).items() if name != "about"}


def compare(folder: Path, data_dir: Path) -> int:
    """Print how each array differs from the stored one; 1 where one differs by more than the tolerance."""
    found, equal, wrong, total = compute(data_dir), 0, 0, 0
    for which in FILES:
        if which not in found:
            print(f"skipped: the real records are not in {data_dir} and its neighbor sample/")
            continue
        old = stored(folder, which)
        for name, array in old.items():
            new = found[which].get(name)
            same, off = bit_equal(new, array), difference(new, array)
            total, equal, wrong = total + 1, equal + same, wrong + (off > TOLERANCE)
            word = "bit-equal" if same else "MISSING" if new is None else f"differs by {off:.1e}"
            print(f"{which:9s} {name:62s} {array.dtype!s:8s} {array.shape!s:16s} {word}")
        for name in sorted(found[which].keys() - old.keys()):
            print(f"{which:9s} {name:62s} is new: nothing stored to compare it with")
    print(f"{equal} of {total} arrays are bit-equal; {wrong} differ by more than {TOLERANCE:g}")
    return int(wrong > 0)


def training_words(name: str, epochs: int = 1) -> list[str]:
    """Command line, after ``python``, that trains one of the small models in a folder with data/synthetic."""
    script, options = TRAINED[name]
    words = [script, "--model", name, "--data_dir", "data/synthetic", "--batchsize", "16", "--threads", "1"]
    return [*words, "--epochs", str(epochs), "--model_config", json.dumps(options)]


def chain_words(script: str) -> list[str]:
    """Command line, after ``python``, that trains or scores the chain of stages."""
    words = [script, "--model", CHAIN, "--data_dir", "data/synthetic", "--batchsize", "16"]
    return (
        words
        if script == "torch_test.py"
        else [*words, "--threads", "1", *CHAIN_OPTIONS.split(), "--single_class_prototype_per_class", "1"]
    )


def train_checkpoints() -> None:
    """Train and test the small models on the synthetic records, and keep what a later version must read.

    ``resumed`` holds the last state and the history of runs that were resumed for a second epoch.
    """
    shutil.rmtree(RUNS, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        # From there the folders are relative ones, so card and state name none of this machine.
        folder = Path(temporary)
        write_synthetic(folder / "data" / "synthetic")

        def call(script: str, *words: str) -> None:
            run([str(ROOT / script), *words], folder, MPLBACKEND="Agg", KERAS_BACKEND="tensorflow")

        for name in TRAINED:
            script, *words = training_words(name)
            call(script, *words)
            call(script.replace("train", "test"), *words[:6])
            # One state a framework is enough to resume from.
            left_out = shutil.ignore_patterns(*(["last"] if name == "resnet18" else []))
            shutil.copytree(folder / "checkpoints" / name, RUNS / "checkpoints" / name, ignore=left_out)
            (RUNS / "logs" / name).mkdir(parents=True)
            for kept in KEPT:
                shutil.copy(folder / "logs" / name / kept, RUNS / "logs" / name)
            if name != "resnet18":
                call(*training_words(name, epochs=2), "--resume")
                shutil.copytree(folder / "checkpoints" / name / "last", RUNS / "resumed" / name / "last")
                shutil.copy(folder / "logs" / name / "metrics.csv", RUNS / "resumed" / name)
        for script in ("torch_train.py", "torch_test.py"):
            call(*chain_words(script))
        unneeded = shutil.ignore_patterns("last", "events.*", "predictions.csv")
        for part in ("checkpoints", "logs"):
            shutil.copytree(folder / part / CHAIN, RUNS / part / CHAIN, ignore=unneeded)
    for path in sorted(RUNS.rglob("*")):
        if path.is_file():
            print(f"{path.relative_to(RUNS)}: {path.stat().st_size / 1000:.1f} kB")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("store", "compare", "checkpoint", "compute"))
    parser.add_argument("--to", type=Path, default=FOLDER, help="folder of the stored outputs")
    parser.add_argument("--data_dir", type=Path, default=default_data_dir(), help="PTB-XL folder")
    parser.add_argument("--weights", type=Path, help="compute: where the weights of version 1 are")
    options = parser.parse_args()
    match options.command:
        case "store":
            store(options.to, options.data_dir)
        case "compare":
            return compare(options.to, options.data_dir)
        case "checkpoint":
            train_checkpoints()
        case "compute":  # one backend of `store` or `compare`
            compute_here(options.to, options.data_dir, options.weights)
    return 0


if __name__ == "__main__":
    sys.exit(main())
