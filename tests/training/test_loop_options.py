"""Optimizers, schedules, accumulation, flooding, averages and several kept epochs, in both loops."""

import importlib

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import torch_train
from tests.helpers.training_files import (
    call,
    flags,
    interrupt_at,
    last_state,
    metrics_rows,
    same_arrays,
    small_database,
)
from training import load_predictor
from training.checkpoint import load_state
from training.config import TrainConfig, TrainOptions, parse_config
from training.loops.schedule import learning_rate, momentum
from training.loops.torch_optimizer import WeightAverage, build_optimizer, clip_gradients, flooded, set_rates
from utils.errors import UsageError

STEPS = 50  # of an epoch


# ---- learning rate and momentum ------------------------------------------------------------------


def test_schedule_one_cycle_is_that_of_pytorch():
    config = TrainOptions(schedule="one_cycle", lr=0.01, epochs=10)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=1.0)
    total = config.epochs * STEPS
    # PyTorch reaches the last value at the last step, this schedule behind it
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=total + 1)
    for step in range(total):
        group = optimizer.param_groups[0]
        assert learning_rate(config, step, STEPS) == pytest.approx(group["lr"], rel=0.03, abs=1e-6)
        assert momentum(config, step, STEPS) == pytest.approx(group["betas"][0], abs=1e-3)
        optimizer.step()
        theirs.step()
    rates = [learning_rate(config, step, STEPS) for step in range(total)]
    assert max(rates) == rates[150] == 0.01 and rates[0] == pytest.approx(0.01 / 25)
    assert rates[-1] < 1e-6
    assert momentum(TrainOptions(), 3, STEPS) is None


def test_schedule_step_multiplies_the_rate_after_its_epochs():
    config = TrainOptions(schedule="step", lr=0.8, epochs=9, step_epochs=3, step_factor=0.5)
    rates = [learning_rate(config, epoch * STEPS + step, STEPS) for epoch in range(9) for step in (0, 49)]
    assert rates == [0.8] * 6 + [0.4] * 6 + [0.2] * 6


# ---- optimizers ----------------------------------------------------------------------------------


def fitted(config, steps=3):
    """Weights of a small model after some steps, and their gradients."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer, x = build_optimizer(config, model), torch.randn(8, 3)
    history = [[p.detach().clone() for p in model.parameters()]]
    gradients = []
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
        optimizer.step()
        history.append([p.detach().clone() for p in model.parameters()])
    return history, gradients


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_follows_its_formula_and_decays_matrices_only(nesterov):
    config = TrainOptions(optimizer="sgd", lr=0.1, momentum=0.8, nesterov=nesterov, weight_decay=0.3)
    history, gradients = fitted(config)
    for index, weight in enumerate(history[0]):
        velocity, decay = torch.zeros_like(weight), 0.03 if weight.ndim > 1 else 0.0
        for step, gradient in enumerate(g[index] for g in gradients):
            velocity = 0.8 * velocity + gradient
            ahead = gradient + 0.8 * velocity if nesterov else velocity
            weight = weight * (1 - decay) - 0.1 * ahead
            torch.testing.assert_close(history[step + 1][index], weight, rtol=1e-5, atol=1e-6)


def test_amsgrad_never_forgets_the_largest_second_moment():
    plain, steady = (
        fitted(TrainOptions(optimizer=name, lr=0.05, beta2=0.5), 6)[0] for name in ("adam", "amsgrad")
    )
    assert not torch.equal(plain[-1][0], steady[-1][0])
    moved = [sum((a[-1][i] - a[-2][i]).abs().sum() for i in range(4)) for a in (plain, steady)]
    assert moved[1] < moved[0]


def test_published_names_of_optimizers_are_understood():
    for word, name in (("adamw", "adam"), ("adamw_amsgrad", "amsgrad"), ("sgd", "sgd")):
        config = parse_config("", ["ecgnet"], "ecgnet", ["--optimizer", word])
        assert config.optimizer == name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--clip_norm", "1", "--clip_total", "1"], "choose one"),
        (["--nesterov", "True"], "needs --optimizer sgd with --momentum above 0"),
        (["--ema", "1"], "ema"),
        (["--accumulate", "0"], "accumulate"),
    ],
)
def test_optimization_that_is_impossible_is_refused(words, message):
    with pytest.raises(UsageError, match=message):
        parse_config("", ["ecgnet"], "ecgnet", words)


def test_patience_that_may_cut_one_cycle_short_is_said(caplog):
    caplog.set_level("INFO")
    parse_config("", ["ecgnet"], "ecgnet", ["--schedule", "one_cycle"])
    assert "--patience 60 trains the whole cycle" in caplog.text
    caplog.clear()
    parse_config("", ["ecgnet"], "ecgnet", ["--schedule", "one_cycle", "--patience", "60"])
    assert "patience" not in caplog.text


def test_momentum_is_set_in_every_group():
    model = torch.nn.Linear(2, 2)
    for name, key in (("adam", "betas"), ("sgd", "momentum")):
        optimizer = build_optimizer(TrainOptions(optimizer=name, weight_decay=0.1), model)
        set_rates(optimizer, 0.5, 0.7)
        for group in optimizer.param_groups:
            assert group["lr"] == 0.5 and group[key] == {"betas": (0.7, 0.999), "momentum": 0.7}[key]


def test_flooding_reverses_the_gradient_below_its_level():
    for value, slope in ((0.5, 1.0), (0.1, -1.0)):
        loss = torch.tensor(value, requires_grad=True)
        result = flooded(loss, 0.3)
        result.backward()
        assert loss.grad == slope and result.item() == pytest.approx(0.3 + abs(value - 0.3))
    assert flooded(loss, 0.0) is loss


def test_gradients_are_limited_each_or_together():
    model = torch.nn.Linear(2, 1)
    for each, total, norms in ((1.0, 0.0, (1.0, 1.0)), (0.0, 1.0, (0.6, 0.8))):
        model.weight.grad, model.bias.grad = torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])
        clip_gradients(model, each, total)
        assert (model.weight.grad.norm(), model.bias.grad.norm()) == pytest.approx(norms, abs=1e-5)


def test_average_of_weights_forgets_at_its_rate():
    model = torch.nn.Linear(2, 1)
    average, expected = WeightAverage(model, 0.9), None
    for value in (1.0, 2.0, 5.0):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update()
        expected = value if expected is None else 0.9 * expected + 0.1 * value
    with average.in_place():
        torch.testing.assert_close(model.weight.detach(), torch.full((1, 2), expected))
    assert (model.weight == 5).all()


# ---- runs ----------------------------------------------------------------------------------------

OPTION_SETS = {
    "adam": [
        *["--optimizer", "amsgrad", "--weight_decay", 0.01, "--schedule", "one_cycle", "--patience", 9],
        *["--accumulate", 3, "--ema", 0.8, "--top_k", 2, "--clip_total", 0.5],
    ],
    "sgd": [
        *["--optimizer", "sgd", "--nesterov", "True", "--weight_decay", 0.01, "--schedule", "one_cycle"],
        *["--patience", 9, "--lr", 0.01, "--flood", 0.6],
    ],
    "step": ["--schedule", "step", "--step_epochs", 1, "--step_factor", 0.5, "--beta2", 0.9],
}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"))


def run(framework, database, out, *more):
    model, script = {"torch": ("ecgnet", "torch_train.py"), "keras": ("mousavi", "train.py")}[framework]
    main = importlib.import_module(script.removesuffix(".py")).main
    call(main, script, *flags(model, database, out, *more))


FRAMEWORKS = ["torch", pytest.param("keras", marks=pytest.mark.tf)]


@pytest.mark.parametrize(
    ("framework", "options"),
    [  # schedules are the same code in both frameworks
        *(pytest.param("torch", name, marks=pytest.mark.torch) for name in OPTION_SETS),
        *(pytest.param("keras", name, marks=pytest.mark.tf) for name in ("adam", "sgd")),
    ],
)
def test_run_with_loop_options_resumes_bit_for_bit(database, tmp_path, framework, options, monkeypatch):
    words = [*OPTION_SETS[options], "--epochs", 3, "--noise", 0.1]
    run(framework, database, tmp_path, *words, "--run", "whole")
    for moment in ((0, 1), (1, 3))[framework == "keras" :]:  # tracing a Keras model takes seconds
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt_at(patch, *moment)
            resume = ["--resume"] * (tmp_path / "checkpoints" / "parts").exists()
            run(framework, database, tmp_path, *words, "--run", "parts", *resume)
    run(framework, database, tmp_path, *words, "--run", "parts", "--resume")
    assert same_arrays(last_state(tmp_path, "whole"), last_state(tmp_path, "parts"))
    assert metrics_rows(tmp_path, "whole") == metrics_rows(tmp_path, "parts")
    signals = np.random.default_rng(0).normal(size=(2, 200, 12))
    whole, parts = (load_predictor(name, tmp_path).predict(signals) for name in ("whole", "parts"))
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_average_is_what_is_scored_and_kept(database, tmp_path, framework):
    words = ["--ema", 0.9, "--epochs", 2, "--keep", "last", "--lr", 0.01]
    run(framework, database, tmp_path, *words, "--run", "average")
    state = last_state(tmp_path, "average")
    if framework == "torch":
        kept = load_file(tmp_path / "checkpoints" / "average" / "model.safetensors")
        for name in (key.removeprefix("average/") for key in state if key.startswith("average/")):
            np.testing.assert_array_equal(kept[name], state[f"average/{name}"])
            if kept[name].ndim > 1:
                assert not np.array_equal(kept[name], state[f"model/{name}"])
        return
    kept = [np.asarray(w) for w in load_predictor("average", tmp_path).model.trainable_weights]
    averages = [value for key, value in state.items() if key.startswith("optimizer/")]
    for weight in kept:
        assert any(weight.shape == a.shape and np.array_equal(weight, a) for a in averages)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_top_k_keeps_the_best_epochs(database, tmp_path, framework, monkeypatch):
    aucs = iter([0.6, 0.9, 0.7, 0.8, 0.5])
    monkeypatch.setattr(
        "training.tasks.classification.evaluate",
        lambda *_: {"macro_roc_auc": next(aucs), "mean_accuracy": 0.5},
    )
    name = {"torch": "ecgnet", "keras": "mousavi"}[framework]
    run(framework, database, tmp_path, "--epochs", 5, "--top_k", 2)
    folder = tmp_path / "checkpoints" / name
    assert sorted(path.name for path in (folder / "epochs").iterdir()) == ["002", "004"]
    assert load_state(folder)[1]["kept"] == [[0.9, 1], [0.8, 3]]
    best, same = load_predictor(name, tmp_path), load_predictor(f"{name}/epochs/002", tmp_path)
    assert best.card.metrics["epoch"] == same.card.metrics["epoch"] == 2
    signals = np.random.default_rng(0).normal(size=(2, 200, 12))
    np.testing.assert_array_equal(best.predict(signals), same.predict(signals))


def test_accumulation_of_two_batches_equals_one_of_twice_the_size(database, tmp_path):
    """A model without batch norm: the mean gradient of two halves is that of the whole."""
    plugin = tmp_path / "plain_net.py"
    plugin.write_text(
        "from torch import nn\n"
        "from models_torch import register_model\n\n\n"
        "@register_model\n"
        "class PlainNet(nn.Module):\n"
        "    def __init__(self, num_classes: int = 5, samples: int = 1000, leads: int = 12):\n"
        "        super().__init__()\n"
        "        self.head = nn.Linear(leads, num_classes)\n\n"
        "    def forward(self, x):\n"
        "        return self.head(x.mean(dim=1))\n"
    )
    words = ["--model", "plainnet", "--data_dir", database, "--output_dir", tmp_path, "--plugins", plugin]
    words += ["--epochs", 2, "--threads", 1, "--optimizer", "sgd", "--momentum", 0]
    call(torch_train.main, "torch_train.py", *words, "--batchsize", 16, "--run", "one")
    call(torch_train.main, "torch_train.py", *words, "--batchsize", 8, "--accumulate", 2, "--run", "two")
    one, two = (last_state(tmp_path, name) for name in ("one", "two"))
    np.testing.assert_allclose(one["model/head.weight"], two["model/head.weight"], rtol=1e-5)


@pytest.mark.tf
def test_keras_optimizer_has_the_options_of_the_run():
    keras = pytest.importorskip("keras")
    from training.loops.keras_loop import TaskLoss
    from training.loops.keras_optimizer import build_optimizer as build
    from training.tasks import create_task

    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    config = TrainConfig(optimizer="sgd", momentum=0.7, nesterov=True, clip_total=2.0, clip_norm=0.0)
    optimizer = build(config, model)
    assert (optimizer.momentum, optimizer.nesterov, optimizer.global_clipnorm) == (0.7, True, 2.0)
    config = TrainConfig(optimizer="amsgrad", beta2=0.9, accumulate=4, ema=0.5, clip_norm=1.0)
    optimizer = build(config, model)
    assert optimizer.amsgrad and optimizer.beta_2 == 0.9 and optimizer.clipnorm == 1.0
    assert optimizer.gradient_accumulation_steps == 4 and optimizer.ema_momentum == 0.5
    task = create_task("multilabel", ["a", "b"])
    loss, raised = (
        float(TaskLoss(task, level)(np.ones((1, 2)), np.full((1, 2), 0.9))) for level in (0.0, 0.4)
    )
    assert raised == pytest.approx(0.4 + abs(loss - 0.4))
