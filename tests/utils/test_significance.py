"""Tests of differences: by hand, by brute force and against scipy."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from utils.errors import UsageError
from utils.significance import (
    bootstrap_p_value,
    corrected_t_test,
    detectable_difference,
    holm,
    rank_stability,
)


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.7, 0.6]), [1, 1])
    assert holm(np.array([])).size == 0


def test_holm_closes_bonferroni_tests():
    """Holm's adjusted p-value is the largest Bonferroni p-value of the sets that contain a hypothesis."""
    rng = np.random.default_rng(0)
    for p in rng.uniform(0, 0.4, (20, 5)):
        sets = [s for size in range(1, 6) for s in itertools.combinations(range(5), size)]
        closed = [max(len(s) * p[list(s)].min() for s in sets if i in s) for i in range(5)]
        np.testing.assert_allclose(holm(p), np.minimum(closed, 1))


def test_corrected_t_test_by_hand():
    result = corrected_t_test([0.02, 0.01, 0.03, 0.02], test_ratio=0.25)
    # variance 2e-4 / 3, times 1/4 + 1/4: error 0.01 / sqrt(3), t = 2 sqrt(3) with three degrees of freedom
    assert result["mean"] == pytest.approx(0.02) and result["degrees"] == 3 and result["runs"] == 4
    assert result["t"] == pytest.approx(2 * math.sqrt(3))
    below = 0.5 + (0.4 + math.atan(2)) / math.pi  # Student's distribution in closed form
    assert result["p"] == pytest.approx(2 * (1 - below))
    assert result["high"] - result["mean"] == pytest.approx(stats.t.ppf(0.975, 3) * 0.01 / math.sqrt(3))


def test_corrected_t_test_without_correction_is_the_usual_one():
    d = np.random.default_rng(1).normal(0.3, 1, 8)
    usual, ours = stats.ttest_1samp(d, 0), corrected_t_test(d, 0)
    interval = usual.confidence_interval(0.95)
    expected = [usual.statistic, usual.pvalue, interval.low, interval.high]
    np.testing.assert_allclose([ours[key] for key in ("t", "p", "low", "high")], expected)
    assert corrected_t_test(d, 1 / 4)["p"] > ours["p"]


def test_corrected_t_test_of_equal_differences():
    assert corrected_t_test([0.0, 0.0], 0.1)["p"] == 1
    assert corrected_t_test([0.1, 0.1], 0.1)["p"] == 0
    with pytest.raises(UsageError, match="at least two runs"):
        corrected_t_test([0.1], 0.1)


def test_corrected_t_test_keeps_its_level_where_runs_are_correlated():
    """Correlation rho = ratio / (1 + ratio), the one that the correction assumes."""
    rng, ratio, runs = np.random.default_rng(2), 0.25, 10
    rho = ratio / (1 + ratio)
    shared = rng.normal(size=(2000, 1)) * math.sqrt(rho)
    d = shared + rng.normal(size=(2000, runs)) * math.sqrt(1 - rho)
    rejected = np.mean([corrected_t_test(row, ratio)["p"] < 0.05 for row in d])
    usual = np.mean(stats.ttest_1samp(d, 0, axis=1).pvalue < 0.05)
    assert abs(rejected - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 2000)
    assert usual > 0.15


def test_bootstrap_p_value():
    values = np.arange(-1, 98)[:, None] + np.array([0.5, 200, 48.5 - 97])
    np.testing.assert_allclose(bootstrap_p_value(values), [2 * 2 / 100, 2 / 100, 1.0], atol=1e-12)


def test_detectable_difference_is_found_with_its_power():
    assert detectable_difference(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    true = float(detectable_difference(0.3))
    found = np.abs(np.random.default_rng(3).normal(true, 0.3, 20000)) > stats.norm.isf(0.025) * 0.3
    assert found.mean() == pytest.approx(0.8, abs=0.015)


def test_rank_stability_by_hand():
    scores = np.array([[0.9, 0.8, 0.7], [0.9, 0.7, 0.8], [0.6, 0.8, 0.7]])
    result = rank_stability(scores)
    # of three pairs of recipes, one, two and all three change their order
    expected = [1 / 3, -1 / 3, -1]
    taus = {key: result["tau"][key] for key in ("mean", "low", "high")}
    assert taus == pytest.approx({"mean": np.mean(expected), "low": -1, "high": 1 / 3})
    assert result["best"] == 0 and result["stays_best"] == pytest.approx(2 / 3)
    assert result["ranks"] == pytest.approx([5 / 3, 2, 7 / 3])


def test_rank_stability_of_ties():
    result = rank_stability(np.array([[0.5, 0.5], [0.4, 0.6], [0.4, 0.6]]))
    assert result["tau"] == {"mean": 1, "low": 1, "high": 1, "undefined": 2}
    assert result["best"] == 1 and result["stays_best"] == 1
    with pytest.raises(UsageError, match="at least two runs"):
        rank_stability(np.array([[0.5, 0.6]]))
