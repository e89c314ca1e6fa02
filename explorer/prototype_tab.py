"""The tab of prototypes: the nearest ones beside the record on the same paper, and their review."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from explain.prototypes.contributions import ClassExplanation, Evidence, prototype_list
from explorer.canvas import canvas_data, show_canvas
from explorer.link import View
from explorer.models import Candidate
from explorer.paper import make_paper
from explorer.prototypes import (
    SCORES,
    Rating,
    Ratings,
    align,
    evidence_table,
    nearest_prototypes,
    ratings_csv,
)
from explorer.session import load, ptbxl_of, remembered
from explorer.sources import Shown, for_model, on_page
from training.checkpoint import is_onnx
from utils.ecg import NOT_A_DEVICE
from utils.errors import TwelveLeadError


def has_prototypes(candidate: Candidate) -> bool:
    """Whether a model answers by prototypes."""
    return bool(candidate.card.extra.get("prototypes")) and not is_onnx(candidate.folder)


def show_prototypes(
    shown: Shown, candidates: list[Candidate], view: View, ptbxl_root: str, output_dir: str
) -> None:
    """Nearest prototypes of a class, one of them beside the record, and its review."""
    names = {candidate.name: candidate for candidate in candidates if has_prototypes(candidate)}
    if not names:
        st.info("No model with prototypes was found; protoecgnet_rhythm is shipped with the repository.")
        return
    columns = st.columns(3)
    candidate = names[columns[0].selectbox("Model with prototypes", list(names), key="prototype_model")]
    predictor = load(candidate)
    try:
        recording = for_model(shown.recording, predictor.sampling_rate, predictor.samples)
    except TwelveLeadError as error:
        st.error(on_page(str(error)))
        return
    chances = remembered(
        ("chances", shown.key, recording.start, candidate.folder),
        lambda: predictor.predict(recording.signal[None])[0],
    )
    likely = [predictor.classes[i] for i in np.argsort(-chances)]
    class_name = columns[1].selectbox("Class, the most probable first", likely, key="prototype_class")
    part: ClassExplanation = remembered(
        ("prototypes", shown.key, recording.start, candidate.folder, class_name),
        lambda: nearest_prototypes(predictor, recording.signal, class_name),
    )
    st.markdown(
        f"**{class_name}**: probability {part.probability:.4f}, threshold {part.threshold:.4f}: "
        f"**{'yes' if part.predicted else 'no'}**. The contributions add up to the logit {part.logit:.3f}."
    )
    rows = evidence_table(part)
    cells = [{name: _text(row.get(name, "")) for name in rows[0]} for row in rows]
    st.table(cells, border="horizontal", hide_index=True, alt="Evidence of the prototypes")
    by_number = {entry.prototype: entry for entry in part.evidence}
    number = columns[2].selectbox("Prototype", list(by_number), format_func=_name(by_number), key="prototype")
    _beside(recording.signal, by_number[number], predictor, view, ptbxl_root, shown)
    _review(Ratings(output_dir, predictor), number, predictor)


def _name(entries: dict[int, Evidence]) -> Any:
    return lambda number: f"{number} ({' and '.join(entries[number].classes)})"


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4f}"


def _beside(
    record: np.ndarray, entry: Evidence, predictor: Any, view: View, ptbxl_root: str, shown: Shown
) -> None:
    """The record and the prototype's training ECG on the same scale, windows one below the other."""
    if entry.source["ecg_id"] is None:
        st.info("This prototype has no training ECG, as its class had none.")
        return
    ecg_id = int(entry.source["ecg_id"])
    try:
        source = ptbxl_of(ptbxl_root).signal(ecg_id, predictor.sampling_rate)
        pair = align(record, source, entry, predictor.sampling_rate)
    except TwelveLeadError as error:
        st.info(f"The ECG of this prototype is record {ecg_id} of PTB-XL, which cannot be shown: {error}")
        return
    whole = pair.window == (0, len(pair.record))
    st.caption(
        ("Both are compared over their whole length. " if whole else "The windows that match are shaded. ")
        + "Calipers of the record are repeated on the prototype."
    )
    calipers: list[dict[str, Any]] = []
    for title, signals, key in (
        (f"This record: {shown.source}", pair.record, "canvas_record"),
        (
            f"Prototype {entry.prototype}: PTB-XL record {ecg_id} (CC BY 4.0)",
            pair.prototype,
            "canvas_prototype",
        ),
    ):
        st.markdown(f"**{title}**")
        signals = np.asarray(signals, dtype=np.float64)
        paper = make_paper(signals, predictor.sampling_rate, view.layout, view.order, view.speed, view.gain)
        span = {"lead": None, "start": pair.window[0], "stop": pair.window[1], "kind": "match", "text": ""}
        data = canvas_data(
            paper,
            signals,
            title,
            f"{key}:{shown.key}:{entry.prototype}",
            spans=[] if whole else [span],
            calibration=st.session_state.get("screen", 1.0),
            calipers=calipers,
        )
        state = show_canvas(data, key=key)
        time = [caliper for caliper in state.get("calipers", []) if caliper["kind"] == "time"]
        calipers = calipers or time
    st.caption(NOT_A_DEVICE)


def _review(ratings: Ratings, number: int, predictor: Any) -> None:
    """The form of one prototype, and the export of all."""
    st.header(f"Review of prototype {number}")
    try:
        known = ratings.read()
    except TwelveLeadError as error:
        st.error(str(error))
        return
    rating = known.get(number, Rating())
    with st.form(f"review_{number}"):
        st.caption(
            "From 1 (strongly disagree) to 5 (strongly agree). Representativeness: this is a typical or "
            "defining presentation of the class. Clarity: it can be interpreted and is not noisy."
        )
        columns = st.columns(4)
        options = ["", *SCORES]
        scores = [
            column.selectbox(
                title, options, options.index(value), format_func=lambda v: v or "–", key=f"{title}_{number}"
            )
            for column, title, value in zip(
                columns,
                ("Representativeness", "Clarity"),
                (rating.representativeness, rating.clarity),
                strict=False,
            )
        ]
        best = columns[2].checkbox("Best of its class", rating.best, key=f"best_{number}")
        bad = columns[3].checkbox("Bad prototype", rating.bad, key=f"bad_{number}")
        comment = st.text_area("Comment", rating.comment, max_chars=5000, key=f"comment_{number}")
        if st.form_submit_button("Save the review"):
            ratings.save(number, Rating(scores[0], scores[1], best, bad, comment.strip()))
            known = ratings.read()
            st.success(f"Kept in {ratings.path.name}")
    prototypes = prototype_list(predictor)
    st.caption(f"{len(known)} of {len(prototypes)} prototypes reviewed; kept on this computer alone.")
    st.download_button(
        "Save reviews (CSV)",
        ratings_csv(known, prototypes),
        "prototype_ratings.csv",
        "text/csv",
        key="reviews",
    )
