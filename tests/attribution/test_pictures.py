"""Pictures of scores and of maps over the trace."""

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from attribution.report.figures import critical_difference, score_table
from attribution.report.map_figures import draw_methods, draw_twelve_leads, runs_of
from attribution.report.maps import draw_windows
from attribution.report.ranks import compare
from attribution.scores.summary import summarize
from tests.helpers.attribution_scores import METHODS, score_lines, words_of
from utils.ecg import NOT_A_DEVICE
from utils.errors import DataError
from utils.plotting.ecg import png


def test_score_table_shows_every_number_once():
    metrics = (("attribution_localization", "beats"), ("relevance_mass_accuracy", "beats"), ("auc", "beats"))
    scores = pd.concat([score_lines(m, metrics=metrics) for m in METHODS], ignore_index=True)
    table = summarize(scores, resamples=20)
    words = words_of(score_table(table, "Title", ("localization",)))
    assert "relevance" not in words and "localization, ground truth: beats" in words and NOT_A_DEVICE in words
    shown = table[table["metric"] != "relevance_mass_accuracy"]
    for mean in shown["mean"]:
        assert f"{mean:.3f}" in words
    assert score_table(table, "Title", ("sanity",)) is None


def test_score_table_legend_stays_above_the_notice():
    scores = pd.concat([score_lines(m, metrics=(("auc", "beats"),)) for m in METHODS], ignore_index=True)
    figure = score_table(summarize(scores, resamples=20), "Title", ("localization",))
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in figure.axes[0].texts}
    notice = boxes.pop(NOT_A_DEVICE)
    assert not [words for words, box in boxes.items() if words and box.overlaps(notice)]


def test_critical_difference_draws_each_row_and_bar():
    base = np.random.default_rng(0).normal(size=20)
    noise = np.random.default_rng(1).normal(0, 0.5, 20)
    comparison = compare(pd.DataFrame({"good": base + 2, "a": base, "b": base + noise}), True)
    figure = critical_difference(comparison, "Title", {"good": {"better": True}})
    words = words_of(figure)
    assert all(name in words for name in ("good", "a", "b", "average rank over 20 patients", NOT_A_DEVICE))
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, True, True]
    bars = [line for line in figure.axes[0].lines if line.get_linewidth() == 2.6]
    assert len(bars) == len(comparison.groups) == 1
    picture = png(figure, colors=256, method=Image.Quantize.MEDIANCUT)
    assert picture == png(figure, colors=256, method=Image.Quantize.MEDIANCUT)  # no date in it
    assert Image.open(io.BytesIO(picture)).mode == "P"


@given(st.lists(st.booleans(), max_size=40))
def test_runs_of_a_mask(values):
    mask = np.array(values, dtype=bool)
    again = np.zeros(len(mask), dtype=bool)
    runs = runs_of(mask)
    for start, stop in runs:
        assert stop > start and not again[start:stop].any()
        again[start:stop] = True
    assert (again == mask).all()
    assert all(b[0] > a[1] for a, b in itertools.pairwise(runs))  # as few as there can be


def test_draw_methods_shows_rows_ground_truth_and_units():
    signal = np.sin(np.arange(800) / 20)
    ground_truth = np.zeros(800, dtype=bool)
    ground_truth[100:200] = ground_truth[500:550] = True
    maps = {"Grad-CAM": signal, "LIME": np.zeros(800)}
    figure = draw_methods(
        signal, 100, maps, "T", "VEB", ground_truth, "beats of VEB", {"Grad-CAM": "AUC 0.83"}, 300
    )
    words = words_of(figure)
    for text in ("Grad-CAM", "LIME", "AUC 0.83", "map is zero", "ground truth: beats of VEB", NOT_A_DEVICE):
        assert text in words
    assert "25 mm/s   5 mm/mV" in words and "10 mm/mV" not in words
    assert "3 s" in words and "11 s" in words and "0 s" not in words.split()  # the record's own seconds
    shades = [p for p in figure.axes[0].patches if p.get_alpha()]
    assert [round(p.get_width(), 3) for p in shades] == [25.0, 12.5]  # 1 s and 0.5 s at 25 mm/s
    without = words_of(draw_methods(signal, 100, maps, "T"))
    assert "ground truth" not in without


def test_draw_methods_keeps_narrow_peaks():
    values = np.zeros(2880)
    values[1000] = -1.0
    figure = draw_methods(np.zeros(2880), 360, {"m": values}, "T")
    mesh = next(c for c in figure.axes[0].collections if c.get_array() is not None)
    assert mesh.get_array().size == 960 and mesh.get_array().min() == -1.0


@pytest.mark.parametrize("values", [np.zeros(9), np.full(800, np.nan)])
def test_draw_methods_refuses_maps_that_do_not_fit(values):
    with pytest.raises(DataError, match="the map LIME is"):
        draw_methods(np.zeros(800), 100, {"LIME": values}, "T")
    with pytest.raises(DataError, match="no map"):
        draw_methods(np.zeros(800), 100, {}, "T")


def test_draw_twelve_leads_shades_the_ground_truth_in_its_lead():
    signals, ground_truth = np.zeros((500, 12)), np.zeros((500, 12), dtype=bool)
    signals[::100] = 1
    ground_truth[100:200, 4] = True
    values = np.zeros((500, 12))
    values[150, 4], values[300, 7] = 3, -1
    figure = draw_twelve_leads(signals, 100, values, "T", "", ground_truth, "synthetic finding")
    words = words_of(figure)
    words = words.replace("\n", " ")
    assert "ground truth: synthetic finding" in words and "75.0 %" in words and "25.0 %" in words
    shades = [p for p in figure.axes[0].patches if p.get_alpha()]
    assert len(shades) == 1 and round(shades[0].get_width(), 3) == 25.0
    assert "ground truth" not in words_of(draw_twelve_leads(signals, 100, values * 0, "T"))


def test_draw_windows_takes_classes_in_turn():
    targets = np.array([1] * 50 + [2] * 3)
    chosen = draw_windows(targets, 6, seed=0)
    assert targets[chosen].tolist() == [1, 2, 1, 2, 1, 2] and len(set(chosen)) == 6
    assert chosen == draw_windows(targets, 6, seed=0) == draw_windows(targets, 9, seed=0)[:6]
    assert len(draw_windows(targets, 99, seed=0)) == 53 and draw_windows(targets[:0], 3, seed=0) == []
