"""What models say about the recording on the page."""

from __future__ import annotations

from typing import Any

import streamlit as st

from explorer.models import Answer, Candidate, ask
from explorer.session import load, remembered
from explorer.sources import Shown, on_page
from utils.errors import TwelveLeadError


def answer_of(candidate: Candidate, shown: Shown) -> Answer:
    """What a model says about the recording, asked once."""
    key = ("answer", shown.key, shown.recording.start, candidate.folder)
    return remembered(key, lambda: ask(load(candidate), shown.recording, shown.labels))


def choose_class(
    column: Any, title: str, candidate: Candidate, shown: Shown, key: str, keep: bool = False
) -> str:
    """Let the user choose a class: at first the most probable one, and for another recording unless kept."""
    try:
        names = [str(row["class"]) for row in answer_of(candidate, shown).rows]
    except TwelveLeadError:
        names = candidate.card.classes
    other = st.session_state.get(f"{key}_of") != shown.key
    if (other and not keep) or st.session_state.get(key) not in names:
        st.session_state[key] = names[0]
    st.session_state[f"{key}_of"] = shown.key
    return column.selectbox(title, names, key=key)


def show_answers(shown: Shown, candidates: list[Candidate]) -> None:
    """What the models say, side by side."""
    if shown.labels:
        st.markdown(f"**True labels:** {', '.join(shown.labels)}")
    for column, candidate in zip(st.columns(len(candidates)), candidates, strict=True):
        with column:
            st.header(candidate.name)
            try:
                answer = answer_of(candidate, shown)
            except TwelveLeadError as error:
                st.error(on_page(str(error)))
                continue
            bar = st.column_config.ProgressColumn(format="%.4f", min_value=0.0, max_value=1.0)
            # side by side there is no room for the true label, which stands above
            names = [name for name in answer.rows[0] if name != "true label" or len(candidates) == 1]
            st.dataframe(answer.rows, hide_index=True, column_config={"probability": bar}, column_order=names)
            with st.popover("About this model"):
                for name, value in candidate.facts.items():
                    st.markdown(f"**{name}**: {value}")
                st.json(candidate.card.to_json(), expanded=False)
