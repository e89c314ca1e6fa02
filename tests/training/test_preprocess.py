"""Preprocessors of a run: the same numbers in training, on the card, in the predictor and in inference."""

import json

import numpy as np
import pytest

import inference
import torch_test
import torch_train
import train
from preprocessing import load_ptbxl
from preprocessing.batches import Batches
from preprocessing.cache import CachedFile
from preprocessing.transforms import PreprocManager
from tests.helpers.ptbxl_files import write_record
from tests.helpers.training_files import call, flags, last_state, same_arrays, small_database
from training import load_predictor
from training.config import TrainConfig, parse_config
from training.setup import load_training_data
from utils.errors import UsageError
from utils.files import read_json

CHAIN = [
    "spike_removal",
    "baseline_remove",
    "bandpass:highcut=40:filter_order=2",
    "normalize:per_channel=true",
]
SCRIPTS = {"mousavi": (train.main, "train.py"), "ecgnet": (torch_train.main, "torch_train.py")}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"))


def trained(model, database, out, *more):
    main, script = SCRIPTS[model]
    words = flags(model, database, out, "--epochs", 2, "--preprocess", *CHAIN, *more)
    call(main, script, *words)
    return out / "checkpoints" / model


def check_predictor_and_training_agree(model, database, folder):
    predictor = load_predictor(str(folder))
    stored = read_json(folder / "card.json")["inputs"]["standardization"]
    chain = PreprocManager.from_words(CHAIN)
    assert stored["preprocess"] == json.loads(json.dumps(chain.to_json())) and stored["sampling_rate"] == 100
    config = TrainConfig(data_dir=str(database), preprocess=CHAIN, model=model)
    data = load_training_data(config)
    val = load_ptbxl(database).split("val")
    batch = Batches(data.val, data.standardizer, 4).batch(0, 0)[0]
    np.testing.assert_array_equal(predictor.standardize(val.signals[:4]), batch)
    by_hand, _ = chain(val.signals[:4], 100)
    expected = (by_hand - np.float32(stored["mean"])) / np.float32(stored["std"])
    np.testing.assert_array_equal(batch, expected)
    alone = np.concatenate([predictor.predict(val.signals[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(alone, predictor.predict(val.signals[:4]), atol=1e-6)


def test_resampling_in_front_is_the_rate_of_the_run(database, tmp_path, capsys):
    words = flags("mousavi", database, tmp_path, "--preprocess", "resample:fs=500", "bandpass")
    config = parse_config("", ["mousavi"], "mousavi", words)
    assert (config.sampling_rate, config.preprocess) == (500, ["bandpass"])
    assert "note: --preprocess resample:fs=500 is --sampling_rate 500" in capsys.readouterr().out


def test_inference_preprocesses_a_file_as_the_run_did(database, tmp_path):
    pytest.importorskip("torch")
    folder = trained("ecgnet", database, tmp_path)
    one, two, *chest = np.random.default_rng(0).integers(-40, 41, (8, 200)).cumsum(axis=1) * 2
    limb = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    samples = np.column_stack([*limb, *chest]).astype(np.int16)
    write_record(tmp_path / "rec", samples, 100)
    words = [
        "--dir",
        tmp_path / "rec",
        "--model",
        "ecgnet",
        "--output_dir",
        tmp_path,
        "--no_pictures",
        "True",
    ]
    assert call(inference.main, "inference.py", *words) == 0
    written = read_json(tmp_path / "results" / "ecgnet" / "rec" / "prediction.json")
    expected = load_predictor(str(folder)).predict(samples[None] / np.float32(1000))[0]
    probabilities = [entry["probability"] for entry in written["classes"]]
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


@pytest.mark.parametrize("model", SCRIPTS)
def test_preprocess_reaches_card_and_predictor(model, database, tmp_path):
    pytest.importorskip("torch" if model == "ecgnet" else "tensorflow")
    folder = trained(model, database, tmp_path)
    check_predictor_and_training_agree(model, database, folder)
    stopped = tmp_path / "stopped"
    main, script = SCRIPTS[model]
    words = flags(model, database, stopped, "--preprocess", *CHAIN)
    call(main, script, *words, "--epochs", 1)
    call(main, script, *words, "--epochs", 2, "--resume")
    assert same_arrays(last_state(stopped, model), last_state(tmp_path, model))
    if model == "ecgnet":
        metrics = read_json(folder / "card.json")["metrics"]
        call(torch_test.main, "torch_test.py", "--run", model, "--output_dir", tmp_path, "--resamples", 5)
        assert metrics and (tmp_path / "logs" / model / "test.json").exists()


def test_preprocessed_records_are_cached_by_what_was_done(database, tmp_path, monkeypatch):
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path))
    calls = []
    run = PreprocManager.run
    monkeypatch.setattr(PreprocManager, "run", lambda *words: calls.append(1) or run(*words))

    def load(*chain):
        calls.clear()
        data = load_training_data(TrainConfig(data_dir=str(database), preprocess=list(chain)))
        return data, len(calls)

    first, computed = load("normalize")
    assert computed and isinstance(first.train.signals._samples, CachedFile)
    again, computed = load("normalize")
    assert not computed
    np.testing.assert_array_equal(first.train.signals[:], again.train.signals[:])
    other, computed = load("normalize:per_channel=true")
    assert computed and not np.array_equal(other.train.signals[:], first.train.signals[:])
    plain, _ = load()
    assert plain.fingerprint == first.fingerprint and not plain.preprocess
    assert plain.standardization.keys() == {"mean", "std"}
    assert first.standardizer.mean == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bandpas"], "unknown preprocessor 'bandpas': did you mean 'bandpass'"),
        (["bandpass:lowcutt=1"], "unknown option 'lowcutt': did you mean 'lowcut'"),
        (["bandpass:1"], "'1' must be OPTION=VALUE"),
        (["normalize", "resample:fs=250"], "changes the shape of the records.*--sampling_rate resamples"),
        (["ensure_length"], "--seconds crops and pads"),
        (["spectrum"], "read waveforms"),
    ],
)
def test_preprocessors_that_a_run_cannot_have(words, message, database, tmp_path):
    with pytest.raises(UsageError, match=message):
        call(train.main, "train.py", *flags("mousavi", database, tmp_path, "--preprocess", *words))


def test_augmenters_of_a_run_are_resumed_exactly(database, tmp_path):
    names = [
        "baseline_wander",
        "cutmix",
        "random_flip",
        "random_masking",
        "random_renormalize",
        "stretch_compress",
    ]
    words = ["--augment", *names, "label_smooth:smoothing=0.2"]
    for model in SCRIPTS:
        main, script = SCRIPTS[model]
        whole, stopped = tmp_path / f"{model}_whole", tmp_path / f"{model}_stopped"
        call(main, script, *flags(model, database, whole, *words, "--epochs", 2))
        call(main, script, *flags(model, database, stopped, *words, "--epochs", 1))
        call(main, script, *flags(model, database, stopped, *words, "--epochs", 2, "--resume"))
        assert same_arrays(last_state(whole, model), last_state(stopped, model))
