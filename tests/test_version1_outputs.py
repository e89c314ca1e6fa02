"""The code still outputs what version 1 did, and reads what version 1 wrote."""

import numpy as np
import pytest

from tests.goldens.version1_outputs import (
    FILES,
    FOLDER,
    RECORDS,
    RUNS,
    TOLERANCE,
    bit_equal,
    compute,
    default_data_dir,
    difference,
    has_history,
    read,
    read_millivolts,
    stored,
    tolerance,
    write_synthetic,
)
from training import load_predictor
from training.checkpoint import load_state

KERAS, TORCH = pytest.mark.tf, pytest.mark.torch


@pytest.fixture(scope="module")
def outputs():
    """What the code outputs now."""
    if not has_history():
        pytest.skip("the weights of version 1 are in the repository's history, which this copy lacks")
    return compute(default_data_dir())


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """The synthetic records that the small models were trained on."""
    return write_synthetic(tmp_path_factory.mktemp("version1") / "synthetic")


@pytest.mark.slow
@pytest.mark.tf
@pytest.mark.torch
@pytest.mark.parametrize("which", FILES)
def test_outputs_are_those_of_version_1(outputs, which):
    if which not in outputs:
        pytest.skip(f"no real recordings at {default_data_dir()} (set TWELVELEAD_DATA to their folder)")
    expected = stored(FOLDER, which)
    off = {name: difference(outputs[which].get(name), array) for name, array in expected.items()}
    allowed = {name: tolerance(name) for name in expected}
    assert {name: value for name, value in off.items() if value > allowed[name]} == {}
    assert len(expected) > 100


@pytest.mark.parametrize(
    "run",
    [
        pytest.param("ecgnet", marks=TORCH),
        pytest.param("resnet18", marks=TORCH),
        pytest.param("mousavi", marks=KERAS),
    ],
)
def test_checkpoint_of_version_1_predicts_what_it_did(synthetic, run):
    predictor = load_predictor(RUNS / "checkpoints" / run)
    expected = read(RUNS / "logs" / run / "predictions.npz")
    assert (
        predictor.card.provenance.command.startswith("python ") and predictor.card.data.records["train"] == 44
    )
    assert predictor.classes == expected["classes"].tolist()
    assert predictor.calibrator is not None and len(predictor.thresholds) == 5
    assert len(expected["ecg_id"]) > 4 and expected["ecg_id"].max() <= RECORDS
    folder = synthetic / "records100" / "00000"
    signals = read_millivolts(folder / f"{ecg_id:05d}_lr" for ecg_id in expected["ecg_id"])
    np.testing.assert_allclose(
        predictor.predict(signals), expected["probability"], rtol=0, atol=tolerance(run)
    )


@pytest.mark.parametrize("run", ["ecgnet", "mousavi"])
def test_state_of_version_1_can_be_read(run):
    arrays, progress = load_state(RUNS / "checkpoints" / run)
    assert arrays and progress["epoch"] == 1 and progress["config"]["model"] == run


def test_comparison_sees_what_differs():
    old = np.array([1.0, 200.0], np.float32)
    assert bit_equal(old.copy(), old) and difference(old.copy(), old) == 0
    changed = np.nextafter(old, np.float32(0))
    assert not bit_equal(changed, old) and 0 < difference(changed, old) < TOLERANCE
    assert difference(old + np.float32([0, 0.02]), old) == pytest.approx(1e-4, rel=1e-3)
    assert not bit_equal(old.astype(np.float64), old)
    for wrong in (None, old[:1], np.full_like(old, np.nan), old.astype(str)):
        assert difference(wrong, old) == float("inf") and not bit_equal(wrong, old)
