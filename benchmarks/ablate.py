"""Train and score what configs/protoecgnet/ablations.yaml lists."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.collect import collect_chain
from benchmarks.rows import DATA
from models_torch.protoecgnet import BRANCHES
from training.checkpoint import ROOT, read_card
from training.experiments.plan import first_stage, fixed_names, read_variants
from training.protoecgnet.config import CHAIN, ProtoConfig, parse_proto_config, stage_config
from utils.config import Options, option, stored_settings
from utils.errors import TwelveLeadError, UsageError, nearest
from utils.files import read_json

ABLATIONS = ROOT / "configs" / "protoecgnet" / "ablations.yaml"
BASE, PREFIX = "protoecgnet_small", "ablation_"
LAST = (*(f"{branch}/classifier" for branch in BRANCHES), "fusion")  # the stages that are scored
_STAGES = (*CHAIN, "fusion")


@dataclass
class AblateOptions(Options):
    """What ``ablate`` trains, and where."""

    data_dir: str = option("data/ptb", "folder of PTB-XL")
    base: Path = option(ABLATIONS.with_name("small.yaml"), "configuration that the ablations change")
    only: list[str] = option([], "names of ablations (default: all of the list)", metavar="NAME")
    threads: int = option(1, "CPU threads", min=1, scope="machine")
    output_dir: Path = option(Path("."), "folder with checkpoints/ and logs/", scope="machine")
    data: Path = option(DATA, "folder of the collected rows", scope="machine")


def read_ablations(path: Path = ABLATIONS) -> dict[str, dict[str, Any]]:
    """The base and its ablations: settings that each of them changes."""
    ablations: dict[str, dict[str, Any]] = {BASE: {}}
    for variant in read_variants(path, ProtoConfig, PREFIX):
        try:
            parse_proto_config("", _words(variant.changes))
        except UsageError as error:
            raise UsageError(f"{path}, {variant.name}: {error}") from error
        ablations[variant.name] = variant.changes
    return ablations


def _words(changes: Mapping[str, Any]) -> list[str]:
    return [word for name, value in changes.items() for word in (f"--{name}", str(value))]


def ablate(run: str, changes: dict[str, Any], options: AblateOptions) -> None:
    """Train and score one ablation, or what is missing of it.

    A change that the first stages do not read starts from copies of the base's stages.
    """
    output_dir, threads = options.output_dir, options.threads
    config = ["--config", _relative(options.base)]
    words = [*config, "--run", run, *_words(changes)]
    words += ["--data_dir", options.data_dir, "--threads", str(threads)]
    first = first_stage(ProtoConfig, changes, _STAGES)
    where = [] if output_dir == Path(".") else ["--output_dir", str(output_dir)]
    folder, base = (output_dir / "checkpoints" / name for name in (run, BASE))
    if first:
        _check_options(base, parse_proto_config("", ["--model", "protoecgnet", *config, "--run", BASE]))
        if not _scored(base, output_dir):
            raise UsageError(f"{run} starts from {base}, which is not trained and scored: --only {BASE}")
    copied = [f"{branch}/{stage}" for branch in BRANCHES for stage in CHAIN[:first]]
    if all(_sha(folder / part) == _sha(base / part) for part in copied):
        _check_options(folder, parse_proto_config("", ["--model", "protoecgnet", *words]))
        if _scored(folder, output_dir):
            print(f"{run}: already trained and scored")
            return
    if first == 0:
        _call(threads, "torch_train.py", *words, *where, *(["--resume"] if folder.exists() else []))
    else:
        for part in copied:
            shutil.rmtree(folder / part, ignore_errors=True)
            shutil.copytree(base / part, folder / part)
        stages = [["--branch", b, "--training_stage", stage] for b in BRANCHES for stage in CHAIN[first:]]
        for stage in [*stages, ["--training_stage", "fusion"]]:
            _call(threads, "torch_train.py", *words, *stage, "--overwrite", *where)
    for branch in (*BRANCHES, ""):
        test = ["--model", "protoecgnet", "--run", run, *(["--branch", branch] if branch else [])]
        _call(threads, "torch_test.py", *test, "--data_dir", options.data_dir, *where)


def _sha(folder: Path) -> str | None:
    return read_card(folder).weights_sha256 if (folder / "card.json").exists() else None


def _check_options(folder: Path, expected: ProtoConfig) -> None:
    """Refuse stages that were trained with other options, whose results would be reported as these."""
    for number, stage in enumerate(_STAGES):
        for branch in [""] if stage == "fusion" else BRANCHES:
            checkpoint = folder / branch / stage
            if not (checkpoint / "card.json").exists():
                continue
            stored = stored_settings(ProtoConfig, read_card(checkpoint).config)
            for name, value in stage_config(expected, branch, stage).to_json().items():
                read_later = first_stage(ProtoConfig, [name], _STAGES) > number
                if name not in fixed_names(ProtoConfig) and not read_later and stored[name] != value:
                    raise UsageError(
                        f"{checkpoint} was trained with --{name} {stored[name]}, not {value}: "
                        f"delete {folder}, or choose another --output_dir"
                    )


def _scored(folder: Path, output_dir: Path) -> bool:
    """Whether branches and fusion were scored on all of fold 10 with their present weights."""
    for part in LAST:
        test = output_dir / "logs" / folder.name / part / "test.json"
        if _sha(folder / part) is None or not test.exists():
            return False
        report = read_json(test)
        if report["limit"] or report["checkpoint"]["weights_sha256"] != _sha(folder / part):
            return False
    made_from = read_card(folder / "fusion").provenance.made_from
    return made_from == [_sha(folder / part) for part in LAST[:-1]]


def _relative(path: Path) -> str:
    """The path relative to the current folder where it is below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _call(threads: int, script: str, *words: str) -> None:
    """Run a script of this repository; on Ctrl-C let it save what it has."""
    typed = shlex.join(["python", script, *words])
    print(f"--- {typed}", flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    interrupted = False
    with subprocess.Popen([sys.executable, str(ROOT / script), *words], env=environment) as child:
        while child.returncode is None:
            try:
                child.wait()
            except KeyboardInterrupt:  # the child receives the signal, too
                interrupted = True
    if interrupted or child.returncode == 130:
        raise KeyboardInterrupt
    if child.returncode:
        kind = UsageError if child.returncode == UsageError.exit_code else TwelveLeadError
        raise kind(f"{typed} ended with code {child.returncode}: see above")


def choose(names: Sequence[str], listed: Mapping[str, Any]) -> list[str]:
    """Resolve the names of ``--only``; all ablations for none."""
    runs = [name if name in listed else PREFIX + name for name in names or listed]
    for name, run in zip(names or listed, runs, strict=True):
        if run not in listed:
            raise UsageError(
                f"unknown ablation '{name}': {nearest(name, [key.removeprefix(PREFIX) for key in listed])}"
            )
    return runs


def run_ablations(options: AblateOptions) -> None:
    """Train, score and collect the chosen ablations, in the order of the list."""
    ablations = read_ablations()
    for run in choose(options.only, ablations):
        ablate(run, ablations[run], options)
        written = collect_chain(run, options.output_dir, options.data / "protoecgnet")
        print(f"wrote {written[0]}")
