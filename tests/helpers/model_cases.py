"""Small models of both frameworks behind one interface, for the contract test over the registries."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utils.model_registry import ModelCase, ModelInfo


@dataclass(frozen=True)
class Subject:
    """A registered model with one of its cases."""

    info: ModelInfo
    case: ModelCase

    @property
    def package(self) -> Any:
        return importlib.import_module({"torch": "models_torch", "keras": "models_tf"}[self.info.framework])

    @property
    def samples(self) -> int:
        return self.case.options["samples"]

    @property
    def leads(self) -> int:
        return self.case.options["leads"]

    def __str__(self) -> str:
        return f"{self.info.framework} {self.info.name} {self.case.name}".strip()

    def with_options(self, **options: Any) -> Subject:
        """The same case with other options."""
        return replace(self, case=replace(self.case, options={**self.case.options, **options}))

    def build(self, seed: int = 0, **options: Any) -> Any:
        """The model, in evaluation mode."""
        if self.info.framework == "torch":
            import torch

            torch.manual_seed(seed)
            return self.package.create_model(self.info.name, **{**self.case.options, **options}).eval()
        import keras

        import models_tf.backend  # noqa: F401

        keras.utils.set_random_seed(seed)
        return self.package.create_model(self.info.name, **{**self.case.options, **options})

    def signals(self, records: int = 5) -> np.ndarray:
        """Standardized noise, (records, samples, leads)."""
        shape = (records, self.samples, self.leads)
        return np.random.default_rng(0).standard_normal(shape).astype(np.float32)

    def outputs(self, model: Any, signals: np.ndarray) -> np.ndarray:
        """Logits or probabilities, (B, C)."""
        if self.info.framework == "torch":
            import torch

            with torch.no_grad():
                return model(torch.from_numpy(signals)).numpy()
        import keras

        return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(signals), training=False))

    def feature_maps(self, model: Any, signals: np.ndarray) -> list[np.ndarray]:
        """The maps that ``feature_info`` describes, as the framework lays them out."""
        if self.info.framework == "torch":
            import torch

            from models_torch.layers import recorded

            x = torch.from_numpy(signals)
            with torch.no_grad(), recorded(model, [i.name for i in model.feature_info if i.name]) as outputs:
                model(x)
                deepest = model.features(x)
            return [(outputs[info.name] if info.name else deepest).numpy() for info in model.feature_info]
        import keras

        from models_tf.layers import feature_tensors

        reader = keras.Model(model.input, feature_tensors(model, model.feature_info))
        maps = reader(keras.ops.convert_to_tensor(signals), training=False)
        return [keras.ops.convert_to_numpy(m) for m in (maps if isinstance(maps, list) else [maps])]

    def weights(self, model: Any) -> list[np.ndarray]:
        """All trainable weights."""
        if self.info.framework == "torch":
            return [p.detach().numpy() for p in model.parameters()]
        import keras

        return [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]

    def change_weights(self, model: Any, change: Callable[[tuple[int, ...]], float]) -> None:
        """Fill every matrix and kernel with one number, ``change(its shape)``; biases become 0."""
        if self.info.framework == "torch":
            import torch

            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if parameter.ndim > 1:
                        parameter.fill_(change(tuple(parameter.shape)))
                    elif "bias" in name:
                        parameter.zero_()
                for module in model.modules():
                    if isinstance(module, torch.nn.LSTM):  # whose memory would halve with every step
                        for name, parameter in module.named_parameters():
                            if name.startswith("bias_ih"):
                                parameter[module.hidden_size : 2 * module.hidden_size] = 2
            return
        for weight in model.trainable_weights:
            if len(weight.shape) > 1:
                weight.assign(np.full(weight.shape, change(tuple(weight.shape)), np.float32))

    def save(self, model: Any, folder: Path) -> Path:
        """Write the weights as checkpoints do."""
        if self.info.framework == "torch":
            from safetensors.torch import save_file

            save_file(model.state_dict(), path := folder / "model.safetensors")
            return path
        model.save_weights(path := folder / "model.weights.h5")
        return path

    def load(self, model: Any, path: Path) -> None:
        """Read the weights again."""
        if self.info.framework == "torch":
            from safetensors.torch import load_file

            model.load_state_dict(load_file(path))
        else:
            model.load_weights(path)


def registered(framework: str) -> list[ModelInfo]:
    """All models of a package."""
    package = importlib.import_module({"torch": "models_torch", "keras": "models_tf"}[framework])
    infos = [package.model_info(name) for name in package.list_models()]
    return [info for info in infos if info.module.startswith(f"{package.__name__}.")]


def parameters(items: Callable[[ModelInfo], list[Any]]) -> list[Any]:
    """Test parameters of every registered model, marked by framework."""
    marks = {"torch": pytest.mark.torch, "keras": pytest.mark.tf}
    return [
        pytest.param(item, marks=marks[framework], id=str(item) if isinstance(item, Subject) else info.name)
        for framework in marks
        for info in registered(framework)
        for item in items(info)
    ]


MODELS = parameters(lambda info: [info])
SUBJECTS = parameters(lambda info: [Subject(info, case) for case in info.cases])
