"""Explanations of ProtoECGNet add up, and point at what was really compared."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from explain.prototypes.contributions import explain_records
from explain.prototypes.source_records import source_reader
from preprocessing import load_ptbxl
from tests.helpers.prototype_files import write_prototypes
from tests.helpers.ptbxl_files import write_small_ptbxl
from tests.helpers.training_files import write_untrained
from training import load_predictor
from utils.errors import DataError, UsageError


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return write_small_ptbxl(tmp_path_factory.mktemp("data"), 40, seconds=5)


@pytest.fixture(scope="module")
def data(database, tmp_path_factory):
    return load_ptbxl(database, task="all", cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def predictors(data, tmp_path_factory):
    """One predictor a branch, and the fusion."""
    folder = tmp_path_factory.mktemp("models")
    names = ("rhythm", "morphology", "global", "fusion")
    return {name: load_predictor(write_prototypes(folder / name, data, name)) for name in names}


@pytest.mark.parametrize("name", ["rhythm", "morphology", "global", "fusion"])
def test_evidence_bias_and_rest_add_up_to_the_logit(predictors, data, name):
    predictor = predictors[name]
    signals = data.signals[:7]
    explanations = explain_records(predictor, signals, top=3, classes=predictor.classes, batch_size=3)
    assert len(explanations) == 7
    x = torch.from_numpy(predictor.standardize(signals))
    with torch.inference_mode():
        scores, windows = predictor.model.scores(x)
        logits, terms = predictor.model(x).numpy(), predictor.model.contributions(scores).numpy()
    probabilities = predictor.predict(signals)
    for row, explanation in enumerate(explanations):
        np.testing.assert_allclose(explanation.probabilities, probabilities[row], atol=1e-4)
        np.testing.assert_allclose(explanation.similarities, scores[row], atol=1e-6)
        np.testing.assert_array_equal(explanation.windows, windows[row])
        assert [p.probability for p in explanation.classes] == sorted(explanation.probabilities)[::-1]
        assert {p.name for p in explanation.classes if p.predicted} == set(explanation.predicted)
        for part in explanation.classes:
            c = predictor.classes.index(part.name)
            assert part.logit == pytest.approx(logits[row, c], abs=5e-4)
            assert expit(part.logit) == pytest.approx(part.probability, abs=1e-6)
            total = part.bias + sum(e.contribution for e in part.evidence) + part.rest
            assert total == pytest.approx(part.logit, abs=1e-4)
            np.testing.assert_allclose(part.contributions, terms[row, c], atol=5e-4)
            values = [e.contribution for e in part.evidence]
            assert values == sorted(part.contributions)[::-1][: len(values)]
            assert len(values) == min(3, len(part.contributions))
            for e in part.evidence:
                assert e.contribution == pytest.approx(e.weight * e.standardized)
                assert e.contribution == part.contributions[e.prototype]
                if name != "fusion":
                    assert e.standardized == e.similarity


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0.01, 30), records=st.integers(1, 4))
def test_contributions_of_any_scores_add_up(predictors, seed, size, records):
    generator = torch.Generator().manual_seed(seed)
    for name in ("morphology", "fusion"):
        model = predictors[name].model
        scores = torch.randn(records, model.head.in_features, generator=generator) * size
        with torch.inference_mode():
            terms = model.contributions(scores).double()
            logits = model.logits_of(scores)
        off = (terms.sum(2) + model.head.bias - logits).abs()
        assert (off <= 1e-4 + 1e-6 * terms.abs().sum(2)).all()


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), top=st.integers(1, 60), size=st.floats(0.0, 3))
def test_explanations_of_any_record_add_up(predictors, seed, top, size):
    predictor = predictors["fusion"]
    signals = np.random.default_rng(seed).normal(0, size, (2, 500, 12)).astype(np.float32)
    for explanation in explain_records(predictor, signals, top):
        for part in explanation.classes:
            total = part.bias + sum(e.contribution for e in part.evidence) + part.rest
            assert total == pytest.approx(part.logit, abs=1e-4 + 1e-6 * abs(part.contributions).sum())


def test_evidence_window_belongs_to_the_branch_of_the_prototype(predictors, data):
    predictor = predictors["fusion"]
    networks = list(predictor.model.branch_models)
    owner = [network for network in networks for _ in network.prototype_vectors]
    (explanation,) = explain_records(predictor, data.signals[:1], top=99, classes=["NORM"])
    evidence = explanation.classes[0].evidence
    assert sorted(e.prototype for e in evidence) == list(range(24))
    assert {e.branch for e in evidence} == {"rhythm", "morphology", "global"}
    for e in evidence:
        network = owner[e.prototype]
        assert e.branch == network.branch
        assert e.source is predictor.card.extra["prototypes"][e.prototype]
        assert e.source["branch"] == e.branch and e.classes == tuple(e.source["classes"])
        assert (e.start_ms, e.end_ms) == tuple(10.0 * s for s in network.window_span(e.window))
        assert e.receptive_field_ms == tuple(10.0 * s for s in network.window_receptive_field(e.window))
        assert e.receptive_field_ms[0] <= e.start_ms < e.end_ms <= e.receptive_field_ms[1]
        if e.branch != "morphology":
            assert (e.start_ms, e.end_ms) == (0, 5000)
        else:
            assert e.end_ms - e.start_ms <= 960


def test_evidence_source_is_the_record_on_the_card(predictors, database):
    """The training record of a prototype looks like it exactly, in the window that the card names."""
    predictor, read = predictors["fusion"], source_reader(database, 100)
    for entry in predictor.card.extra["prototypes"]:
        (explanation,) = explain_records(predictor, read(entry["ecg_id"])[None])
        assert explanation.similarities[entry["index"]] == pytest.approx(1, abs=1e-4)
        assert explanation.windows[entry["index"]] == entry["window"]


def test_explanations_cover_classes_above_their_threshold(predictors, data):
    predictor = predictors["fusion"]
    probabilities = predictor.predict(data.signals[:4])
    for explanation, row in zip(explain_records(predictor, data.signals[:4]), probabilities, strict=True):
        expected = [n for n, p in zip(predictor.classes, row, strict=True) if p >= 0.5]
        assert expected and list(explanation.predicted) == expected
        assert sorted(p.name for p in explanation.classes) == sorted(expected)


def test_explanations_of_the_most_probable_class_without_a_predicted_one(data, tmp_path):
    predictor = load_predictor(write_prototypes(tmp_path, data, "morphology", thresholds=[1.0] * 9))
    (explanation,) = explain_records(predictor, data.signals[:1])
    (part,) = explanation.classes
    assert explanation.predicted == () and not part.predicted and part.threshold == 1
    assert part.probability == explanation.probabilities.max()


def test_explanations_of_one_exclusive_class(data, tmp_path):
    predictor = load_predictor(write_prototypes(tmp_path, data, "morphology", multilabel=False))
    (explanation,) = explain_records(predictor, data.signals[:1])
    assert explanation.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert explanation.predicted == (explanation.classes[0].name,) and len(explanation.classes) == 1


def test_explanations_of_a_model_without_bias(data, tmp_path):
    predictor = load_predictor(write_prototypes(tmp_path, data, "morphology", model={"bias": False}))
    (explanation,) = explain_records(predictor, data.signals[:1])
    assert all(part.bias == 0 for part in explanation.classes)


def test_explanations_that_do_not_add_up_raise(data, tmp_path, monkeypatch):
    predictor = load_predictor(write_prototypes(tmp_path, data, "rhythm"))
    honest = predictor.model.logits_of
    monkeypatch.setattr(predictor.model, "logits_of", lambda scores: honest(scores) + 0.001)
    with pytest.raises(DataError, match=r"record 0, class .*: the contributions add up to"):
        explain_records(predictor, data.signals[:1])


def test_explanations_of_unprojected_prototypes_raise(data, tmp_path):
    predictor = load_predictor(write_prototypes(tmp_path, data, "morphology", prototypes=[]))
    with pytest.raises(UsageError, match="--branch morphology --training_stage projection"):
        explain_records(predictor, data.signals[:1])


def test_explanations_with_a_list_of_other_prototypes_raise(data, tmp_path):
    predictor = load_predictor(write_prototypes(tmp_path, data, "rhythm"))
    predictor.card.extra["prototypes"] = predictor.card.extra["prototypes"][:-1]
    with pytest.raises(DataError, match="lists 3 prototypes, the model has 4"):
        explain_records(predictor, data.signals[:1])


def test_explanations_of_wrong_models_and_arguments_raise(predictors, data, tmp_path):
    other = load_predictor(write_untrained(tmp_path, "ecgnet"))
    with pytest.raises(UsageError, match="'ecgnet', which has no prototypes"):
        explain_records(other, data.signals[:1])
    with pytest.raises(UsageError, match="unknown class 'NROM': did you mean 'NORM'"):
        explain_records(predictors["fusion"], data.signals[:1], classes=["NROM"])
    with pytest.raises(UsageError, match="at least one"):
        explain_records(predictors["fusion"], data.signals[:1], top=0)
    with pytest.raises(DataError, match="do not fit"):
        explain_records(predictors["fusion"], data.signals[:1, :400])


def test_source_reader_reads_the_records_of_prototypes(database, data, tmp_path):
    read = source_reader(database, 100)
    row = 5
    np.testing.assert_allclose(read(int(data.ecg_ids[row])), data.signals[row], atol=1e-6)
    assert read(4711) is None
    partial = write_small_ptbxl(tmp_path, 20, seconds=5)
    (partial / "records100/00000/00003_lr.dat").unlink()
    damaged = partial / "records100/00000/00004_lr.dat"
    damaged.write_bytes(bytes([7]) + damaged.read_bytes()[1:])
    read = source_reader(partial, 100)
    assert read(3) is None
    with pytest.raises(DataError, match=r"ecg_id 4, .*00004_lr: checksum of lead I is"):
        read(4)
    with pytest.raises(DataError, match="does not exist"):
        source_reader(tmp_path / "nowhere", 100)
