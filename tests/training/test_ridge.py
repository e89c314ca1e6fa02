"""MiniRocket with a ridge head: features, the closed form, and a run from the command line."""

import numpy as np
import pytest
import torch

import torch_test
import torch_train
from models_torch import create_model
from tests.helpers.training_files import call, metrics_rows, small_database
from training import load_predictor
from training.ridge import PENALTIES, _solutions
from utils.errors import UsageError


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"))


def train(database, out, *more):
    words = ["--model", "minirocket", "--data_dir", database, "--output_dir", out, "--threads", 1]
    call(torch_train.main, "torch_train.py", *words, "--model_config", '{"features": 168}', *more)


def test_minirocket_features_follow_their_definition():
    model = create_model("minirocket", samples=60, leads=2, features=168).eval()
    signals = torch.randn(3, 60, 2, generator=torch.Generator().manual_seed(0))
    model.draw_biases(signals, seed=1)
    features = model.parts_above(signals).numpy()
    assert features.shape == (3, 168) and features.min() >= 0 and features.max() <= 1
    assert 0.05 < features.mean() < 0.95  # biases are quantiles of such convolutions
    used = 0
    for place, (dilation, share) in enumerate(model.dilations.items()):
        for kernel in range(84):
            weights, leads = model.kernels[kernel].numpy(), model.choices[place, kernel].numpy() > 0
            assert sorted(weights) == [-1] * 6 + [2] * 3 and leads.any()
            padded = np.pad(signals[1].numpy()[:, leads].sum(axis=1), 4 * dilation)
            y = sum(w * padded[i * dilation : i * dilation + 60] for i, w in enumerate(weights))
            if kernel % 2 == (place + 1) % 2 and 8 * dilation < 60:
                y = y[4 * dilation : 60 - 4 * dilation]
            for index in range(share):
                column = used + kernel * share + index
                expected = (y > model.biases[column].item()).mean()
                assert features[1, column] == pytest.approx(expected, abs=1.5 / len(y))
        used += 84 * share


@pytest.mark.parametrize("records", [12, 40])
def test_ridge_solutions_minimize_their_objective(records):
    """In both forms: more records than features, and fewer."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (records, 20)).astype(np.float32), rng.normal(size=(records, 2))
    for penalty, weight, bias in list(_solutions(x, y))[5::4]:
        scaled = weight * x.std(axis=0)[:, None]
        residual = x @ weight + bias - y
        z = (x - x.mean(axis=0)) / x.std(axis=0)
        np.testing.assert_allclose(z.T @ residual + penalty * scaled, 0, atol=2e-3 * np.abs(z.T @ y).max())
        np.testing.assert_allclose(residual.mean(axis=0), 0, atol=1e-4)


def test_minirocket_run_is_repeatable_and_scored_like_any_other(database, tmp_path, capsys):
    for run in ("one", "two"):
        train(database, tmp_path, "--run", run)
    told = capsys.readouterr().out
    assert "best: penalty" in told and "on fold 9" in told
    rows = metrics_rows(tmp_path, "one")
    assert [float(row["penalty"]) for row in rows] == pytest.approx(PENALTIES)
    assert rows == metrics_rows(tmp_path, "two")
    one, two = (load_predictor(name, tmp_path) for name in ("one", "two"))
    signals = np.random.default_rng(0).normal(size=(3, 200, 12))
    np.testing.assert_array_equal(one.predict(signals), two.predict(signals))
    best = max(float(row["val_macro_roc_auc"]) for row in rows)
    assert one.card.metrics["val_macro_roc_auc"] == best
    words = ["--model", "minirocket", "--run", "one", "--data_dir", database, "--output_dir", tmp_path]
    call(torch_test.main, "torch_test.py", *words)
    assert (tmp_path / "logs" / "one" / "predictions.npz").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume"], "--overwrite instead of --resume"),
        (["--crop", 100], "whole records"),
        (["--mixup", 0.2], "whole records"),
    ],
)
def test_minirocket_refuses_what_needs_epochs(database, tmp_path, words, message):
    with pytest.raises(UsageError, match=message):
        train(database, tmp_path, *words)
