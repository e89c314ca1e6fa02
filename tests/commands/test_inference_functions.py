"""The predictor: millivolts in, probabilities out; and weights that are not what their card says."""

import json
import os
import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from preprocessing.signals import ScaledSignals
from tests.helpers.training_files import CLASSES, SAMPLES, write_untrained
from training import load_predictor
from training.card import Card
from training.predictor import crop_starts, forward_in_batches
from training.tasks import create_task
from utils.errors import DataError, UsageError
from utils.files import sha256


def millivolts(records=70, samples=SAMPLES, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, (records, samples, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load_predictor(write_untrained(tmp_path_factory.mktemp("ecgnet"), "ecgnet"))


@pytest.fixture(scope="module")
def keras_folder(tmp_path_factory):
    return write_untrained(tmp_path_factory.mktemp("mousavi"), "mousavi")


def test_predictor_tells_its_card(predictor):
    assert predictor.classes == CLASSES and predictor.leads[3] == "AVR"
    assert (predictor.sampling_rate, predictor.samples) == (100, SAMPLES)
    assert predictor.card.inputs.unit == "mV"


def test_result_does_not_depend_on_the_batch_size(predictor, keras_folder):
    x = millivolts()
    for loaded in (predictor, load_predictor(keras_folder)):
        results = [loaded.predict(x, batch_size) for batch_size in (1, 7, 64)]
        assert results[0].shape == (70, 5) and results[0].dtype == np.float32
        assert np.ptp(results[0], axis=0).min() > 1e-5  # it does look at the records
        for other in results[1:]:
            np.testing.assert_allclose(other, results[0], atol=2e-6)


def test_predictor_takes_any_kind_of_array(predictor):
    stored = (millivolts(5) * 1000).astype(np.int16)
    lazy = ScaledSignals(stored)
    expected = predictor.predict(lazy[:])
    np.testing.assert_array_equal(predictor.predict(lazy), expected)
    np.testing.assert_array_equal(predictor.predict(lazy[:].tolist()), expected)
    np.testing.assert_array_equal(predictor.predict(lazy[:].astype(np.float64)), expected)
    assert predictor.predict(lazy[:][:0]).shape == (0, 5)


def test_signals_are_standardized_with_the_numbers_of_the_card(predictor):
    import torch

    x = millivolts(3)
    with torch.inference_mode():
        logits = predictor.model(torch.from_numpy((x - 0.01) / 0.25).float())
    np.testing.assert_allclose(predictor.predict(x), torch.sigmoid(logits).numpy(), atol=1e-6)


def test_calibrated_probabilities(predictor):
    x = millivolts(3)
    expected = expit(2.0 * logit(predictor.predict(x).astype(float)) + 0.1)
    np.testing.assert_allclose(predictor.predict(x, calibrated=True), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(200, 12), (70, 200, 8), (70, 500, 12), (70, 12, 200), (200,)])
def test_predictor_refuses_wrong_shapes_with_the_right_one(predictor, shape):
    with pytest.raises(DataError) as caught:
        predictor.predict(np.zeros(shape))
    assert f"signals of shape {shape} do not fit 'ecgnet'" in str(caught.value)
    assert "it reads (N, 200, 12), that is 2 s at 100 Hz, leads I II III AVR" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_gaps_are_refused_with_record_and_lead(predictor, value):
    x = millivolts()
    x[41, 7, 6] = value
    with pytest.raises(DataError, match="record 41, lead V1: NaN or infinite"):
        predictor.predict(x, batch_size=16)


def test_model_of_crops_averages_its_windows(tmp_path):
    loaded = load_predictor(write_untrained(tmp_path, "ecgnet", crop=120))
    whole = load_predictor(write_untrained(tmp_path / "same", "ecgnet", samples=120))
    x = millivolts(4)
    expected = np.mean([whole.predict(x[:, s : s + 120]) for s in (0, 60, 80)], axis=0)
    np.testing.assert_allclose(loaded.predict(x), expected, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(samples=st.integers(1, 300), crop=st.integers(0, 300))
def test_windows_cover_the_record(samples, crop):
    starts = crop_starts(samples, crop)
    length = min(crop or samples, samples)
    assert starts == sorted(set(starts)) and starts[0] == 0 and starts[-1] + length == samples
    assert all(b - a <= max(1, length // 2) for a, b in pairwise(starts))


@settings(max_examples=30, deadline=None)
@given(records=st.integers(1, 9), batch_size=st.integers(1, 10), crop=st.sampled_from([0, 3, 4, 10]))
def test_batches_keep_the_order_of_the_records(records, batch_size, crop):
    x = np.arange(records * 20, dtype=np.float32).reshape(records, 10, 2)
    join = create_task("multilabel", ["A"]).join
    result = forward_in_batches(lambda batch: batch.mean(axis=1), x, crop, batch_size, join)
    expected = [
        np.mean([r[s : s + (crop or 10)].mean(axis=0) for s in crop_starts(10, crop)], axis=0) for r in x
    ]
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def with_weights(folder, content: bytes, name: str):
    """Replace the weights and forge the card, as somebody who wants them read would."""
    (folder / name).write_bytes(content)
    card = Card.from_json(json.loads((folder / "card.json").read_text()))
    (folder / "card.json").write_text(
        json.dumps(replace(card, weights_sha256=sha256(folder / name)).to_json())
    )


class Mischief:
    """Runs a command when a pickle that holds it is opened."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize(
    ("model", "name"), [("ecgnet", "model.safetensors"), ("mousavi", "model.weights.h5")]
)
def test_weights_malicious_truncated_or_foreign_are_refused_and_run_nothing(tmp_path, model, name):
    folder = write_untrained(tmp_path / "run", model)
    good = (folder / name).read_bytes()
    other = (write_untrained(tmp_path / "other", model, classes=["A", "B"]) / name).read_bytes()
    for content in (pickle.dumps(Mischief(tmp_path / "ran")), good[: len(good) // 2], b"", other):
        with_weights(folder, content, name)
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            load_predictor(folder)
    assert not (tmp_path / "ran").exists()
    with_weights(folder, good, name)
    assert load_predictor(folder).classes == CLASSES


@pytest.mark.parametrize("model", ["ecgnet", "mousavi"])
def test_card_that_was_edited(tmp_path, model):
    folder = write_untrained(tmp_path, model)
    original = Card.from_json(json.loads((folder / "card.json").read_text()))

    def edited(**changes):
        card = replace(original, model=original.model | changes)
        (folder / "card.json").write_text(json.dumps(card.to_json()))
        return load_predictor(folder)

    with pytest.raises(DataError, match="does not hold the weights of"):
        edited(lstm_units=9)
    with pytest.raises(UsageError, match=f"did you mean '{model}'"):
        edited(name=model + "x")
    with pytest.raises(UsageError, match="unknown option 'lstm_unit'"):
        edited(lstm_unit=4)
    assert edited().classes == CLASSES
