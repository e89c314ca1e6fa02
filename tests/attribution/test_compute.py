"""Computing maps: which windows, which settings, interruption, and everything that can be wrong."""

import json
import signal
import time

import numpy as np
import pytest

from attribution import compute as module
from attribution.engine.selection import _evenly
from attribution.engine.workspace import open_workspace
from explain.methods import list_methods
from preprocessing.windows import load_windows, save_windows
from tests.helpers.attribution_files import bumps, compute_small, compute_words, run_module, train_small
from tests.helpers.training_files import call
from utils.errors import DataError, TwelveLeadError, UsageError

pytestmark = pytest.mark.torch
QUICK = ["saliency", "gradcam", "integrated_gradients", "deep_shap", "lime", "kernel_shap", "random_baseline"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    save_windows(bumps(), folder / "mitdb.npz")
    train_small(folder)
    return folder


@pytest.fixture(scope="module")
def whole(study):
    compute_small(study, "--attr_method", *QUICK, "--result_dir", study / "whole")
    return open_workspace(study / "whole")


def test_compute_all_methods_and_reasons_for_the_others(study, tmp_path, capsys):
    compute_small(study, "--attr_method", "all", "--limit", 4, "--result_dir", tmp_path / "r")
    output = capsys.readouterr().out
    result = open_workspace(tmp_path / "r")
    assert set(result.methods()) == set(list_methods()) - {"attention", "prototypes"}
    assert "attention was left out" in output and "attention" in result.args["not_possible"]
    assert output.count("completeness error: median") == 5  # of 4 windows each
    assert "s each" in output and f"wrote {tmp_path / 'r'}" in output
    for name in result.methods():
        maps = result.maps(name)
        assert maps.shape == (4, 200, 1) and np.isfinite(maps).all()
        assert maps.any() or name == "lime", name  # its lasso may find nothing worth a coefficient


def test_method_of_a_plugin_is_computed_like_ours(study, tmp_path):
    plugin = tmp_path / "toy_method.py"
    plugin.write_text(
        "from explain import register_method\n"
        "@register_method('toy_gain', 'Toy gain', uses=('seed',))\n"
        "def toy_gain(classifier, x, targets, settings):\n"
        "    return x * (1 + targets[:, None, None])\n"
    )
    words = ["--plugins", plugin, "--attr_method", "toy_gain", "--limit", 2, "--result_dir", tmp_path / "r"]
    process = run_module("attribution.compute", *compute_words(study, *words))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    result = open_workspace(tmp_path / "r")
    x = result.model.standardize(load_windows(result.args["dataset_path"]).signals[result.rows])
    np.testing.assert_allclose(result.maps("toy_gain"), 2 * x, rtol=1e-6)


def test_selection_of_recognized_abnormal_test_windows(whole):
    windows = load_windows(whole.args["dataset_path"])
    assert set(windows.splits[whole.rows]) == {"test"}
    assert (whole.targets == 1).all() and windows.labels[whole.rows, 1].all()
    assert (whole.probability > 0.1).all()
    logits = whole.model.logits(whole.model.standardize(windows.signals[whole.rows]))
    np.testing.assert_allclose(whole.model.probabilities(logits)[:, 1], whole.probability, atol=1e-5)
    assert whole.args["model"] == "small" and whole.seed == 42


def test_selection_of_a_normal_class(study, tmp_path):
    compute_small(study, "--attr_method", "saliency", "--target_label", "N", "--result_dir", tmp_path / "r")
    assert set(open_workspace(tmp_path / "r").targets) == {0}
    compute_small(study, "--attr_method", "saliency", "--target_label", 0, "--result_dir", tmp_path / "s")
    assert set(open_workspace(tmp_path / "s").targets) == {0}


@pytest.mark.parametrize("name", QUICK)
def test_maps_are_independent_of_other_windows(study, whole, tmp_path, name):
    compute_small(
        study, "--attr_method", name, "--limit", 3, "--batch_size", 3, "--result_dir", tmp_path / "few"
    )
    few = open_workspace(tmp_path / "few")
    places = [whole.rows.tolist().index(row) for row in few.rows]
    np.testing.assert_allclose(
        few.maps(name), whole.maps(name)[places], rtol=0, atol=1e-5 * abs(whole.maps(name)).max()
    )


def test_selection_limit_draws_evenly():
    patients = np.array(["a"] * 50 + ["b"] * 5 + ["c"])
    targets = np.array(([1] * 40 + [2] * 10) + [1] * 5 + [2])
    kept = _evenly(patients, targets, 6, seed=0)
    pairs = sorted(zip(patients[kept].tolist(), targets[kept].tolist(), strict=True))
    assert pairs == [("a", 1), ("a", 1), ("a", 2), ("a", 2), ("b", 1), ("c", 2)] or pairs.count(("b", 1)) == 2
    assert len(set(kept.tolist())) == 6
    assert (_evenly(patients, targets, 6, seed=0) == kept).all()


def test_settings_of_the_published_study(study, tmp_path):
    options = module.parse_options(["--model_path", "x", "--dataset", "mitdb", "--reference"])
    settings = module.make_settings(options, leads=1)
    assert [settings[n] for n in ("segment_samples", "n_baselines", "n_samples")] == [24, 250, 500]
    assert settings["baselines"] == "noise" and settings["upsampling"] == "nearest"
    assert options.prob_threshold == 0.75
    words = ["--model_path", "x", "--dataset", "ptbxl", "--reference"]
    assert module.make_settings(module.parse_options(words), 12)["n_samples"] == 5000
    both = module.make_settings(module.parse_options([*words, "--n_samples", "90"]), 12)
    assert (both["n_samples"], both["n_baselines"]) == (90, 90)  # the study has one flag for both
    assert module.parse_options(["--model_path", "x", "--dataset", "svdb"]).prob_threshold == 0.9


def test_compute_resumes_after_ctrl_c_bit_for_bit(study, whole, tmp_path, monkeypatch):
    words = ["--attr_method", *QUICK, "--result_dir", tmp_path / "parts"]
    real, calls = module.explain, []

    def interrupted(*args):
        calls.append(args[1])
        if calls.count("integrated_gradients") == 3 and args[1] == "integrated_gradients":
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "explain", interrupted)
        compute_small(study, *words)
    assert (tmp_path / "parts" / "maps" / "integrated_gradients.table").exists()
    assert open_workspace(tmp_path / "parts").methods() == ["saliency", "gradcam"]
    compute_small(study, *words)
    again = open_workspace(tmp_path / "parts")
    assert again.methods() == QUICK and not list((tmp_path / "parts" / "maps").glob("*.table"))
    for name in QUICK:
        assert again.maps(name).tobytes() == whole.maps(name).tobytes()
        assert again.map_file(name).read_bytes() == whole.map_file(name).read_bytes()


def test_compute_resumes_after_a_kill(study, whole, tmp_path):
    words = compute_words(
        study, "--attr_method", "saliency", "lime", "--n_samples", 40, "--result_dir", tmp_path / "k"
    )
    for stop in (signal.SIGKILL, signal.SIGINT):
        process = run_module("attribution.compute", *words)
        deadline = time.monotonic() + 60
        while not (tmp_path / "k" / "maps" / "saliency.npz").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors
    compute_small(study, "--attr_method", "saliency", "lime", "--result_dir", tmp_path / "k")
    result = open_workspace(tmp_path / "k")
    for name in ("saliency", "lime"):
        assert result.maps(name).tobytes() == whole.maps(name).tobytes()


def test_compute_one_window(study, tmp_path):
    compute_small(study, "--attr_method", "gradcam", "--limit", 1, "--result_dir", tmp_path / "r")
    assert open_workspace(tmp_path / "r").maps("gradcam").shape == (1, 200, 1)


def test_compute_adds_methods_but_refuses_other_settings(study, tmp_path, capsys):
    compute_small(study, "--attr_method", "saliency", "--result_dir", tmp_path / "r")
    compute_small(study, "--attr_method", "saliency", "gradcam", "--result_dir", tmp_path / "r")
    assert "already computed" in capsys.readouterr().out
    assert open_workspace(tmp_path / "r").methods() == ["saliency", "gradcam"]
    with pytest.raises(UsageError, match=r"made with other settings .seed was 0, is now 5.*--overwrite"):
        compute_small(study, "--attr_method", "lime", "--seed", 5, "--result_dir", tmp_path / "r")
    compute_small(study, "--attr_method", "lime", "--seed", 5, "--result_dir", tmp_path / "r", "--overwrite")
    assert open_workspace(tmp_path / "r").methods() == ["lime"]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (
            ["--prob_threshold", 0.9999999],
            DataError,
            r"above 1; the largest: VEB 0\.\d+ \(12 windows\)|largest: VEB",
        ),
        (["--dataset", "svdb"], DataError, "holds 'mitdb', not --dataset svdb"),
        (["--dataset_path", "nowhere.npz"], TwelveLeadError, "nowhere.npz"),
        (["--model_path", "nothing"], UsageError, "nothing"),
        (["--attr_method", "salience"], UsageError, "did you mean 'saliency'"),
        (["--attr_method", "attention"], TwelveLeadError, "none of these methods"),
        (["--target_label", "PVC"], UsageError, "--target_label 'PVC' is not a class"),
        (["--prob_threshold", 1], UsageError, "--prob_threshold must be at least 0 and below 1"),
        (["--n_samples", 0], UsageError, "--n_samples must be at least 2"),
        (["--limit", -1], UsageError, "must not be negative"),
    ],
)
def test_compute_refuses_bad_flags(study, tmp_path, words, error, message):
    words = words if "--attr_method" in words else ["--attr_method", "saliency", *words]
    with pytest.raises(error, match=message):
        compute_small(study, *words, "--result_dir", tmp_path / "r")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leads": ("V1",)}, "their leads: V1; the model's: II"),
        ({"sampling_rate": 50}, "their sampling rate: 50; the model's: 25"),
        ({"classes": ["N", "SVEB"]}, "their classes: N, SVEB; the model's: N, VEB"),
    ],
)
def test_compute_refuses_windows_that_do_not_fit_the_model(study, tmp_path, change, message):
    windows = bumps()
    for name, value in change.items():
        setattr(windows, name, value)
    save_windows(windows, tmp_path / "mitdb.npz")
    with pytest.raises(DataError, match=message):
        compute_small(study, "--dataset_path", tmp_path / "mitdb.npz", "--result_dir", tmp_path / "r")


def test_compute_refuses_a_class_without_test_windows(study, tmp_path):
    windows = bumps()
    windows.labels[windows.splits == "test"] = [1, 0]
    save_windows(windows, tmp_path / "mitdb.npz")
    with pytest.raises(DataError, match="no test window labeled VEB"):
        compute_small(study, "--dataset_path", tmp_path / "mitdb.npz", "--result_dir", tmp_path / "r")


def test_workspace_refuses_damaged_maps_and_other_weights(study, whole, tmp_path):
    compute_small(study, "--attr_method", "saliency", "--limit", 2, "--result_dir", tmp_path / "r")
    result = open_workspace(tmp_path / "r")
    path = result.map_file("saliency")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"saliency.npz cannot be read"):
        result.maps("saliency")
    args = json.loads((tmp_path / "r" / "args.json").read_text())
    (tmp_path / "r" / "args.json").write_text(json.dumps({**args, "model_fingerprint": "0" * 64}))
    with pytest.raises(DataError, match="is not the model whose maps"):
        _ = open_workspace(tmp_path / "r").model
    (tmp_path / "r" / "args.json").write_text(json.dumps({**args, "fingerprint": "0" * 64}))
    with pytest.raises(DataError, match="is not the file whose windows"):
        _ = open_workspace(tmp_path / "r").windows
    with pytest.raises(UsageError, match="holds no maps"):
        open_workspace(tmp_path)


def test_compute_takes_the_published_flags(study, tmp_path, capsys):
    words = ["--attr_method", "lime", "--feature_mask_size", 16, "--gpu_num", 0, "--multi_label"]
    compute_small(study, *words, "--limit", 2, "--result_dir", tmp_path / "r")
    assert "--gpu_num has no meaning here" in capsys.readouterr().err
    assert open_workspace(tmp_path / "r").args["settings"]["segment_samples"] == 16
    assert len(np.unique(open_workspace(tmp_path / "r").maps("lime")[0])) <= 13


def test_compute_help(capsys):
    with pytest.raises(SystemExit) as stop:
        call(module.main, "attribution.compute", "--help")
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "guided_gradcam" in text and "resumes where it was interrupted" in text


def test_compute_without_training_windows_refuses_deep_shap(study, tmp_path, capsys):
    """As LUDB has none."""
    save_windows(bumps("xx"), tmp_path / "mitdb.npz")
    words = ["--dataset_path", tmp_path / "mitdb.npz", "--attr_method", "deep_shap", "gradcam"]
    compute_small(study, *words, "--result_dir", tmp_path / "r")
    assert "--baselines noise" in capsys.readouterr().out
    assert open_workspace(tmp_path / "r").methods() == ["gradcam"]


def test_compute_keeps_the_selection_of_a_folder(study, tmp_path):
    words = ["--limit", 3, "--result_dir", tmp_path / "r"]
    compute_small(study, "--attr_method", "saliency", *words)
    before = open_workspace(tmp_path / "r")
    places = np.array([2, 0, 1])
    arrays = {name: getattr(before, name)[places] for name in ("rows", "targets", "probability")}
    np.savez(tmp_path / "r" / "selection.npz", **arrays)
    compute_small(study, "--attr_method", "gradcam", *words)
    assert open_workspace(tmp_path / "r").rows.tolist() == arrays["rows"].tolist()


def test_compute_refused_overwrite_deletes_nothing(study, tmp_path):
    compute_small(study, "--attr_method", "saliency", "--result_dir", tmp_path / "r")
    with pytest.raises(DataError, match="above"):
        compute_small(
            study, "--attr_method", "saliency", "--prob_threshold", 0.9999999, "--overwrite",
            "--result_dir", tmp_path / "r",
        )  # fmt: skip
    assert open_workspace(tmp_path / "r").methods() == ["saliency"]


def test_compute_killed_overwrite_cannot_be_resumed(study, tmp_path, monkeypatch):
    words = ["--attr_method", "saliency", "--result_dir", tmp_path / "r"]
    compute_small(study, *words)

    def killed(*_args, **_arrays):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "write_npz", killed)
        compute_small(study, *words, "--limit", 2, "--overwrite")
    assert not list((tmp_path / "r" / "maps").iterdir())
    with pytest.raises(UsageError, match="holds no maps"):
        open_workspace(tmp_path / "r")
    compute_small(study, *words, "--limit", 2)
    assert len(open_workspace(tmp_path / "r").rows) == 2
