"""The PyTorch models: reference outputs, saving, options, errors."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from models_torch import create_model, list_models
from tests.conftest import ROOT
from tests.helpers import attribution_golden
from tests.helpers.golden_weights import noise_signals, set_torch_weights
from utils.errors import DataError, UsageError

pytestmark = pytest.mark.torch

REFERENCE_OUTPUTS = {  # reference implementation, recipe weights, noise_signals(): logits
    "ecgnet": [
        [-3.090661, -0.11448722, 0.60496181, 2.1952043, -4.6636686],
        [-3.6346827, 0.27252921, 0.37547684, 2.4415526, -4.6484327],
    ],
    "resnet101": [
        [-0.15941387, -1.2176981, 2.5230031, 1.0022299, 1.3532348],
        [-0.16379184, -1.3005062, 2.57143, 0.97221726, 1.2925524],
    ],
}
SMALL = {
    "ecgnet": {"samples": 300, "leads": 3, "filters": 2, "blocks": 5, "lstm_units": 4},
    "resnet101": {"samples": 300, "leads": 3, "width": 4, "blocks": (1, 2)},
    "resnet18": {"samples": 300, "leads": 3, "widths": (4, 4, 8, 8)},
}
WITH_DROPOUT = ["ecgnet", "resnet101"]


def small_model(name, **options):
    torch.manual_seed(3)
    return create_model(name, **(SMALL[name] | options)).eval()


def small_signals(records=7):
    return torch.from_numpy(np.random.RandomState(0).standard_normal((records, 300, 3)).astype("float32"))


def check_against_reference(name, parameters, buffers):
    model = create_model(name).eval()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(b.numel() for k, b in model.named_buffers() if "num_batches" not in k) == buffers
    set_torch_weights(model)
    with torch.no_grad():
        logits = model(torch.from_numpy(noise_signals()))
    np.testing.assert_allclose(logits, REFERENCE_OUTPUTS[name], rtol=0, atol=1e-5)


def test_the_register_lists_the_models():
    assert set(SMALL) <= set(list_models())


def test_ecgnet_is_the_references():
    check_against_reference("ecgnet", 1_031_949, 2_560)


@pytest.mark.slow  # 157 million parameters, 1.2 GB while it runs
def test_resnet101_is_the_references():
    check_against_reference("resnet101", 156_889_221, 105_344)


@pytest.mark.parametrize(("classes", "parameters"), [(4, 8_728_388), (22, 8_737_622)])
def test_resnet18_has_the_references_size(classes, parameters):
    model = create_model("resnet18", num_classes=classes)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_resnet18_is_the_references():
    golden = attribution_golden.arrays()
    with torch.no_grad():
        narrow = attribution_golden.narrow_model()(torch.from_numpy(attribution_golden.ours(golden["x"])))
        np.testing.assert_allclose(narrow, golden["logits"], rtol=0, atol=1e-5)
        full = attribution_golden.full_model(4, 2880, 1, seed=0)
        two = torch.from_numpy(attribution_golden.ours(golden["x"][:2]))
        np.testing.assert_allclose(full(two), golden["full/logits"], rtol=1e-5)
        twelve = attribution_golden.full_model(22, 1000, 12, seed=1)
        signals = torch.from_numpy(attribution_golden.ours(golden["l12/x"]))
        np.testing.assert_allclose(twelve(signals), golden["l12/logits"], rtol=1e-5, atol=1e-5)


def test_resnet18_sees_which_lead_is_which_only_where_asked():
    signals = small_signals()
    swapped = signals[:, :, [1, 0, 2]]
    with torch.no_grad():
        blind, aware = small_model("resnet18"), small_model("resnet18", lead_aware=True)
        torch.testing.assert_close(blind(swapped), blind(signals), rtol=0, atol=1e-5)
        assert (aware(swapped) - aware(signals)).abs().max() > 1e-3


def test_a_narrow_resnet18_of_twelve_leads_keeps_to_its_memory():
    code = """
import torch
from models_torch import create_model
torch.set_num_threads(1)
model = create_model("resnet18", widths=(8, 8, 8, 8))
for _ in range(5):
    model(torch.randn(16, 1000, 12)).square().sum().backward()
print("sound")
"""
    checked = os.environ | {"MALLOC_CHECK_": "3"}  # the C library looks at its lists (Linux)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=checked, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "sound\n", (done.returncode, done.stderr[-2000:])


def test_resnet101_has_the_references_size():
    with torch.device("meta"):
        model = create_model("resnet101")
    assert sum(p.numel() for p in model.parameters()) == 156_889_221
    assert sum(b.numel() for k, b in model.named_buffers() if "num_batches" not in k) == 105_344


def test_resnet101_starts_from_the_references_distribution():
    torch.manual_seed(0)
    model = create_model("resnet101", blocks=(1, 1))
    for module in model.modules():
        if isinstance(module, torch.nn.Conv1d):
            expected = (2 / (module.kernel_size[0] ** 2 * module.out_channels)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", SMALL)
def test_batch_size_does_not_matter(name):
    model, signals = small_model(name), small_signals()
    with torch.no_grad():
        together = model(signals)
        apart = torch.cat([model(signals[i : i + 1]) for i in range(7)])
    assert together.shape == (7, 5)
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_save_and_load(name, tmp_path):
    model, signals = small_model(name, num_classes=2), small_signals()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = json.loads(json.dumps(model.config))
    assert config["num_classes"] == 2
    torch.manual_seed(4)
    again = create_model(**config).eval()
    assert again.config == model.config
    with torch.no_grad():
        before = model(signals)
        assert (again(signals) - before).abs().max() > 1e-4
        again.load_state_dict(load_file(tmp_path / "model.safetensors"))
        torch.testing.assert_close(again(signals), before, rtol=0, atol=0)


@pytest.mark.parametrize("name", SMALL)
def test_training_is_repeatable_and_reaches_every_parameter(name):
    def step():
        model, signals = small_model(name).train(), small_signals()
        torch.manual_seed(5)  # dropout
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        losses = []
        for _ in range(4):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(signals), torch.ones(7, 5))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, [p.grad for p in model.parameters()]

    losses, gradients = step()
    assert losses == step()[0]
    assert losses[-1] < losses[0]
    assert all(g is not None and g.abs().max() > 0 for g in gradients)


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_dropout_is_an_option(name):
    signals = small_signals()
    with torch.no_grad():
        steady = small_model(name, dropout=0.0).train()
        torch.testing.assert_close(steady(signals), steady(signals), rtol=0, atol=0)
        noisy = small_model(name, dropout=0.5).train()
        assert (noisy(signals) - noisy(signals)).abs().max() > 1e-4


@pytest.mark.parametrize("name", SMALL)
def test_the_head_can_be_replaced(name):
    model = small_model(name)
    assert isinstance(model.head, torch.nn.Linear)
    model.head = torch.nn.Linear(model.head.in_features, 3)
    with torch.no_grad():
        assert model(small_signals(1)).shape == (1, 3)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(100, 5000), leads=st.integers(1, 12), blocks=st.integers(0, 8))
def test_ecgnet_takes_records_of_any_length(samples, leads, blocks):
    model = create_model(
        "ecgnet", samples=samples, leads=leads, filters=1, blocks=blocks, lstm_units=1
    ).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, samples, leads)).shape == (1, 5)


@pytest.mark.parametrize("name", SMALL)
def test_ten_seconds_at_500_hz(name):
    sizes = {
        "ecgnet": {"blocks": 3},
        "resnet101": {"blocks": (1, 1), "width": 2},
        "resnet18": {"widths": (2, 2, 2, 2)},
    }
    model = create_model(name, samples=5000, **sizes[name]).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 5000, 12)).shape == (1, 5)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(1, 299, 3), (1, 300, 2), (1, 3, 300), (300, 3)])
def test_wrong_shapes_are_refused(name, shape):
    with pytest.raises(
        DataError, match=rf"{name} was built for .*300 samples, 3 leads.* but got \({shape[0]}"
    ):
        small_model(name)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ECGNet", {}, "unknown PyTorch model 'ECGNet': did you mean 'ecgnet'"),
        ("resnet", {}, "did you mean 'resnet1"),
        ("resnet18", {"widths": (8, 16)}, "four stages"),
        ("resnet18", {"kernel": 4}, "kernel 4 must be odd"),
        ("resnet18", {"samples": 31}, "31 samples are too few"),
        ("ecgnet", {"drop_out": 0.2}, "unknown option 'drop_out' of model 'ecgnet': did you mean 'dropout'"),
        ("ecgnet", {"samples": 20}, "20 samples are too few"),
        ("ecgnet", {"kernel": 16}, "kernel must be odd"),
        ("resnet101", {"kernels": (7, 10, 7)}, "three odd numbers"),
        ("resnet101", {"leads": -1}, "leads must be a positive whole number"),
        ("resnet101", {"num_classes": True}, "num_classes must be a positive whole number"),
    ],
)
def test_wrong_names_and_options(name, options, message):
    with pytest.raises(UsageError, match=message):
        create_model(name, **options)
