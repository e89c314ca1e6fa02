"""Scores of attribution maps: reading tidy files, means with intervals, tables."""

import numpy as np
import pandas as pd
import pytest

from attribution.report.analysis import analyze
from attribution.report.figures import critical_difference, score_table
from attribution.report.tables import made_words, panel_markdown, panels, study_markdown
from attribution.scores.summary import COLUMNS, read_score_file, read_scores, summarize
from tests.helpers.attribution_scores import METHODS, score_lines, words_of, write_scores
from utils.errors import DataError, UsageError

# ---- reading -------------------------------------------------------------------------------------


def test_read_scores_returns_what_was_written(tmp_path):
    folder = write_scores(tmp_path / "a")
    scores = read_scores([folder])
    assert list(scores.columns) == [*COLUMNS, "folder"]
    expected = pd.concat([score_lines(m) for m in sorted(METHODS)], ignore_index=True)
    pd.testing.assert_frame_equal(scores[COLUMNS], expected, check_dtype=False)
    assert scores["record"].iloc[0] == "100"  # text: leading zeros would stay


def test_read_score_file_reads_any_spelling_of_nan(tmp_path):
    lines = score_lines().iloc[:4].assign(score=["", "nan", "NaN", "0.5"])
    lines.to_csv(tmp_path / "x.csv", index=False)
    assert read_score_file(tmp_path / "x.csv")["score"].isna().tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.drop(columns=["patient", "ground_truth"]), r"lacks the columns ground_truth, patient"),
        (lambda t: t.iloc[:0], r"holds no score"),
        (lambda t: t.assign(score="much"), r"line 2: score 'much' is not a valid number"),
        (lambda t: t.assign(score=np.inf), r"line 2: score 'inf' is not a valid number"),
        (lambda t: t.assign(window=1.5), r"line 2: window '1.5' is not a valid number"),
        (lambda t: t.assign(seed=""), r"line 2: seed '.*' is not a valid number"),
        (lambda t: t.assign(metric="pointing"), r"unknown metric 'pointing': did you mean 'pointing_game'"),
        (lambda t: t.assign(sign="abs"), r"unknown sign 'abs'"),
    ],
)
def test_read_scores_refuses_damaged_tables(tmp_path, damage, message):
    path = tmp_path / "scores" / "gradcam.csv"
    path.parent.mkdir()
    damage(score_lines()).to_csv(path, index=False)
    with pytest.raises(DataError, match=rf"gradcam\.csv.*{message}"):
        read_scores([tmp_path])


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00bad", b'a,b\n"1,2\n3', b"\x00" * 50])
def test_read_score_file_refuses_other_files(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.csv (is not a table|lacks the columns)"):
        read_score_file(tmp_path / "x.csv")


def test_read_scores_refuses_mixed_studies(tmp_path):
    for column, other in (("dataset", "svdb"), ("model", "other"), ("seed", 2)):
        folder = write_scores(tmp_path / column, methods=["gradcam"])
        score_lines("lime", **{column: other}).to_csv(folder / "scores" / "lime.csv", index=False)
        with pytest.raises(DataError, match=rf"mixes scores of several values of {column}: .*lime\.csv"):
            read_scores([folder])


def test_read_scores_names_duplicates(tmp_path):
    folder = write_scores(tmp_path / "a", methods=["gradcam"])
    score_lines("gradcam").iloc[[5]].to_csv(folder / "scores" / "again.csv", index=False)
    with pytest.raises(
        DataError, match=r"1 scores are duplicates.*again\.csv and .*gradcam\.csv.*metric auc"
    ):
        read_scores([folder])
    twin = write_scores(tmp_path / "b", methods=["gradcam"])
    (folder / "scores" / "again.csv").unlink()
    with pytest.raises(DataError, match=r"a/scores/gradcam\.csv and .*b/scores/gradcam\.csv"):
        read_scores([folder, twin])


def test_read_scores_refuses_empty_and_repeated_folders(tmp_path):
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


def test_summarize_by_hand():
    scores = score_lines(patients=5, each=3, metrics=(("auc", "beats"),))
    scores.loc[0, "score"] = np.nan
    table = summarize(scores, resamples=200, seed=4)
    line = table[table["sign"] == "signed"].iloc[0]
    values = scores["score"].to_numpy()[:15].reshape(5, 3)
    assert line["mean"] == pytest.approx(np.nanmean(values))
    assert (line["windows"], line["nan"], line["patients"], line["seeds"]) == (15, 1, 5, 1)
    draws = np.random.default_rng(4).multinomial(5, [0.2] * 5, size=200)
    means = [np.nanmean(np.repeat(values, weights, axis=0)) for weights in draws]
    assert (line["low"], line["high"]) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    assert np.isnan(line["sd"])
    again = summarize(scores, resamples=200, seed=4)
    pd.testing.assert_frame_equal(table, again)


def test_summarize_weighs_seeds_equally():
    first = score_lines(patients=3, each=1, metrics=(("auc", "beats"),)).assign(score=0.2)
    second = score_lines(patients=1, each=1, seed=2, metrics=(("auc", "beats"),)).assign(score=0.8)
    table = summarize(pd.concat([first, second], ignore_index=True), resamples=50)
    line = table.iloc[0]
    assert line["mean"] == pytest.approx(0.5) and line["sd"] == pytest.approx(np.std([0.2, 0.8], ddof=1))
    assert (line["seeds"], line["windows"], line["patients"]) == (2, 4, 3)
    assert line["low"] == pytest.approx(0.5) and line["high"] == pytest.approx(0.5)


def test_summarize_counts_resamples_without_a_score():
    scores = score_lines(patients=3, each=1, metrics=(("auc", "beats"),))
    scores = scores[scores["sign"] == "signed"].assign(score=[0.2, 0.8, np.nan])
    line = summarize(scores, resamples=500, seed=1).iloc[0]
    draws = np.random.default_rng(1).multinomial(3, [1 / 3] * 3, size=500)
    assert line["rejected"] == (draws[:, 2] == 3).sum() > 0
    assert (line["low"], line["high"], line["patients"]) == pytest.approx((0.2, 0.8, 2))
    study = analyze(scores, resamples=500, seed=1)[0]
    text = study_markdown({**study.summary(), "notes": [], "sources": []})
    assert f"left out of the intervals: at most {line['rejected']}." in text


def test_report_describes_its_sample():
    study = analyze(pd.concat([score_lines("lime"), score_lines("gradcam")]), resamples=20)[0]
    settings = {"ig_steps": 50, "n_samples": 500, "segment_ms": 64.0, "segment_samples": 0}
    settings |= {"n_baselines": 25, "baselines": "training"}
    source = {"folder": "a", "seed": 1, "limit": 40, "prob_threshold": 0.75, "settings": settings}
    sources = [source, {**source, "seed": 2, "limit": None}, {"folder": "without args.json"}]
    one, two = made_words({**study.summary(), "sources": sources})
    assert one.startswith("Seed 1: a sample of at most 40 of the test windows") and "above 0.75" in one
    assert two.startswith("Seed 2: all of the test windows")
    assert "500 perturbations of segments of 64 ms" in one and "DeepSHAP" not in one


def test_panels_rank_randomization_by_distance_to_zero():
    scores = pd.concat(
        score_lines(metrics=(("randomization_head", ""),)).assign(method=name, score=score)
        for name, score in (("lrp", -0.9), ("lime", 0.1), ("saliency", 0.5))
    )
    panel = next(panels(summarize(scores, resamples=20)))
    places = {name: cells[0].place for name, cells in panel.rows}
    assert panel.header == ["random to head → 0"]
    assert (places["LIME"], places["Saliency"], places["LRP"]) == (1, 3, 0)


def test_summarize_one_patient_and_no_score():
    table = summarize(score_lines(patients=1, each=1), resamples=20)
    assert np.isfinite(table["mean"]).all() and table[["low", "high"]].isna().all(axis=None)
    empty = summarize(score_lines().assign(score=np.nan), resamples=20)
    assert empty["mean"].isna().all() and (empty["nan"] == empty["windows"]).all()
    with pytest.raises(UsageError, match="resamples must be at least 2"):
        summarize(score_lines(), resamples=1)


def test_analyse_gives_the_reason_for_missing_tests():
    study = analyze(score_lines(patients=1), resamples=20)[0]
    assert {test.comparison.reason for test in study.tests} == {
        "1 patients: no test is possible with fewer than 6"
    }
    assert all(critical_difference(test.comparison, "x") is None for test in study.tests)
    text = study_markdown({**study.summary(), "notes": [], "sources": []})
    assert "no test is possible with fewer than 6" in text and "not ranked" in text


def test_analyse_a_metric_without_scores():
    scores = pd.concat([score_lines(m) for m in METHODS], ignore_index=True)
    scores.loc[scores["metric"] == "auc", "score"] = np.nan
    study = analyze(scores, resamples=20)[0]
    reasons = {test.metric: test.comparison.reason for test in study.tests}
    assert reasons["auc"] == "no row has a score" and reasons["pointing_game"] == ""
    assert study.rankings[0]["ranking"]["rows"] == [] and len(study.rankings[0]["ranking"]["unranked"]) == 6
    figure = score_table(study.table, "x", ("localization",))
    assert words_of(figure).count("all 14 NaN") == 8
    assert "–" in panel_markdown(next(panels(study.table)))


# ---- tables --------------------------------------------------------------------------------------


def test_panels_mark_the_best_three_and_count_nan():
    scores = pd.concat([score_lines(m) for m in METHODS], ignore_index=True)
    scores.loc[(scores["method"] == "lime") & (scores["window"] == 3), "score"] = np.nan
    study = analyze(scores, resamples=20)[0]
    localization, perturbation = panels(study.table)
    assert localization.title == "localization, ground truth: beats" and localization.header[0] == "AUC ↑"
    assert perturbation.header == ["region perturbation LeRF ↓"]
    rows = dict(localization.rows)
    assert list(rows)[-2:] == ["Random baseline", "Random baseline (abs)"]
    assert rows["LIME"][0].windows == "14, 1 NaN" and rows["Grad-CAM"][0].windows == "14"
    assert sorted(cells[0].place for cells in rows.values()) == [0, 0, 0, 0, 0, 1, 2, 3]
    assert {rows["Guided Grad-CAM"][0].place, rows["Guided Grad-CAM (abs)"][0].place} == {1, 2}
    assert dict(perturbation.rows)["LIME"][0].place in (1, 2)  # lower is better there
    assert dict(perturbation.rows)["Random baseline"][0].place == 0
    assert panel_markdown(localization).count("**") == 2 * 6


def test_panels_mark_nothing_without_a_direction():
    table = summarize(score_lines(metrics=(("sparseness_gini", ""),)), resamples=20)
    panel = next(panels(table))
    assert panel.header == ["sparseness (Gini)"] and {cells[0].place for _, cells in panel.rows} == {0}
