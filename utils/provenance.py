"""Where a result comes from: versions, commit and command."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

PUBLIC_DATA_DIR = "data/ptb"  # what stands for PTB-XL's folder on the machine of a training
SCORING_LOG = "benchmarks/fold10_log.csv"  # grows by a line with each scoring of PTB-XL's test records
_PACKAGES = ("numpy", "keras", "tensorflow", "torch", "scikit-learn", "scipy", "wfdb")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape a result."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """Commit of the code that runs, marked ``+changes`` when files other than the log of scorings differ."""
    root = Path(__file__).resolve().parent.parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        ).stdout

    try:
        commit = git("rev-parse", "HEAD").strip()
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){SCORING_LOG}")
        return commit + ("+changes" if changed.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def program() -> str:
    """The command that runs, as one types it, without flags: a script, a module or ``twelvelead train``."""
    name = sys.argv[0] if sys.argv else ""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if name.startswith("twelvelead "):
        return name
    if spec is not None and Path(name).resolve() == Path(spec.origin or "").resolve():
        return f"python -m {spec.name.removesuffix('.__main__')}"
    return f"python {shlex.quote(Path(name).name)}"


def command() -> str:
    """The command line that runs, as one could type it: script or module, and flags."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    prefix = "" if backend == "tensorflow" else f"KERAS_BACKEND={backend} "
    return prefix + " ".join([program(), shlex.join(sys.argv[1:])]).strip()


def machine_folders(config: dict[str, Any], output_dir: str | Path) -> dict[str, str]:
    """Folders and files of one machine that a card may name, and what stands for them in public."""
    root = Path(__file__).resolve().parent.parent
    folders = {str(Path(output_dir).resolve()): ".", str(root): "."}
    data_dir = config.get("data_dir", "")
    if Path(data_dir).is_absolute():
        database = config.get("database", "ptbxl")
        folders[data_dir.rstrip("/")] = PUBLIC_DATA_DIR if database == "ptbxl" else f"data/{database}"
    if config.get("imagenet"):
        folders[config["imagenet"]] = Path(config["imagenet"]).name
    return folders


def portable(value: Any, folders: dict[str, str]) -> Any:
    """Replace the folders of one machine in every string of a JSON value."""
    if isinstance(value, dict):
        return {key: portable(v, folders) for key, v in value.items()}
    if isinstance(value, list):
        return [portable(v, folders) for v in value]
    if isinstance(value, str):
        for folder in sorted(folders, key=len, reverse=True):
            value = value.replace(folder, folders[folder])
    return value
