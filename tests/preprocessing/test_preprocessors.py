"""Preprocessors: published numbers, and one contract for all that are registered."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import median_filter
from scipy.signal import sosfiltfilt, sosfreqz

from preprocessing import Standardizer
from preprocessing.transforms import (
    PreprocManager,
    amplitude,
    ecg_derived_respiration,
    list_preprocessors,
    register_preprocessor,
)
from preprocessing.transforms.bandpass import _sections
from preprocessing.transforms.preprocessor import _PREPROCESSORS, Preprocessor
from utils.errors import DataError, UsageError

GOLDENS = Path(__file__).parents[1] / "goldens" / "preprocessor_goldens.npz"
STRIDE = slice(3, None, 25)  # the samples of torch_ecg 0.0.33's results that the file holds

# configuration, largest difference in mV, samples at both ends that are not compared
CASES = {
    "baseline_default": ({"baseline_remove": {}}, 0, 0),
    "baseline_0.3_0.9": ({"baseline_remove": {"window1": 0.3, "window2": 0.9}}, 0, 0),
    # theirs is a polynomial of order 10, which has lost digits
    "bandpass_default_butter": ({"bandpass": {}}, 0.025, 0),
    "bandpass_butter_o4_0.5_40": ({"bandpass": {"highcut": 40, "filter_order": 4}}, 2e-4, 0),
    "bandpass_fir": ({"bandpass": {"filter_type": "fir"}}, 1e-6, 0),
    "bandpass_highpass_only": ({"bandpass": {"highcut": None}}, 2e-4, 0),
    "bandpass_lowpass_only": ({"bandpass": {"lowcut": None}}, 1e-6, 0),
    "norm_zscore": ({"normalize": {}}, 2e-6, 0),
    "norm_zscore_perch": ({"normalize": {"per_channel": True}}, 2e-6, 0),
    "norm_zscore_m.1_s.5": ({"normalize": {"mean": 0.1, "std": 0.5}}, 2e-6, 0),
    "norm_minmax": ({"normalize": {"method": "min-max"}}, 1e-7, 0),
    "norm_minmax_perch": ({"normalize": {"method": "min-max", "per_channel": True}}, 1e-7, 0),
    "norm_naive": ({"normalize": {"method": "naive", "mean": 0.2, "std": 2.0}}, 1e-7, 0),
    "norm_naive_perch": (
        {
            "normalize": {
                "method": "naive",
                "mean": np.linspace(-0.1, 0.1, 12),
                "std": np.linspace(0.5, 2, 12),
                "per_channel": True,
            }
        },
        1e-7,
        0,
    ),
    # theirs pads with zeros; at 360 Hz its filter also ripples an offset
    "resample_fs250": ({"resample": {"fs": 250}}, 2e-6, 50),
    "resample_fs100": ({"resample": {"fs": 100}}, 2e-6, 50),
    "resample_fs360": ({"resample": {"fs": 360}}, 3e-4, 50),
    "resample_siglen2000": ({"resample": {"siglen": 2000, "method": "fourier"}}, 1e-6, 0),
    # the step that zero padding makes at the ends has passed the high-pass
    "manager_resample250_bandpass_normalize": (
        {"resample": {"fs": 250}, "bandpass": {}, "normalize": {}},
        0.02,
        500,
    ),
}
EXAMPLES = {"resample": {"fs": 250}, "ensure_length": {"siglen": 700}}
RATES = (100, 500, 1000)


def signals(shape=(2, 1200, 3), seed=0):
    """Smooth noise around an offset of each lead."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return (np.cumsum(noise, axis=-2) / 20 + np.arange(shape[-1])).astype(np.float32)


def build(name, **options):
    return PreprocManager.from_config({name: {**EXAMPLES.get(name, {}), **options}})


@pytest.mark.parametrize("name", CASES)
def test_published_numbers(name):
    config, tolerance, ends = CASES[name]
    with np.load(GOLDENS) as file:
        golden, signal = file[name], file["input"]
    result, _ = PreprocManager.from_config(config, channels_first=True)(signal, 500)
    inner = slice(ends // 25, golden.shape[1] - ends // 25)
    assert np.abs(result[:, STRIDE] - golden)[:, inner].max() <= tolerance


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", list_preprocessors())
def test_contract_of_every_preprocessor(name, rate):
    torch = pytest.importorskip("torch")
    x = signals()
    before = x.copy()
    x.flags.writeable = False
    manager = build(name)
    y, new_rate = manager(x, rate)
    again, _ = manager(x, rate)
    np.testing.assert_array_equal(y, again, err_msg="not deterministic")
    np.testing.assert_array_equal(x, before, err_msg="changed its input")
    assert y.dtype == np.float32 and np.isfinite(y).all() and not np.may_share_memory(x, y)
    assert manager(x.astype(np.float64), rate)[0].dtype == np.float64
    if manager.steps[0].keeps_shape:
        assert y.shape == x.shape and new_rate == rate
    first, _ = manager(x.swapaxes(-1, -2), rate, channels_first=True)
    np.testing.assert_array_equal(first.swapaxes(-1, -2), y, err_msg="depends on the layout")
    for record in range(len(x)):
        alone = manager(x[record], rate)[0]
        np.testing.assert_array_equal(alone, y[record], err_msg="depends on the batch")
    tensor, _ = manager(torch.from_numpy(before), rate)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), y, err_msg="torch gives other numbers")
    one_lead, _ = manager(x[0, :, 0], rate)
    expected = manager(x[0, :, :1], rate)[0]
    np.testing.assert_array_equal(one_lead, expected[:, 0] if expected.shape[1] == 1 else expected)
    step = manager.steps[0]
    assert _PREPROCESSORS.get(name).from_config(json.loads(json.dumps(step.to_json()))) == step


@pytest.mark.parametrize("name", list_preprocessors())
def test_records_that_are_empty_short_or_hold_nan(name):
    manager = build(name)
    with pytest.raises(DataError, match=r"has no samples"):
        manager(np.zeros((0, 12)), 500)
    try:
        result, _ = manager(np.ones((1, 12), np.float32), 500)
        assert np.isfinite(result).all() and result.shape[-1] in (12, 24, 0)
    except DataError as error:
        assert "too short" in str(error)
    bad = signals()
    bad[1, 7, 2] = np.nan
    if manager.steps[0].takes_nan:
        assert np.isfinite(manager(bad, 500)[0]).all()
    else:
        with pytest.raises(DataError, match=r"record 1, lead 2 .*NaN"):
            manager(bad, 500)


def test_baseline_is_that_of_two_running_medians():
    x = signals((4, 900, 5))
    first = median_filter(x, size=(1, 101, 1), mode="nearest")
    expected = x - median_filter(first, size=(1, 301, 1), mode="nearest")
    np.testing.assert_array_equal(build("baseline_remove")(x, 500)[0], expected)
    np.testing.assert_array_equal(build("baseline_remove", window1=0.6, window2=0.2)(x, 500)[0], expected)


@pytest.mark.parametrize("rate", [100, 257, 500, 1000, 2000])
def test_bandpass_is_the_filter_of_its_name(rate):
    order = max(1, round(0.01 * rate))
    sections, *_ = _sections(0.5, 45.0, order, rate)
    x = signals((1, 4 * rate, 2))
    expected = sosfiltfilt(sections, x.astype(np.float64), axis=1)
    np.testing.assert_allclose(build("bandpass")(x, rate)[0], expected, atol=1e-6)
    frequency, response = sosfreqz(sections, 4000, fs=rate)
    warped = [np.tan(np.pi * f / rate) for f in (0.5, 45)]
    with np.errstate(divide="ignore"):
        t = np.tan(np.pi * frequency / rate)
        ideal = 1 / np.sqrt(
            1 + ((t**2 - warped[0] * warped[1]) / (t * (warped[1] - warped[0]))) ** (2 * order)
        )
    np.testing.assert_allclose(np.abs(response), ideal, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bandpas": {}}, "unknown preprocessor 'bandpas': did you mean 'bandpass'"),
        ({"bandpass": {"lowcutt": 1}}, "unknown option 'lowcutt': did you mean 'lowcut'"),
        ({"bandpass": {"lowcut": "low"}}, "lowcut must be a number at least 0, not 'low'"),
        ({"bandpass": {"lowcut": None, "highcut": None}}, "give lowcut, highcut or both"),
        ({"bandpass": {"lowcut": 50}}, "lowcut 50 Hz must lie below highcut 45 Hz"),
        ({"bandpass": {"filter_type": "iir"}}, "Valid: butter, fir"),
        ({"bandpass": 3}, "its options must be a mapping, True or False, not 3"),
        ({"normalize": {"std": 0}}, "std must be a number above 0, not 0"),
        ({"normalize": {"mean": [0, 1]}}, "one mean of each lead needs per_channel"),
        ({"normalize": {"method": "zscore"}}, "did you mean 'z-score'"),
        ({"resample": {}}, "give either fs or siglen"),
        ({"resample": {"fs": 250, "siglen": 10}}, "give either fs or siglen"),
        ({"resample": {"siglen": 2.5}}, "siglen must be a whole number at least 1"),
        ({"spectrogram": {"overlap_size": 1}}, "overlap_size must be shorter"),
    ],
)
def test_configurations_that_cannot_be_right(config, message):
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        PreprocManager.from_config(config)


@pytest.mark.parametrize(
    ("config", "rate", "message"),
    [
        ({"bandpass": {}}, 80, "highcut 45 Hz at 80 Hz: it must lie below half the sampling rate, 40 Hz"),
        ({"bandpass": {"lowcut": 60, "highcut": None}}, 100, "lowcut 60 Hz at 100 Hz"),
        ({"bandpass": {"lowcut": 1e-12, "highcut": None, "filter_order": 1}}, 1e6, "is not stable at 1e"),
        ({"bandpass": {}}, 0, "must be a number above 0 Hz, not 0"),
        ({"spectrogram": {"n_bins": 2}}, 500, "do not fit 2 bins"),
    ],
)
def test_rates_at_which_there_is_no_such_filter(config, rate, message):
    with pytest.raises(UsageError, match=message):
        PreprocManager.from_config(config)(signals(), rate)


def test_layout_that_would_have_thousands_of_leads_is_refused():
    with pytest.raises(DataError, match=r"would have 1200 leads; if it is .*channels_first=True"):
        build("normalize")(signals().swapaxes(-1, -2), 500)


def test_integers_do_not_overflow():
    whole = np.array([[-30000, 0], [30000, 1], [0, 2]], np.int16)
    result, _ = build("normalize", method="min-max")(whole, 500)
    assert result.min() == 0 and result.max() == pytest.approx(1) and result.dtype == np.float32


def test_manager_of_the_published_readme():
    config = {"random": False, "resample": {"fs": 500}, "bandpass": {}, "normalize": {}}
    before = json.dumps(config)
    manager = PreprocManager.from_config(config, channels_first=True)
    signal, rate = manager(np.random.default_rng(0).random((12, 8000), dtype=np.float32), 200)
    assert signal.shape == (12, 20000) and rate == 500 and json.dumps(config) == before
    assert abs(signal.mean()) < 1e-5 and signal.std() == pytest.approx(1, abs=1e-4)
    assert [step.name for step in manager.steps] == ["resample", "bandpass", "normalize"]
    swapped = manager.rearrange(["bandpass", "resample", "normalize"])
    assert [step.name for step in swapped.steps] == ["bandpass", "resample", "normalize"]
    with pytest.raises(UsageError, match="takes each of resample, bandpass, normalize once"):
        manager.rearrange(["bandpass", "normalize"])
    assert (
        PreprocManager.from_config({"normalize": True, "bandpass": False}).steps == build("normalize").steps
    )


def test_random_order_comes_from_the_managers_seed():
    config = {"random": True, "normalize": {}, "baseline_remove": {}, "bandpass": {}}
    x = signals()
    one, two, other = (PreprocManager.from_config(config, seed=seed) for seed in (1, 1, 5))
    results = [[m(x, 500)[0] for _ in range(6)] for m in (one, two, other)]
    np.testing.assert_array_equal(results[0], results[1])
    assert any(not np.array_equal(a, results[0][0]) for a in results[0])
    assert not np.array_equal(results[0], results[2])


def test_spikes_become_the_sample_before():
    lead = np.array([np.nan, 30, 1, -25, np.inf, 2], np.float64)
    result, _ = build("spike_removal")(lead, 500)
    assert result.tolist() == [0, 0, 1, 1, 1, 2]
    assert build("spike_removal", threshold=40)(lead, 500)[0].tolist() == [0, 30, 1, -25, -25, 2]


def test_normalize_with_a_limit_keeps_beats_beside_a_spike_and_all_else():
    rng = np.random.default_rng(3)
    calm = rng.normal(size=(2, 1000, 1)).astype(np.float32)
    plain, limited = (PreprocManager.from_config({"normalize": how}) for how in ({}, {"limit": 8}))
    np.testing.assert_array_equal(limited(calm, 100)[0], plain(calm, 100)[0])
    spiked = calm.copy()
    spiked[0, 500:502] = 300.0
    assert plain(spiked, 100)[0][0, :500].std() < 0.1
    kept, _ = limited(spiked, 100)
    assert kept[0, :500].std() > 0.8 and np.abs(kept[0]).max() < 8.1
    np.testing.assert_array_equal(kept[1], plain(calm, 100)[0][1])
    for wrong in ({"limit": 0.5}, {"limit": 8, "method": "min-max"}):
        with pytest.raises(UsageError, match="limit is for the method z-score, from 1"):
            PreprocManager.from_config({"normalize": wrong})


def test_lengths_are_cropped_padded_or_cut_in_windows():
    x = np.arange(1, 11, dtype=np.float32)
    assert build("ensure_length", siglen=4)(x, 1)[0].tolist() == [4, 5, 6, 7]
    assert build("ensure_length", siglen=13)(x, 1)[0].tolist() == [0, *x, 0, 0]
    windows, _ = build("ensure_length", siglen=4, tolerance=0.5)(x, 1)
    assert windows.tolist() == [[1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 7, 8], [7, 8, 9, 10]]
    assert build("ensure_length", siglen=4, tolerance=0.75)(x, 1)[0][-1].tolist() == [7, 8, 9, 10]
    assert build("ensure_length", siglen=12, tolerance=0.5)(x, 1)[0].shape == (1, 12)


def test_resampling_reaches_a_length_exactly_and_does_not_alias():
    time = np.arange(5000) / 500
    slow, fast = np.sin(2 * np.pi * 3 * time), np.sin(2 * np.pi * 240 * time)
    for siglen in (1, 7, 1000, 2001, 5000, 5001):
        result, rate = build("resample", fs=None, siglen=siglen)(slow, 500)
        assert len(result) == siglen and rate == pytest.approx(siglen / 10)
    result, _ = build("resample", fs=100)(slow + fast, 500)
    np.testing.assert_allclose(result[20:-20], slow[::5][20:-20], atol=2e-3)


def test_spectra_are_those_of_the_signal():
    time = np.arange(1000) / 500
    x = np.stack([np.cos(2 * np.pi * f * time + 0.3) for f in (5, 10, 40)], axis=-1)
    spectrum, _ = build("spectrum")(x, 500)
    assert spectrum.shape == (500, 6)
    assert spectrum[:, :3].argmax(axis=0).tolist() == [9, 19, 79]  # half a hertz each, without 0 Hz
    np.testing.assert_allclose(spectrum[[9, 19, 79], [3, 4, 5]], 0.3, atol=1e-9)
    np.testing.assert_allclose(spectrum[[9, 19, 79], [0, 1, 2]], 500, rtol=1e-9)
    power, rate = build("spectrogram", window_size=0.2, overlap_size=0.1)(x, 500)
    assert power.shape == (21, 3 * 51) and rate == 10
    assert power.reshape(21, 3, 51).mean(axis=0).argmax(axis=1).tolist() == [1, 2, 8]
    with pytest.raises(DataError, match="1 sample are too short"):
        build("spectrum")(x[:1], 500)


def test_amplitude_is_the_largest_range_of_a_window():
    x = signals((3, 203, 4), seed=3)
    windows = [x[:, start : start + 20] for start in range(0, 181, 10)] + [x[:, -20:]]
    expected = np.max([np.ptp(window, axis=1) for window in windows], axis=0)
    assert (amplitude(x, 100) >= expected).all()
    np.testing.assert_array_equal(
        amplitude(x[:, :200], 100), np.max([np.ptp(w, axis=1) for w in windows[:19]], axis=0)
    )
    np.testing.assert_array_equal(amplitude(x.swapaxes(1, 2), 100, channels_first=True), amplitude(x, 100))
    with pytest.raises(DataError, match="have no samples"):
        amplitude(x[:, :0], 100)


def test_respiration_is_found_in_the_qrs_area():
    rate, peaks = 500, np.arange(200, 30000, 400)
    breath = 1 + 0.3 * np.sin(2 * np.pi * 0.25 * peaks / rate)
    time = np.arange(30500)
    lead = sum(b * np.exp(-0.5 * ((time - p) / 8) ** 2) for b, p in zip(breath, peaks, strict=True))
    times, values = ecg_derived_respiration(lead, rate, peaks)
    np.testing.assert_allclose(times, peaks / rate)
    assert np.corrcoef(values, breath)[0, 1] > 0.999
    regular, wave = ecg_derived_respiration(lead, rate, peaks, target_rate=4)
    assert np.allclose(np.diff(regular), 0.25)
    assert np.fft.rfftfreq(len(wave), 0.25)[np.abs(np.fft.rfft(wave)).argmax()] == pytest.approx(
        0.25, abs=0.02
    )
    assert ecg_derived_respiration(lead, rate, [])[0].size == 0
    for wrong in ([5, 5], [9, 3], [99999], [0.5]):
        with pytest.raises(DataError, match="ascending sample numbers"):
            ecg_derived_respiration(lead, rate, wrong)
    with pytest.raises(UsageError, match="3 beats are too few"):
        ecg_derived_respiration(lead, rate, peaks[:3], target_rate=4)


def test_standardizer_keeps_its_preprocessors_in_json():
    chain = PreprocManager.from_words(["baseline_remove", "bandpass:lowcut=1:highcut=null"])
    scale = Standardizer(0.1, 0.5, highpass=0.5, sampling_rate=100, preprocess=chain)
    stored = json.loads(json.dumps(scale.to_json()))
    assert stored["preprocess"][1] == [
        "bandpass",
        {"lowcut": 1, "highcut": None, "filter_type": "butter", "filter_order": None},
    ]
    again = Standardizer.from_json(stored)
    assert again == scale
    x = signals()
    np.testing.assert_array_equal(again(x), scale(x))
    plain = Standardizer(0.1, 0.5, highpass=0.5, sampling_rate=100)
    np.testing.assert_array_equal(scale(x), plain(chain(x, 100)[0]))
    with pytest.raises(DataError, match="cannot be built: unknown preprocessor 'bandpasss'"):
        Standardizer.from_json({**stored, "preprocess": [["bandpasss", {}]]})


def test_registered_preprocessor_is_one_among_the_others():
    @register_preprocessor("toy_gain")
    @dataclasses.dataclass(frozen=True)
    class Gain(Preprocessor):
        factor: float = 2.0

        def transform(self, signals, rate):
            return signals * self.factor, rate

    try:
        result, _ = PreprocManager.from_words(["toy_gain:factor=3"])(signals(), 500)
        np.testing.assert_allclose(result, signals() * 3, rtol=1e-6)
        with pytest.raises(UsageError, match="toy_gain: unknown option 'factr': did you mean 'factor'"):
            PreprocManager.from_words(["toy_gain:factr=3"])
    finally:
        _PREPROCESSORS.remove("toy_gain")
