"""Records of any length: windows that are joined on the way, and what is refused."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.long_records import find_peaks, predict_parts, predict_record, window_starts
from training.tasks import create_task
from utils.errors import DataError, UsageError

WINDOW = 200


class Detector:
    """Stands for a predictor whose answer at a sample depends on its neighbors and on the window's mean."""

    classes = ("R-peak",)
    samples, decision = WINDOW, None
    card = SimpleNamespace(name="detector")

    def __init__(self, kind: str = "rpeaks"):
        self.task = create_task(kind, ["R-peak"] if kind == "rpeaks" else ["A", "B"], 100)

    def predict(self, signals, batch_size=32):
        assert signals.shape[1:] == (WINDOW, 1) and np.isfinite(signals).all()
        centered = signals - signals.mean(axis=1, keepdims=True)
        near = sum(np.roll(centered, shift, axis=1) for shift in (-2, -1, 0, 1, 2))
        return (1 / (1 + np.exp(-near))).astype(np.float32)


def signal_of(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(samples, 1)).astype(np.float32)


@given(st.integers(1, 1500), st.integers(1, 5))
@settings(max_examples=40)
def test_record_in_pieces_is_the_mean_of_its_windows(samples, batch):
    detector, signal = Detector(), signal_of(samples)
    padded = np.pad(signal, ((0, max(0, WINDOW - samples)), (0, 0)), mode="edge")
    starts = window_starts(samples, WINDOW)
    rows = [detector.predict(padded[None, start : start + WINDOW]) for start in starts]
    expected = detector.task.join(rows, starts, len(padded))[0][:samples]
    parts = list(predict_parts(detector, lambda a, b: signal[a:b], samples, batch))
    assert [part.start for part in parts] == np.cumsum(
        [0, *(len(p.predictions) for p in parts[:-1])]
    ).tolist()
    np.testing.assert_array_equal(np.concatenate([p.predictions for p in parts]), expected.astype(np.float32))
    np.testing.assert_array_equal(predict_record(detector, signal), expected.astype(np.float32))
    found = find_peaks(detector, lambda a, b: signal[a:b], samples, batch)
    np.testing.assert_allclose(found, detector.task.peaks(expected.astype(np.float32), None) / 100)


def test_memory_of_a_record_in_pieces_does_not_grow_with_its_length():
    def peak_of(samples: int) -> int:
        piece = signal_of(20_000)
        tracemalloc.start()
        find_peaks(Detector(), lambda a, b: piece[(np.arange(a, b)) % len(piece)], samples)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_of(400_000) < 1.5 * peak_of(40_000)  # peaks alone are kept: 80 kB a day


def test_records_that_cannot_be_read_are_refused():
    detector = Detector()
    with pytest.raises(DataError, match="has no samples"):
        predict_record(detector, np.zeros((0, 1)))
    with pytest.raises(DataError, match=r"samples 0 to 300 were asked for, and what was read is \(200, 1\)"):
        list(predict_parts(detector, lambda a, b: np.zeros((200, 1)), 300))
    with pytest.raises(UsageError, match="answers for whole records, not for every sample"):
        predict_record(Detector("multilabel"), signal_of(300))
    with pytest.raises(UsageError, match="finds no R-peaks: its task is tagging"):
        find_peaks(Detector("tagging"), lambda a, b: np.zeros((b - a, 1)), 300)
    detector.task.reduction = 16
    with pytest.raises(UsageError, match="cannot overlap by half with 16 samples a step"):
        predict_record(detector, signal_of(300))
