"""Reports of the attribution study: reading scores, means, pictures, pages and the generated tables."""

import base64
import io
import itertools
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from attribution.figures import critical_difference, png, score_table
from attribution.map_figures import draw_methods, draw_twelve_leads, runs_of
from attribution.ranks import compare
from attribution.rating import BlindMap, rating_part, shuffled
from attribution.report_maps import draw_windows
from attribution.report_tables import panel_html, panel_markdown, panels, study_markdown
from attribution.scores import COLUMNS, read_score_file, read_scores, summarise
from attribution.study import analyse
from benchmarks import attribution as tables
from benchmarks.tables import insert
from tests.attribution_scores import METHODS, make_windows, score_lines, write_maps, write_scores
from training.checkpoint import ROOT
from utils.ecg import LEADS, NOT_A_DEVICE
from utils.errors import DataError, UsageError


def words_of(figure):
    """Everything that is written in a figure."""
    return " ".join(
        text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))
    )


# ---- reading -------------------------------------------------------------------------------------


def test_scores_come_back_as_they_were_written(tmp_path):
    folder = write_scores(tmp_path / "a")
    scores = read_scores([folder])
    assert list(scores.columns) == [*COLUMNS, "folder"]
    expected = pd.concat([score_lines(m) for m in sorted(METHODS)], ignore_index=True)
    pd.testing.assert_frame_equal(scores[COLUMNS], expected, check_dtype=False)
    assert scores["record"].iloc[0] == "100"  # text: leading zeros would stay


def test_undefined_scores_are_nan_however_they_are_spelt(tmp_path):
    lines = score_lines().iloc[:4].assign(score=["", "nan", "NaN", "0.5"])
    lines.to_csv(tmp_path / "x.csv", index=False)
    assert read_score_file(tmp_path / "x.csv")["score"].isna().tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.drop(columns=["patient", "truth"]), r"lacks the columns truth, patient"),
        (lambda t: t.iloc[:0], r"holds no score"),
        (lambda t: t.assign(score="much"), r"line 2: score 'much' is no number"),
        (lambda t: t.assign(score=np.inf), r"line 2: score 'inf' is no number"),
        (lambda t: t.assign(window=1.5), r"line 2: window '1.5' is no number"),
        (lambda t: t.assign(seed=""), r"line 2: seed '.*' is no number"),
        (lambda t: t.assign(metric="pointing"), r"unknown metric 'pointing': did you mean 'pointing_game'"),
        (lambda t: t.assign(sign="abs"), r"unknown sign 'abs'"),
    ],
)
def test_damaged_tables_are_refused_by_name(tmp_path, damage, message):
    path = tmp_path / "scores" / "gradcam.csv"
    path.parent.mkdir()
    damage(score_lines()).to_csv(path, index=False)
    with pytest.raises(DataError, match=rf"gradcam\.csv.*{message}"):
        read_scores([tmp_path])


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00bad", b'a,b\n"1,2\n3', b"\x00" * 50])
def test_files_that_are_no_tables(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.csv (is not a table|lacks the columns)"):
        read_score_file(tmp_path / "x.csv")


def test_folders_of_mixed_studies_are_refused(tmp_path):
    for column, other in (("dataset", "svdb"), ("model", "other"), ("seed", 2)):
        folder = write_scores(tmp_path / column, methods=["gradcam"])
        score_lines("lime", **{column: other}).to_csv(folder / "scores" / "lime.csv", index=False)
        with pytest.raises(DataError, match=rf"mixes scores of several values of {column}: .*lime\.csv"):
            read_scores([folder])


def test_scores_that_are_there_twice_are_named(tmp_path):
    folder = write_scores(tmp_path / "a", methods=["gradcam"])
    score_lines("gradcam").iloc[[5]].to_csv(folder / "scores" / "again.csv", index=False)
    with pytest.raises(
        DataError, match=r"1 scores are there twice.*again\.csv and .*gradcam\.csv.*metric auc"
    ):
        read_scores([folder])
    twin = write_scores(tmp_path / "b", methods=["gradcam"])
    (folder / "scores" / "again.csv").unlink()
    with pytest.raises(DataError, match=r"a/scores/gradcam\.csv and .*b/scores/gradcam\.csv"):
        read_scores([folder, twin])


def test_folders_without_scores_named_twice_and_strange_patients(tmp_path):
    with pytest.raises(UsageError, match=r"has no scores/\*\.csv: make them with"):
        read_scores([tmp_path])
    folder = write_scores(tmp_path / "a")
    with pytest.raises(UsageError, match="named twice"):
        read_scores([folder, tmp_path / "b" / ".." / "a"])
    lines = score_lines("gradcam")
    lines.loc[0, "patient"] = "p9"
    lines.to_csv(folder / "scores" / "gradcam.csv", index=False)
    with pytest.raises(DataError, match="record 100 of mitdb belongs to several patients"):
        read_scores([folder])


# ---- means and intervals -------------------------------------------------------------------------


def test_means_intervals_and_counts_by_hand():
    scores = score_lines(patients=5, each=3, metrics=(("auc", "beats"),))
    scores.loc[0, "score"] = np.nan
    table = summarise(scores, resamples=200, seed=4)
    line = table[table["sign"] == "signed"].iloc[0]
    values = scores["score"].to_numpy()[:15].reshape(5, 3)
    assert line["mean"] == pytest.approx(np.nanmean(values))
    assert (line["windows"], line["nan"], line["patients"], line["seeds"]) == (15, 1, 5, 1)
    draws = np.random.default_rng(4).multinomial(5, [0.2] * 5, size=200)
    means = [np.nanmean(np.repeat(values, weights, axis=0)) for weights in draws]
    assert (line["low"], line["high"]) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    assert np.isnan(line["sd"])
    again = summarise(scores, resamples=200, seed=4)
    pd.testing.assert_frame_equal(table, again)


def test_seeds_have_equal_weight_and_a_spread():
    first = score_lines(patients=3, each=1, metrics=(("auc", "beats"),)).assign(score=0.2)
    second = score_lines(patients=1, each=1, seed=2, metrics=(("auc", "beats"),)).assign(score=0.8)
    table = summarise(pd.concat([first, second], ignore_index=True), resamples=50)
    line = table.iloc[0]
    assert line["mean"] == pytest.approx(0.5) and line["sd"] == pytest.approx(np.std([0.2, 0.8], ddof=1))
    assert (line["seeds"], line["windows"], line["patients"]) == (2, 4, 3)
    assert line["low"] == pytest.approx(0.5) and line["high"] == pytest.approx(0.5)


def test_one_patient_one_window_and_no_score_at_all():
    table = summarise(score_lines(patients=1, each=1), resamples=20)
    assert np.isfinite(table["mean"]).all() and table[["low", "high"]].isna().all(axis=None)
    empty = summarise(score_lines().assign(score=np.nan), resamples=20)
    assert empty["mean"].isna().all() and (empty["nan"] == empty["windows"]).all()
    with pytest.raises(UsageError, match="resamples must be at least 2"):
        summarise(score_lines(), resamples=1)


def test_a_study_of_one_method_one_patient_says_why_nothing_is_tested():
    study = analyse(score_lines(patients=1), resamples=20)[0]
    assert {test.comparison.reason for test in study.tests} == {
        "1 patients: no test can be made with fewer than 6"
    }
    assert all(critical_difference(test.comparison, "x") is None for test in study.tests)
    text = study_markdown({**study.summary(), "notes": []})
    assert "no test can be made with fewer than 6" in text and "not ranked" in text


def test_an_all_nan_metric_goes_through_the_whole_analysis():
    scores = pd.concat([score_lines(m) for m in METHODS], ignore_index=True)
    scores.loc[scores["metric"] == "auc", "score"] = np.nan
    study = analyse(scores, resamples=20)[0]
    reasons = {test.metric: test.comparison.reason for test in study.tests}
    assert reasons["auc"] == "no row has a score" and reasons["pointing_game"] == ""
    assert study.rankings[0].ranking["rows"] == [] and len(study.rankings[0].ranking["unranked"]) == 6
    figure = score_table(study.table, "x", ("localisation",))
    assert words_of(figure).count("all 14 NaN") == 8
    assert "–" in panel_markdown(next(panels(study.table)))


# ---- tables --------------------------------------------------------------------------------------


def test_panels_mark_the_best_three_and_count_nan():
    scores = pd.concat([score_lines(m) for m in METHODS], ignore_index=True)
    scores.loc[(scores["method"] == "lime") & (scores["window"] == 3), "score"] = np.nan
    study = analyse(scores, resamples=20)[0]
    localisation, perturbation = panels(study.table)
    assert localisation.title == "localisation, truth: beats" and localisation.header[0] == "AUC ↑"
    assert perturbation.header == ["region perturbation LeRF ↓"]
    rows = dict(localisation.rows)
    assert list(rows)[-2:] == ["Random baseline", "Random baseline, abs."]
    assert rows["LIME"][0].count == "14, 1 NaN" and rows["Grad-CAM"][0].count == "14"
    assert sorted(cells[0].place for cells in rows.values()) == [0, 0, 0, 0, 0, 1, 2, 3]
    assert {rows["Guided Grad-CAM"][0].place, rows["Guided Grad-CAM, abs."][0].place} == {1, 2}
    assert dict(perturbation.rows)["LIME"][0].place in (1, 2)  # lower is better there
    assert dict(perturbation.rows)["Random baseline"][0].place == 0
    assert panel_html(localisation).count("<tr>") == 9
    assert panel_markdown(localisation).count("**") == 2 * 6


def test_a_metric_without_a_direction_marks_nothing():
    table = summarise(score_lines(metrics=(("sparseness_gini", ""),)), resamples=20)
    panel = next(panels(table))
    assert panel.header == ["sparseness (Gini)"] and {cells[0].place for _, cells in panel.rows} == {0}


# ---- pictures ------------------------------------------------------------------------------------


def test_score_table_shows_every_number_once_and_the_twin_metric_not():
    metrics = (("attribution_localization", "beats"), ("relevance_mass_accuracy", "beats"), ("auc", "beats"))
    scores = pd.concat([score_lines(m, metrics=metrics) for m in METHODS], ignore_index=True)
    table = summarise(scores, resamples=20)
    words = words_of(score_table(table, "Title", ("localisation",)))
    assert "relevance" not in words and "localisation, truth: beats" in words and NOT_A_DEVICE in words
    shown = table[table["metric"] != "relevance_mass_accuracy"]
    for mean in shown["mean"]:
        assert f"{mean:.3f}" in words
    assert score_table(table, "Title", ("sanity",)) is None


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
    picture = png(figure, Image.Quantize.MEDIANCUT)
    assert picture == png(figure, Image.Quantize.MEDIANCUT)  # no date in it
    assert Image.open(io.BytesIO(picture)).mode == "P"


@given(st.lists(st.booleans(), max_size=40))
def test_runs_cover_the_mask_exactly(values):
    mask = np.array(values, dtype=bool)
    again = np.zeros(len(mask), dtype=bool)
    runs = runs_of(mask)
    for start, stop in runs:
        assert stop > start and not again[start:stop].any()
        again[start:stop] = True
    assert (again == mask).all()
    assert all(b[0] > a[1] for a, b in itertools.pairwise(runs))  # as few as there can be


def test_maps_of_one_lead_have_rows_truth_and_units():
    signal = np.sin(np.arange(800) / 20)
    truth = np.zeros(800, dtype=bool)
    truth[100:200] = truth[500:550] = True
    maps = {"Grad-CAM": signal, "LIME": np.zeros(800)}
    figure = draw_methods(signal, 100, maps, "T", "VEB", truth, "beats of VEB", {"Grad-CAM": "AUC 0.83"}, 300)
    words = words_of(figure)
    for said in ("Grad-CAM", "LIME", "AUC 0.83", "map is zero", "truth: beats of VEB", NOT_A_DEVICE):
        assert said in words
    assert "25 mm/s   5 mm/mV" in words and "10 mm/mV" not in words
    assert "3 s" in words and "11 s" in words and "0 s" not in words.split()  # the record's own seconds
    shades = [p for p in figure.axes[0].patches if p.get_alpha()]
    assert [round(p.get_width(), 3) for p in shades] == [25.0, 12.5]  # 1 s and 0.5 s at 25 mm/s
    without = words_of(draw_methods(signal, 100, maps, "T"))
    assert "truth" not in without


def test_a_narrow_peak_survives_the_pixels():
    values = np.zeros(2880)
    values[1000] = -1.0
    figure = draw_methods(np.zeros(2880), 360, {"m": values}, "T")
    mesh = next(c for c in figure.axes[0].collections if c.get_array() is not None)
    assert mesh.get_array().size == 960 and mesh.get_array().min() == -1.0


@pytest.mark.parametrize("values", [np.zeros(9), np.full(800, np.nan)])
def test_maps_that_do_not_fit_are_refused(values):
    with pytest.raises(DataError, match="the map LIME is"):
        draw_methods(np.zeros(800), 100, {"LIME": values}, "T")
    with pytest.raises(DataError, match="no map"):
        draw_methods(np.zeros(800), 100, {}, "T")


def test_twelve_leads_shade_the_truth_in_its_lead_alone():
    signals, truth = np.zeros((500, 12)), np.zeros((500, 12), dtype=bool)
    signals[::100] = 1
    truth[100:200, 4] = True
    values = np.zeros((500, 12))
    values[150, 4], values[300, 7] = 3, -1
    figure = draw_twelve_leads(signals, 100, values, "T", "", truth, "planted sign")
    words = words_of(figure)
    assert "truth: planted sign" in words and "75.0 %" in words and "25.0 %" in words
    shades = [p for p in figure.axes[0].patches if p.get_alpha()]
    assert len(shades) == 1 and round(shades[0].get_width(), 3) == 25.0
    assert "truth" not in words_of(draw_twelve_leads(signals, 100, values * 0, "T"))


def test_windows_are_drawn_class_by_class():
    targets = np.array([1] * 50 + [2] * 3)
    chosen = draw_windows(targets, 6, seed=0)
    assert targets[chosen].tolist() == [1, 2, 1, 2, 1, 2] and len(set(chosen)) == 6
    assert chosen == draw_windows(targets, 6, seed=0) == draw_windows(targets, 9, seed=0)[:6]
    assert len(draw_windows(targets, 99, seed=0)) == 53 and draw_windows(targets[:0], 3, seed=0) == []


# ---- the page ------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a page would load, what it shows, and whether its tags close."""

    VOID = ("meta", "img", "br", "input", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.text, self.policy, self.images = [], [], [], "", 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.loads += [v for k, v in attrs if k in ("src", "href", "action", "srcset", "data", "poster")]
        self.images += tag == "img"
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def check_alone(text):
    """The page needs nothing, sends nothing, and says what it is not."""
    page = Page(text)
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert "default-src 'none'" in page.policy and "connect-src" not in page.policy
    assert not re.search(r"https?://|@import|url\(", text)
    assert NOT_A_DEVICE in " ".join(page.text)
    return page


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The command, once, on two seeds of a study with maps and another study without."""
    base = tmp_path_factory.mktemp("report")
    write_maps(base / "a", make_windows())
    write_scores(base / "a")
    write_scores(base / "b", seed=2)
    write_scores(base / "c", methods=["lime"], dataset="svdb", patients=2)
    command = [sys.executable, "-W", "error", "-m", "attribution.report", *(str(base / n) for n in "abc")]
    command += ["--output_dir", str(base / "out"), "--resamples", "50", "--maps", "1", "--rated", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return base / "out", done


def test_the_command_writes_what_it_says(report):
    out, done = report
    written = [line.removeprefix("wrote ") for line in done.stdout.splitlines() if line.startswith("wrote ")]
    files = sorted(str(path) for path in out.rglob("*") if path.is_file())
    assert sorted(written) == files
    names = {path[len(str(out)) + 1 :] for path in files}
    assert {"scores.csv", "table.csv", "table.md", "ranks.json", "report.html", "rate_maps.html"} <= names
    assert {
        "mitdb-net/score_table.png",
        "mitdb-net/critical_difference_auc.png",
        "svdb-net/summary.json",
    } <= names
    assert any(re.fullmatch(r"mitdb-net/maps_1\d\d_\d+_(SVEB|VEB)\.png", name) for name in names)
    assert "note: Attention cannot explain this model: it has none" in done.stderr + done.stdout
    assert re.search(r"note: No pictures of maps from \S+c: .*holds no maps", done.stderr + done.stdout)
    table = pd.read_csv(out / "table.csv")
    lime = table[(table["dataset"] == "mitdb") & (table["method"] == "lime") & (table["metric"] == "auc")]
    assert lime["seeds"].tolist() == [2, 2] and lime["sd"].notna().all()
    assert len(pd.read_csv(out / "scores.csv")) == 2 * 4 * 2 * 3 * 14 + 2 * 3 * 4
    ranks = json.loads((out / "ranks.json").read_text())
    assert [entry["dataset"] for entry in ranks] == ["mitdb", "svdb"]
    assert len(ranks[0]["tests"][0]["comparison"]["pairs"]) == 15


def test_the_page_stands_alone_and_speaks_of_everything(report):
    text = (report[0] / "report.html").read_text(encoding="utf-8")
    page = check_alone(text)
    words = " ".join(page.text)
    for said in (
        "mitdb, net",
        "svdb, net",
        "Guided Grad-CAM, abs.",
        "published rank",
        "Friedman",
        "seeds: 1, 2",
    ):
        assert said in words
    assert "2 patients: no test can be made with fewer than 6" in words
    assert page.images >= 4 + 4


def test_raters_see_no_name_of_a_method(report):
    text = (report[0] / "rate_maps.html").read_text(encoding="utf-8")
    page = check_alone(text)
    words = " ".join(page.text)
    assert not re.search("lime|cam|random_baseline|beats", words, re.IGNORECASE)
    assert not re.search(
        "lime|gradcam|random_baseline", text, re.IGNORECASE
    )  # nor in the source as it stands
    assert page.images == len(METHODS) and words.count("very helpful") == len(METHODS)
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text)[1])
    hidden = [json.loads(base64.b64decode(secret)) for secret in facts["maps"]]
    assert {fact["method"] for fact in hidden} == set(METHODS)
    assert len({fact["window"] for fact in hidden}) == 1
    columns = re.search(r"const columns = (\[.*?\]);", text)[1]
    assert set(json.loads(columns)) == set(hidden[0])
    # the rated window is none of those that are drawn with names
    named = next(report[0].glob("mitdb-net/maps_*.png")).name
    start = make_windows().starts[hidden[0]["window"]]
    assert f"_{start}_" not in named


def test_maps_are_shuffled_and_words_are_escaped():
    maps = [BlindMap(b"png", f"<b>{n}</b>", {"method": n}) for n in range(9)]
    order = [item.facts["method"] for item in shuffled(maps, 0)]
    assert sorted(order) == list(range(9)) != order
    assert order == [item.facts["method"] for item in shuffled(maps, 0)]
    part = rating_part(maps)
    assert "<b>3</b>" not in part and "&lt;b&gt;3&lt;/b&gt;" in part


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 2, "has no scores/*.csv"),
        (["nowhere", "--maps", "-1"], 2, "--maps must not be negative"),
        (["nowhere", "--map", "1"], 2, "unknown argument '--map'"),
        ([], 2, "result_dir"),
    ],
)
def test_usage_errors_are_one_line(tmp_path, capsys, words, code, message):
    from attribution.report import main
    from utils.errors import run_cli

    words = [str(tmp_path / w) if w == "nowhere" else w for w in words]
    with pytest.raises(SystemExit) as end:
        run_cli(lambda: main(words))
    assert end.value.code == code and message in capsys.readouterr().err


def test_twelve_lead_windows_get_a_picture_of_the_best_method(tmp_path):
    from attribution.report import write_report

    folder = write_maps(tmp_path / "a", make_windows(leads=LEADS, patients=1), METHODS[1:3])
    write_scores(folder, methods=METHODS[1:3], patients=1)
    written = write_report([folder], tmp_path / "out", resamples=20, maps=1, rated=0)
    names = sorted(path.name for path in written if path.name.startswith("maps_"))
    assert len(names) == 2 and names[1].endswith("_guided_gradcam.png")
    assert "rate_maps.html" not in {path.name for path in written}


def test_maps_of_other_windows_are_said_and_do_not_stop_the_report(tmp_path):
    from attribution.report import write_report

    folder = write_maps(tmp_path / "a", make_windows(patients=1), ["gradcam"])
    write_scores(folder, methods=["gradcam"], patients=1)
    make_windows(patients=1, rate=50).save(folder / "windows.npz")
    write_report([folder], tmp_path / "out", resamples=20)
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "No pictures of maps" in text and "is not the file whose windows" in text


# ---- generated tables ----------------------------------------------------------------------------


def test_collected_studies_become_a_page_and_a_block(report, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- attribution:begin -->\nstale\n<!-- attribution:end -->\nafter\n")
    command = [sys.executable, "-W", "error", "-m", "benchmarks.attribution"]
    where = ["--studies", str(tmp_path / "studies")]
    for words in (
        ["collect", "--report", str(report[0]), *where],
        ["table", "--readme", str(readme), *where],
    ):
        done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    studies = tables.read_studies(tmp_path / "studies")
    assert [study["dataset"] for study in studies] == ["mitdb", "svdb"]
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "stale" not in text
    assert text == insert(text, tables.block(studies), "attribution")
    assert "Guided Grad-CAM, abs." in text and "| 2 | not ranked |" in text  # guided backprop was not run
    page = (tmp_path / "studies" / "README.md").read_text()
    assert page == tables.page(studies)
    assert "`python -m attribution.compute --dataset mitdb`" in page


def test_collecting_nothing_and_foreign_files_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"holds no summary\.json"):
        tables.collect(tmp_path, tmp_path / "studies")
    (tmp_path / "summary.json").write_text('{"dataset": "mitdb"}')
    with pytest.raises(DataError, match="is no summary of a report, it lacks model"):
        tables.collect(tmp_path, tmp_path / "studies")
    with pytest.raises(UsageError, match="no study in"):
        tables.read_studies(tmp_path / "studies")
    with pytest.raises(UsageError, match="collect needs --report"):
        tables.main(["collect"])


def test_committed_page_and_readme_are_up_to_date():
    if not list(tables.STUDIES.glob("*.json")):
        pytest.skip("no study has been collected yet")
    studies = tables.read_studies()
    page = (tables.STUDIES / "README.md").read_text(encoding="utf-8")
    assert page == tables.page(studies), "run python -m benchmarks.attribution table"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == insert(readme, tables.block(studies), "attribution")
