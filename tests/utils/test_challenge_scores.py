"""Scores of CinC 2020 and 2021 and of CPSC 2020 and 2021: by hand, beside plain Python, on real records."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databases import open_database
from databases.snomed import SCORED, scored_classes
from utils.bootstrap import interval_of_mean, interval_of_sums
from utils.cinc_scores import RewardMatrix, cinc_score, load_rewards
from utils.cpsc_scores import AfReference, cpsc2020_score, cpsc2021_score
from utils.errors import DataError, UsageError

# --- CinC 2020 and 2021 -----------------------------------------------------------------------------------


def plain_cinc_score(labels, decisions, values, normal):
    """The challenges' definition, written as loops."""

    def total(answers):
        result = 0.0
        for real, answer in zip(labels, answers, strict=True):
            size = max(sum(a or b for a, b in zip(real, answer, strict=True)), 1)
            for i, is_true in enumerate(real):
                for j, is_given in enumerate(answer):
                    result += values[i][j] * is_true * is_given / size
        return result

    inactive = total([[int(j == normal) for j in range(len(values))]] * len(labels))
    correct = total(labels)
    return (total(decisions) - inactive) / (correct - inactive) if correct != inactive else 0.0


@given(st.integers(0, 10**6), st.sampled_from(["cinc2020", "cinc2021"]), st.integers(1, 12))
@settings(max_examples=25)
def test_cinc_score_equals_its_definition(seed, which, records):
    rewards, rng = load_rewards(which), np.random.default_rng(seed)
    labels, decisions = rng.random((2, records, len(rewards.classes))) < 0.15
    names = [same[0] for same in rewards.classes]
    score = cinc_score(labels, decisions, names, which, resamples=2)["score"]
    plain = plain_cinc_score(labels.tolist(), decisions.tolist(), rewards.values.tolist(), rewards.normal)
    assert score == pytest.approx(plain, abs=1e-9)


def test_cinc_score_by_hand():
    rewards = RewardMatrix((("NSR",), ("AF",)), np.array([[1, 0.25], [0.25, 1]]), 0)
    labels, decisions = [[1, 0], [0, 1], [1, 1]], [[1, 0], [1, 1], [0, 1]]
    # observed: 1; (0.25 + 1) / 2; (0.25 + 1) / 2. Sinus rhythm for all: 1; 0.25 / 2; (1 + 0.25) / 2
    score = cinc_score(labels, decisions, ["NSR", "AF"], rewards, resamples=50)
    correct = 1 + 1 + (1 + 0.25 + 0.25 + 1) / 2
    assert score["observed"] == pytest.approx(2.25)
    assert score["inactive"] == pytest.approx(1.75)
    assert score["correct"] == pytest.approx(correct)
    assert score["score"] == pytest.approx((2.25 - 1.75) / (correct - 1.75))
    assert score["low"] <= score["score"] <= score["high"]


@pytest.mark.parametrize(("which", "classes"), [("cinc2020", 24), ("cinc2021", 26)])
def test_cinc_matrices_are_the_challenges_classes(which, classes):
    rewards = load_rewards(which)
    assert len(rewards.classes) == classes
    assert sorted(same[0] for same in rewards.classes) == sorted(scored_classes(int(which[4:])))
    np.testing.assert_array_equal(rewards.values, rewards.values.T)
    np.testing.assert_array_equal(np.diag(rewards.values), 1)
    assert "426783006" in rewards.classes[rewards.normal]
    codes = {name for same in rewards.classes for name in same if name.isdigit()}
    assert codes <= set(SCORED) and (which == "cinc2020" or codes == set(SCORED))


def test_cinc_matrices_agree_where_both_have_a_class():
    old, new = load_rewards("cinc2020"), load_rewards("cinc2021")
    code = {name: number for number, same in enumerate(new.classes) for name in same}
    rows = [code[same[-1]] for same in old.classes]
    np.testing.assert_array_equal(new.values[np.ix_(rows, rows)], old.values)


def test_cinc_score_of_right_inactive_and_equivalent_answers():
    labels = np.eye(4, dtype=int)
    names = ["NSR", "59118001", "CRBBB", "something else"]
    assert cinc_score(labels, labels, names, resamples=2)["score"] == 1
    inactive = np.zeros_like(labels)
    inactive[:, 0] = 1
    assert cinc_score(labels, inactive, names, resamples=2)["score"] == 0
    swapped = labels[:, [0, 2, 1, 3]]  # both are the same class of the challenge
    assert cinc_score(labels, swapped, names, resamples=2)["score"] == 1


def test_cinc_score_bad_input(tmp_path):
    with pytest.raises(UsageError, match="shipped are cinc2020, cinc2021"):
        load_rewards("cinc2022")
    with pytest.raises(DataError, match="none of the classes X, Y"):
        cinc_score(np.eye(2), np.eye(2), ["X", "Y"])
    with pytest.raises(DataError, match="must be 0 or 1"):
        cinc_score(np.eye(2), np.eye(2) * 0.7, ["NSR", "AF"])
    with pytest.raises(DataError, match="need 3 columns"):
        cinc_score(np.eye(2), np.eye(2), ["NSR", "AF", "AFL"])
    path = tmp_path / "weights.csv"
    for text, message in {
        ",NSR,AF\nNSR,1,0\nAF,0": "square table",
        ",NSR,AF\nAF,1,0\nNSR,0,1": "names of the rows",
        ",NSR,AF\nNSR,1,x\nAF,0,1": "could not convert",
        ",NSR,AF\nNSR,1,nan\nAF,0,1": "finite",
        ",AFL,AF\nAFL,1,0\nAF,0,1": "sinus rhythm",
    }.items():
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            load_rewards(path)
    path.write_text(",426783006,A|B\n426783006,1,0.5\nA|B,0.5,1\n")
    assert load_rewards(path).classes == (("426783006",), ("A", "B"))


# --- CPSC 2020 --------------------------------------------------------------------------------------------


def plain_cpsc2020(reference, found, reach):
    """As the challenge's script counts."""
    true = sum(any(abs(f - r) <= reach for f in found) for r in reference)
    false = len(found) * (not reference) + len(found) - true
    return -false - 5 * (len(reference) - true)


BEATS = st.lists(st.integers(0, 4000), unique=True, max_size=15).map(sorted)


@given(BEATS, BEATS)
def test_cpsc2020_score_equals_the_script_where_that_is_right(reference, found):
    records = (
        [{"S": np.array(reference, int), "V": np.array([], int)}],
        [{"S": np.array(found, int), "V": np.array([], int)}],
    )
    plain = plain_cpsc2020(reference, found, 60)
    assert cpsc2020_score(*records, 400, resamples=2, as_published=True)["S"]["score"] == plain
    score = cpsc2020_score(*records, 400, resamples=2)["S"]
    assert score["tp"] + score["fn"] == len(reference) and score["tp"] + score["fp"] == len(found)
    alone = all(b - a > 120 for a, b in itertools.pairwise(reference))
    if reference and alone:  # no detection is near two beats
        assert score["score"] == plain


def test_cpsc2020_score_by_hand():
    references = [
        {"S": np.array([1000, 2000]), "V": np.array([3000])},
        {"S": np.array([]), "V": np.array([])},
    ]
    found = [
        {"S": np.array([1060, 2061]), "V": np.array([2990, 3010])},
        {"S": np.array([5]), "V": np.array([])},
    ]
    score = cpsc2020_score(references, found, 400, resamples=100)
    assert (score["S"]["tp"], score["S"]["fp"], score["S"]["fn"]) == (1, 2, 1)
    assert score["S"]["score"] == -7 and score["V"]["score"] == -1
    assert score["S"]["low"] <= -7 <= score["S"]["high"]
    assert cpsc2020_score(references, found, 400, resamples=2, as_published=True)["S"]["score"] == -8
    with pytest.raises(DataError, match="no beats 'V'"):
        cpsc2020_score([{"S": np.array([1])}], [{"S": np.array([1])}], 400)
    with pytest.raises(DataError, match="2 records with reference beats, 1"):
        cpsc2020_score(references, found[:1], 400)


# --- CPSC 2021 --------------------------------------------------------------------------------------------


def plain_points(rhythm, beats, starts, ends, samples):
    """The challenge's points of each sample, written out case by case."""
    onset, end = np.zeros(samples), np.zeros(samples)
    last = len(beats) - 1
    for s in starts:
        if rhythm == "AFp" and s > 2:
            onset[beats[s - 1] : beats[s + 2]] += 1
            onset[beats[s - 2] : beats[s - 1]] += 0.5
        elif rhythm == "AFp" and s == 2:
            onset[beats[1] : beats[4]] += 1
            onset[: beats[1]] += 0.5
        else:
            onset[: beats[s + 2]] += 1
        onset[beats[s + 2] : beats[s + 3]] += 0.5
    for e in ends:
        if rhythm == "AFf" or e + 1 >= last:
            end[beats[e - 2] :] += 1
        else:
            end[beats[e - 2] : beats[e + 1]] += 1
            end[beats[e + 1] : beats[e + 2] if e + 2 < last else samples] += 0.5
        end[beats[e - 3] : beats[e - 2]] += 0.5
    return onset, end


@given(st.integers(0, 10**6))
def test_cpsc2021_points_equal_the_definition(seed):
    rng = np.random.default_rng(seed)
    beats = np.cumsum(rng.integers(20, 60, rng.integers(25, 40)))
    borders = np.unique(rng.integers(0, (len(beats) - 1) // 5, 4)) * 5
    borders = borders[: len(borders) // 2 * 2]
    if not len(borders):
        return
    starts, ends = borders[::2], borders[1::2] + rng.integers(0, 4)
    samples = int(beats[-1] + rng.integers(1, 40))
    rhythm = ("AFp", "AFf")[len(starts) == 1 and rng.integers(2)]
    episodes = np.stack([beats[starts], beats[ends]], axis=1)
    points = AfReference(rhythm, beats, episodes, samples).points()
    np.testing.assert_array_equal(points, plain_points(rhythm, beats, starts, ends, samples))


def test_cpsc2021_score_by_hand():
    beats = np.arange(100, 2100, 100)  # 20 beats
    reference = AfReference("AFp", beats, np.array([[600, 1200]]), 2150)  # beats 5 to 11
    right = [np.array([[600, 1200]])]
    assert cpsc2021_score([reference], right, resamples=2) == pytest.approx(
        {"score": 3, "low": 3, "high": 3, "rhythm": 1, "endpoints": 2}
    )
    for first, last, endpoints in [
        (500, 1299, 2), (499, 1300, 1), (400, 1399, 1), (399, 1400, 0), (799, 1000, 2), (899, 999, 1),
    ]:  # fmt: skip
        found = [np.array([[first, last]])]
        assert cpsc2021_score([reference], found, resamples=2)["endpoints"] == endpoints, (first, last)
    twice = [np.array([[600, 1200], [1500, 1600]])]  # a false episode halves the points
    assert cpsc2021_score([reference], twice, resamples=2)["endpoints"] == 1
    assert cpsc2021_score([reference], [np.empty((0, 2))], resamples=2)["score"] == -1
    assert cpsc2021_score([reference], [np.array([[0, 2149]])], resamples=2)["rhythm"] == 0  # persistent
    normal = AfReference("N", beats, np.empty((0, 2)), 2150)
    assert cpsc2021_score([normal], right, resamples=2)["score"] == -0.5
    assert cpsc2021_score([normal], [np.array([[0, 2149]])], resamples=2)["score"] == -1
    both = cpsc2021_score([reference, normal], [*right, []], ["a", "b"], resamples=200)
    assert both["score"] == 2 and (both["low"], both["high"]) == (1, 3)


def test_cpsc2021_score_of_real_records_that_are_answered_right(shared_data):
    database = open_database("cpsc2021", shared_data / "cpsc2021")
    references, answers = [], []
    for record, row in database.records.iterrows():
        read = database.annotations(record)
        fibrillates = np.isin(read.rhythms.name, ("AFIB", "AFL"))
        episodes = np.stack([read.rhythms.start, read.rhythms.end], axis=1)[fibrillates]
        references.append(AfReference(row["label"], read.marks.samples, episodes, row["samples"]))
        answer = np.minimum(episodes, row["samples"] - 1)
        answers.append(np.array([[0, row["samples"] - 1]]) if row["label"] == "AFf" else answer)
    assert {reference.rhythm for reference in references} == {"N", "AFf", "AFp"}
    best = np.mean([1 + 2 * len(reference.episodes) for reference in references])
    assert cpsc2021_score(references, answers, resamples=2)["score"] == pytest.approx(best)


def test_cpsc2021_score_bad_input():
    beats = np.arange(0, 1000, 100)
    with pytest.raises(DataError, match="rhythm 'AF' is none of N, AFf, AFp"):
        AfReference("AF", beats, np.empty((0, 2)), 1000)
    with pytest.raises(DataError, match="rhythm N with 1 episodes"):
        AfReference("N", beats, np.array([[0, 500]]), 1000)
    with pytest.raises(DataError, match="not ascending"):
        AfReference("AFp", beats[::-1], np.array([[0, 500]]), 1000)
    reference = AfReference("AFp", beats, np.array([[100, 600]]), 1000)
    with pytest.raises(DataError, match=r"record 0: episode 5 to 1000 is not inside its samples, 0 to 999"):
        cpsc2021_score([reference], [np.array([[5, 1000]])])


# --- intervals --------------------------------------------------------------------------------------------


def test_interval_of_sums_draws_patients_not_records():
    values = np.repeat([0.0, 1.0], 50)
    together = interval_of_mean(values, np.repeat(["a", "b"], 50), 400)
    assert together == {"low": 0, "high": 1}  # both patients, or one of them twice
    alone = interval_of_mean(values, None, 400)
    assert 0.35 < alone["low"] < 0.5 < alone["high"] < 0.65
    assert interval_of_mean(values, None, 400, seed=1) != alone == interval_of_mean(values, None, 400)
    with pytest.raises(DataError, match="no records"):
        interval_of_sums(np.empty((0, 2)), lambda sums: sums[..., 0])
    with pytest.raises(DataError, match="one id for each of 100"):
        interval_of_mean(values, ["a"])
