"""Speed benchmarks: the committed page is up to date, and both sides of a comparison do the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import large_dataset, pipeline_memory, report, resampling
from preprocessing import load_ptbxl
from training.checkpoint import ROOT
from utils.errors import TwelveLeadError
from utils.files import write_npz


def test_speed_page_is_up_to_date():
    folder = Path(report.__file__).parent
    assert (folder / "README.md").read_text(encoding="utf-8") == report.page(folder)
    for name in report.BENCHMARKS:
        assert f"{name}.json" in os.listdir(folder)


# ---- speed: what is measured ---------------------------------------------------------------------


def test_reading_benchmark_as_command(tmp_path):
    words = ["reading", "--read_records", "12", "--repetitions", "1", "--output_dir", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks.speed", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "reading.json").read_text())
    assert found["records"] == 12
    assert set(found["ratio"]) == {
        "read_and_verify",
        "read_verify_and_cache",
        "open_cache",
        "batches_from_cache",
    }
    assert all(value > 0 for values in found["cpu_ms_per_record"].values() for value in values)
    assert "direct reader, every checksum verified" in (tmp_path / "README.md").read_text()


def test_speed_refuses_what_it_does_not_know():
    for words, text in (
        (["--models", "imlenet"], "imle_net"),
        (["--rounds", "0"], "--rounds must be at least 1"),
    ):
        command = [sys.executable, "-m", "benchmarks.speed", "model_steps", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 2 and text in done.stderr


def test_dataset_of_the_benchmark_is_a_sound_database(tmp_path, monkeypatch):
    monkeypatch.setattr(large_dataset, "_SIMULATED", 30)
    folder = large_dataset.write_large_dataset(tmp_path, 75)
    dataset = load_ptbxl(folder, cache_dir=tmp_path / "cache")  # verifies checksums, patients and folds
    assert len(set(dataset.digests)) == len(dataset) > 70
    assert len(set(dataset.patient_ids)) > 30
    found = pipeline_memory.plain(str(folder), 40)
    assert found["records"] == 40 and found["shape"][1:] == [1000, 12]


def test_resampling_compares_the_same_job(tmp_path):
    labels, probabilities = resampling._noise(300, 5)
    assert labels.any(axis=0).all() and 0 <= probabilities.min() <= probabilities.max() <= 1
    for names in (("label", "probability"), ("y_true", "y_prob")):
        write_npz(tmp_path / "p.npz", **dict(zip(names, (labels, probabilities), strict=True)))
        assert resampling.ours(str(tmp_path / "p.npz"), 3)["cpu_seconds"] > 0
        assert resampling.plain(str(tmp_path / "p.npz"), 3)["cpu_seconds"] > 0
    write_npz(tmp_path / "q.npz", other=labels)
    with pytest.raises(TwelveLeadError, match="it has other"):
        resampling.ours(str(tmp_path / "q.npz"), 3)


@pytest.mark.tf
@pytest.mark.parametrize("name", ["imle_net", "mousavi", "rajpurkar"])
def test_plain_keras_models_compute_what_ours_compute(name):
    import models_tf
    from benchmarks.speed import plain_keras

    ours, plain = models_tf.create_model(name), getattr(plain_keras, name)()
    assert plain.count_params() == {"imle_net": 748_517, "mousavi": 2_382_565, "rajpurkar": 10_483_621}[name]
    plain.set_weights(ours.get_weights())
    signals = np.random.default_rng(0).standard_normal((2, 1000, 12), dtype=np.float32)
    np.testing.assert_allclose(plain.predict_on_batch(signals), ours.predict_on_batch(signals), atol=1e-6)


@pytest.mark.torch
def test_plain_torch_models_compute_what_ours_compute():
    import torch

    import models_torch
    from benchmarks.speed import plain_torch

    ours, plain = models_torch.create_model("ecgnet"), plain_torch.PlainECGNet()
    plain.load_state_dict(dict(zip(plain.state_dict(), ours.state_dict().values(), strict=True)))
    signals = torch.randn(2, 1000, 12, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(plain.eval()(signals), ours.eval()(signals), atol=1e-6)
    with torch.device("meta"):  # 157 million weights: only their shapes, and that of the output
        ours, plain = models_torch.create_model("resnet101"), plain_torch.PlainResNet101()
        shapes = [[tuple(w.shape) for w in m.state_dict().values()] for m in (ours, plain)]
        assert shapes[0] == shapes[1]
        assert plain(torch.empty(2, 1000, 12)).shape == (2, 5)
