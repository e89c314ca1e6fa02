"""Train and score what configs/protoecgnet/ablations.yaml lists."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from models_torch.protoecgnet import BRANCHES
from training.checkpoint import ROOT, read_card
from training.protoecgnet.config import CHAIN, ProtoConfig, parse_proto_config, stage_config
from utils.config import fields_of, names_of, stored_settings
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import read_json

ABLATIONS = ROOT / "configs" / "protoecgnet" / "ablations.yaml"
BASE, PREFIX = "protoecgnet_small", "ablation_"
LAST = (*(f"{branch}/classifier" for branch in BRANCHES), "fusion")  # the stages that are scored
_PLAN = (*CHAIN, "fusion")
# options that no stage before this one reads; all others matter from the first on
FIRST_READ = {f.name: f.metadata["stage"] for f in fields_of(ProtoConfig) if f.metadata["stage"]}
OF_ONE_RUN = names_of(ProtoConfig, ("run", "machine")) | {"init"}


def read_ablations(path: Path = ABLATIONS) -> dict[str, dict[str, Any]]:
    """Read the list of ablations."""
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML: {error}") from error
    found: dict[str, dict[str, Any]] = {BASE: {}}
    for name, changes in (listed if isinstance(listed, Mapping) else {"": None}).items():
        if not isinstance(changes, Mapping) or OF_ONE_RUN & set(changes):
            raise DataError(f"{path}: each line is 'name: {{option: value}}', not '{name}: {changes}'")
        try:
            parse_proto_config("", _words(changes))
        except (UsageError, SystemExit) as error:  # argparse says itself what is wrong, and ends
            said = "see above" if isinstance(error, SystemExit) else error
            raise UsageError(f"{path}, {name}: {dict(changes)} cannot be: {said}") from error
        found[PREFIX + name] = dict(changes)
    return found


def _words(changes: Mapping[str, Any]) -> list[str]:
    return [word for option, value in changes.items() for word in (f"--{option}", str(value))]


def ablate(
    run: str, changes: dict[str, Any], config: Path, data_dir: str, output_dir: Path, threads: int
) -> None:
    """Train and score one ablation, or what is missing of it.

    A change that the first stages do not read starts from copies of the base's stages.
    """
    words = ["--config", _shown(config), "--run", run, *_words(changes)]
    words += ["--data_dir", data_dir, "--threads", str(threads)]
    expected = parse_proto_config("", ["--model", "protoecgnet", *words])
    first = min((_PLAN.index(FIRST_READ.get(option, "joint")) for option in changes), default=0)
    where = [] if output_dir == Path(".") else ["--output_dir", str(output_dir)]
    folder, base = (output_dir / "checkpoints" / name for name in (run, BASE))
    if first:
        same = parse_proto_config("", ["--model", "protoecgnet", "--config", _shown(config), "--run", BASE])
        _check_options(base, same)
        if not _scored(base, output_dir):
            raise UsageError(f"{run} starts from {base}, which is not trained and scored: --only {BASE}")
    copied = [f"{branch}/{stage}" for branch in BRANCHES for stage in CHAIN[:first]]
    current = all(_sha(folder / part) == _sha(base / part) for part in copied)
    if current:
        _check_options(folder, expected)
        if _scored(folder, output_dir):
            print(f"{run}: trained and scored before")
            return
    if first == 0:
        _call(threads, "torch_train.py", *words, *where, *(["--resume"] if folder.exists() else []))
    else:
        for part in copied:
            shutil.rmtree(folder / part, ignore_errors=True)
            shutil.copytree(base / part, folder / part)
        for branch in BRANCHES:
            for stage in CHAIN[first:]:
                only = ["--branch", branch, "--training_stage", stage, "--overwrite"]
                _call(threads, "torch_train.py", *words, *only, *where)
        _call(threads, "torch_train.py", *words, "--training_stage", "fusion", "--overwrite", *where)
    for branch in (*BRANCHES, ""):
        part_words = ["--branch", branch] if branch else []
        test = ["--model", "protoecgnet", "--run", run, *part_words, "--data_dir", data_dir, *where]
        _call(threads, "torch_test.py", *test)


def _sha(folder: Path) -> str | None:
    return read_card(folder)["weights_sha256"] if (folder / "card.json").exists() else None


def _check_options(folder: Path, expected: ProtoConfig) -> None:
    """Refuse stages that were trained with other options: their results would be reported as these."""
    for number, stage in enumerate(_PLAN):
        for branch in [""] if stage == "fusion" else BRANCHES:
            place = folder / branch / stage
            if not (place / "card.json").exists():
                continue
            has = stored_settings(ProtoConfig, read_card(place)["config"])
            for option, value in stage_config(expected, branch, stage).to_json().items():
                read_later = _PLAN.index(FIRST_READ.get(option, "joint")) > number
                if option not in OF_ONE_RUN and not read_later and has[option] != value:
                    raise UsageError(
                        f"{place} was trained with --{option} {has[option]}, not {value}: delete {folder}, "
                        "or make another with --output_dir"
                    )


def _scored(folder: Path, output_dir: Path) -> bool:
    """Whether branches and fusion are scored on all of fold 10 with the weights that they have now."""
    for part in LAST:
        test = output_dir / "logs" / folder.name / part / "test.json"
        if _sha(folder / part) is None or not test.exists():
            return False
        report = read_json(test)
        if report["limit"] or report["checkpoint"]["weights_sha256"] != _sha(folder / part):
            return False
    made_from = read_card(folder / "fusion").get("made_from")
    return made_from == [_sha(folder / part) for part in LAST[:-1]]


def _shown(path: Path) -> str:
    """The path as one would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _call(threads: int, script: str, *words: str) -> None:
    """Run a script of this repository; on Ctrl-C let it save what it has."""
    shown = shlex.join(["python", script, *words])
    print(f"--- {shown}", flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    interrupted = False
    with subprocess.Popen([sys.executable, str(ROOT / script), *words], env=environment) as child:
        while child.returncode is None:
            try:
                child.wait()
            except KeyboardInterrupt:  # it has got the signal, too
                interrupted = True
    if interrupted or child.returncode == 130:
        raise KeyboardInterrupt
    if child.returncode:
        kind = UsageError if child.returncode == UsageError.exit_code else TwelveLeadError
        raise kind(f"{shown} ended with code {child.returncode}: see above")


def choose(names: Sequence[str] | None, listed: Mapping[str, Any]) -> list[str]:
    """Resolve the names of ``--only``."""
    runs = [name if name in listed else PREFIX + name for name in names or listed]
    for name, run in zip(names or listed, runs, strict=True):
        if run not in listed:
            known = ", ".join(key.removeprefix(PREFIX) for key in listed)
            raise UsageError(f"unknown ablation '{name}'; there are: {known}")
    return runs
