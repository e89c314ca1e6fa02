"""Feed damaged files to the readers of recordings, cards, weights, caches and configurations.

python -m tests.fuzz                                # every target, coverage-guided where atheris is installed
python -m tests.fuzz wfdb edf --runs 100000
python -m tests.fuzz wfdb --report tests/fuzz/report.json

Exit code 1 where something was found that must not happen; the inputs lie in --folder.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS
from utils.config import Options, option, parse
from utils.errors import run_cli
from utils.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
_TOOLS = ROOT / ".venv" / "tools"


@dataclass
class FuzzOptions(Options):
    """What is fuzzed, and for how long."""

    targets: list[str] = option(
        [], "readers to fuzz (default: all)", choices=list(TARGETS), positional=True, metavar="TARGET"
    )
    runs: int = option(20_000, "executions of each target", min=1)
    seed: int = option(0, "seed of the mutations", min=0)
    engine: str = option("", "default: atheris where it is installed", choices=("", "atheris", "random"))
    seconds: int = option(0, "time limit of each target (0: none)", min=0)
    folder: str = option("results/fuzz", "folder of what is found", scope="machine")
    report: str = option("", "JSON file whose entries of these targets are replaced", scope="machine")


def fuzz(target: str, options: FuzzOptions, engine: str) -> dict[str, object]:
    """Fuzz one target in a process of its own, which a damaged file may crash."""
    folder = Path(options.folder).resolve() / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state.json").unlink(missing_ok=True)
    words = [target, engine, str(options.runs), str(options.seed), str(folder)]
    tools = [str(path) for path in sorted(_TOOLS.glob("lib/python*/site-packages"))]
    path = os.pathsep.join([*tools, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", *words],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            code: int | None = process.wait(options.seconds or None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
    state = folder / "state.json"
    found = read_json(state) if state.exists() else {"runs": 0, "findings": {}}
    if code:
        tail = (folder / "log").read_text(errors="replace").strip()[-500:]
        found["findings"][f"the process ended with {code}"] = tail
    return {"engine": engine, **found}


def main() -> int:
    """Read the flags, fuzz and report."""
    options = parse(FuzzOptions, prog="python -m tests.fuzz", description=__doc__)
    installed = importlib.util.find_spec("atheris") is not None or any(
        _TOOLS.glob("lib/python*/site-packages/atheris")
    )
    engine = options.engine or ("atheris" if installed else "random")
    if engine == "random":
        print("random damage, not guided by coverage" + ("" if installed else ": atheris is not installed"))
    failed = False
    for target in options.targets or list(TARGETS):
        result = fuzz(target, options, engine)
        failed |= bool(result["findings"])
        print(
            f"{target:14s} {result['runs']:>9,} executions, {result.get('accepted', 0):,} accepted",
            flush=True,
        )
        for kind, text in dict(result["findings"]).items():  # type: ignore[call-overload]
            print(f"  {kind}: {text[:200]}")
        if options.report:
            path = Path(options.report)
            before = read_json(path) if path.exists() else {}
            write_json(path, json.loads(json.dumps(before | {target: result})))
    return int(failed)


if __name__ == "__main__":
    run_cli(main)
