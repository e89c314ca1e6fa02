"""What is kept between two runs of the page: models for all sessions, results for one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import streamlit as st

from explorer.models import VARIABLE, Candidate, find_models
from explorer.scored import ScoredRun, find_scored, scored_files
from explorer.sources import LocalPtbxl
from training.checkpoint import ROOT
from training.predictor import load_predictor


@st.cache_resource(max_entries=8, show_spinner="loading the model")
def predictor_of(folder: str, changed: float) -> Any:
    """A loaded model; `changed` is its card's time, so that a retrained one is loaded again."""
    return load_predictor(folder)


@st.cache_resource(max_entries=2, show_spinner="reading the tables of PTB-XL")
def ptbxl_of(root: str) -> LocalPtbxl:
    """A local PTB-XL."""
    return LocalPtbxl(root)


@st.cache_resource(max_entries=4, show_spinner=False)
def _models(output_dir: str, wanted: str, files: tuple[tuple[str, int, int], ...]) -> Any:
    return find_models(output_dir)


def models_of(output_dir: str) -> tuple[list[Candidate], list[str]]:
    """What `find_models` says, read again when a checkpoint changed: checking the weights takes a second."""
    wanted = os.environ.get(VARIABLE, "")
    folders = [ROOT / "checkpoints" / "pretrained", Path(output_dir) / "checkpoints"]
    files = [path for folder in folders for part in ("*.*", "*/*.*", "*/*/*.*") for path in folder.glob(part)]
    if wanted and Path(wanted).exists():
        files += list(Path(wanted).glob("*.*")) if Path(wanted).is_dir() else [Path(wanted)]
    return _models(str(output_dir), wanted, _facts(files))


@st.cache_resource(max_entries=4, show_spinner=False)
def _runs(output_dir: str, files: tuple[tuple[str, int, int], ...]) -> list[ScoredRun]:
    return find_scored(output_dir)


def runs_of(output_dir: str) -> list[ScoredRun]:
    """What `find_scored` says, read again when a report changed."""
    return _runs(str(output_dir), _facts([path for path, _ in scored_files(output_dir)]))


def _facts(files: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of files: they tell whether one changed."""
    facts = [(str(path), status.st_mtime_ns, status.st_size) for path in files if (status := path.stat())]
    return tuple(sorted(facts))


def load(candidate: Candidate) -> Any:
    """The model of a candidate."""
    return predictor_of(str(candidate.folder), candidate.changed)


def remembered(key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
    """A result of this session, computed once; sessions do not see each other's."""
    kept = st.session_state.setdefault("results", {})
    if key not in kept:
        if len(kept) > 64:
            kept.clear()
        kept[key] = compute()
    return kept[key]
