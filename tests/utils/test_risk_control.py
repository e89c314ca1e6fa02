"""Certified thresholds: closed forms, and the guarantee itself by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from utils.errors import UsageError
from utils.risk_control import (
    certified_threshold,
    misses_allowed,
    one_record_a_patient,
    positives_needed,
)


@pytest.mark.parametrize(("miss_rate", "needed"), [(0.02, 272), (0.05, 107), (0.10, 53)])
def test_positives_needed_of_24_labels(miss_rate, needed):
    """Floors of the certification of 24 labels of PTB-XL at delta 0.10 with Bonferroni."""
    delta = 0.10 / 24
    assert positives_needed(miss_rate, delta) == needed
    assert misses_allowed(needed, miss_rate, delta) == 0
    assert misses_allowed(needed - 1, miss_rate, delta) == -1
    assert positives_needed(0.5, 0.25) == 2


def test_misses_allowed_by_exact_sums():
    for positives, miss_rate, delta in ((40, 0.1, 0.2), (200, 0.05, 0.1), (300, 0.02, 0.05)):
        allowed = misses_allowed(positives, miss_rate, delta)

        def tail(k, n=positives, a=miss_rate):
            return sum(math.comb(n, i) * a**i * (1 - a) ** (n - i) for i in range(k + 1))

        assert tail(allowed) <= delta < tail(allowed + 1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=300),
    st.sampled_from([0.02, 0.1, 0.3]),
    st.sampled_from([0.01, 0.1, 0.5]),
)
def test_certified_threshold_is_the_last_one_that_is_rejected(steps, miss_rate, delta):
    positives = np.array(steps) / 50
    every = np.append(positives, np.linspace(0.005, 0.995, 100))
    threshold = certified_threshold(positives, every, miss_rate, delta)
    if len(positives) < positives_needed(miss_rate, delta):
        assert threshold is None
        return
    tested = np.unique(every)
    misses = (positives[:, None] < tested).sum(axis=0)
    p = stats.binom.cdf(misses, len(positives), miss_rate)
    assert ((every >= threshold) == (every >= tested[p <= delta].max())).all()
    assert (positives < threshold).sum() <= misses_allowed(len(positives), miss_rate, delta)


@pytest.mark.parametrize(("positives", "miss_rate", "delta"), [(60, 0.05, 0.1), (150, 0.1, 0.05)])
def test_guarantee_holds_in_simulation(positives, miss_rate, delta):
    """Scores of positives are uniform, so that the true miss rate of a threshold is the threshold."""
    rng, repeats = np.random.default_rng(0), 4000
    draws = rng.uniform(size=(repeats, positives))
    found = np.array([certified_threshold(row, row, miss_rate, delta) for row in draws])
    allowed = misses_allowed(positives, miss_rate, delta)
    exact = stats.binom.cdf(allowed, positives, miss_rate)  # of a threshold at the score itself
    violated = (np.sort(draws)[:, allowed] > miss_rate).mean()
    error = math.sqrt(delta * (1 - delta) / repeats)
    assert exact <= delta and abs(violated - exact) < 4 * error
    assert (found > miss_rate).mean() <= violated
    # the threshold that misses the promised share of these records breaks the promise about every second time
    usual = np.quantile(draws, miss_rate, axis=1)
    assert (usual > miss_rate).mean() > 0.4


def test_guarantee_holds_for_patients_with_several_records():
    """All records of a patient score alike: counted one by one they would seem five times as many."""
    rng, delta, miss_rate, violated, careless = np.random.default_rng(1), 0.1, 0.1, [], []
    for seed in range(1500):
        scores = np.repeat(rng.uniform(size=60), 5)
        patients = np.repeat(np.arange(60), 5)
        rows = one_record_a_patient(np.ones(300), patients, seed)
        violated.append(certified_threshold(scores[rows], scores, miss_rate, delta) > miss_rate)
        careless.append(certified_threshold(scores, scores, miss_rate, delta) > miss_rate)
    error = math.sqrt(delta * (1 - delta) / 1500)
    assert np.mean(violated) <= delta + 3 * error
    assert np.mean(careless) > delta + 3 * error


def test_record_of_a_patient_is_drawn_at_random():
    positive = np.array([0, 1, 1, 0, 1, 1, 0])
    patients = np.array(["a", "a", "a", "b", "c", "c", "c"])
    chosen = [one_record_a_patient(positive, patients, seed).tolist() for seed in range(40)]
    assert {tuple(rows) for rows in chosen} == {(1, 4), (1, 5), (2, 4), (2, 5)}
    assert one_record_a_patient(positive, patients, 3).tolist() == chosen[3]
    assert one_record_a_patient(np.zeros(7), patients).size == 0


def test_rates_that_are_impossible_are_refused():
    with pytest.raises(UsageError, match="miss_rate must be inside"):
        positives_needed(0, 0.1)
    with pytest.raises(UsageError, match="delta must be inside"):
        certified_threshold(np.ones(9), np.ones(9), 0.1, 1.0)
