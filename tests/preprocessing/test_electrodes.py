"""Exchanged electrodes: the algebra is that of the potentials, and a planted exchange is suspected."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databases import Recording
from preprocessing.recordings.electrodes import (
    EXCHANGES,
    average_beat,
    exchange,
    features,
    find_beats,
    read_classifier,
    suspected_exchange,
    suspicions,
)
from preprocessing.recordings.external import prepare, read_recording
from preprocessing.recordings.limb_leads import identity_residuals
from tests.helpers.ecg_files import has_note
from utils.ecg import LEADS
from utils.errors import DataError

NAMES = ["RA", "LA", "LL", "RL", *(f"V{k}" for k in range(1, 7))]
REVERSALS = ["RA/LA", "RA/LL", "RA/LA/LL", "RA/LL/LA", "RA/RL", "V1/V3", "V2/V5", "V1/V6", "-V2", "-V5"]
REVERSALS += ["-V1...-V6", "V6...V1"]


def suspicion(signals):
    return suspected_exchange(find_beats(signals))


def leads(potentials):
    """The twelve leads by their definition from the potentials of the electrodes, of shape (T, 10)."""
    right, left, foot, _, *chest = potentials.T
    terminal = (right + left + foot) / 3
    limb = [left - right, foot - right, foot - left]
    augmented = [right - (left + foot) / 2, left - (right + foot) / 2, foot - (right + left) / 2]
    return np.column_stack([*limb, *augmented, *(place - terminal for place in chest)])


@given(st.integers(0, 1000), st.sampled_from([name for name in EXCHANGES if "/" in name]))
@settings(max_examples=60)
def test_exchange_is_that_of_the_potentials(seed, name):
    potentials = np.random.default_rng(seed).normal(size=(50, 10))
    potentials[:, 3] = potentials[:, 2]  # both legs have one potential
    places = [NAMES.index(part) for part in name.split("/")]
    moved = potentials.copy()
    moved[:, places] = potentials[:, places[-1:] + places[:-1]]
    expected = leads(moved)
    np.testing.assert_allclose(exchange(leads(potentials), name), expected, atol=1e-9)
    assert identity_residuals(expected).max() < 1e-6  # so the identities cannot tell


def test_features_do_not_depend_on_units_much_and_not_on_other_records():
    beats = np.random.default_rng(0).normal(0, 0.3, (3, 75, 8))
    np.testing.assert_allclose(features(beats)[1:2], features(beats[1:2]), rtol=1e-12)
    np.testing.assert_allclose(features(2 * beats), features(beats), atol=2e-3)


def test_stored_classifier_has_every_exchange():
    classifier = read_classifier()
    assert classifier.names == list(EXCHANGES)
    assert classifier.weights.shape == (len(EXCHANGES), len(classifier.mean)) == (31, 240)


def test_silence_is_not_suspected():
    assert average_beat(find_beats(np.zeros((1000, 12)))) is None or not suspicion(np.zeros((1000, 12)))
    assert suspicion(np.random.default_rng(0).normal(0, 0.1, (40, 12))) is None


@pytest.mark.parametrize("name", REVERSALS)
def test_planted_exchange_of_a_real_record_is_suspected(shared_data, name):
    recording = read_recording(shared_data / "sample" / "04827_lr")
    assert suspicion(recording.signal) is None
    changed = exchange(recording.signal.astype(float), name)
    assert suspicion(changed) is not None
    recording = Recording(changed.astype(np.float32), 100, LEADS, [], "x")
    if name == "RA/RL":
        with pytest.raises(
            DataError, match=r"\(a suspicion: the right arm and right leg electrodes may be exch"
        ):
            prepare(recording, 100, 1000)
        return
    prepared = prepare(recording, 100, 1000)
    assert has_note(prepared, "^WARNING: .* may be .*This is a suspicion")


def test_planted_exchanges_are_suspected_and_originals_are_not(shared_data):
    paths = sorted((shared_data / "ptbxl" / "records100").glob("*/*.hea"))[::8]
    beats = np.stack([average_beat(find_beats(read_recording(path).signal)) for path in paths])
    classifier = read_classifier()
    assert (suspicions(classifier, beats) >= 0).mean() < 0.06
    for name in REVERSALS:
        found = suspicions(classifier, beats @ EXCHANGES[name].matrix.T)
        assert (found >= 0).mean() > 0.94, name
    assert (suspicions(classifier, beats @ EXCHANGES["-all"].matrix.T) >= 0).mean() > 0.6
    named = suspicions(classifier, beats @ EXCHANGES["RA/LA"].matrix.T)
    assert (named == classifier.names.index("RA/LA")).mean() > 0.8
