"""Geometry of the paper and readings of the calipers."""

import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.export import draw, render
from explorer.measure import beats_per_minute, corrected_qt, interval
from explorer.paper import GAINS, LAYOUTS, ORDERS, SPEEDS, Paper, Segment, make_paper
from tests.goldens.paper_geometry import PATH, cases, readings
from utils.ecg import LEADS
from utils.errors import DataError, UsageError


def ecg(samples: int = 1000, seed: int = 0) -> np.ndarray:
    """Waves of different height in each lead, mV."""
    phase = np.linspace(0, 40, samples)[:, None]
    return np.sin(phase + seed) ** 15 * np.linspace(0.2, 3, 12)


def test_stored_geometry_is_that_of_its_definition():
    assert json.loads(PATH.read_text(encoding="utf-8")) == json.loads(
        json.dumps({"places": cases(), "readings": readings()})
    )


@pytest.mark.parametrize("case", cases())
def test_places_are_those_of_the_geometry_table(case):
    segment = Segment(**case["segment"])
    paper = Paper("12x1", "standard", width=300, height=200, segments=(segment,), **case["paper"])
    for sample, millivolts, x, y in case["points"]:
        assert paper.place(segment, sample, millivolts) == pytest.approx((x, y), abs=1e-9)
        assert paper.locate(segment, x, y) == pytest.approx((sample, millivolts), abs=1e-9)


@pytest.mark.parametrize("case", readings())
def test_readings_are_those_of_the_geometry_table(case):
    milliseconds = interval(case["a"], case["b"], case["rate"])
    assert milliseconds == pytest.approx(case["ms"])
    assert beats_per_minute(milliseconds) == pytest.approx(case["bpm"])
    for formula in ("Bazett", "Fridericia"):
        assert corrected_qt(milliseconds, case["rr"], formula) == pytest.approx(case[formula])


@settings(max_examples=60, deadline=None)
@given(
    layout=st.sampled_from(list(LAYOUTS)),
    order=st.sampled_from(ORDERS),
    speed=st.sampled_from(SPEEDS),
    gain=st.sampled_from(GAINS),
    samples=st.integers(24, 3000),
    rate=st.sampled_from([100.0, 257.0, 500.0, 1000.0]),
    seed=st.integers(0, 9),
)
def test_layouts_show_each_lead_and_read_back_what_they_show(layout, order, speed, gain, samples, rate, seed):
    signals = ecg(samples, seed)
    paper = make_paper(signals, rate, layout, order, speed, gain)
    columns, repeated = LAYOUTS[layout]
    assert {segment.lead for segment in paper.segments} == set(LEADS)
    shown = sum(segment.stop - segment.start for segment in paper.segments)
    assert shown == samples * (12 // columns + len(repeated))
    for segment in paper.segments:
        for sample in {segment.start, (segment.start + segment.stop) // 2, segment.stop - 1}:
            value = signals[sample, LEADS.index(segment.lead)]
            x, y = paper.place(segment, sample, value)
            assert 0 <= x <= paper.width
            found, millivolts = paper.locate(segment, x, y)
            assert found == pytest.approx(sample, abs=1e-6) and millivolts == pytest.approx(value, abs=1e-9)
            # one scale of time for the page, which the calipers rely on
            assert x == pytest.approx(20 + sample / rate * speed)


def test_neighboring_traces_do_not_touch():
    signals = ecg()
    paper = make_paper(signals, 100.0, "12x1")
    reach = []
    for segment in paper.segments:
        y = paper.place(segment, np.arange(1000), signals[:, LEADS.index(segment.lead)])[1]
        reach.append((y.min(), y.max()))
    assert all(above[1] < below[0] for above, below in pairwise(reach))
    assert reach[-1][1] < paper.height


def test_cabrera_order_inverts_avr():
    paper = make_paper(ecg(), 100.0, "12x1", "Cabrera")
    assert [segment.label for segment in paper.segments[:6]] == ["aVL", "I", "-aVR", "II", "aVF", "III"]
    inverted = paper.segments[2]
    assert paper.place(inverted, 0, inverted.level + 1)[1] == inverted.y + paper.gain


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layout": "3x5"}, "layout '3x5'"),
        ({"order": "cabrera"}, "did you mean 'Cabrera'"),
        ({"speed": 30.0}, "paper speed '30.0'"),
        ({"gain": 1.0}, "gain '1.0'"),
        ({"sampling_rate": 0.0}, "must be positive"),
    ],
)
def test_paper_refuses_what_it_does_not_know(change, words):
    with pytest.raises(UsageError, match=words):
        make_paper(ecg(), **{"sampling_rate": 100.0} | change)


def test_paper_names_the_lead_without_values():
    signals = ecg()
    signals[7, 3] = np.nan
    with pytest.raises(DataError, match="lead aVR has no value at sample 7"):
        make_paper(signals, 100.0)
    with pytest.raises(DataError, match="12 leads"):
        make_paper(signals[:, :8], 100.0)


def test_corrected_qt_needs_intervals():
    with pytest.raises(UsageError, match="positive"):
        corrected_qt(400, 0)
    with pytest.raises(UsageError, match="Hodges"):
        corrected_qt(400, 800, "Hodges")
    assert beats_per_minute(0) == float("inf")


def test_paper_goes_to_the_canvas_as_json():
    paper = make_paper(ecg(), 100.0)
    assert json.loads(json.dumps(paper.to_json()))["segments"][0] == asdict(paper.segments[0])


def test_export_carries_what_the_page_marks():
    signals = np.zeros((1000, 12))
    paper = make_paper(signals, 100.0)
    marks = [{"lead": "II", "sample": 510, "text": "R"}]
    spans = [
        {"lead": "II", "start": 500, "stop": 520, "kind": "QRS", "text": ""},
        {"lead": None, "start": 0, "stop": 1000, "kind": "warning", "text": "mains"},
    ]
    plain, marked = draw(paper, signals), draw(paper, signals, marks=marks, spans=spans)
    before, after = plain.axes[0], marked.axes[0]
    texts = [text.get_text() for text in after.texts]
    # lead II has sample 510 in its rhythm strip alone: its column ends at sample 250
    assert texts.count("R") == 1 and texts.count("mains") == len(paper.segments)
    assert len(after.patches) - len(before.patches) == 1 + len(paper.segments)
    strip = paper.segments[-1]
    letter = next(text for text in after.texts if text.get_text() == "R")
    assert letter.get_position()[0] == pytest.approx(paper.place(strip, 510, 0)[0] - 1)
    assert render(marked, "svg") != render(plain, "svg")
