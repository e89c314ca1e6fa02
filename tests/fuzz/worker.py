"""Fuzz one target in this process: `python -m tests.fuzz.worker TARGET ENGINE RUNS SEED FOLDER`.

The engine is ``atheris`` (coverage-guided, libFuzzer) or ``random`` (`tests.fuzz.mutate`). What was found is
kept in FOLDER, one input a kind, beside ``state.json`` with the counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import logging
import random
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz import CORPUS, seeds

_INSTRUMENTED = (
    "databases",
    "preprocessing",
    "training",
    "utils",
    "edfio",
    "ecgdatakit",
    "yaml",
    "safetensors",
)
_LONGEST_SECONDS = 20


class Session:
    """Counts of one run, and its findings by kind."""

    def __init__(self, target: Any, execute: Callable[..., bool], folder: Path):
        self.target, self._execute, self.folder = target, execute, folder
        self.inputs = folder / "inputs"
        self.runs = self.accepted = 0
        self.findings: dict[str, str] = {}
        self._began = time.monotonic()

    def warm_up(self, inputs: list[bytes]) -> None:
        """Import what readers import when they are first used; that memory is not an input's."""
        for data in inputs:
            with contextlib.suppress(Exception):
                self._execute(self.target, data, self.inputs)

    def one(self, data: bytes) -> None:
        """Execute an input and note what must not happen."""
        self.runs += 1
        began = time.monotonic()
        try:
            self.accepted += self._execute(self.target, data, self.inputs)
        except Exception as error:
            kind = getattr(error, "kind", f"{type(error).__name__}: {str(error)[:60]}")
            self._note(kind, str(error), data)
        if time.monotonic() - began > _LONGEST_SECONDS:
            self._note("slow", f"{time.monotonic() - began:.0f} s", data)
        if self.runs < 50 or self.runs % 50 == 0:  # libFuzzer ends the process without a word
            self.save()

    def _note(self, kind: str, text: str, data: bytes) -> None:
        if kind not in self.findings:
            self.findings[kind] = text[:500]
            name = hashlib.sha256(kind.encode()).hexdigest()[:12]
            (self.folder / f"finding-{name}").write_bytes(data)
            self.save()

    def save(self) -> None:
        """Write the counts."""
        values = {"runs": self.runs, "accepted": self.accepted, "findings": self.findings}
        values["seconds"] = round(time.monotonic() - self._began, 1)
        (self.folder / "state.json").write_text(json.dumps(values, indent=2))


def _session(target: str, folder: Path) -> Session:
    from tests.fuzz.execute import execute
    from tests.fuzz.targets import TARGETS

    return Session(TARGETS[target], execute, folder)


def main() -> None:
    """Read the words and fuzz."""
    target, engine, runs, seed, folder = (
        sys.argv[1],
        sys.argv[2],
        int(sys.argv[3]),
        int(sys.argv[4]),
        Path(sys.argv[5]),
    )
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if engine == "random":
        session, inputs, rng = _session(target, folder), seeds(target), random.Random(seed)
        from tests.fuzz.mutate import mutate

        session.warm_up(inputs)
        for _ in range(runs):
            session.one(mutate(rng.choice(inputs), inputs, rng))
        session.save()
        return
    atheris = importlib.import_module(engine)  # in the tools of `make fuzz` alone

    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        session = _session(target, folder)
        session.warm_up(seeds(target))
    grown = folder / "corpus"
    grown.mkdir(exist_ok=True)
    words = [
        f"-runs={runs}",
        f"-seed={seed}",
        "-max_len=65536",
        "-rss_limit_mb=4096",
        "-timeout=60",
        "-verbosity=0",
    ]
    words += [f"-artifact_prefix={folder}/crash-", str(grown), str(CORPUS / target)]
    atheris.Setup([sys.argv[0], *words], session.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
