"""The metrics module, thresholds and the bootstrap."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from utils.bootstrap import METRICS, bootstrap, paired_difference
from utils.errors import DataError, UsageError
from utils.metrics import choose_thresholds, evaluate, macro, roc_auc
from utils.scorer import Scorer

CLASSES = ["CD", "HYP", "MI", "NORM", "STTC"]


@pytest.fixture(scope="module")
def example():
    """The reference's worked example: 40 records, 5 classes, seed 3."""
    random = np.random.RandomState(3)
    labels = (random.uniform(size=(40, 5)) < 0.35).astype(int)
    labels[labels.sum(axis=1) == 0, 0] = 1
    return labels, np.clip(0.35 * labels + 0.65 * random.uniform(size=(40, 5)), 0, 1)


@st.composite
def predictions(draw, most_records=30, most_classes=4):
    """Labels and probabilities with many ties and, often, a class with a single kind of label."""
    shape = (draw(st.integers(1, most_records)), draw(st.integers(1, most_classes)))
    labels = draw(arrays(np.uint8, shape, elements=st.integers(0, 1)))
    scores = draw(arrays(np.int64, shape, elements=st.integers(0, 8)))
    return labels, scores / 8


def defined(labels):
    return [c for c in range(labels.shape[1]) if 0 < labels[:, c].sum() < len(labels)]


def test_reference_numbers(example):
    result = evaluate(*example, CLASSES)
    assert result["macro_roc_auc"] == pytest.approx(0.933544915443348, abs=1e-12)
    assert list(result["class_roc_auc"].values()) == pytest.approx(
        [0.95396419, 0.98119122, 0.85677749, 0.92266667, 0.953125], abs=1e-8
    )
    assert result["mean_accuracy"] == 0.825
    assert list(result["class_accuracy"].values()) == [0.875, 0.875, 0.725, 0.8, 0.85]
    assert result["max_f1_reference"] == pytest.approx(0.7719871451526514, abs=1e-12)
    reference = result["reference"]
    assert reference["F1 score (Max)"] == result["max_f1_reference"]
    curve = reference["class_precision_recall_f1"]
    f1 = [0.55072464, 0.61151287, 0.67877787, 0.74640898, 0.77198715, 0.74150163, 0.71106337, 0.5285101]
    assert curve["f1"][:-1] == pytest.approx([*f1, 0.24175824], abs=1e-7)
    precision = [0.38, 0.44041667, 0.51375, 0.59541667, 0.71, 0.75877193, 1, 1, 1]
    assert curve["precision"][:-1] == pytest.approx(precision, abs=1e-7)
    assert curve["f1"][-1] is None and curve["precision"][-1] is None  # nothing reaches 1.0
    recall = [1, 1, 1, 1, 0.84583333, 0.725, 0.55166667, 0.35916667, 0.1375, 0]
    assert curve["recall"] == pytest.approx(recall, abs=1e-7)


def test_fmax_is_the_best_over_every_distinct_score(example):
    result = evaluate(*example, CLASSES)
    assert result["fmax"] >= result["max_f1_reference"]
    labels, p = example
    best = 0.0
    for threshold in np.unique(p):
        predicted = p >= threshold
        any_predicted = predicted.any(axis=1)
        hits = (predicted & (labels == 1)).sum(axis=1)
        precision = (hits[any_predicted] / predicted.sum(axis=1)[any_predicted]).mean()
        recall = (hits / labels.sum(axis=1)).mean()
        best = max(best, 2 * precision * recall / (precision + recall) if precision + recall else 0)
    assert result["fmax"] == pytest.approx(best, abs=1e-12)


def test_metrics_of_the_predictions_of_the_benchmark(shared_data):
    with np.load(shared_data / "ptbxl_fold10_reference" / "xresnet1d101_all71.npz") as file:
        labels, p = file["y_true"], file["y_prob"]
    assert macro(roc_auc(labels, p)) == pytest.approx(0.9254358590055028, abs=1e-12)
    result = bootstrap(labels, p, np.arange(len(p)), metrics=["macro_roc_auc"], resamples=300, level=0.9)
    interval = result["intervals"]["macro_roc_auc"]
    assert interval["point"] == pytest.approx(0.9254358590055028, abs=1e-12)
    # The benchmark's own 100 resamples: 0.9185 to 0.9315; their quantiles are known to about 0.001.
    assert interval["low"] == pytest.approx(0.9185, abs=0.0025)
    assert interval["high"] == pytest.approx(0.9315, abs=0.0025)
    # Rare classes: about one draw in nine keeps all 71.
    assert 0.08 < 300 / (300 + result["rejected"]) < 0.16


@settings(max_examples=120, deadline=None)
@given(predictions())
def test_metrics_equal_sklearn_on_defined_classes(data):
    labels, p = data
    known = defined(labels)
    names = [f"c{c}" for c in range(labels.shape[1])]
    result = evaluate(labels, p, names)
    assert result["undefined_classes"] == [n for c, n in enumerate(names) if c not in known]
    for c, name in enumerate(names):
        if c in known:
            assert result["class_roc_auc"][name] == pytest.approx(sk.roc_auc_score(labels[:, c], p[:, c]))
            expected = sk.average_precision_score(labels[:, c], p[:, c])
            assert result["class_auprc"][name] == pytest.approx(expected)
        else:
            assert result["class_roc_auc"][name] is None and result["class_auprc"][name] is None
        if labels[:, c].any():
            expected = sk.f1_score(labels[:, c], p[:, c] >= 0.5, zero_division=0)
            assert result["class_f1_at_0.5"][name] == pytest.approx(expected)
        expected = sk.accuracy_score(labels[:, c], p[:, c] >= 0.5)
        assert result["class_accuracy"][name] == pytest.approx(expected)
    if known:
        mean = np.mean([result["class_roc_auc"][names[c]] for c in known])
        assert result["macro_roc_auc"] == pytest.approx(mean)
    else:
        assert result["macro_roc_auc"] is None
    json.dumps(result, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(predictions(), st.randoms(use_true_random=False))
def test_weights_mean_repeated_records(data, random):
    labels, p = data
    weights = np.array([random.randint(0, 3) for _ in labels])
    weights[0] += 1
    scorer = Scorer(labels, p)
    rows = np.repeat(np.arange(len(labels)), weights)
    repeated, once = Scorer(labels[rows], p[rows]), np.ones(len(rows), dtype=np.int64)
    methods = ["class_roc_auc", "class_auprc", "class_accuracy", "class_f1", "class_ece", "fmax"]
    for method in [*methods, "class_brier", "class_log_loss", "max_f1_reference"]:
        np.testing.assert_allclose(
            getattr(scorer, method)(weights), getattr(repeated, method)(once), atol=1e-12, err_msg=method
        )


@settings(max_examples=60, deadline=None)
@given(predictions(), st.randoms(use_true_random=False))
def test_auc_knows_neither_order_nor_scale(data, random):
    labels, p = data
    order = list(range(len(labels)))
    random.shuffle(order)
    auc = roc_auc(labels, p)
    np.testing.assert_array_equal(roc_auc(labels[order], p[order]), auc)
    np.testing.assert_array_equal(roc_auc(labels, np.exp(3 * p) - 7), auc)
    np.testing.assert_allclose(roc_auc(labels, -p), 1 - auc, atol=1e-12)


def test_ece_by_hand():
    labels = np.array([[1], [0], [0], [1]])
    p = np.array([[0.61], [0.62], [0.11], [1.0]])  # bins 9, 9, 1, 14 of 15
    expected = (abs(0.61 + 0.62 - 1) + 0.11 + 0) / 4
    assert evaluate(labels, p, ["a"])["ece"] == pytest.approx(expected)


def test_brier_score_and_log_loss_are_scikit_learns(example):
    labels, p = example
    p = p.copy()
    p[0], p[1] = 0, 1  # of either label: no infinity
    result = evaluate(labels, p, CLASSES)
    for c, name in enumerate(CLASSES):
        expected = sk.brier_score_loss(labels[:, c], p[:, c])
        assert result["class_brier"][name] == pytest.approx(expected, abs=1e-12)
        expected = sk.log_loss(labels[:, c], np.clip(p[:, c], 1e-7, 1 - 1e-7))
        assert result["class_log_loss"][name] == pytest.approx(expected, abs=1e-6)
    assert result["brier"] == pytest.approx(np.mean(list(result["class_brier"].values())))
    assert result["log_loss"] == pytest.approx(np.mean(list(result["class_log_loss"].values())))


def test_refuses_what_is_not_a_probability(example):
    labels, p = example
    with pytest.raises(DataError, match="logits"):
        evaluate(labels, 8 * p - 4, CLASSES)
    with pytest.raises(DataError, match="logits"):
        choose_thresholds(labels, 2 * p)
    broken = p.copy()
    broken[3, 2] = np.nan
    with pytest.raises(DataError, match="record 3, class 2"):
        evaluate(labels, broken, CLASSES)
    with pytest.raises(DataError, match="0 or 1"):
        evaluate(labels + 1, p, CLASSES)
    with pytest.raises(DataError, match=r"\(40, 5\)"):
        evaluate(labels[:-1], p, CLASSES)
    with pytest.raises(DataError, match="4 class names"):
        evaluate(labels, p, CLASSES[:4])
    with pytest.raises(DataError, match="no records"):
        evaluate(labels[:0], p[:0], CLASSES)
    with pytest.raises(DataError, match="thresholds"):
        evaluate(labels, p, CLASSES, thresholds=[0.5, 0.5])


def test_inputs_are_not_changed(example):
    labels, p = (a.copy() for a in example)
    for array in (labels, p):
        array.flags.writeable = False
    evaluate(labels, p, CLASSES, choose_thresholds(labels, p))
    evaluate(np.asfortranarray(labels), p[:, ::1].astype("float32"), CLASSES)


def test_exclusive_labels_have_a_top_1_accuracy(example):
    p = example[1]
    labels = np.eye(5, dtype=int)[p.argmax(axis=1)]
    labels[0] = np.roll(labels[0], 1)
    assert evaluate(labels, p, CLASSES)["top1_accuracy"] == pytest.approx(39 / 40)
    labels[1] = 1
    assert evaluate(labels, p, CLASSES)["top1_accuracy"] is None


@settings(max_examples=80, deadline=None)
@given(predictions())
def test_threshold_that_is_chosen_has_the_best_f1(data):
    labels, p = data
    chosen = choose_thresholds(labels, p, least=1)
    few = labels.sum(axis=0) < 5
    expected = np.where(few, 0.5, chosen)
    np.testing.assert_array_equal(choose_thresholds(labels, p), expected)
    for c, threshold in enumerate(chosen):
        if not labels[:, c].any():
            assert threshold == 0.5
            continue
        got = sk.f1_score(labels[:, c], p[:, c] >= threshold)
        best = max(sk.f1_score(labels[:, c], p[:, c] >= t) for t in np.unique(p[:, c]))
        assert got == pytest.approx(best)


def test_thresholds_come_from_the_records_they_are_given(example):
    labels, p = example
    chosen = choose_thresholds(labels[:20], p[:20])
    result = evaluate(labels[20:], p[20:], CLASSES, chosen)
    changed = evaluate(1 - labels[20:], p[20:], CLASSES, chosen)
    assert result["thresholds"] == changed["thresholds"] == dict(zip(CLASSES, chosen.tolist(), strict=True))
    expected = np.mean((p[20:] >= chosen) == labels[20:])
    assert result["mean_accuracy_at_thresholds"] == pytest.approx(expected)
    expected = sk.f1_score(labels[20:], p[20:] >= chosen, average="macro")
    assert result["macro_f1_at_thresholds"] == pytest.approx(expected)
    # single precision must not flip the record a threshold was chosen at
    single = evaluate(labels[:20], p[:20].astype("float32"), CLASSES, chosen)
    assert (
        single["class_f1_at_thresholds"]
        == evaluate(labels[:20], p[:20], CLASSES, chosen)["class_f1_at_thresholds"]
    )


def test_bootstrap_contains_the_point_and_repeats_itself(example):
    labels, p = example
    patients = np.arange(40) // 2
    options = {"metrics": list(METRICS), "resamples": 200, "thresholds": [0.4] * 5, "classes": CLASSES}
    result = bootstrap(labels, p, patients, **options)
    assert result == bootstrap(labels, p, patients, **options)
    assert result != bootstrap(labels, p, patients, seed=1, **options)
    assert (result["records"], result["patients"], result["resamples"]) == (40, 20, 200)
    full = evaluate(labels, p, CLASSES, [0.4] * 5)
    for name, interval in result["intervals"].items():
        if name.startswith("class_"):
            assert list(interval) == CLASSES
            pairs = [(interval[c], full[name][c]) for c in CLASSES]
        else:
            pairs = [(interval, full[name])]
        for found, point in pairs:
            assert found["point"] == pytest.approx(point, abs=1e-12)
            assert found["low"] <= found["point"] <= found["high"]
            assert found["low"] < found["high"]
    json.dumps(result, allow_nan=False)


def test_bootstrap_draws_patients_not_records(example):
    labels, p = example
    # Every record four times: as one patient's records they teach nothing new, as strangers' they would.
    labels, p, owner = np.repeat(labels, 4, axis=0), np.repeat(p, 4, axis=0), np.repeat(np.arange(40), 4)
    options = {"metrics": ["macro_roc_auc"], "resamples": 300}

    def width(patients):
        interval = bootstrap(labels, p, patients, **options)["intervals"]["macro_roc_auc"]
        return interval["high"] - interval["low"]

    assert width(owner) > 1.5 * width(np.arange(160))


def test_bootstrap_rejects_and_counts_resamples_that_lose_a_class(example):
    labels, p = (a.copy() for a in example)
    labels[:, 1], labels[:, 3] = 0, 1
    labels[7, 0] = 1
    labels[np.arange(40) != 7, 0] = 0
    result = bootstrap(labels, p, np.arange(40), resamples=200, classes=CLASSES)
    # one positive record: a draw misses it with probability (39/40)^40 = 0.363
    assert 0.28 < result["rejected"] / (200 + result["rejected"]) < 0.45
    assert result["undefined_classes"] == ["HYP", "NORM"]
    assert result["intervals"]["class_roc_auc"]["HYP"] is None
    assert result["intervals"]["class_roc_auc"]["CD"]["low"] <= 1


def test_bootstrap_gives_up_with_a_reason():
    labels = np.eye(12, dtype=int)
    with pytest.raises(DataError, match="rarest: 0 \\(1 patients\\)"):
        bootstrap(labels, labels * 0.5, np.arange(12), resamples=20)
    with pytest.raises(DataError, match="nothing to bootstrap"):
        bootstrap(np.ones((4, 1)), np.full((4, 1), 0.5), np.arange(4))


def test_bootstrap_usage_errors(example):
    labels, p = example
    with pytest.raises(UsageError, match="macro_roc_auc"):
        bootstrap(labels, p, np.arange(40), metrics=["macro_roc_acu"])
    with pytest.raises(UsageError, match="choose them on validation records"):
        bootstrap(labels, p, np.arange(40), metrics=["macro_f1_at_thresholds"])
    with pytest.raises(UsageError, match="level"):
        bootstrap(labels, p, np.arange(40), level=95)
    with pytest.raises(DataError, match="patient_ids"):
        bootstrap(labels, p, np.arange(39))
    with pytest.raises(UsageError, match="single-valued"):
        paired_difference(labels, p, p, np.arange(40), metric="class_roc_auc")


def test_paired_difference(example):
    labels, p = example
    patients = np.arange(40)
    rng = np.random.default_rng(0)
    worse = np.clip(p + rng.normal(0, 0.3, p.shape), 0, 1)
    same = paired_difference(labels, p, p**2, patients, resamples=50)
    assert same["difference"] == same["low"] == same["high"] == 0  # a monotone change
    found = paired_difference(labels, p, worse, patients, resamples=200)
    swapped = paired_difference(labels, worse, p, patients, resamples=200)
    expected = macro(roc_auc(labels, p)) - macro(roc_auc(labels, worse))
    assert found["difference"] == pytest.approx(expected) and 0 < found["low"] < expected < found["high"]
    assert (swapped["low"], swapped["high"]) == pytest.approx((-found["high"], -found["low"]))
    # paired: narrower than the two single intervals put together
    single = bootstrap(labels, worse, patients, metrics=["macro_roc_auc"], resamples=200)["intervals"][
        "macro_roc_auc"
    ]
    other = bootstrap(labels, p, patients, metrics=["macro_roc_auc"], resamples=200)["intervals"][
        "macro_roc_auc"
    ]
    both = single["high"] - single["low"] + other["high"] - other["low"]
    assert found["high"] - found["low"] < both
