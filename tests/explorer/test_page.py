"""The page without a browser: every sample with every shipped model, its settings and its errors."""

import pytest

from explorer.command import SCRIPT
from explorer.models import find_models
from explorer.sources import sample_names
from utils.ecg import NOT_A_DEVICE

pytestmark = [pytest.mark.torch, pytest.mark.tf]
apptest = pytest.importorskip("streamlit.testing.v1")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page that was opened once; each test continues from the one before."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TWELVELEAD_OUTPUT", str(tmp_path_factory.mktemp("empty")))
    patch.setenv("TWELVELEAD_PTBXL", "missing")
    yield apptest.AppTest.from_file(str(SCRIPT), default_timeout=240).run()
    patch.undo()


def messages(page):
    """Everything that went wrong on a page."""
    return [*page.exception, *(element.value for element in (*page.error, *page.warning))]


def open_tab(page, name):
    """Open a tab; the tabs except ECG are computed when they are open."""
    page.session_state["tab"] = name
    page.run()
    assert messages(page) == []


def test_shipped_models_answer_for_the_samples(page):
    labels = [model.label for model in find_models("nowhere", {})[0]]
    assert len(labels) >= 5 and page.multiselect(key="models").options == labels
    quick = [label for label in labels if label.startswith(("resnet1d_wang (", "ecgnet ("))]
    assert len(quick) == 2
    *first, (last, _) = sample_names().items()
    asked = [(name, quick) for name, _ in first] + [(last, labels)]  # one sample for the slow ones
    for name, models in asked:
        page.multiselect(key="models").set_value(models)
        page.selectbox(key="sample").set_value(name).run()
        assert messages(page) == []
        tables = [element.value for element in page.dataframe]
        assert len(tables) == len(models)
        assert all(table["probability"].between(0, 1).all() for table in tables)
        label = sample_names()[name]["labels"][0]
        assert any(element.value == f"**True labels:** {label}" for element in page.markdown)
    assert any(element.value == NOT_A_DEVICE for element in page.caption)


def test_reasons_of_each_model_can_be_shown(page):
    for model, method in (
        ("imle_net", "attention"),
        ("ecgnet", "saliency"),
        ("protoecgnet_rhythm", "prototypes"),
    ):
        page.selectbox(key="reason_model").set_value(model).run()
        page.selectbox(key="reason_method").set_value(method).run()
        assert messages(page) == []
        assert any(element.value.startswith("Red ") for element in page.caption)
    page.selectbox(key="reason_method").set_value("none").run()


def test_importance_of_leads_is_drawn_with_its_stability(page):
    open_tab(page, "Leads")
    page.selectbox(key="leads_model").set_value("ecgnet").run()
    page.button(key="leads_go").click().run()
    assert messages(page) == []
    assert any("rank correlation" in element.value for element in page.caption)


def test_tabs_of_scored_runs_show_their_files(page):
    open_tab(page, "Metrics")
    assert page.selectbox(key="metrics_run").value == "resnet1d_wang (published, ptbxl)"
    assert [metric.label for metric in page.metric][:2] == ["macro ROC-AUC", "macro AUPRC"]
    open_tab(page, "Errors")
    page.selectbox(key="errors_kind").set_value("false negatives").run()
    table = page.dataframe[-1].value
    assert set(table["answer"]) == {"no"} and set(table["true label"]) == {"yes"}
    open_tab(page, "Compare")
    runs = ["resnet1d_wang (published, ptbxl)", "mousavi (not shipped, ptbxl)"]
    page.select_slider(key="compare_resamples").set_value(200)
    page.multiselect(key="compare_runs").set_value(runs).run()
    assert messages(page) == []
    assert any("## Differences on the same patients" in element.value for element in page.markdown)
    page.multiselect(key="compare_runs").set_value([runs[0], "ecgnet (published, ptbxl_small)"]).run()
    assert not page.exception
    open_tab(page, "About")
    assert any(NOT_A_DEVICE in element.value for element in page.markdown)


def test_review_of_a_prototype_is_kept(page):
    open_tab(page, "Prototypes")
    assert any("contributions add up" in element.value for element in page.markdown)
    number = page.selectbox(key="prototype").value
    page.selectbox(key=f"Clarity_{number}").set_value("4")
    page.text_area(key=f"comment_{number}").set_value("typical")
    next(button for button in page.button if button.label == "Save the review").click().run()
    assert messages(page) == []
    assert any(element.value.startswith("1 of ") for element in page.caption)
    open_tab(page, "ECG")


def test_paper_settings_reach_the_link(page):
    page.selectbox(key="layout").set_value("12x1")
    page.radio(key="gain").set_value(20.0)
    page.checkbox(key="waves").check()
    page.radio(key="order").set_value("Cabrera").run()
    assert messages(page) == []
    query = dict(page.query_params)
    assert query["layout"] == "12x1" and query["gain"] == "20" and query["order"] == "Cabrera"
    assert query["record"] == "sample:sample_ecg_sttc.csv"


def test_ptbxl_that_is_absent_is_an_error_with_a_remedy(page):
    page.radio(key="source").set_value("PTB-XL").run()
    assert not page.exception and "missing" in page.error[0].value
    page.radio(key="source").set_value("Samples").run()
    assert messages(page) == []


def test_link_that_cannot_be_used_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("TWELVELEAD_OUTPUT", str(tmp_path))
    page = apptest.AppTest.from_file(str(SCRIPT), default_timeout=240)
    page.query_params["record"] = "sample:sample_ecg_mi.csv"
    page.query_params["layout"] = "5x5"
    page.query_params["speed"] = "50"
    page.run()
    assert [element.value for element in page.warning] == ["the link's layout '5x5' is not known"]
    assert page.selectbox(key="sample").value == "sample_ecg_mi.csv" and page.radio(key="speed").value == 50.0
