"""Signal quality: what is lost or distorted is seen, in its lead and at its seconds, and nothing else is."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databases import Recording
from preprocessing.recordings import lost
from preprocessing.recordings.checks import _where_limb_leads_live
from preprocessing.recordings.external import prepare, read_recording
from preprocessing.recordings.limb_leads import derive_limb_leads
from preprocessing.recordings.lost import LOST
from preprocessing.recordings.quality import KINDS, find_faults
from preprocessing.recordings.quality_notes import describe, warnings
from preprocessing.transforms.filters import mains_frequencies, remove_mains
from tests.helpers.ecg_files import has_note, make_signals
from utils.ecg import LEADS
from utils.errors import DataError, UsageError

CHEST = list(range(6, 12))


def ecg(rate=100, seconds=10.0, seed=0, beats=1.0):
    """A synthetic ECG with a little noise and drift; limb leads from I and II, in whole microvolts."""
    rng = np.random.default_rng(seed)
    clean = make_signals(rate * beats, seconds / beats)[: round(rate * seconds)]
    time = np.arange(len(clean)) / rate
    drift = 0.1 * np.sin(2 * np.pi * (0.15 * time[:, None] + rng.random(12)))
    noisy = clean + drift + rng.normal(0, 0.006, clean.shape)
    limb = {"I": noisy[:, 0], "II": noisy[:, 1]} | derive_limb_leads(noisy[:, 0], noisy[:, 1])
    return np.round(np.column_stack([*(limb[lead] for lead in LEADS[:6]), noisy[:, 6:]]), 3)


def kinds(faults):
    return {fault.kind for fault in faults}


def stuck(signals, part, lead, rng):
    signals[part, lead] = 5.0


def held(signals, part, lead, rng):
    signals[part, lead] = signals[part, lead][0]


def converter_noise(signals, part, lead, rng):
    signals[part, lead] = rng.integers(-1, 2, len(signals[part])) / 1000


def missing(signals, part, lead, rng):
    signals[part, lead] = np.nan


def mains_50(signals, part, lead, rng):
    places = np.arange(len(signals))[part]
    signals[part, lead] += 0.2 * np.cos(np.pi * places)  # 50 Hz at 100 Hz


def loud(signals, part, lead, rng):
    signals[part, lead] += rng.normal(0, 0.25, len(signals[part]))


def spiky(signals, part, lead, rng):
    signals[(part.start + part.stop) // 2, lead] += 12


PLANTED = {
    "rail": stuck, "flat": held, "silent": converter_noise, "gap": missing, "mains": mains_50, "noise": loud,
    "spike": spiky,
}  # fmt: skip


@given(st.integers(0, 10_000), st.sampled_from([100, 125, 250, 360, 500, 1000]), st.floats(0.7, 1.6))
@settings(max_examples=25)
def test_clean_ecg_has_no_faults(seed, rate, beats):
    assert find_faults(ecg(rate, seed=seed, beats=beats), rate) == []


def test_noiseless_ecg_has_no_faults():
    for rate in (100, 250, 500):
        assert find_faults(make_signals(rate), rate) == []


@given(
    st.integers(1, 3000),
    st.sampled_from([10, 33, 50, 100, 257.3, 500, 1000, 4000]),
    st.sampled_from([0.0, 1e-7, 0.3, 50.0, 1e20]),
    st.integers(0, 99),
)
@settings(max_examples=60)
def test_faults_of_any_numbers_at_any_rate_lie_in_their_seconds(samples, rate, size, seed):
    rng = np.random.default_rng(seed)
    signals = np.round(rng.normal(0, size, (samples, 12)), 3)
    signals[:, rng.integers(12)] = 0.0
    signals[rng.random((samples, 12)) < 0.001 * (seed % 2)] = np.nan
    signals[: samples // 3, rng.integers(12)] = np.nan
    for fault in find_faults(signals, rate, 7.0):
        assert fault.kind in KINDS and fault.lead in LEADS
        assert 6.99 <= fault.start <= fault.end <= 7.01 + samples / rate


@given(st.data())
@settings(max_examples=60)
def test_planted_fault_is_found_in_its_lead_and_at_its_seconds(data):
    kind = data.draw(st.sampled_from(sorted(PLANTED)))
    rate = 100 if kind == "mains" else data.draw(st.sampled_from([100, 250, 500]))
    lead = data.draw(st.sampled_from(CHEST))
    start = data.draw(st.integers(0, 60)) / 10
    length = data.draw(st.sampled_from([3.0, 4.0]))
    signals = ecg(rate, seed=data.draw(st.integers(0, 1000)))
    part = slice(round(start * rate), round((start + length) * rate))
    PLANTED[kind](signals, part, lead, np.random.default_rng(1))
    faults = find_faults(signals, rate)
    assert {fault.lead for fault in faults} == {LEADS[lead]}
    found = [fault for fault in faults if fault.kind == kind]
    assert found, faults
    slack = 2.0 if kind in ("mains", "noise") else 0.3  # these are judged in windows
    if kind == "spike":
        assert abs(found[0].start - (start + length / 2)) < 0.1
    else:
        assert abs(found[0].start - start) <= slack and abs(found[-1].end - start - length) <= slack


@given(st.permutations(CHEST), st.sampled_from(["rail", "silent", "gap"]), st.integers(0, 5))
@settings(max_examples=15)
def test_permuted_leads_permute_the_faults(order, kind, row):
    signals = ecg()
    PLANTED[kind](signals, slice(200, 600), 6 + row, np.random.default_rng(1))
    permuted = signals.copy()
    permuted[:, CHEST] = signals[:, order]
    before = {(f.kind, f.lead, f.start, f.end) for f in find_faults(signals, 100) if f.kind in LOST}
    after = {(f.kind, f.lead, f.start, f.end) for f in find_faults(permuted, 100) if f.kind in LOST}
    moved = {LEADS[old]: LEADS[new] for new, old in zip(CHEST, order, strict=True)}
    assert {(kind, moved[lead], *times) for kind, lead, *times in before} == after


@given(st.integers(0, 500))
@settings(max_examples=10)
def test_fault_moves_with_the_signal(shift):
    signals = ecg(seconds=15)
    signals[600:900, 8] = 5.0
    first = find_faults(signals[:1000], 100, 0.0)
    moved = find_faults(signals[shift : shift + 1000], 100, shift / 100)
    assert [fault.kind for fault in first] == ["rail"]
    (fault,) = [fault for fault in moved if fault.kind == "rail"]
    assert (fault.start, fault.end) == (max(6.0, shift / 100), min(9.0, shift / 100 + 10))


@pytest.mark.parametrize("factor", [0.05, 20.0])
@pytest.mark.parametrize("lead", CHEST)
def test_chest_lead_out_of_scale(lead, factor):
    signals = ecg()
    signals[:, lead] *= factor
    faults = [fault for fault in find_faults(signals, 100) if fault.kind == "scale"]
    assert [(fault.lead, fault.start, fault.end) for fault in faults] == [(LEADS[lead], 0.0, 10.0)]


@pytest.mark.parametrize("factor", [0.1, 10.0])
@pytest.mark.parametrize("lead", CHEST)
def test_chest_lead_that_changes_its_scale(lead, factor):
    signals = ecg(seconds=12)
    signals[400:800, lead] *= factor
    faults = [fault for fault in find_faults(signals, 100) if fault.kind == "scale"]
    assert {fault.lead for fault in faults} == {LEADS[lead]}
    assert 2 <= faults[0].start <= 5 and 7 <= faults[-1].end <= 10


@pytest.mark.parametrize("lead", range(6))
def test_limb_lead_out_of_scale_contradicts_the_others(lead):
    signals = ecg()
    signals[400:700, lead] *= -2
    faults = find_faults(signals, 100)
    assert kinds(faults) == {"contradiction"}
    assert {(fault.lead, fault.start, fault.end) for fault in faults} == {(LEADS[lead], 4.0, 7.0)}


@pytest.mark.parametrize("limits", [(-0.2, 0.2), (-9, 0.3), (-0.3, 9)])
def test_clipped_peaks(limits):
    for rate in (100, 500):
        signals = ecg(rate)
        signals[:, 8] = signals[:, 8].clip(*limits)
        (fault,) = find_faults(signals, rate)
        assert (fault.kind, fault.lead) == ("clip", "V3")
        assert fault.start < 1.5 and fault.end > 8.5


def test_padding_at_the_ends_is_told_of_all_leads():
    for value in (0.0, 0.4):
        signals = ecg()
        signals[:160] = value
        signals[950:] = signals[949]
        faults = find_faults(signals, 100)
        assert kinds(faults) == {"padding"} and len(faults) == 24
        assert describe(faults) == ["all leads, 0 to 1.6, 9.49 to 10 s: padded with a constant."]


def test_electrode_that_comes_off_is_a_jump():
    signals = ecg()
    signals[500:, 9] += 3
    faults = find_faults(signals, 100)
    assert {(fault.kind, fault.lead) for fault in faults} == {("jump", "V4")}
    assert faults[0].start < 5 < faults[0].end and faults[0].end - faults[0].start < 0.5


def test_wander_noise_leads_and_copies():
    signals = ecg()
    signals[:, 7] += 3 * np.sin(2 * np.pi * 0.2 * np.arange(1000) / 100)
    assert {(f.kind, f.lead) for f in find_faults(signals, 100)} == {("wander", "V2")}
    signals = ecg()
    signals[:, 10] = signals[:, 9]
    faults = find_faults(signals, 100)
    assert describe(faults) == ["leads V4, V5, 0 to 10 s: the same signal twice (V4 = V5)."]
    signals = ecg()
    drift = np.cumsum(np.random.default_rng(3).normal(0, 0.05, 1000))
    signals[:, 10] = drift  # no heart in it
    assert ("unrelated", "V5") in {(f.kind, f.lead) for f in find_faults(signals, 100)}


@pytest.mark.parametrize(
    ("rate", "mains"), [(100, 50), (100, 60), (125, 60), (250, 50), (500, 60), (1000, 50)]
)
def test_mains_are_found_and_filtered(rate, mains):
    signals = ecg(rate)
    place = mains_frequencies(rate)[mains]
    wave = 0.3 * np.cos(2 * np.pi * mains * np.arange(len(signals)) / rate)
    disturbed = signals + wave[:, None] * np.array([1, 0, -1, -0.5, 1, -0.5, 1, 0, 1, 1, 1, 1])
    faults = find_faults(disturbed, rate)
    assert kinds(faults) == {"mains"} and {f.lead for f in faults} == set(LEADS) - {"II", "V2"}
    assert f"of {mains} Hz" in faults[0].detail and "up to 0.3" in faults[0].detail
    assert ("which appear at" in faults[0].detail) == (place != mains)
    filtered = remove_mains(disturbed, rate, mains)
    assert find_faults(filtered, rate) == []
    assert np.abs(filtered - signals)[rate:-rate].max() < 0.08
    recording = Recording(disturbed.astype(np.float32), rate, LEADS, [], "x")
    if rate == 250:
        assert has_note(
            prepare(recording, 100, 1000), "WARNING: .* mains interference of 50 Hz, up to 0.3 mV"
        )
        prepared = prepare(recording, 100, 1000, notch=50)
        assert has_note(prepared, "50 Hz were filtered out") and not has_note(prepared, "WARNING")


def test_mains_that_cannot_be_told_from_the_ecg():
    with pytest.raises(UsageError, match="at 50 Hz mains cannot be told from the ECG"):
        remove_mains(ecg(50), 50, 50)


def as_recording(signals, rate=100):
    return Recording(np.asarray(signals, np.float32), rate, LEADS, [], "x")


def test_part_that_leaves_nothing_to_trust_is_refused():
    lost = ecg()
    lost[:, 8] = np.random.default_rng(0).integers(-1, 2, 1000) / 1000
    with pytest.raises(
        DataError, match=r"from 0 to 10 s, no lead may be missing: lead V3, 0 to .* no signal"
    ):
        prepare(as_recording(lost), 100, 1000)
    half = ecg()
    half[:560] = 0
    with pytest.raises(
        DataError, match=r"56% of the signal is lost: all leads, 0 to 5.6 s: padded .* record ag"
    ):
        prepare(as_recording(half), 100, 1000)
    half[:480] = ecg()[:480]
    assert has_note(prepare(as_recording(half), 100, 1000), "WARNING: all leads, 4.8 to 5.6 s: ")


def test_long_recordings_are_checked_where_they_are_used():
    signals = ecg(seconds=40)
    signals[2500:2600, 7] = np.nan
    signals[3000:, 9] = 4.0
    recording = as_recording(signals)
    recording.faults.extend(find_faults(signals, 100))
    recording.notes.extend(warnings(recording.faults))
    prepared = prepare(recording, 100, 1000, start=5)
    assert not has_note(prepared, "WARNING") and prepared.faults == [] and prepared.start == 5
    assert has_note(prepared, r"Outside the part used: lead V2, 25 to 26 s: no values \(NaN\)\.$")
    assert has_note(
        prepared, "Outside the part used: lead V4, 30 to 40 s: stuck far off its baseline at 4 mV"
    )
    prepared = prepare(recording, 100, 1000, start=28)
    assert has_note(prepared, "WARNING: lead V4, 30 to 38 s: stuck")
    with pytest.raises(DataError, match="use another part: --start 0"):
        prepare(recording, 100, 1000, start=20)


def test_notes_name_few_stretches_one_by_one():
    signals = ecg(seconds=20)
    for second in range(0, 18, 3):
        signals[100 * second : 100 * second + 120, 6] = 3.0
    (note,) = warnings([fault for fault in find_faults(signals, 100) if fault.kind == "rail"])
    assert note == "WARNING: lead V1, 0 to 16.2 s: stuck far off its baseline at 3 mV (6 stretches)."
    assert set(LOST) < set(KINDS)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("rail8s", {}, r"WARNING: lead V3, 0 to 8 s: stuck far off its baseline at 5 mV"),
        ("lsbnoise", {}, r"lead V1, 0 to 10 s: no signal, only noise of the converter"),
        ("clip", {}, r"WARNING: lead V2, 0\.15 to 9\.98 s: clipped"),
        ("mains50cos", {}, r"WARNING: leads I, II, .*, 0 to 10 s: mains interference of 50 Hz, up to 1 mV"),
        (
            "zero_padded_400hz.npy",
            {"sampling_rate": 400},
            r"WARNING: all leads, 0 to 1\.62, 8\.62 to 10 s: padded",
        ),
    ],
)
def test_signals_lost_in_part_are_named(shared_cases, name, options, expected):
    recording = read_recording(shared_cases / "07_signal_lost_in_part" / name, **options)
    if name == "lsbnoise":
        with pytest.raises(DataError, match=expected):
            prepare(recording, 100, 1000)
    else:
        prepared = prepare(recording, 100, 1000)
        assert has_note(prepared, expected) and len([n for n in prepared.notes if "WARNING" in n]) == 1


@pytest.mark.parametrize("start", [None, 5])
@pytest.mark.parametrize(
    ("name", "note"),
    [("limboff20", "lead I, 20 to 30 s: flat"), ("nan25", r"all leads, 25 to 26 s: no values \(NaN\)")],
)
def test_signal_bad_outside_the_part_used_is_a_note(shared_cases, name, note, start):
    recording = read_recording(shared_cases / "12_bad_outside_used_part" / name)
    prepared = prepare(recording, 100, 1000, start)
    assert has_note(prepared, f"Outside the part used: {note}") and not has_note(prepared, "WARNING")


def test_clean_real_record_has_no_warning(shared_data):
    prepared = prepare(read_recording(shared_data / "sample" / "04827_lr"), 100, 1000)
    assert prepared.faults == [] and not has_note(prepared, "WARNING")


@pytest.mark.parametrize("rate", [500, 257])
def test_limb_leads_with_a_missing_sample_are_checked_without_it(rate):
    """Wherever it is: times in seconds do not fall on whole samples exactly."""
    for place in range(40, 400, 9):
        signals = ecg(rate, 4)
        signals[place, 1] = np.nan
        sound = _where_limb_leads_live(signals, rate)
        assert not sound[place] and sound.sum() > 0.9 * len(signals)


def test_long_recordings_are_searched_lead_by_lead_with_the_same_result(monkeypatch):
    signals = make_signals(100, 30).astype(np.float32)
    signals[400:700, 3] = 5
    signals[900:1200, 7] = np.random.default_rng(0).uniform(-0.005, 0.005, 300)
    signals[1500:1600] = np.nan
    signals[2000:2150, 1] = signals[2000, 1]
    signals[-100:] = 0
    together = find_faults(signals, 100, lost_only=True)
    assert {fault.kind for fault in together} == set(LOST)
    monkeypatch.setattr(lost, "_LONG_SAMPLES", 10)
    assert find_faults(signals, 100, lost_only=True) == together


def test_part_of_a_long_recording_is_prepared_in_little_memory():
    """Masks and one lead at a time, not copies of all leads, which would take 40 bytes a sample."""
    signals = np.tile(make_signals(100, 10).astype(np.float32), (180, 1))
    recording = Recording(signals, 100.0, LEADS)
    prepare(recording, 100, 1000, 600)
    tracemalloc.start()
    prepare(recording, 100, 1000, 900)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 12 * signals.size
