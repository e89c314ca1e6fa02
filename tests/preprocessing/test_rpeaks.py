"""R-peak detectors on synthetic and real ECGs: units, rates, polarity, gaps, several leads."""

import sys

import numpy as np
import pytest
import scipy.io
import wfdb.processing

from preprocessing.rpeaks import (
    Detector,
    detect_rpeaks,
    heart_rate_variability,
    list_detectors,
    register_detector,
    rr_intervals,
)
from preprocessing.rpeaks.detectors import _DETECTORS
from preprocessing.transforms.resample import resample
from utils.errors import DataError, UsageError
from utils.rpeak_scores import rpeak_scores

RATE = 250
BEATS = np.cumsum(np.random.default_rng(3).integers(170, 230, 30))  # 65 to 88 beats a minute


def ecg(beats=BEATS, rate=RATE, seed=0):
    """P, QRS and T waves in mV at the given samples, with a little noise; (T,)."""
    time = np.arange(beats[-1] + rate) / rate
    signal = np.random.default_rng(seed).normal(0, 0.01, len(time))
    waves = (
        (-0.18, 0.03, 0.1),
        (-0.025, 0.008, -0.1),
        (0, 0.01, 1.2),
        (0.025, 0.009, -0.25),
        (0.28, 0.05, 0.3),
    )
    for beat in beats / rate:
        for shift, width, height in waves:
            signal += height * np.exp(-(((time - beat - shift) / width) ** 2) / 2)
    return signal


@pytest.fixture(params=list_detectors())
def detector(request):
    return request.param


def test_detector_finds_the_beats_of_a_clean_ecg(detector):
    score = rpeak_scores(
        [BEATS[3:-1]], [detect_rpeaks(ecg(), RATE, detector)], RATE, (25,), [(BEATS[3], BEATS[-2])]
    )
    assert score["25"]["f1"] > 0.93


def test_detector_gives_samples_of_the_rate_of_the_signal(detector):
    """Also at rates that its implementation does not take."""
    for rate in (50, 360, 2000):
        beats = np.round(BEATS * rate / RATE).astype(int)
        peaks = detect_rpeaks(resample(ecg(), RATE, rate), rate, detector)
        score = rpeak_scores([beats], [peaks], rate, (75,), [(beats[3], beats[-2])])["75"]
        assert score["f1"] > 0.93, rate


def test_detector_takes_inverted_and_small_signals(detector):
    upright = detect_rpeaks(ecg(), RATE, detector)
    for changed in (-ecg(), 0.2 * ecg(), ecg() + 5):
        score = rpeak_scores([upright], [detect_rpeaks(changed, RATE, detector)], RATE, (25,))
        assert score["25"]["f1"] > 0.93


def test_detector_leaves_the_signal_as_it_is(detector):
    signal = ecg()
    signal.flags.writeable = False
    detect_rpeaks(signal, RATE, detector)


def test_detector_finds_no_peaks_in_a_flat_signal(detector):
    assert len(detect_rpeaks(np.zeros(2500), RATE, detector)) == 0


def test_gap_holds_no_peaks_and_hides_no_others(detector):
    signal = ecg()
    signal[3000:3600] = np.nan
    peaks = detect_rpeaks(signal, RATE, detector)
    assert not ((peaks >= 3000) & (peaks < 3600)).any()
    reference = BEATS[(BEATS < 2950) | (BEATS > 4200)]
    assert rpeak_scores([reference], [peaks], RATE, (75,), [(BEATS[3], 2950)])["75"]["f1"] > 0.9


def test_xqrs_and_gqrs_give_the_peaks_of_wfdb(shared_data):
    for path in sorted((shared_data / "cpsc2019" / "data").glob("*.mat"))[:5]:
        signal = scipy.io.loadmat(path)["ecg"].ravel().astype(float)
        expected = wfdb.processing.xqrs_detect(signal, fs=500, verbose=False)
        np.testing.assert_array_equal(detect_rpeaks(signal, 500, "xqrs", correct=0), np.unique(expected))
        expected = wfdb.processing.gqrs_detect(signal, fs=500)
        np.testing.assert_array_equal(detect_rpeaks(signal, 500, "gqrs", correct=0), np.unique(expected))


def test_leads_are_merged_by_agreement():
    lead, noise = ecg(), np.random.default_rng(1).normal(0, 0.01, len(ecg()))
    leads = np.stack([lead, -0.7 * lead, noise, np.full(len(lead), np.nan)], axis=1)
    one = detect_rpeaks(lead, RATE, "neurokit")
    np.testing.assert_array_equal(detect_rpeaks(leads[:, [0, 3]], RATE, "neurokit"), one)
    merged = detect_rpeaks(leads, RATE, "neurokit", agreement=0.6)
    assert rpeak_scores([one], [merged], RATE, (25,))["25"]["f1"] > 0.98
    assert len(detect_rpeaks(leads, RATE, "neurokit", agreement=1)) < len(one) / 2


def test_peaks_move_to_the_extremum_of_most_complexes():
    """A detector that is 60 ms late, on complexes that point down."""
    register_detector(Detector("late", lambda signal, rate: BEATS + 15))
    try:
        np.testing.assert_array_equal(detect_rpeaks(-ecg(), RATE, "late", correct=0), BEATS + 15)
        assert np.abs(detect_rpeaks(-ecg(), RATE, "late") - BEATS).max() <= 1
    finally:
        _DETECTORS.remove("late")


@pytest.mark.parametrize(
    ("signal", "options", "error", "message"),
    [
        (np.zeros(0), {}, DataError, "0 samples at 250 Hz: R-peaks need at least 2 s"),
        (np.zeros(1), {}, DataError, "1 samples"),
        (np.full(1000, np.nan), {}, DataError, "no finite value"),
        (np.zeros((2, 3, 1000)), {}, UsageError, r"not of shape \(2, 3, 1000\)"),
        (np.zeros(1000), {"agreement": 0}, UsageError, "agreement 0"),
        (np.zeros(1000), {"detector": "xqs"}, UsageError, "unknown R-peak detector 'xqs'.*xqrs"),
    ],
)
def test_detect_rpeaks_says_what_it_cannot_take(signal, options, error, message):
    with pytest.raises(error, match=message):
        detect_rpeaks(signal, RATE, **options)


def test_detector_of_a_library_that_is_absent_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "neurokit2", None)
    with pytest.raises(UsageError, match="pip install neurokit2"):
        detect_rpeaks(ecg(), RATE, "hamilton")


def test_rr_intervals_mark_what_is_implausible():
    table = rr_intervals(np.array([0, 250, 300, 1300]), RATE)
    np.testing.assert_allclose(table["rr_ms"], [1000, 200, 4000])
    np.testing.assert_allclose(table["heart_rate"], [60, 300, 15])
    assert table["plausible"].tolist() == [True, False, False]
    with pytest.raises(DataError, match=r"ascending: \[250, 250\]"):
        rr_intervals(np.array([0, 250, 250]), RATE)


def test_heart_rate_variability_equals_neurokits():
    import neurokit2

    ours = heart_rate_variability(BEATS, RATE)
    theirs = neurokit2.hrv_time(BEATS, sampling_rate=RATE).iloc[0]
    assert ours["mean_rr_ms"] == pytest.approx(theirs["HRV_MeanNN"])
    assert ours["sdnn_ms"] == pytest.approx(theirs["HRV_SDNN"])
    assert ours["rmssd_ms"] == pytest.approx(theirs["HRV_RMSSD"], rel=0.02)  # theirs divides by n - 1
    assert ours["pnn50"] == pytest.approx(theirs["HRV_pNN50"], rel=0.05)


def test_heart_rate_variability_of_too_few_beats_is_nan():
    values = heart_rate_variability(np.array([10]), RATE)
    assert values.pop("intervals") == 0
    assert np.isnan(list(values.values())).all()
