"""The PyTorch models: reference outputs, options, errors; tests/test_model_contract.py has the rest."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_torch import create_model
from tests.conftest import ROOT
from tests.helpers import attribution_golden
from tests.helpers.golden_weights import noise_signals, set_torch_weights
from utils.errors import UsageError

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


def check_against_reference(name, parameters, buffers):
    model = create_model(name).eval()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(b.numel() for k, b in model.named_buffers() if "num_batches" not in k) == buffers
    set_torch_weights(model)
    with torch.no_grad():
        logits = model(torch.from_numpy(noise_signals()))
    np.testing.assert_allclose(logits, REFERENCE_OUTPUTS[name], rtol=0, atol=1e-5)


def test_ecgnet_equals_the_reference():
    check_against_reference("ecgnet", 1_031_949, 2_560)


@pytest.mark.slow  # 157 million parameters, 1.2 GB while it runs
def test_resnet101_equals_the_reference():
    check_against_reference("resnet101", 156_889_221, 105_344)


@pytest.mark.parametrize(("classes", "parameters"), [(4, 8_728_388), (22, 8_737_622)])
def test_resnet18_has_the_references_size(classes, parameters):
    model = create_model("resnet18", num_classes=classes)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_resnet18_equals_the_reference():
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
    signals = torch.from_numpy(np.random.default_rng(0).standard_normal((7, 300, 3)).astype("float32"))
    swapped = signals[:, :, [1, 0, 2]]
    torch.manual_seed(3)
    small = {"samples": 300, "leads": 3, "widths": (4, 4, 8, 8)}
    with torch.no_grad():
        blind, aware = (create_model("resnet18", lead_aware=aware, **small).eval() for aware in (False, True))
        torch.testing.assert_close(blind(swapped), blind(signals), rtol=0, atol=1e-5)
        assert (aware(swapped) - aware(signals)).abs().max() > 1e-3


def test_resnet18_narrow_gradients_stay_inside_memory():
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


def test_resnet101_starts_from_the_references_distribution():
    torch.manual_seed(0)
    model = create_model("resnet101", blocks=(1, 1))
    for module in model.modules():
        if isinstance(module, torch.nn.Conv1d):
            expected = (2 / (module.kernel_size[0] ** 2 * module.out_channels)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(100, 5000), leads=st.integers(1, 12), blocks=st.integers(0, 8))
def test_ecgnet_takes_records_of_any_length(samples, leads, blocks):
    model = create_model(
        "ecgnet", samples=samples, leads=leads, filters=1, blocks=blocks, lstm_units=1
    ).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, samples, leads)).shape == (1, 5)


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
def test_create_model_wrong_names_and_options_raise(name, options, message):
    with pytest.raises(UsageError, match=message):
        create_model(name, **options)
