"""Tests over patients, Holm's correction, groups, and rankings beside the published ones."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, rankdata, wilcoxon

from attribution.report.ranks import (
    FEWEST_PATIENTS,
    against_random,
    can_differ,
    compare,
    compare_methods,
    holm,
    patient_means,
    published_claims,
    rankings,
    signed_rank,
)
from attribution.scores.summary import COLUMNS
from explain.names import metric, row_title
from utils.errors import DataError


def tidy(scores, name="auc", ground_truth="beats", seed=1):
    """{(method, sign): one score a patient} as a tidy table; a list makes several windows of that patient."""
    rows = []
    for (method, sign), values in scores.items():
        window = 0
        for patient, value in enumerate(values):
            for score in np.atleast_1d(value):
                line = ["mitdb", "net", seed, method, sign, name, ground_truth, f"r{patient}", f"p{patient}"]
                rows.append([*line, window, "VEB", float(score)])
                window += 1
    return pd.DataFrame(rows, columns=COLUMNS)


def test_holm_by_hand():
    # sorted 0.01 0.02 0.03 0.04 times 4 3 2 1, never falling
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_raises_p_values_and_keeps_their_order(p_values):
    corrected = np.array(holm(p_values))
    assert (corrected >= np.array(p_values)).all() and (corrected <= 1).all()
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_patient_means_weigh_seeds_equally():
    first = tidy({("lime", "signed"): [[1, 3], 5]})
    second = tidy({("lime", "signed"): [[8], [np.nan]]}, seed=2)
    means = patient_means(pd.concat([first, second]))[("lime", "signed")]
    # patient 0: mean of seed means 2 and 8; patient 1 has no score with seed 2
    assert means.to_dict() == {"p0": 5.0, "p1": 5.0}


def test_compare_equals_scipy():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(12, 4)) + np.array([0, 0.2, 1.5, 3])
    found = compare(pd.DataFrame(values, columns=list("abcd")), higher_is_better=True)
    assert found.rows[0] == "d" and found.patients == 12 and found.reason == ""
    assert found.friedman == pytest.approx(tuple(friedmanchisquare(*values.T)))
    by_name = {frozenset((pair["a"], pair["b"])): pair for pair in found.pairs}
    assert len(by_name) == 6
    pair = by_name[frozenset("ab")]
    assert pair["p"] == pytest.approx(wilcoxon(values[:, 0], values[:, 1]).pvalue)
    assert sum(found.average_ranks) == pytest.approx(1 + 2 + 3 + 4)
    reverse = compare(pd.DataFrame(-values, columns=list("abcd")), higher_is_better=False)
    assert reverse.rows == found.rows and reverse.average_ranks == found.average_ranks


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=9))
def test_signed_rank_counts_all_signs(pairs):
    a, b = np.array(pairs, dtype=float).T
    ranks = rankdata(np.abs(a - b)) * (a != b)  # Pratt: equal pairs take the lowest ranks, and no side
    sums = [ranks @ signs for signs in itertools.product((1, -1), repeat=len(a))]
    found = abs(ranks @ np.sign(a - b))
    assert signed_rank(a, b) == pytest.approx(np.mean(np.abs(sums) >= found))


@pytest.mark.parametrize("patients", [6, 14, 50, 51, 80])
def test_signed_rank_equals_scipy_without_ties(patients):
    a, b = np.random.default_rng(patients).normal(0.2, 1, (2, patients))
    assert signed_rank(a, b) == pytest.approx(wilcoxon(a, b).pvalue)


def test_signed_rank_keeps_its_power_with_ties():
    ones = np.ones(14)
    assert signed_rank(ones, ones * 0) == pytest.approx(2 / 2**14)
    assert signed_rank(ones, ones + 1e-15) == 1.0  # rounding of a mean is not a difference


def test_ranks_can_differ_only_with_enough_patients():
    assert can_differ(14, 22) and not can_differ(13, 22) and not can_differ(5, 2)
    values = np.random.default_rng(0).normal(0, 0.1, (8, 22)) + np.arange(22)
    found = compare(pd.DataFrame(values, columns=[f"m{i:02}" for i in range(22)]), higher_is_better=True)
    assert found.friedman[1] < 0.001 and not any(pair["differ"] for pair in found.pairs)


def test_compare_groups_neighbors_that_do_not_differ():
    rng = np.random.default_rng(0)
    base = rng.normal(size=40)
    means = pd.DataFrame({name: base + shift for name, shift in (("low", 0), ("high", 2))})
    means["low too"] = means["low"] + rng.normal(0, 0.5, 40)
    found = compare(means, higher_is_better=True)
    assert found.rows[0] == "high" and found.groups == [(1, 2)]
    assert {(p["a"], p["b"]) for p in found.pairs if p["differ"]} == {("high", "low"), ("high", "low too")}


def test_compare_without_friedman_finds_no_difference():
    # b is always a little above a: that pair alone would differ, the seven rows together do not
    values = np.random.default_rng(0).normal(size=(12, 7))
    values[:, 1] = values[:, 0] + 0.001
    found = compare(pd.DataFrame(values, columns=list("abcdefg")), higher_is_better=True)
    assert min(pair["p_holm"] for pair in found.pairs) < 0.05 <= found.friedman[1]
    assert found.groups == [(0, 6)] and not any(pair["differ"] for pair in found.pairs)


def test_compare_ties_everywhere():
    found = compare(pd.DataFrame(np.zeros((8, 3)), columns=list("abc")), higher_is_better=True)
    assert found.friedman == (0.0, 1.0)
    assert found.groups == [(0, 2)] and not any(pair["differ"] for pair in found.pairs)
    assert found.average_ranks == [2.0, 2.0, 2.0]


def test_compare_two_rows_without_friedman():
    means = pd.DataFrame({"a": np.arange(8.0), "b": np.arange(8.0) + 1})
    found = compare(means, higher_is_better=True)
    assert found.friedman is None and found.rows == ["b", "a"]
    assert found.pairs[0]["differ"] and found.pairs[0]["p"] == pytest.approx(2 / 2**8) and found.groups == []


@pytest.mark.parametrize("patients", [1, FEWEST_PATIENTS - 1])
def test_compare_ranks_few_patients_without_a_test(patients):
    found = compare(pd.DataFrame(np.eye(patients, 3), columns=list("abc")), higher_is_better=True)
    assert "no test is possible with fewer than 6" in found.reason
    assert len(found.rows) == 3 and found.pairs == [] and found.friedman is None


def test_compare_one_row_and_no_row():
    one = compare(pd.DataFrame({"a": np.arange(9.0)}), higher_is_better=True)
    assert one.rows == ["a"] and "a single row" in one.reason
    none = compare(pd.DataFrame(index=range(9)), higher_is_better=True)
    assert none.rows == [] and none.reason == "no row has a score"
    holes = pd.DataFrame({"a": [1.0, np.nan], "b": [np.nan, 1.0]})
    assert compare(holes, higher_is_better=True).reason == "no patient has a score in every row"


def test_compare_counts_patients_without_a_score():
    means = pd.DataFrame({"a": np.arange(8.0), "b": np.arange(8.0) ** 2, "c": np.arange(8.0)[::-1]})
    means.loc[3, "b"] = np.nan
    found = compare(means, higher_is_better=True)
    assert (found.patients, found.left_out) == (7, 1)


def test_compare_methods_leaves_random_maps_out():
    rng = np.random.default_rng(1)
    noise = rng.normal(0.5, 0.05, 10)
    scores = tidy(
        {
            ("gradcam", "signed"): noise + 0.3,
            ("lime", "signed"): noise + np.resize([0.01, -0.01], 10),
            ("saliency", "signed"): noise - 0.3,
            ("random_baseline", "signed"): noise,
            ("lime", "absolute"): noise,  # no random maps of this sign
        }
    )
    comparison, random = compare_methods(scores)
    assert "Random baseline" not in comparison.rows and comparison.rows[0] == "Grad-CAM"
    assert {name: entry["better"] for name, entry in random.items()} == {
        "Grad-CAM": True,
        "LIME": False,
        "Saliency": False,  # differs, but for the worse
    }
    assert random["Saliency"]["p_holm"] < 0.05
    assert against_random(scores, higher_is_better=False)["Saliency"]["better"]


def test_compare_methods_leaves_empty_rows_out():
    values = np.arange(8.0)
    scores = tidy(
        {("lime", "signed"): values, ("lrp", "signed"): [np.nan] * 8, ("gradcam", "signed"): -values}
    )
    comparison, random = compare_methods(scores)
    assert comparison.rows == ["LIME", "Grad-CAM"] and comparison.patients == 8 and random == {}


# ---- rankings beside the published ones ----------------------------------------------------------


def means_table(means):
    """{metric: {(method, sign): mean}} as a summary."""
    lines = [
        {"ground_truth": "", "method": m, "sign": s, "metric": name, "mean": mean}
        for name, rows in means.items()
        for (m, s), mean in rows.items()
    ]
    return pd.DataFrame(lines)


CAM, GBP, GRADCAM = ("guided_gradcam", "absolute"), ("guided_backprop", "absolute"), ("gradcam", "signed")
RANDOM = ("random_baseline", "signed")


def test_rankings_confirm_published_claims():
    rows = {CAM: 0.9, GBP: 0.8, GRADCAM: 0.7, ("lime", "signed"): 0.1, RANDOM: 1.0}
    ranking = rankings(means_table({"auc": rows, "attribution_localization": rows, "pointing_game": rows}))
    found = ranking["localization"]
    assert [row["place"] for row in found["rows"]] == [1, 2, 3, 4]
    assert found["metrics"] == ["attribution_localization", "auc", "pointing_game"]
    assert found["absent"] == ["relevance_rank_accuracy"]
    assert [claim["holds"] for claim in published_claims(ranking)] == [True, True, True]
    assert {claim["of"] for claim in published_claims(ranking)} == {4}  # random maps are not ranked


def test_rankings_count_one_number_with_two_names_once():
    a, b = {CAM: 1.0, GBP: 0.0}, {CAM: 0.0, GBP: 1.0}
    both = rankings(means_table({"attribution_localization": a, "relevance_mass_accuracy": a, "auc": b}))
    assert both["localization"]["metrics"] == ["attribution_localization", "auc"]
    assert [row["average_rank"] for row in both["localization"]["rows"]] == [1.5, 1.5]
    assert [row["place"] for row in both["localization"]["rows"]] == [1, 1]
    alone = rankings(means_table({"relevance_mass_accuracy": a}))
    assert alone["localization"]["metrics"] == ["relevance_mass_accuracy"]


def test_rankings_prefer_lower_lerf():
    lime, shap = ("lime", "signed"), ("deep_shap", "signed")
    found = rankings(means_table({"region_perturbation_lerf": {lime: 0.1, shap: 0.2}}))["perturbation"]
    assert [row["method"] for row in found["rows"]] == ["lime", "deep_shap"]
    claims = published_claims({"perturbation": found})
    assert [(claim["row"], claim["here"], claim["holds"]) for claim in claims] == [
        ("LIME", 1, True),
        ("DeepSHAP", 2, True),
        ("Integrated gradients (abs)", None, None),
    ]


def test_rankings_name_rows_without_a_mean():
    found = rankings(means_table({"auc": {CAM: 0.9, GBP: np.nan}, "pointing_game": {CAM: 0.9, GBP: 0.2}}))
    assert [row["method"] for row in found["localization"]["rows"]] == ["guided_gradcam"]
    assert found["localization"]["unranked"] == ["Guided backprop (abs)"]
    empty = rankings(means_table({"auc": {CAM: np.nan, GBP: np.nan}}))["localization"]
    assert empty["rows"] == [] and len(empty["unranked"]) == 2


def test_rankings_ignore_extras_and_sanity_checks():
    rows = {CAM: 0.9, GBP: 0.8}
    assert rankings(means_table({"deletion": rows, "seed_stability": rows, "top_k_intersection": rows})) == {}


# ---- names ---------------------------------------------------------------------------------------


def test_metric_directions():
    assert metric("auc").header == "AUC ↑" and metric("deletion").header == "deletion ↓"
    assert metric("randomization_layer4").header == "random to layer4 → 0"
    assert metric("randomization_layer4").goodness(np.array([-0.5, 0.1])).tolist() == [-0.5, -0.1]
    assert metric("deletion").goodness(np.array([-0.5, 0.1])).tolist() == [0.5, -0.1]
    assert metric("randomization_only_head").title == "random only head"
    assert metric("sparseness_gini").higher_is_better is None
    with pytest.raises(DataError, match=r"unknown metric 'aucc': did you mean 'auc'"):
        metric("aucc")
    assert row_title("my_method", "absolute") == "my_method (abs)"
