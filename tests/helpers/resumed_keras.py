"""Interrupt and resume Keras models: `python -m tests.helpers.resumed_keras MODEL...` prints JSON.

In a process of its own, because a process has one Keras backend.
"""

import json
import sys
import tempfile

import models_tf.backend  # noqa: F401  (first)

import keras  # isort: skip
import numpy as np

from preprocessing import Dataset, Standardizer
from training.checkpoint import load_state, save_state
from training.config import TrainConfig
from training.keras_io import _state_variables, keras_state, restore_keras_state
from training.loops.keras_loop import KerasEngine
from training.setup import TrainingData

CASES = {
    "imle_net": {"filters": 2, "lstm_units": 2, "attention_units": 2, "blocks": [1, 1], "dropout": 0.3},
    "mousavi": {"filters": [2], "lstm_units": 2, "dense_units": 4, "dropout": 0.3},
    "rajpurkar": {"filters": 2, "dropout": 0.3},
}
SAMPLES = 200


def _data() -> TrainingData:
    rng, count = np.random.default_rng(0), np.arange(16)
    dataset = Dataset(
        signals=rng.standard_normal((16, SAMPLES, 12), dtype=np.float32),
        targets=(rng.random((16, 5)) < 0.4).astype(np.uint8),
        classes=["CD", "HYP", "MI", "NORM", "STTC"],
        ids=count,
        patients=count,
        splits=np.full(16, "train"),
        sampling_rate=100,
    )
    return TrainingData(dataset, dataset, Standardizer(0.0, 1.0), "")


def _engine(config: TrainConfig, data: TrainingData, seed: int) -> KerasEngine:
    keras.utils.set_random_seed(seed)
    engine = KerasEngine()
    engine.start(config)
    engine.build(config, data)
    return engine


def resumed(name: str) -> dict[str, object]:
    """Train four steps at once, and two and two with a new process's random state between them."""
    data = _data()
    config = TrainConfig(model=name, batchsize=8, threads=1, model_config=CASES[name])
    batches = data.batches(config)

    def train(engine: KerasEngine, steps: range) -> None:
        for step in steps:
            engine.train_batch(*batches.batch(step // 2, step % 2), config.lr)

    whole = _engine(config, data, seed=1)
    train(whole, range(2))
    with tempfile.TemporaryDirectory() as folder:
        save_state(folder, keras_state(whole.model), {})
        arrays, _ = load_state(folder)
    train(whole, range(2, 4))
    parts, other = (_engine(config, data, seed=2) for _ in range(2))
    restore_keras_state(parts.model, arrays)
    train(parts, range(2, 4))
    # the same weights and optimizer, but the random state of seed 2
    own = keras_state(other.model)
    drawn = {key for key, variable in _state_variables(other.model).items() if "seed" in variable.path}
    drawn |= {key for key in arrays if key.startswith("random/")}
    restore_keras_state(other.model, {key: own[key] if key in drawn else arrays[key] for key in arrays})
    train(other, range(2, 4))
    expected, found, unlike = (keras_state(engine.model) for engine in (whole, parts, other))
    return {
        "backend": keras.backend.backend(),
        "arrays": len(expected),
        "different": [key for key in expected if not np.array_equal(expected[key], found[key])],
        "dropout_acts": any(not np.array_equal(expected[key], unlike[key]) for key in expected),
        "dropouts": sum(type(layer).__name__ == "Dropout" for layer in whole.model._flatten_layers()),
    }


if __name__ == "__main__":
    print(json.dumps({name: resumed(name) for name in sys.argv[1:]}))
