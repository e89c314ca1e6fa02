"""Archives of recordings predicted in shards: a shard is complete when the manifest says so, and never twice.

A folder holds the shards, ``part-000000.parquet`` and so on, and ``_manifest.jsonl``: the settings, then a
line for each shard that is complete or was dropped. A worker writes a shard into ``_pending``; the line is
written next, and then the shard gets its place. What lies there without a line is removed by the next run.
Readers of Parquet data sets leave out names that begin with an underscore.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from databases.base import Recording
from explain.batch import (
    FAILURES_KEPT,
    Outcome,
    columns_of,
    facts_of,
    names_of,
    predict_ahead,
    row_of,
    settings_of,
    texts_of,
)
from explain.journal import stamp_of
from preprocessing.recordings.ahead import Reading, ReadingPool
from preprocessing.recordings.search import Search
from training.predictor import Predictor, load_predictor
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import jsonable, replace_durably, sha256, write_error
from utils.tables import write_rows
from utils.text import encodable

MANIFEST = "_manifest.jsonl"
PENDING = "_pending"
_FILE = "part-{:06d}.parquet"
_FAILURES_KEPT = 3  # of a shard
_ATTEMPTS = 4  # at a shard whose worker dies, which Ray would try forever
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """Recordings of a shard: their names in the table, and their files."""

    number: int
    names: list[str]
    sources: list[str]

    @property
    def file(self) -> str:
        """Name of the file."""
        return _FILE.format(self.number)


@dataclass(frozen=True)
class Written:
    """What a worker says of a shard that it has written; all but the failures is kept in the manifest."""

    number: int
    records: int
    failed: int
    digest: str
    failures: list[str] = field(default_factory=list, compare=False)

    @property
    def file(self) -> str:
        """Name of the file."""
        return _FILE.format(self.number)


class Manifest:
    """Which shards of a folder are complete.

    ``settings``: what the rows depend on; a folder of other settings is refused, and not overwritten.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        self.folder = folder
        self.path = folder / MANIFEST
        self.complete: dict[int, Written] = {}
        self._next = 0
        try:
            (folder / PENDING).mkdir(parents=True, exist_ok=True)
            valid = self._read(settings) if self.path.is_file() else 0
            self._file = open(self.path, "r+b" if valid else "wb")  # noqa: SIM115 (closed on exit)
            self._file.truncate(valid)  # half a line of a command that was killed
            self._file.seek(valid)
            if not valid:
                self._append({"settings": settings})
            self._settle()
        except OSError as error:
            raise write_error(self.path, error) from error

    def _read(self, settings: Mapping[str, Any]) -> int:
        """Take the lines of earlier runs; returns the length of the valid ones."""
        valid = 0
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else None
                    if not valid:
                        self._compare(entry["settings"] if entry else {}, jsonable(dict(settings)))
                    elif entry is not None and "dropped" in entry:
                        self.complete.pop(entry["dropped"], None)
                    elif entry is not None:
                        shard = Written(**entry)
                        if not isinstance(shard.number, int) or not isinstance(shard.records, int):
                            raise ValueError("not the numbers of a shard")
                        self.complete[shard.number] = shard
                        self._next = max(self._next, shard.number + 1)
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(
                        f"{self.path} is damaged: move the folder {self.folder} away and predict again"
                    ) from error
                if entry is None:
                    break
                valid += len(line)
        return valid

    def _compare(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        if differing := [name for name in new if old.get(name) != new[name]] if old else []:
            raise UsageError(
                f"{self.folder} holds predictions with other settings ({', '.join(differing)}): give the "
                "same, choose another --output_dir, or move the folder away"
            )

    def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(jsonable(dict(entry))).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error

    def _settle(self) -> None:
        """Finish what a killed command has begun: complete shards get their place, all else is removed."""
        for number, shard in list(self.complete.items()):
            place, pending = self.folder / shard.file, self.folder / PENDING / shard.file
            for path in (place, pending):
                if path.is_file() and sha256(path) == shard.digest:
                    replace_durably(path, place)
                    break
            else:
                logger.warning(f"{place} is missing or damaged: its recordings are predicted again")
                self.drop(number)
        shutil.rmtree(self.folder / PENDING)
        (self.folder / PENDING).mkdir()
        known = {shard.file for shard in self.complete.values()}
        for path in self.folder.glob("part-*.parquet"):
            if path.name not in known:
                path.unlink()

    def drop(self, number: int) -> None:
        """Take a shard out; its recordings are not predicted any more."""
        shard = self.complete.pop(number)
        self._append({"dropped": number})
        (self.folder / shard.file).unlink(missing_ok=True)

    def commit(self, shard: Written) -> None:
        """Declare a shard complete that a worker has written, and give it its place."""
        entry = asdict(shard)
        del entry["failures"]
        self._append(entry)
        self.complete[shard.number] = shard
        try:
            replace_durably(self.folder / PENDING / shard.file, self.folder / shard.file)
        except OSError as error:
            raise write_error(self.folder / shard.file, error) from error

    def done(self, sources: Mapping[str, Path]) -> set[str]:
        """Names whose rows are complete; shards with a recording that changed or is gone are dropped."""
        done: set[str] = set()
        outdated: list[int] = []
        found = 0
        for number, shard in self.complete.items():
            stamps = _stamps(self.folder / shard.file)
            found += sum(name in sources for name in stamps)
            if all(name in sources and stamp_of(sources[name]) == stamp for name, stamp in stamps.items()):
                done |= stamps.keys()
            else:
                outdated.append(number)
        if self.complete and not found:
            raise UsageError(
                f"{self.folder} holds predictions of other recordings: name the same folder with --dir, "
                "choose another --output_dir, or move the folder away"
            )
        for number in outdated:
            self.drop(number)
        if outdated:
            logger.info(f"{len(outdated)} shards are predicted again: files in them have changed or are gone")
        return done

    def plan(self, todo: Sequence[tuple[str, Path]], size: int) -> Iterator[Shard]:
        """Shards of recordings, numbered after all that there were before."""
        for first in range(0, len(todo), size):
            part = todo[first : first + size]
            names, sources = [name for name, _ in part], [str(source) for _, source in part]
            yield Shard(self._next, names, sources)
            self._next += 1

    def check(self, names: Sequence[str]) -> None:
        """Compare the names in all shards with those that there must be, each once."""
        written = [name for shard in self.complete.values() for name in _stamps(self.folder / shard.file)]
        rows = sum(shard.records for shard in self.complete.values())
        if rows != len(names) or set(written) != set(names):
            raise TwelveLeadError(
                f"{self.folder} has {rows} rows of {len(set(written))} recordings, not one of each of "
                f"{len(names)}: move it away, predict again, and report this"
            )

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self._file.close()
        if kind is None:
            shutil.rmtree(self.folder / PENDING, ignore_errors=True)


def _stamps(path: Path) -> dict[str, str]:
    """Stamp of the file of each recording of a shard."""
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["record", "stamp"])
    return dict(zip(table["record"].to_pylist(), table["stamp"].to_pylist(), strict=True))


@dataclass(frozen=True)
class ShardWork:
    """What a worker needs to predict shards: the model, how recordings are read, where shards are written."""

    model: Path
    digest: str
    reading: Reading
    folder: Path
    batch_size: int
    threads: int

    def load(self) -> Predictor:
        """Load the model, which must be the one that the command has loaded."""
        predictor = load_predictor(self.model, threads=self.threads)
        if predictor.card.weights_sha256 != self.digest:
            raise DataError(f"{self.model} holds other weights here than where the command was started")
        return predictor

    def predict(self, predictor: Predictor, shard: Shard, pool: ReadingPool) -> Written:
        """Predict the recordings of a shard and write it among those that are pending.

        A process of `pool` reads: a file that ends it costs one row, and not this worker again and again.
        """
        self._count_attempt(shard)
        sources = [Path(source) for source in shard.sources]
        stamps = [stamp_of(source) for source in sources]  # before reading: a later change is noticed
        rows: list[dict[str, Any]] = []
        batches = predict_ahead(predictor, self.reading, sources, self.batch_size, pool)
        for _, recordings, predictions in batches:
            for recording, prediction in zip(recordings, predictions, strict=True):
                notes = recording.notes if isinstance(recording, Recording) else []
                row = row_of(predictor, recording, prediction)
                number = len(rows)
                own = {"record": shard.names[number], "stamp": stamps[number], "notes": " ".join(notes)}
                rows.append(own | row)
        path = self.folder / PENDING / shard.file
        columns = columns_of(predictor) | {"notes": str, "stamp": str}
        write_rows(path, columns, [rows], facts_of(predictor))
        failures = [encodable(row["error"]) for row in rows if "error" in row]
        return Written(shard.number, len(rows), len(failures), sha256(path), failures[:_FAILURES_KEPT])

    def _count_attempt(self, shard: Shard) -> None:
        """Refuse a shard that has ended its workers several times."""
        with open(self.folder / PENDING / f"{shard.file}.attempts", "ab") as file:
            file.write(b".")
            if file.tell() > _ATTEMPTS:
                raise TwelveLeadError(
                    f"{_ATTEMPTS} workers have died over the recordings from {shard.names[0]} to "
                    f"{shard.names[-1]}: the memory may not suffice; try fewer --workers or a smaller "
                    "--batchsize"
                )


def predict_archive(
    predictor: Predictor,
    search: Search,
    work: ShardWork,
    run: Callable[[ShardWork, Sequence[Shard]], Iterator[Written]],
    shard_size: int,
) -> Outcome:
    """Predict all recordings of a search into shards; what earlier commands have completed is kept.

    ``run``: gives what workers have written, shard by shard, in any order.
    """
    texts = texts_of(names_of(search))
    sources = {name: source for source, name in texts.items()}
    with Manifest(work.folder, settings_of(predictor, work.reading)) as manifest:
        done = manifest.done(sources)
        if done:
            logger.info(f"resumed: {len(done)} of {len(sources)} recordings were predicted before")
        todo = [(name, source) for name, source in sources.items() if name not in done]
        outcome = Outcome(len(sources), work.folder)
        with tqdm(total=len(sources), initial=len(done), desc="recordings", unit="ECG", disable=None) as bar:
            shards = list(manifest.plan(todo, shard_size))
            for written in run(work, shards) if shards else ():
                manifest.commit(written)
                outcome.failures += written.failures[: max(0, FAILURES_KEPT - len(outcome.failures))]
                bar.update(written.records)
        manifest.check(list(sources))
        outcome.failed = sum(shard.failed for shard in manifest.complete.values())
    return outcome
