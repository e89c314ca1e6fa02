"""The page: what it shows and how it reacts; everything it computes comes from the other modules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from explorer.answers import choose_class, show_answers
from explorer.canvas import canvas_data, show_canvas
from explorer.export import FORMATS, draw, render
from explorer.leads_tab import show_leads
from explorer.link import View, from_query, to_query
from explorer.marks import WAVES, faults_of, rpeaks_of, waves_of
from explorer.models import Candidate, usual_models
from explorer.paper import GAINS, LAYOUTS, ORDERS, SPEEDS, make_paper
from explorer.prototype_tab import show_prototypes
from explorer.reasons import find_reason, is_signed, methods_for, what_is_known
from explorer.run_tabs import show_about, show_compare, show_errors, show_metrics
from explorer.scored import ScoredRun, predictions_of, thresholds_of, wrong_records
from explorer.session import load, models_of, predictor_of, ptbxl_of, remembered, runs_of
from explorer.sources import (
    Correction,
    Shown,
    on_page,
    read_sample,
    read_upload,
    sample_names,
)
from preprocessing.recordings.formats import known_suffixes
from training.checkpoint import find_checkpoint
from utils.ecg import DISPLAY_NAMES, NOT_A_DEVICE
from utils.errors import TwelveLeadError

TITLE = "TwelveLead explorer"
TABS = ("ECG", "Leads", "Prototypes", "Metrics", "Errors", "Compare", "About")
_UNITS = ("as the file says", "mV", "uV", "V")
_NO_COLORS = "none"
# Captions as dark as other text: Streamlit's gray has a contrast of 3.9, WCAG asks for 4.5. Narrow margins
# and small headings leave the width and height to the paper.
_STYLE = """<style>
[data-testid=stCaptionContainer] { opacity: 1 !important; }
[data-testid=stMainBlockContainer] { padding: 2.5rem 2rem; }
[data-testid=stHeadingWithActionElements] h1 { font-size: 2rem; padding: 0.5rem 0 0; }
[data-testid=stHeadingWithActionElements] h2 { font-size: 1.5rem; padding: 0.5rem 0; }
</style>"""


# ---- sidebar ---------------------------------------------------------------------------------------


def choose_source(view: View, data_dir: str, runs: list[ScoredRun]) -> Shown | None:
    """Let the user name a recording; None where there is nothing to show yet."""
    sources = ["Samples", "Upload", "PTB-XL"]
    # Usual values stand in the state, so that a click in the tab of errors can set them.
    st.session_state.setdefault("source", sources[2 if view.record.startswith("ptbxl:") else 0])
    kind = st.sidebar.radio("ECG from", sources, horizontal=True, key="source")
    correction = Correction() if kind == "Samples" else _correction()
    if kind == "Samples":
        facts = sample_names()
        names = list(facts)
        wanted = view.record.removeprefix("sample:")
        first = names.index(wanted) if wanted in names else names.index("sample_ecg_norm.csv")
        name = st.sidebar.selectbox(
            "Sample", names, index=first, format_func=lambda n: facts[n]["title"], key="sample"
        )
        return remembered(("sample", name), lambda: read_sample(name))
    if kind == "PTB-XL":
        return _from_ptbxl(view, data_dir, correction, runs)
    return _from_upload(correction)


def _from_ptbxl(view: View, data_dir: str, correction: Correction, runs: list[ScoredRun]) -> Shown | None:
    root = st.sidebar.text_input("Folder of PTB-XL", data_dir, key="ptbxl_root")
    try:
        ptbxl = ptbxl_of(root)
        st.session_state.setdefault("fold", 10)
        fold = st.sidebar.selectbox(
            "Fold", [0, *range(1, 11)], format_func=lambda f: str(f or "all"), key="fold"
        )
        classes = sorted({name for labels in ptbxl.labels.values() for name in labels})
        label = st.sidebar.selectbox("Class", ["", *classes], format_func=lambda c: c or "all", key="label")
        ids = _only_wrong(ptbxl.find(fold or None, label or None), runs)
        linked = view.record.removeprefix("ptbxl:")
        if linked.isdigit() and int(linked) not in ids:
            ids = [int(linked), *ids]
        if not ids:
            st.sidebar.info("No record fits these choices.")
            return None
        if st.session_state.get("ecg_id") not in ids:
            st.session_state["ecg_id"] = int(linked) if linked.isdigit() else ids[0]
        ecg_id = st.sidebar.selectbox(f"Record ({len(ids):,})", ids, key="ecg_id")
        return remembered(("ptbxl", root, ecg_id, correction), lambda: ptbxl.read(ecg_id, correction))
    except TwelveLeadError as error:
        st.error(on_page(str(error)))
        return None


def _only_wrong(ids: list[int], runs: list[ScoredRun]) -> list[int]:
    """Records that a scored run gets wrong, where the user asks for them."""
    names = {run.label: run for run in runs}
    chosen = st.sidebar.selectbox(
        "Errors of", ["", *names], format_func=lambda name: name or "no model: all records", key="wrong"
    )
    if not chosen:
        return ids
    predictions = remembered(("predictions", names[chosen].folder), lambda: predictions_of(names[chosen]))
    wrong = set(wrong_records(predictions, thresholds_of(names[chosen], predictions.classes)))
    return [ecg_id for ecg_id in ids if ecg_id in wrong]


def _from_upload(correction: Correction) -> Shown | None:
    endings = ", ".join(known_suffixes())
    files = st.sidebar.file_uploader(
        "ECG files", accept_multiple_files=True, key="upload",
        help=f"One recording: {endings}, or a zip. All files of a WFDB record together. "
        "It stays in the memory of this computer.",
    )  # fmt: skip
    if not files:
        st.info("Drop the files of one ECG into the sidebar: all of them for a WFDB record, or a zip.")
        return None
    contents = {file.name: file.getvalue() for file in files}
    key = ("upload", tuple((file.name, file.file_id) for file in files), correction)
    choice = st.session_state.get("recording")
    try:
        shown, names = remembered((*key, choice), lambda: read_upload(contents, correction, choice))
    except TwelveLeadError as error:
        st.error(on_page(str(error)))
        st.caption("The fields of “Correct the file” in the sidebar help where the file is silent or wrong.")
        return None
    if len(names) > 1:
        st.sidebar.selectbox("Recording of the upload", names, key="recording")
    return shown


def _correction() -> Correction:
    with st.sidebar.expander("Correct the file"):
        rate = st.number_input("Sampling rate (Hz; 0: as the file says)", 0.0, 10_000.0, 0.0, key="rate")
        units = st.selectbox("Unit", _UNITS, key="units")
        leads = st.text_input("Lead names in file order, separated by commas", key="leads")
        start = st.number_input("Start of the part shown (s)", 0.0, 1e6, 0.0, key="start")
        notch = st.selectbox(
            "Filter mains", [None, 50, 60], format_func=lambda f: f"{f} Hz" if f else "no", key="notch"
        )
    return Correction(
        rate or None, None if units == _UNITS[0] else units, leads.strip() or None, start or None, notch
    )


def choose_paper(view: View) -> None:
    """Let the user choose scales and layout of the paper."""
    box = st.sidebar.expander("Paper", expanded=True)
    view.layout = box.selectbox("Layout", list(LAYOUTS), list(LAYOUTS).index(view.layout), key="layout")
    view.order = box.radio(
        "Order of the limb leads", ORDERS, ORDERS.index(view.order), horizontal=True, key="order"
    )
    view.speed = box.radio(
        "mm/s", SPEEDS, SPEEDS.index(view.speed), format_func=lambda v: f"{v:g}", horizontal=True, key="speed"
    )
    view.gain = box.radio(
        "mm/mV", GAINS, GAINS.index(view.gain), format_func=lambda v: f"{v:g}", horizontal=True, key="gain"
    )
    measured = box.number_input(
        "Screen: measured length of 100 mm (mm)", 50.0, 200.0, 100.0, key="calibration",
        help="Hold a ruler to twenty thick squares at zoom 1 and enter what it reads.",
    )  # fmt: skip
    st.session_state["screen"] = 100.0 / measured
    box.checkbox("R-peaks", True, key="marks")
    box.checkbox("P, QRS and T waves", False, key="waves")


def choose_models(output_dir: str) -> list[Candidate]:
    """Which models are asked."""
    candidates, warnings = models_of(output_dir)
    for warning in warnings:
        st.sidebar.warning(warning)
    if not candidates:
        st.sidebar.info(
            "No trained model was found: train one (python train.py --model imle_net), set MODEL_TO_USE, or "
            "copy checkpoints/pretrained of the repository again."
        )
        return []
    labels = {candidate.label: candidate for candidate in candidates}
    usual = [candidate.label for candidate in usual_models(candidates)]
    chosen = st.sidebar.multiselect("Models", list(labels), usual, key="models")
    return [labels[label] for label in chosen]


# ---- the page --------------------------------------------------------------------------------------


def show_signal(shown: Shown, view: View, heat: np.ndarray | None, footer: str) -> None:
    """The canvas with its exports, redrawn without the rest of the page."""
    recording = shown.recording
    signals = np.asarray(recording.signal, dtype=np.float64)
    paper = make_paper(signals, recording.sampling_rate, view.layout, view.order, view.speed, view.gain)
    marks, rr, spans = [], None, faults_of(recording)
    if st.session_state.get("marks", True):
        peaks, rr = remembered(("rpeaks", shown.key, recording.start), lambda: rpeaks_of(recording))
        marks = [{"lead": "II", "sample": peak, "text": "R"} for peak in peaks]
    if st.session_state.get("waves", False):
        folder = find_checkpoint(WAVES)
        predictor = predictor_of(str(folder), (folder / "card.json").stat().st_mtime)
        spans += remembered(("waves", shown.key, recording.start), lambda: waves_of(predictor, recording))
    data = canvas_data(
        paper,
        signals,
        f"12-lead ECG, {shown.source}",
        shown.key,
        heat=heat,
        marks=marks,
        spans=spans,
        rr_ms=rr,
        begin=recording.start,
        calibration=st.session_state.get("screen", 1.0),
        calipers=view.calipers,
    )
    calipers = show_canvas(data, key="canvas").get("calipers", view.calipers)
    query = to_query(View(shown.key, view.layout, view.order, view.speed, view.gain, calipers))
    if dict(st.query_params) != query:
        st.query_params.from_dict(query)
    drawn = {"heat": heat, "calipers": calipers, "marks": marks, "spans": spans}
    _exports(paper, signals, footer, drawn)


def _exports(paper: Any, signals: np.ndarray, footer: str, drawn: dict[str, Any]) -> None:
    columns = st.columns([1, 1, 1, 3])
    for column, (kind, mime) in zip(columns, FORMATS.items(), strict=False):
        content = partial(_file, kind, paper, signals, footer, drawn)
        column.download_button(
            f"Save {kind.upper()}", content, f"ecg.{kind}", mime, key=f"export_{kind}", on_click="ignore"
        )
    columns[3].caption("The address of this page restores the view; of an upload, only how it is drawn.")


def _file(kind: str, paper: Any, signals: np.ndarray, footer: str, drawn: dict[str, Any]) -> bytes:
    """Content of an export, drawn when it is asked for."""
    return render(draw(paper, signals, footer, **drawn), kind)


def choose_reason(shown: Shown, candidates: list[Candidate]) -> tuple[np.ndarray | None, str]:
    """The colors on the paper: which model, method and class; the map and the line below the paper."""
    columns = st.columns(3)
    names = {candidate.name: candidate for candidate in candidates}
    candidate = names[columns[0].selectbox("Colors explain", list(names), key="reason_model")]
    predictor = load(candidate)
    method = columns[1].selectbox("by", [_NO_COLORS, *methods_for(predictor)], key="reason_method")
    painted = method != _NO_COLORS
    class_name = choose_class(columns[2], "for the class", candidate, shown, "reason_class", keep=painted)
    if not painted:
        return None, ""
    try:
        with st.spinner("explaining"):
            reason = remembered(
                ("reason", shown.key, shown.recording.start, candidate.folder, method, class_name),
                lambda: find_reason(predictor, shown.recording, method, class_name),
            )
    except TwelveLeadError as error:
        st.info(on_page(str(error)))
        return None, ""
    colors = f"Red raises {class_name}, blue lowers it." if is_signed(method) else "Red is where it matters."
    st.caption(f"{colors} {what_is_known(candidate.name, method)}")
    return reason.heat, f"colors: {method} of {candidate.name} for {class_name}"


def show_notes(shown: Shown) -> None:
    """How the file was read, and warnings about its signal."""
    warnings = [note for note in shown.recording.notes if note.startswith("WARNING")]
    for warning in warnings:
        st.warning(on_page(warning.removeprefix("WARNING: ")))
    with st.expander("How this recording was read"):
        recording = shown.recording
        first, last = recording.start, recording.start + len(recording.signal) / recording.sampling_rate
        st.markdown(
            f"{shown.source or recording.name}; {recording.sampling_rate:g} Hz, mV, "
            f"seconds {first:g} to {last:g}; leads {', '.join(DISPLAY_NAMES)}"
        )
        for note in recording.notes:
            if note not in warnings:
                st.markdown(f"- {on_page(note)}")


def main(data_dir: str = "data/ptb", output_dir: str = ".") -> None:
    """Show the page."""
    st.set_page_config(TITLE, page_icon="🫀", layout="wide")
    st.html(_STYLE)
    st.title(TITLE)
    st.caption(NOT_A_DEVICE)
    if "view" not in st.session_state:
        st.session_state["view"], ignored = from_query(st.query_params)
        for sentence in ignored:
            st.warning(sentence)
    view = st.session_state["view"]
    runs = runs_of(output_dir)
    try:
        shown = choose_source(view, data_dir, runs)
    except TwelveLeadError as error:
        st.error(on_page(str(error)))
        shown = None
    candidates = choose_models(output_dir)
    choose_paper(view)
    tabs = dict(zip(TABS, st.tabs(TABS, key="tab", on_change="rerun"), strict=True))
    with tabs["ECG"]:  # drawn whatever tab is open: its calipers stay
        if shown is not None:
            show_ecg(shown, view, candidates)
    root = st.session_state.get("ptbxl_root", data_dir)
    everything = models_of(output_dir)[0] if tabs["Prototypes"].open or tabs["About"].open else []
    views: dict[str, Callable[[], None]] = {
        "Metrics": lambda: show_metrics(runs, candidates),
        "Errors": lambda: show_errors(runs, candidates, root),
        "Compare": lambda: show_compare(runs),
        "About": lambda: show_about(everything),
    }
    if shown is not None:
        views["Leads"] = lambda: show_leads(shown, candidates)
        views["Prototypes"] = lambda: show_prototypes(shown, everything, view, root, output_dir)
    for name, show in views.items():
        if tabs[name].open:
            with tabs[name]:
                _guarded(show)


def show_ecg(shown: Shown, view: View, candidates: list[Candidate]) -> None:
    """Warnings, answers, colors and the paper."""
    show_notes(shown)
    heat, footer = None, ""
    if candidates:
        show_answers(shown, candidates)
        heat, footer = choose_reason(shown, candidates)
    show_signal(shown, view, heat, footer)


def _guarded(show: Callable[[], None]) -> None:
    """Show a tab; what is wrong with a run's files is a message."""
    try:
        show()
    except TwelveLeadError as error:
        st.error(on_page(str(error)))
