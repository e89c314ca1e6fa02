"""Deterministic weights and inputs, by a recipe that the reference implementation was evaluated with too.

Tensor t of a model is ``RandomState(1000 + t).uniform(-1, 1)`` scaled by its kind, t counting Keras'
``model.weights`` or PyTorch's ``state_dict()`` without the batch counters. The expected outputs in the tests
are those of the reference implementation (likith012/IMLE-Net) with these weights.
"""

import numpy as np


def recipe_tensor(index: int, kind: str, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """One tensor of the recipe; `kind` is scale, variance, weight or offset."""
    u = np.random.RandomState(1000 + index).uniform(-1, 1, size=shape)
    values = {
        "scale": lambda: 1 + 0.1 * u,
        "variance": lambda: 1 + 0.2 * np.abs(u),
        "weight": lambda: u * np.sqrt(3 / fan_in),
        "offset": lambda: 0.05 * u,
    }[kind]()
    return values.astype("float32")


def set_keras_weights(model) -> None:
    """Give a Keras model the recipe's weights."""
    tensors = []
    for index, variable in enumerate(model.weights):
        name, shape = variable.path.split("/")[-1], tuple(variable.shape)
        if name == "gamma":
            kind = "scale"
        elif name == "moving_variance":
            kind = "variance"
        else:  # the attention's bias is a matrix, and yet a bias
            kind = "weight" if len(shape) >= 2 and name != "bias" else "offset"
        tensors.append(recipe_tensor(index, kind, shape, int(np.prod(shape[:-1]))))
    model.set_weights(tensors)


def set_torch_weights(model) -> None:
    """Give a PyTorch model the recipe's weights."""
    import torch

    names = [name for name in model.state_dict() if not name.endswith("num_batches_tracked")]
    state = {}
    for index, name in enumerate(names):
        shape = tuple(model.state_dict()[name].shape)
        if len(shape) >= 2:
            kind = "weight"
        elif name.endswith("running_var"):
            kind = "variance"
        else:  # the only vectors called weight are batch norm's
            kind = "scale" if name.endswith(".weight") else "offset"
        state[name] = torch.from_numpy(recipe_tensor(index, kind, shape, int(np.prod(shape[1:]))))
    model.load_state_dict(state, strict=False)


def noise_signals() -> np.ndarray:
    """Two records of white noise, (2, 1000, 12); made lead by lead."""
    noise = np.random.RandomState(7).standard_normal((2, 12, 1000)).astype("float32")
    return np.ascontiguousarray(noise.transpose(0, 2, 1))
