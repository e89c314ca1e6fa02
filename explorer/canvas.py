"""The canvas: an ECG on paper with calipers, as a Streamlit component."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from explorer.paper import Paper
from explorer.reasons import color_strength
from utils.ecg import LEADS, NOT_A_DEVICE

_FILES = Path(__file__).resolve().parent / "static"


@cache
def _component() -> Any:
    import streamlit as st

    html, css, js = (
        (_FILES / f"canvas.{ending}").read_text(encoding="utf-8") for ending in ("html", "css", "js")
    )
    return st.components.v2.component("ecg_canvas", html=html, css=css, js=js)


def show_canvas(data: dict[str, Any], key: str) -> dict[str, Any]:
    """Show the canvas; returns its state: ``calipers`` and ``view``, as the user left them."""
    result = _component()(data=data, key=key, on_state_change=lambda: None)
    state = getattr(result, "state", None)
    return dict(state) if state else {}


def canvas_data(
    paper: Paper,
    signals_mv: np.ndarray,
    title: str,
    record: str,
    *,
    heat: np.ndarray | None = None,
    marks: Sequence[dict[str, Any]] = (),
    spans: Sequence[dict[str, Any]] = (),
    rr_ms: float | None = None,
    begin: float = 0.0,
    calibration: float = 1.0,
    calipers: Sequence[dict[str, Any]] = (),
    view: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Everything that the canvas draws, as JSON; signals in whole microvolts.

    ``record``: identifies the recording, so that calipers of another one are dropped. ``heat``: importance,
    colored by `color_strength`. ``marks``: lead (or None), sample, text. ``spans``: lead (or None),
    start and stop sample, kind (P, QRS, T or warning), text. ``begin``: second of the first sample.
    ``calibration``: size of this screen's millimeter in units of 96/25.4 CSS pixels.

    Shapes: signals_mv (T, 12), heat (T, 12).
    """
    microvolts = np.rint(signals_mv.T * 1000).astype("<i4")
    return {
        "paper": paper.to_json(),
        "leads": list(LEADS),
        "signals": _text(microvolts),
        "heat": None if heat is None else _text(color_strength(heat).T.astype("<f4")),
        "marks": list(marks),
        "spans": list(spans),
        "rr_ms": rr_ms,
        "begin": begin,
        "calibration": calibration,
        "calipers": list(calipers),
        "view": view,
        "title": f"{title}. {NOT_A_DEVICE}",
        "record": record,
    }


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
