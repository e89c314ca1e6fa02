"""The tab of leads: how much each of them contributes to a prediction."""

from __future__ import annotations

import streamlit as st

from explain.leads import EFFORTS, explain_leads
from explorer.answers import choose_class
from explorer.models import Candidate
from explorer.session import load, remembered
from explorer.sources import Shown, for_model, on_page
from utils.ecg import display_name
from utils.errors import TwelveLeadError


def show_leads(shown: Shown, candidates: list[Candidate]) -> None:
    """Shapley values of the leads."""
    names = {candidate.name: candidate for candidate in candidates}
    columns = st.columns(3)
    candidate = names[columns[0].selectbox("Model", list(names), key="leads_model")]
    predictor = load(candidate)
    class_name = choose_class(columns[1], "Class", candidate, shown, "leads_class")
    effort = columns[2].selectbox("Effort", list(EFFORTS), key="leads_effort")
    if not st.button("Compute the importance of the leads", key="leads_go"):
        return
    try:
        recording = for_model(shown.recording, predictor.sampling_rate, predictor.samples)
        with st.spinner("silencing leads"):
            result = remembered(
                ("leads", shown.key, shown.recording.start, candidate.folder, class_name, effort),
                lambda: explain_leads(predictor, recording.signal, class_name, effort),
            )
    except TwelveLeadError as error:
        st.error(on_page(str(error)))
        return
    st.bar_chart(
        {
            "lead": [display_name(lead) for lead in result.leads],
            "Shapley value (logits)": result.values.tolist(),
        },
        x="lead",
        y="Shapley value (logits)",
        sort=False,
    )
    st.caption(
        f"Logit of {class_name}: {result.base:.2f} with all leads flat, {result.full:.2f} with all of them; "
        f"the bars sum to the difference. Standard errors up to {result.error.max():.2f}; the order of the "
        "leads agrees between two halves of the samples with a rank correlation of "
        f"{result.rank_correlation:.2f}."
    )
