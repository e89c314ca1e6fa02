"""Where the explorer's ECGs come from: shipped samples, a local PTB-XL, and uploads."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from databases.base import Recording
from preprocessing.recordings.external import find_recordings, prepare, read_recording
from utils.errors import DataError, UsageError
from utils.files import read_json

SAMPLES = Path(__file__).resolve().parent / "samples"
SECONDS = 10.0
LARGEST_UPLOAD = 64 * 2**20  # bytes of all files, unpacked
MOST_FILES = 200
_RAM = Path("/dev/shm")
_FIELDS = {
    "--sampling_rate": "Sampling rate",
    "--units": "Unit",
    "--leads": "Lead names in file order",
    "--start": "Start of the part shown",
    "--notch": "Filter mains",
}


@dataclass(frozen=True)
class Correction:
    """What a user says about a file where it is silent or wrong; None leaves the reader's own finding."""

    sampling_rate: float | None = None
    units: str | None = None
    leads: str | None = None
    start: float | None = None
    notch: int | None = None


@dataclass(frozen=True)
class Shown:
    """A recording on the page.

    ``recording``: the part shown, at its own rate. ``key``: identifies it. ``labels``: its true labels, where
    known. ``source``: sentence about where it comes from.
    """

    recording: Recording
    key: str
    labels: tuple[str, ...] = ()
    source: str = ""


def cut(recording: Recording, correction: Correction, seconds: float = SECONDS) -> Recording:
    """The part that is shown, at the recording's own rate; too short a recording is refused."""
    rate = recording.sampling_rate
    return prepare(recording, rate, round(seconds * rate), correction.start, correction.notch)


def for_model(shown: Recording, sampling_rate: float, samples: int) -> Recording:
    """Bring the part that is shown to the rate and length of a model."""
    if samples / sampling_rate > len(shown.signal) / shown.sampling_rate + 1e-9:
        raise DataError(
            f"{shown.name}: the model reads {samples / sampling_rate:g} s, "
            f"the part shown has {len(shown.signal) / shown.sampling_rate:g} s"
        )
    if shown.sampling_rate == sampling_rate and len(shown.signal) == samples:
        return shown
    return prepare(shown, sampling_rate, samples)


def on_page(text: str) -> str:
    """A note or message of the readers, with the page's fields in the place of command-line flags."""
    for flag, name in _FIELDS.items():
        text = text.replace(flag, f"“{name}”")
    return text


# ---- samples ---------------------------------------------------------------------------------------


def sample_names(folder: Path = SAMPLES) -> dict[str, dict[str, Any]]:
    """Facts of each sample: ``title``, ``labels``, ``ecg_id`` and ``source``, by file name."""
    return read_json(folder / "samples.json", "copy the folder explorer/samples of the repository again")


def read_sample(name: str, folder: Path = SAMPLES) -> Shown:
    """One of the shipped samples."""
    facts = sample_names(folder)
    if name not in facts:
        raise UsageError(f"no sample '{name}': there are {', '.join(facts)}")
    recording = cut(read_recording(folder / name, seconds=SECONDS), Correction())
    return Shown(recording, f"sample:{name}", tuple(facts[name]["labels"]), facts[name]["source"])


# ---- PTB-XL on this disk ---------------------------------------------------------------------------


class LocalPtbxl:
    """Records of a local PTB-XL, with their true labels of one label set."""

    def __init__(self, root: str | Path, task: str = "superdiagnostic"):
        from databases import open_database

        self.database = open_database("ptbxl", root)
        self.task = task

    @cached_property
    def labels(self) -> dict[int, tuple[str, ...]]:
        """True labels by ecg_id; records without any are left out."""
        from preprocessing.targets import TargetOptions, find_targets

        targets = find_targets(self.task, self.database.name).build(self.database, TargetOptions())
        ids = self.database.records.index.to_numpy()[targets.rows]
        names = np.array(targets.classes)
        return {
            int(ecg_id): tuple(names[row.astype(bool)].tolist())
            for ecg_id, row in zip(ids, targets.values, strict=True)
        }

    def find(self, fold: int | None = None, label: str | None = None) -> list[int]:
        """Sorted ecg_ids of a fold and with a label."""
        table = self.database.records
        ids = table.index.to_numpy() if fold is None else table.index.to_numpy()[table["fold"] == fold]
        return [int(i) for i in ids if label is None or label in self.labels.get(int(i), ())]

    def fold_of(self, ecg_id: int) -> int | None:
        """Official fold of a record; None where it is not among them."""
        table = self.database.records
        return int(table.loc[ecg_id, "fold"]) if ecg_id in table.index else None

    def signal(self, ecg_id: int, sampling_rate: float) -> np.ndarray:
        """Twelve leads of a record in mV at a rate that the database has, (T, 12)."""
        if ecg_id not in self.database.records.index:
            raise UsageError(f"there is no record {ecg_id} in {self.database.root}")
        recording = self.database.read(ecg_id)
        rate = recording.sampling_rate
        if rate != sampling_rate:
            recording = prepare(recording, sampling_rate, round(len(recording.signal) / rate * sampling_rate))
        return np.asarray(recording.signal)

    def read(self, ecg_id: int, correction: Correction = Correction()) -> Shown:
        """One record."""
        table = self.database.records
        if ecg_id not in table.index:
            raise UsageError(f"no record {ecg_id} in {self.database.root}: choose one of its {len(table)}")
        row = table.loc[ecg_id]
        path = self.database.root / str(row["path"])
        start = None if correction.start is None else correction.start
        recording = read_recording(
            path, correction.sampling_rate, correction.units, correction.leads, start, SECONDS
        )
        source = f"PTB-XL record {ecg_id}, fold {row['fold']} (CC BY 4.0, Wagner et al. 2020)"
        shown = cut(recording, correction)
        return Shown(shown, f"ptbxl:{ecg_id}", self.labels.get(ecg_id, ()), source)


# ---- uploads ---------------------------------------------------------------------------------------


def unpack(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files of an upload; zip archives are unpacked, within the limits and without their folders' names."""
    unpacked: dict[str, bytes] = {}
    total = 0
    for name, content in files.items():
        parts: Sequence[tuple[str, bytes]] = [(name, content)]
        if name.lower().endswith(".zip"):
            parts = _unzip(name, content, LARGEST_UPLOAD - total)
        for inner, inner_content in parts:
            total += len(inner_content)
            if total > LARGEST_UPLOAD or len(unpacked) >= MOST_FILES:
                raise UsageError(
                    f"the upload is larger than {LARGEST_UPLOAD // 2**20} MB or {MOST_FILES} files: "
                    "upload one recording, or use inference.py for folders"
                )
            if inner in unpacked:
                raise UsageError(f"two uploaded files are called {inner}: rename one of them")
            unpacked[inner] = inner_content
    if not unpacked:
        raise UsageError("the upload holds no file")
    return unpacked


def _unzip(name: str, content: bytes, room: int) -> list[tuple[str, bytes]]:
    """Members of an archive; sizes are checked before anything is unpacked, and again while it is."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [item for item in archive.infolist() if not item.is_dir()]
            members = [item for item in members if not item.filename.startswith("__MACOSX/")]
            if len(members) > MOST_FILES or sum(item.file_size for item in members) > room:
                raise UsageError(
                    f"{name} unpacks to {sum(item.file_size for item in members) / 2**20:.0f} MB in "
                    f"{len(members)} files; {LARGEST_UPLOAD // 2**20} MB and {MOST_FILES} files are the most"
                )
            parts = []
            for item in members:
                with archive.open(item) as file:
                    part = file.read(item.file_size + 1)
                if len(part) > item.file_size:
                    raise DataError(f"{name}: {item.filename} is larger than the archive says")
                parts.append((PurePosixPath(item.filename.replace("\\", "/")).name, part))
            return parts
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise DataError(f"{name} cannot be unpacked ({error}): pack it again, without a password") from error


def read_upload(
    files: Mapping[str, bytes], correction: Correction = Correction(), choice: str | None = None
) -> tuple[Shown, list[str]]:
    """The chosen recording of an upload (the first one by default), and the names of all.

    The readers want files: they get them in a private folder, in memory where the system has such a folder,
    which is deleted before this returns.
    """
    contents = unpack(files)
    with TemporaryDirectory(prefix="twelvelead-", dir=_RAM if _RAM.is_dir() else None) as folder:
        for name, content in contents.items():
            (Path(folder) / name).write_bytes(content)
        try:
            found = find_recordings(folder)
            names = [path.name for path in found]
            if choice is not None and choice not in names:
                raise UsageError(f"no recording '{choice}' in the upload: there are {', '.join(names)}")
            path = found[names.index(choice)] if choice else found[0]
            recording = read_recording(
                path,
                correction.sampling_rate,
                correction.units,
                correction.leads,
                correction.start,
                SECONDS,
            )
            shown = cut(recording, correction)
        except (DataError, UsageError) as error:  # the folder's name would tell nobody anything
            text = str(error).replace(f"{folder}/", "").replace(folder, "the upload")
            raise type(error)(text.replace("in this folder", "in it")) from error
    digest = _digest(contents, path.name)
    return Shown(shown, f"upload:{digest}", (), f"uploaded file {path.name}"), names


def _digest(contents: Mapping[str, bytes], name: str) -> str:
    digest = hashlib.sha256(name.encode())
    for key in sorted(contents):
        digest.update(key.encode() + b"\0" + contents[key])
    return digest.hexdigest()[:16]
