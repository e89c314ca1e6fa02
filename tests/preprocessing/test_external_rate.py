"""Your own ECG at the rate and length of a model."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databases import Recording
from preprocessing.recordings.external import prepare
from preprocessing.transforms.resample import resample
from tests.helpers.ecg_files import SIGNALS, has_note, make_signals
from utils.ecg import LEADS
from utils.errors import DataError, UsageError


def as_recording(signals, rate):
    return Recording(np.asarray(signals, np.float32), rate, LEADS, [], "x", Path("x.csv"))


def test_recording_of_five_seconds_is_not_padded():
    with pytest.raises(
        DataError, match=r"10 s are needed \(1000 samples at 100 Hz\), but the recording has 5 s; it is"
    ):
        prepare(as_recording(SIGNALS[:2500], 500), 100, 1000)


def test_recording_of_500_hz_or_longer_fits_a_100_hz_model():
    prepared = prepare(as_recording(make_signals(seconds=30), 500), 100, 1000)
    assert prepared.signal.shape == (1000, 12)
    assert prepared.signal.dtype == np.float32
    assert prepared.sampling_rate == 100
    assert has_note(prepared, r"500 Hz -> 100 Hz with an anti-aliasing FIR \(resample_poly 1/5\)")
    assert has_note(prepared, "30 s were given, the 10 s from 0 s on were used")
    later = prepare(as_recording(make_signals(seconds=30), 500), 100, 1000, start=10)
    np.testing.assert_allclose(
        later.signal[100:-100], prepared.signal[100:-100], atol=0.001
    )  # 12 whole beats on
    for start in (-1, 31, float("nan")):
        with pytest.raises(UsageError, match="lies outside the recording of 30 s"):
            prepare(as_recording(make_signals(seconds=30), 500), 100, 1000, start=start)
    with pytest.raises(DataError, match="has 5 s after 25 s"):
        prepare(as_recording(make_signals(seconds=30), 500), 100, 1000, start=25)


def test_resampling_leaves_the_right_rate_bit_for_bit():
    recording = as_recording(make_signals(100), 100)
    np.testing.assert_array_equal(prepare(recording, 100, 1000).signal, recording.signal)


def test_upsampling_is_noted():
    prepared = prepare(as_recording(make_signals(50), 50), 100, 1000)
    assert has_note(prepared, "nothing above 25 Hz")


@pytest.mark.parametrize("rate", [250, 257, 360, 499.5, 500, 1000])
def test_resampling_keeps_the_amplitude_of_a_sine_in_the_band(rate):
    time = np.arange(round(20 * rate)) / rate
    for frequency in (1.0, 15.0, 35.0):
        result = resample(np.sin(2 * np.pi * frequency * time), rate, 100)
        expected = np.sin(2 * np.pi * frequency * np.arange(len(result)) / 100)
        assert len(result) in (2000, 2001)
        assert np.abs(result - expected)[100:-100].max() < 0.01


def test_resampling_does_not_alias_70_hz_to_30_hz():
    result = resample(np.sin(2 * np.pi * 70 * np.arange(10_000) / 500), 500, 100)
    interior = result[100:-100]
    assert 20 * np.log10(np.abs(interior).max()) < -40
    naive = np.sin(2 * np.pi * 70 * np.arange(10_000) / 500)[::5]
    assert np.abs(naive).max() > 0.9  # what taking each fifth sample would leave


@given(st.floats(-5, 5), st.floats(-1, 1), st.sampled_from([250, 360, 500, 1000]))
@settings(max_examples=20, deadline=None)
def test_offset_and_drift_do_not_ring_at_the_ends(offset, slope, rate):
    time = np.arange(10 * rate) / rate
    result = resample(offset + slope * time, rate, 100)
    np.testing.assert_allclose(result, offset + slope * np.arange(len(result)) / 100, atol=1e-9)
