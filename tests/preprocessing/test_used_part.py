"""The part of a recording that is used: it alone is checked, and what lies outside is a note."""

import contextlib

import numpy as np
import pytest

from preprocessing.recordings.external import prepare, read_recording
from preprocessing.recordings.gaps import hold, resample_with_gaps
from preprocessing.transforms.resample import neighborhood, resample
from tests.helpers.ecg_files import has_note, make_signals, write_csv, write_edf, write_wfdb
from utils.errors import DataError, UsageError

RATE = 100
LONG = make_signals(RATE, 30)


def lost(signals, first, last, value=np.nan, leads=slice(None)):
    """Signals with a stretch of some leads replaced; seconds."""
    signals = signals.copy()
    signals[round(first * RATE) : round(last * RATE), leads] = value
    return signals


def use(path, start=None, **options):
    recording = read_recording(path, **options, start=start, seconds=10)
    return prepare(recording, RATE, 1000, start)


FAULTS = {
    "missing": (lost(LONG, 25, 26), "all leads, 25 to 26 s: no values"),
    "one missing": (lost(LONG, 25, 25.01, leads=7), "lead V2, 25 to 25.01 s: no values"),
    "electrodes off": (lost(LONG, 20, 30, 0.0, slice(0, 1)), "lead I, (19.9|20) to 30 s: flat"),
    "rail": (lost(LONG, 20, 30, 300.0, 8), "lead V3, 20 to 30 s: stuck far off its baseline at 300 mV"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("start", [None, 5.0, 10.0])
def test_fault_outside_is_a_note(tmp_path, fault, start):
    signals, note = FAULTS[fault]
    path = write_wfdb(tmp_path, signals, rate=RATE, fmt="32", gain=1e5)
    recording = use(path, start)
    first = round((start or 0) * RATE)
    np.testing.assert_allclose(recording.signal, LONG[first : first + 1000], atol=1e-4)
    assert has_note(recording, f"^Outside the part used: {note}")


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_in_the_part_is_refused_or_a_warning(tmp_path, fault):
    path = write_wfdb(tmp_path, FAULTS[fault][0], rate=RATE, fmt="32", gain=1e5)
    refused = {
        "missing": "lead I: 100 of 1000 samples are missing values.*25\\.000 s",
        "one missing": "lead V2: 1 of 1000 samples are missing",
        "rail": "lead V3: a peak-to-peak of 30",
    }
    if fault in refused:
        with pytest.raises(DataError, match=refused[fault]):
            use(path, 17)
    else:
        assert has_note(use(path, 17), "WARNING: lead I, (19.9|20) to 27 s: flat")
    if fault == "rail":
        with pytest.raises(DataError, match=refused[fault]):
            read_recording(path)  # then all of it is the part
    else:
        recording = read_recording(path)
        assert has_note(recording, f"WARNING: {FAULTS[fault][1]}")
        with (
            pytest.raises(DataError, match="nothing can be said of the part from 17 to 27 s")
            if ("missing" in fault)
            else contextlib.nullcontext()
        ):
            prepare(recording, RATE, 1000, 17)


def test_recording_without_faults_has_no_such_note(tmp_path):
    assert not has_note(use(write_wfdb(tmp_path, LONG, rate=RATE), 3), "Outside")


def test_formats_without_units_are_judged_by_the_part(tmp_path):
    """A rail outside it must not make microvolts of millivolts."""
    path = write_csv(tmp_path / "x.csv", lost(LONG, 20, 30, 3000.0))
    assert has_note(use(path, sampling_rate=RATE), "mV assumed because the median peak-to-peak is 1")
    with pytest.raises(UsageError, match="does not say its units"):
        read_recording(path, RATE)


def test_gap_beside_the_part_does_not_reach_into_it(tmp_path):
    """The filter of a change of rate is longer than the distance to the gap."""
    clean = use(write_wfdb(tmp_path, make_signals(500, 30), rate=500, name="clean"), 5)
    signals = make_signals(500, 30)
    signals[15 * 500 + 5 : 17 * 500] = np.nan
    signals[: 5 * 500 - 5] = np.nan
    recording = use(write_wfdb(tmp_path, signals, rate=500), 5)
    assert np.isfinite(recording.signal).all()
    np.testing.assert_allclose(recording.signal[10:-10], clean.signal[10:-10], atol=1e-3)


def test_start_beyond_the_end_is_refused(tmp_path):
    path = write_edf(tmp_path / "x.edf", LONG, rate=RATE)
    for start in (30, 31.5, -1):
        with pytest.raises(UsageError, match=rf"--start {start} lies outside the recording of 30 s"):
            use(path, start)
    with pytest.raises(DataError, match=r"10 s are needed .* 5 s after 25 s"):
        use(path, 25)


def test_gaps_hold_the_last_number():
    values = np.array([np.nan, 1.0, np.nan, np.inf, 4.0, np.nan])
    np.testing.assert_array_equal(hold(values), [1, 1, 1, 1, 4, 4])
    np.testing.assert_array_equal(hold(values[:, None])[:, 0], hold(values))
    np.testing.assert_array_equal(hold(np.full(3, np.nan)), 0)
    whole = np.arange(5.0)
    assert hold(whole) is whole


def test_gaps_stay_gaps_when_the_rate_changes():
    values = np.sin(np.arange(1000) / 50)
    gap = values.copy()
    gap[400:600] = np.nan
    result, clean = resample_with_gaps(gap, 500, 100), resample(values, 500, 100)
    assert np.flatnonzero(np.isnan(result)).tolist() == list(range(80, 120))
    np.testing.assert_allclose(result[:70], clean[:70], atol=1e-3)


@pytest.mark.parametrize("rates", [(500, 100), (257, 100), (499.97, 100), (100, 500)])
def test_part_of_a_long_signal_needs_its_neighborhood_alone(rates):
    rng = np.random.default_rng(0)
    signals = np.cumsum(rng.normal(0, 0.01, (round(rates[0] * 900), 2)), axis=0)
    whole = resample(signals, *rates)
    for start in (0.0, 400.07, 889.9):
        part = slice(round(start * rates[0]), round((start + 10) * rates[0]))
        near, before = neighborhood(len(signals), *rates, part)
        first = round(start * rates[1])
        result = resample(signals[near], *rates)[first - before :][: 10 * rates[1]]
        np.testing.assert_allclose(result, whole[first:][: 10 * rates[1]], atol=3e-4 * np.ptp(signals))
        assert near.stop - near.start <= 240 * rates[0]
    assert neighborhood(round(60 * rates[0]), *rates, part) == (slice(0, round(60 * rates[0])), 0)


def test_long_recording_is_used_like_a_short_one(tmp_path):
    signals = make_signals(RATE, 700)
    path = write_wfdb(tmp_path, signals, rate=RATE)
    np.testing.assert_allclose(use(path, 650).signal, signals[65000:66000], atol=0.00051)
    fast = write_wfdb(tmp_path, make_signals(500, 700), rate=500, name="fast")
    short = use(write_wfdb(tmp_path, make_signals(500, 30), rate=500, name="short"), 10)
    np.testing.assert_allclose(use(fast, 610).signal, short.signal, atol=0.001)
