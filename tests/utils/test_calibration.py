"""Platt scaling, and the choice between it and the identity."""

import json

import numpy as np
import pytest

from utils.calibration import Calibrator, choose_calibration, fit_calibrator
from utils.errors import DataError
from utils.metrics import evaluate


def test_calibration_lowers_the_error_and_keeps_the_ranking():
    rng = np.random.default_rng(0)
    true = rng.uniform(0.05, 0.95, (3000, 3))
    labels = rng.uniform(size=true.shape) < true
    sure = true**3 / (true**3 + (1 - true) ** 3)  # logits three times too large
    calibrator = fit_calibrator(labels[:1500], sure[:1500])
    np.testing.assert_allclose(calibrator.slope, 1 / 3, atol=0.08)
    before = evaluate(labels[1500:], sure[1500:], "abc")
    after = evaluate(labels[1500:], calibrator(sure[1500:]), "abc")
    assert after["ece"] < before["ece"] / 3
    assert after["macro_roc_auc"] == pytest.approx(before["macro_roc_auc"], abs=1e-12)
    again = Calibrator.from_json(json.loads(json.dumps(calibrator.to_json())))
    np.testing.assert_array_equal(again(sure), calibrator(sure))


def overconfident(records: int, times: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities whose logits are that many times too large."""
    rng = np.random.default_rng(0)
    true = rng.uniform(0.05, 0.95, (records, 3))
    return rng.uniform(size=true.shape) < true, true**times / (true**times + (1 - true) ** times)


def test_calibrator_is_chosen_where_it_helps_held_out_patients():
    labels, sure = overconfident(300, 3)
    card = choose_calibration(labels, sure, np.arange(300) // 2)
    assert card["method"] == "platt" and card["slope"] == fit_calibrator(labels, sure).slope.tolist()
    checked = card["cross_validation"]
    assert checked["folds"] == 5 and checked["log_loss_calibrated"] < checked["log_loss"]
    assert checked["log_loss"] == pytest.approx(evaluate(labels, sure, "abc")["log_loss"])
    assert not Calibrator.from_json(json.loads(json.dumps(card))).is_identity


def test_identity_is_chosen_where_calibration_does_not_help():
    labels, right = overconfident(60, 1)
    card = choose_calibration(labels, right, np.arange(60))
    assert (card["method"], card["slope"], card["intercept"]) == ("identity", [1] * 3, [0] * 3)
    assert card["cross_validation"]["log_loss_calibrated"] >= card["cross_validation"]["log_loss"]
    calibrator = Calibrator.from_json(card)
    assert calibrator.is_identity
    np.testing.assert_array_equal(calibrator(right), right)
    alone = choose_calibration(labels, right, np.ones(60))
    assert alone["method"] == "identity" and alone["cross_validation"] is None
    with pytest.raises(DataError, match="patient_ids has shape"):
        choose_calibration(labels, right, np.arange(59))


def test_patient_is_never_fitted_on_and_held_out(monkeypatch):
    labels, _ = overconfident(70, 1)
    patients = np.arange(70) // 10  # 7 patients in 5 groups
    p = np.repeat(patients[:, None] / 10 + 0.1, 3, axis=1)  # tells the patient
    fitted = []

    def fit(y, q):
        fitted.append(set(np.round(q * 10 - 1).ravel().astype(int)))
        return fit_calibrator(y, q)

    monkeypatch.setattr("utils.calibration.fit_calibrator", fit)
    choose_calibration(labels, p, patients)
    held_out = [set(range(7)) - group for group in fitted[:5]]
    assert sorted(patient for group in held_out for patient in group) == list(range(7))


def test_calibration_stays_finite_where_the_data_say_little():
    labels = np.array([[0, 1, 0], [0, 1, 1]])
    p = np.array([[0.2, 0.3, 0.0], [0.6, 0.9, 1.0]])
    calibrator = fit_calibrator(labels, p)
    np.testing.assert_array_equal(calibrator(p)[:, :2], p[:, :2])  # one kind of label: left as it is
    assert np.isfinite(calibrator.slope).all() and 0 < calibrator(p)[0, 2] < calibrator(p)[1, 2] < 1
    with pytest.raises(DataError, match="3 classes"):
        calibrator(p[:, :2])
    with pytest.raises(DataError, match="logits"):
        calibrator(p * 3)
    for broken in (
        {},
        {"method": "platt", "slope": [1], "intercept": [1, 2]},
        {**calibrator.to_json(), "method": "x"},
    ):
        with pytest.raises(DataError, match="not a calibrator"):
            Calibrator.from_json(broken)
