"""The Keras models: reference outputs, backends, options; tests/test_model_contract.py has the rest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from models_tf import create_model
from models_tf.imle_net import attention_maps
from models_tf.layers import BatchNormalization, Conv1D, ScaleAndShift
from tests.helpers.golden_weights import noise_signals, set_keras_weights
from utils.errors import UsageError

pytestmark = [
    pytest.mark.tf,
    # Keras' own conversion of variables does not know NumPy 2's `copy` yet
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
CLASSIFIERS = ("imle_net", "mousavi", "rajpurkar")
REFERENCE_OPTIONS = {"mousavi": {"window_layout": "reference"}}
REFERENCE_OUTPUTS = {  # reference implementation, recipe weights, noise_signals()
    "imle_net": [
        [0.55491632, 0.49957827, 0.36596176, 0.49915347, 0.54660249],
        [0.55516911, 0.50035959, 0.36534435, 0.49871007, 0.54637969],
    ],
    "mousavi": [
        [0.54460585, 0.52625805, 0.48848563, 0.49515036, 0.47898749],
        [0.54182684, 0.54328108, 0.4980748, 0.48915997, 0.48580962],
    ],
    "rajpurkar": [
        [0.94477737, 0.98565161, 0.97221851, 0.91193146, 0.8204152],
        [0.98017478, 0.99183524, 0.93091542, 0.88192666, 0.94505382],
    ],
}
SMALL = {"samples": 100, "leads": 3, "filters": (4, 6), "lstm_units": 3, "dense_units": 5}


def small_mousavi(**options):
    keras.utils.set_random_seed(3)
    return create_model("mousavi", **SMALL, **options)


def small_signals(records):
    return np.random.RandomState(0).standard_normal((records, 100, 3)).astype("float32")


def outputs(model, signals):
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(signals), training=False))


@pytest.fixture(scope="module")
def reference_models():
    models = {}
    for name in CLASSIFIERS:
        models[name] = create_model(name, **REFERENCE_OPTIONS.get(name, {}))
        set_keras_weights(models[name])
    return models


@pytest.mark.parametrize(
    ("name", "total", "fixed"),
    [("imle_net", 748_517, 1_792), ("mousavi", 2_382_565, 0), ("rajpurkar", 10_483_621, 7_744)],
)
def test_model_parameter_counts(reference_models, name, total, fixed):
    model = reference_models[name]
    assert model.count_params() == total
    assert sum(int(np.prod(w.shape)) for w in model.non_trainable_weights) == fixed


def test_imle_net_with_the_infarction_head():
    model = create_model("imle_net", num_classes=3, activation="softmax")
    assert model.count_params() == 748_259
    np.testing.assert_allclose(outputs(model, noise_signals()).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_model_outputs_equal_the_reference(reference_models, name):
    np.testing.assert_allclose(
        outputs(reference_models[name], noise_signals()), REFERENCE_OUTPUTS[name], rtol=0, atol=1e-5
    )


def test_attention_maps_of_a_real_record_equal_the_reference(reference_models, shared_data):
    raw = np.fromfile(shared_data / "sample" / "04827_lr.dat", dtype="<i2").reshape(1, 1000, 12)
    signals = ((raw / 1000 - -0.000825140242832062) / 0.23221818381812617).astype("float32")
    beat, rhythm, channel = attention_maps(reference_models["imle_net"], signals)
    first_window = [
        *(0.12611471, 0.10950727, 0.067518331, 0.05177933, 0.034808088, 0.065106772, 0.065354839),
        *(0.064023174, 0.077144697, 0.079106353, 0.083672516, 0.086282112, 0.089581832),
    ]
    last_window = [
        *(0.11888738, 0.078884073, 0.038234714, 0.052460346, 0.0489434, 0.0521385, 0.078897849),
        *(0.069666997, 0.082882054, 0.095162354, 0.094606757, 0.094882093, 0.094353385),
    ]
    np.testing.assert_allclose(beat[0, 0, 0], first_window, rtol=0, atol=1e-6)
    np.testing.assert_allclose(beat[0, 11, 19], last_window, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        rhythm[0, 0, :4], [0.051846877, 0.048756786, 0.051615734, 0.050992027], atol=1e-6
    )
    np.testing.assert_allclose(rhythm[0, 11, -3:], [0.049275439, 0.052074779, 0.049004342], atol=1e-6)
    np.testing.assert_allclose(
        channel[0],
        [
            *(0.082462594, 0.079988778, 0.085011728, 0.074841656, 0.082135677, 0.077889912),
            *(0.078946605, 0.089400105, 0.091626838, 0.092510372, 0.086944975, 0.078240752),
        ],
        rtol=0,
        atol=1e-6,
    )


def test_attention_maps_shapes_and_sums(reference_models):
    signals = np.repeat(noise_signals(), 2, axis=0)[:3]
    beat, rhythm, channel = attention_maps(reference_models["imle_net"], signals, batch_size=2)
    assert (beat.shape, rhythm.shape, channel.shape) == ((3, 12, 20, 13), (3, 12, 20), (3, 12))
    for level in (beat, rhythm, channel):
        assert level.min() >= 0
        np.testing.assert_allclose(level.sum(axis=-1), 1, atol=1e-6)
    # the record's place in the batch, and the batch's size, do not matter
    np.testing.assert_allclose(beat[0], beat[1], atol=1e-7)
    assert np.abs(channel[0] - channel[2]).max() > 1e-6


def test_attention_maps_of_another_model_raise():
    with pytest.raises(UsageError, match="only imle_net"):
        attention_maps(small_mousavi(), small_signals(1))


def test_model_outputs_equal_on_the_other_backend(reference_models, tmp_path):
    other = {"tensorflow": "torch", "torch": "tensorflow", "jax": "tensorflow"}[keras.backend.backend()]
    for name, model in reference_models.items():
        model.save_weights(tmp_path / f"{name}.weights.h5")
    (tmp_path / "configs.json").write_text(json.dumps([m.config for m in reference_models.values()]))
    signals = noise_signals()[:1]
    np.save(tmp_path / "signals.npy", signals)
    script = """
import json, pathlib, sys
import keras, numpy as np
from models_tf import create_model
from models_tf.imle_net import attention_maps
folder = pathlib.Path(sys.argv[1])
signals = np.load(folder / "signals.npy")
for config in json.loads((folder / "configs.json").read_text()):
    model = create_model(**config)
    model.load_weights(folder / (config["name"] + ".weights.h5"))
    outputs = keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(signals), training=False))
    np.save(folder / (config["name"] + ".npy"), outputs)
    if config["name"] == "imle_net":
        np.savez(folder / "attention.npz", *attention_maps(model, signals))
print(keras.backend.backend())
"""
    quiet = {
        "KERAS_BACKEND": other,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | quiet,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == other
    for name, model in reference_models.items():
        there = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_allclose(there, outputs(model, signals), rtol=0, atol=1e-5)
        np.testing.assert_allclose(there, REFERENCE_OUTPUTS[name][:1], rtol=0, atol=1e-5)
    with np.load(tmp_path / "attention.npz") as there:
        for key, level in zip(
            there.files, attention_maps(reference_models["imle_net"], signals), strict=True
        ):
            np.testing.assert_allclose(there[key], level, rtol=0, atol=1e-5)


def test_mousavi_window_is_half_a_second_of_all_leads():
    """A change in one window reaches only that window; the reference layout mixes leads and times."""
    signals = small_signals(1)
    changed = signals.copy()
    changed[0, 50:, :] += 1  # the second half of the record, all leads
    for layout, first_window_moves in (("time", False), ("reference", True)):
        model = small_mousavi(window_layout=layout)
        rows = keras.Model(model.input, model.get_layer("window_lstm").input)
        moved = np.abs(outputs(rows, changed) - outputs(rows, signals)).max(axis=2)[0]
        assert (moved[0] > 1e-6) == first_window_moves
        assert moved[1] > 1e-6


def trained(build, signals, start):
    """Weights before and after three steps towards noise, and the first outputs."""
    model = build()
    start = start or [np.random.RandomState(1).standard_normal(w.shape) ** 2 / 2 for w in model.weights]
    model.set_weights(start)
    random = np.random.RandomState(2)
    targets = [random.standard_normal((len(signals), *y.shape[1:])).astype("float32") for y in model.outputs]
    before = [keras.ops.convert_to_numpy(y) for y in model(keras.ops.convert_to_tensor(signals))]
    model.compile(keras.optimizers.SGD(0.01), ["mse"] * len(targets), run_eagerly=True)
    for _ in range(3):
        model.train_on_batch(signals, targets)
    return start, [keras.ops.convert_to_numpy(w) for w in model.weights], before


def with_keras(trainable, strides):
    x = keras.layers.Dense(4, use_bias=False)(inputs := keras.Input((9, 3)))
    x = keras.layers.BatchNormalization(trainable=trainable)(x)
    y = keras.layers.Conv1D(5, 4, strides=strides, padding="same")(x)
    return keras.Model(inputs, [x, y])


def with_ours(trainable, strides):
    x = keras.layers.Dense(4, use_bias=False)(inputs := keras.Input((9, 3)))
    x = BatchNormalization(trainable=trainable)(x)
    y = keras.layers.Conv1D(5, 4, strides=strides, padding="same")(x)
    return keras.Model(inputs, [x, y])


def with_ours_deferred(trainable, strides):
    x = keras.layers.Dense(4, use_bias=False)(inputs := keras.Input((9, 3)))
    x = BatchNormalization(deferred=True, trainable=trainable)(x)
    return keras.Model(inputs, [ScaleAndShift()(x), Conv1D(5, 4, strides=strides)(x)])


@pytest.mark.parametrize("ours", [with_ours, with_ours_deferred])
@pytest.mark.parametrize(("trainable", "strides"), [(True, 1), (True, 2), (False, 1)])
def test_batch_normalization_trains_like_keras(ours, trainable, strides):
    """Outputs, and weights before it (its input gradient), in it (and its averages) and behind it."""
    signals = np.random.RandomState(0).standard_normal((6, 9, 3)).astype("float32") + 1
    start, expected, outputs_before = trained(lambda: with_keras(trainable, strides), signals, None)
    _, weights, before = trained(lambda: ours(trainable, strides), signals, start)
    for one, other in zip(outputs_before + expected, before + weights, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    moved = [np.abs(now - then).max() > 1e-3 for now, then in zip(weights, start, strict=True)]
    assert moved == [True, *[trainable] * 4, True, True]  # dense; gamma, beta, mean, variance; convolution


def test_imle_net_on_long_records():
    model = create_model("imle_net", samples=5000, window=250, filters=2, blocks=(1,), lstm_units=2)
    beat, rhythm, channel = attention_maps(model, np.zeros((1, 5000, 12), "float32"))
    assert (beat.shape, rhythm.shape, channel.shape) == ((1, 12, 20, 250), (1, 12, 20), (1, 12))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("imle", {}, "unknown Keras model 'imle': did you mean 'imle_net'"),
        ("imle_net", {"filterz": 3}, "unknown option 'filterz' of model 'imle_net': did you mean 'filters'"),
        ("imle_net", {"samples": 990}, "multiple of window"),
        ("mousavi", {"samples": 990}, "multiple of window"),
        ("mousavi", {"window_layout": "refernce"}, "did you mean 'reference'"),
        ("rajpurkar", {"activation": "sigmod"}, "did you mean 'sigmoid'"),
        ("rajpurkar", {"num_classes": 0}, "num_classes must be a positive whole number"),
        ("rajpurkar", {"samples": "1000"}, "samples must be a positive whole number, not '1000'"),
    ],
)
def test_create_model_wrong_names_and_options_raise(name, options, message):
    with pytest.raises(UsageError, match=message):
        create_model(name, **options)
