"""S4: its convolution is that of the recurrence, in both directions."""

import numpy as np
import pytest
import torch

from models_torch import create_model
from models_torch.s4 import LongConvolution, StateSpace


def recurrence(space: StateSpace, x: np.ndarray, direction: int) -> np.ndarray:
    """Step through the states in float64; x (T, channels)."""
    step = np.exp(space.log_step.detach().double().numpy())[:, None]
    poles = -np.exp(space.log_decay.detach().double().numpy()) + 1j * space.frequency.detach().numpy()
    output = space.output.detach().double().numpy()[direction]
    advance = np.exp(step * poles)
    held = (advance - 1) / poles
    state, rows = np.zeros(poles.shape, complex), []
    for sample in x:
        state = advance * state + held * sample[:, None]
        rows.append(2 * ((output[..., 0] + 1j * output[..., 1]) * state).sum(axis=1).real)
    return np.array(rows)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_s4_convolution_equals_its_recurrence(bidirectional):
    torch.manual_seed(0)
    space = StateSpace(3, 8, bidirectional)
    x = np.random.default_rng(0).standard_normal((75, 3))
    expected = recurrence(space, x, 0) + x * space.skip.detach().numpy()
    if bidirectional:  # what comes later, without the present sample
        later = recurrence(space, x[::-1], 1)[::-1]
        expected[:-1] += later[1:]
    with torch.no_grad():
        y = space(torch.from_numpy(x.T[None]).float())[0].T.numpy()
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_s4_columns_see_what_feature_info_says(bidirectional):
    torch.manual_seed(0)
    model = create_model("s4", samples=30, leads=2, channels=4, layers=2, bidirectional=bidirectional).eval()
    signals = torch.randn(1, 30, 2, requires_grad=True)
    (info,) = model.feature_info
    for column in (0, 13, 29):
        (gradient,) = torch.autograd.grad(model.features(signals)[0, :, column].square().sum(), signals)
        seen = (gradient[0].abs().amax(dim=1) > 1e-9).numpy()
        np.testing.assert_array_equal(seen, info.sees(column, 30))


def test_s4_gradients_of_its_convolution_are_exact():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(3, 14, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LongConvolution.apply, (x, kernel))


def test_s4_trains_in_bfloat16_with_float32_transforms():
    torch.manual_seed(0)
    model = create_model("s4", samples=40, leads=2, channels=4, layers=1)
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(3, 40, 2)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == torch.float32 and parameter.grad.isfinite().all(), name
