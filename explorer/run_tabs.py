"""Tabs about scored runs: metrics, errors, comparison; and about the data and the models."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from explorer.models import Candidate
from explorer.scored import (
    ANY_CLASS,
    KINDS,
    ScoredRun,
    class_table,
    curves,
    error_counts,
    find_errors,
    headlines,
    predictions_of,
    thresholds_of,
    training_curves,
    usual_run,
)
from explorer.session import ptbxl_of, remembered
from training.experiments.compare import compare_predictions
from training.experiments.compare_tables import markdown_page, table_of
from utils.ecg import NOT_A_DEVICE
from utils.errors import TwelveLeadError
from utils.report.certified import certified_summary, certified_table

_NOTHING = (
    "No run was scored yet: `python test.py --model MODEL --data_dir data/ptb` writes what this tab shows."
)


def _choose(runs: list[ScoredRun], candidates: list[Candidate], key: str) -> ScoredRun | None:
    """Let the user choose a run; first, one that scored a model of this page."""
    if not runs:
        st.info(_NOTHING)
        return None
    labels = {run.label: run for run in runs}
    usual = usual_run(runs, {candidate.card.weights_sha256 for candidate in candidates})
    return labels[st.selectbox("Scored run", list(labels), usual, key=key)]


def show_metrics(runs: list[ScoredRun], candidates: list[Candidate]) -> None:
    """Scores of a run with intervals, curves, and what is certified."""
    run = _choose(runs, candidates, "metrics_run")
    if run is None:
        return
    report = run.report()
    scored = report.get("times_scored")
    st.caption(
        f"{report.get('split', 'unknown records')}, {report.get('records', 0):,} records"
        + (f"; scored {scored} time{'s' if scored != 1 else ''}" if scored else "")
        + f"; 95 % intervals from a bootstrap over patients. {NOT_A_DEVICE}"
    )
    lines = headlines(report)
    for column, (title, value, interval) in zip(st.columns(max(len(lines), 1)), lines, strict=False):
        column.metric(title, value, border=True)
        column.caption(f"95 %: {interval}" if interval else " ")
    st.header("Classes")
    st.dataframe(class_table(report), hide_index=True, key="class_table")
    _certified(run)
    predictions = remembered(("predictions", run.folder), lambda: predictions_of(run))
    class_name = st.selectbox("Curves of", predictions.classes, key="curves_class")
    try:
        for column, (title, table) in zip(
            st.columns(3), curves(predictions, class_name).items(), strict=True
        ):
            column.vega_lite_chart(_curve(title, table), width="stretch")
    except TwelveLeadError as error:
        st.info(str(error))
    trained = training_curves(run)
    if trained:
        st.header("Training")
        for column, (title, table) in zip(st.columns(len(trained)), trained.items(), strict=True):
            column.vega_lite_chart(_epochs(title, table), width="stretch")


def _certified(run: ScoredRun) -> None:
    certified = run.certified()
    if certified is not None:
        st.header("Certified thresholds")
        st.markdown(f"{certified_summary(certified)}\n\n{certified_table(certified)}")


def _curve(title: str, table: pd.DataFrame) -> dict[str, Any]:
    """A curve in the unit square as Vega-Lite, with the diagonal where it means something."""
    across, up = table.columns
    axes = {
        "x": {"field": across, "type": "quantitative", "scale": {"domain": [0, 1]}},
        "y": {"field": up, "type": "quantitative", "scale": {"domain": [0, 1]}},
    }
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "line", "color": "#0b5cad", "point": len(table) < 20},
            "encoding": axes | {"order": {"field": "number", "type": "quantitative"}},
            "data": {"values": table.assign(number=range(len(table))).to_dict("records")},
        }
    ]
    if not title.startswith("Precision"):
        diagonal = {"mark": {"type": "line", "color": "#767676", "strokeDash": [4, 4]}, "encoding": axes}
        layers.insert(0, diagonal | {"data": {"values": [{across: 0, up: 0}, {across: 1, up: 1}]}})
    return {"title": title, "height": 280, "layer": layers}


def _epochs(title: str, table: pd.DataFrame) -> dict[str, Any]:
    """Curves over the epochs as Vega-Lite."""
    long = table.reset_index().melt("epoch", var_name="curve", value_name="value").dropna()
    return {
        "title": title,
        "height": 280,
        "mark": {"type": "line", "point": True},
        "data": {"values": long.to_dict("records")},
        "encoding": {
            "x": {"field": "epoch", "type": "quantitative", "axis": {"tickMinStep": 1}},
            "y": {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": False}},
            "color": {"field": "curve", "title": None, "legend": {"orient": "bottom"}},
        },
    }


def show_errors(runs: list[ScoredRun], candidates: list[Candidate], ptbxl_root: str) -> None:
    """Records of a run by how far they lie from the threshold; a click opens one."""
    run = _choose(runs, candidates, "errors_run")
    if run is None:
        return
    predictions = remembered(("predictions", run.folder), lambda: predictions_of(run))
    thresholds = thresholds_of(run, predictions.classes)
    st.caption(f"{predictions.split}, {len(predictions.ids):,} records. {NOT_A_DEVICE}")
    st.dataframe(error_counts(predictions, thresholds), hide_index=True, key="error_counts")
    columns = st.columns(2)
    kind = columns[0].selectbox("Records", KINDS, key="errors_kind")
    class_name = columns[1].selectbox("Class", [ANY_CLASS, *predictions.classes], key="errors_class")
    table = find_errors(predictions, thresholds, kind, class_name)
    if table.empty:
        st.info("There is no such record.")
        return
    try:
        ptbxl = ptbxl_of(ptbxl_root)
    except TwelveLeadError:
        st.dataframe(table, hide_index=True, key="errors_table")
        st.caption("With a local PTB-XL (`twelvelead app --data_dir data/ptb`) a click opens the record.")
        return
    st.caption("Select a row to open its record on the paper.")
    key = f"errors_{run.label}_{kind}_{class_name}"

    def chosen() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows:
            open_record(int(table["record"].iloc[rows[0]]), ptbxl.fold_of(int(table["record"].iloc[rows[0]])))

    st.dataframe(table, hide_index=True, key=key, on_select=chosen, selection_mode="single-row")


def open_record(ecg_id: int, fold: int | None) -> None:
    """Show a record of PTB-XL on the paper; to be called before the widgets of a run of the page."""
    st.session_state.update(
        {"source": "PTB-XL", "fold": fold or 0, "label": "", "wrong": "", "ecg_id": ecg_id, "tab": "ECG"}
    )


def show_compare(runs: list[ScoredRun]) -> None:
    """Paired comparison of runs on the same patients."""
    labels = {run.label: run for run in runs}
    st.markdown(
        "Runs on the same records, resampled together over patients: intervals of the differences, p-values "
        "corrected for several pairs (Holm), and the difference that these records could have shown."
    )
    chosen = st.multiselect("Runs", list(labels), key="compare_runs")
    resamples = int(st.select_slider("Resamples", [200, 1000, 5000], 1000, key="compare_resamples"))
    if len(chosen) < 2:
        st.info("Choose two runs or more that were scored on the same records.")
        return

    def compute() -> dict[str, Any]:
        predictions = [predictions_of(labels[label]) for label in chosen]
        return compare_predictions(predictions, intersection=True, resamples=resamples)

    try:
        with st.spinner("resampling patients"):
            result = remembered(("compare", tuple(chosen), resamples), compute)
    except TwelveLeadError as error:
        st.error(str(error).replace("--intersection", "records in common"))
        return
    page = markdown_page(result)
    st.markdown(page.partition("\n\n")[2])  # without its headline
    files = (("CSV", "csv", table_of(result).to_csv(index=False)), ("Markdown", "md", page))
    for column, (title, ending, content) in zip(st.columns([1, 1, 4]), files, strict=False):
        column.download_button(f"Save {title}", content, f"compare.{ending}", key=f"compare_{ending}")


def show_about(candidates: list[Candidate]) -> None:
    """Data, licenses, models and privacy."""
    st.markdown(
        f"**{NOT_A_DEVICE}**\n\n"
        "The samples are records of PTB-XL 1.0.3 (Wagner et al., Scientific Data 7, 154, 2020, "
        "[doi:10.1038/s41597-020-0495-6](https://doi.org/10.1038/s41597-020-0495-6)), CC BY 4.0; "
        "`explorer/samples/LICENSE.txt` names them. The program is under the license in `LICENSE`.\n\n"
        "What you upload is read in the memory of the computer that runs this page, is not stored, and is "
        "seen by nobody else who opens the page. Nothing is sent anywhere."
    )
    if not candidates:
        return
    st.header("Models")
    facts = [{"name": candidate.name, **candidate.facts} for candidate in candidates]
    st.dataframe(pd.DataFrame(facts).fillna(""), hide_index=True, key="about_models")
    names = {candidate.label: candidate for candidate in candidates}
    candidate = names[st.selectbox("Card of", list(names), key="about_card")]
    st.json(candidate.card.to_json(), expanded=1)
