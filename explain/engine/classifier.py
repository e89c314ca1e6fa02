"""A trained model as the attribution methods see it: standardized signals in, logits out, both frameworks.

Keras models run on Keras' PyTorch backend, so that one implementation of each method serves every model.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from models_torch.layers import recorded
from training.checkpoint import find_checkpoint, read_card, run_name
from training.export.onnx_predictor import OnnxPredictor
from training.predictor import Predictor, crop_starts, load_predictor
from utils.errors import TwelveLeadError
from utils.feature_info import FeatureInfo


@dataclass(frozen=True)
class FeatureLayer:
    """A feature map of a model that reads `samples` samples of `leads` leads.

    ``channels_last``: (rows, columns, channels), as in Keras.
    """

    info: FeatureInfo
    samples: int
    leads: int
    channels_last: bool

    def arrange(self, maps: Tensor) -> Tensor:
        """Bring a map, or its gradient, to (B, channels, H, windows, columns).

        H is the number of leads, or 1 where they are mixed; windows is 1 where the layer reads the whole
        record.
        """
        if maps.ndim == 4:  # an image with the leads as rows: (B, channels, H, columns)
            return maps[:, :, :, None]
        maps = maps.movedim(-1, 1) if self.channels_last else maps
        height = self.leads if self.info.leads == "each" else 1
        windows = self.samples // (self.info.window or self.samples)
        return maps.unflatten(0, (-1, height, windows)).permute(0, 3, 1, 2, 4)

    def lay_out(self, values: Tensor, upsampling: str = "centered") -> Tensor:
        """Bring values of the columns to samples and leads.

        Shapes: values (B, H, windows, columns) -> (B, samples, leads).
        """
        windows, columns = values.shape[2:]
        length = self.samples // windows
        parts = [middles for middles in self.info.middles(columns) if len(middles)]
        matrix = np.concatenate([_shares(middles, length, upsampling) for middles in parts], axis=1)
        fine = values @ torch.tensor(matrix.T, dtype=values.dtype, device=values.device)
        fine = fine.flatten(2)
        if self.info.leads == "in turn":
            steps = fine[:, 0].repeat_interleave(self.leads, dim=1)
            return steps.unflatten(1, (self.leads, self.samples)).transpose(1, 2)
        return fine.transpose(1, 2).expand(-1, -1, self.leads)


def _shares(middles: np.ndarray, samples: int, upsampling: str) -> np.ndarray:
    """Share of each column in each sample, (samples, columns)."""
    times, columns = np.arange(samples), np.arange(len(middles))
    if upsampling == "nearest":
        return (times[:, None] * len(columns) // samples == columns).astype(float)
    position = np.interp(times, middles, columns)
    return np.maximum(0, 1 - np.abs(position[:, None] - columns))


if TYPE_CHECKING:
    import keras


class _MeanOverCrops(nn.Module):
    """Mean of the logits over the windows of a model that was trained on crops.

    ``model``: (B, length, leads) -> logits.
    ``starts``: first samples of the windows.
    ``length``: samples of a window.
    """

    def __init__(self, model: nn.Module, starts: Sequence[int], length: int):
        super().__init__()
        self.model, self.starts, self.length = model, list(starts), length

    def forward(self, signals: Tensor) -> Tensor:
        windows = _crops(signals, self.starts, self.length)
        return self.model(windows.flatten(0, 1)).unflatten(0, windows.shape[:2]).mean(dim=1)


def _crops(signals: Tensor, starts: Sequence[int], length: int) -> Tensor:
    """(B, samples, leads) -> (B, crops, length, leads)."""
    return torch.stack([signals[:, start : start + length] for start in starts], dim=1)


class _KerasLogits(nn.Module):
    """A Keras model on the PyTorch backend without its last activation.

    ``model``: its last layer is the dense head.
    ``layers``: their maps come with the logits.
    """

    def __init__(self, model: keras.Model, layers: Sequence[FeatureLayer]):
        super().__init__()
        import keras

        from models_tf.layers import feature_tensors

        head = model.layers[-1]
        linear = keras.layers.Dense(head.units, dtype="float32", name="head")
        logits = linear(head.input)
        for new, old in zip(linear.weights, head.weights, strict=True):
            new.assign(old.value)
        maps = feature_tensors(model, [layer.info for layer in layers])
        self.network = keras.Model(model.input, [logits, *maps])

    def forward(self, signals: Tensor) -> Tensor:
        return self.with_features(signals)[0]

    def with_features(self, signals: Tensor) -> list[Tensor]:
        """Logits, then the maps of the feature layers."""
        return self.network(signals, training=False)


class _OnnxLogits(nn.Module):
    """Logits of an exported model, without gradients: standardized (B, T, leads) -> (B, C)."""

    def __init__(self, predictor: OnnxPredictor):
        super().__init__()
        self.predictor = predictor
        self.device_of = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, signals: Tensor) -> Tensor:
        return torch.from_numpy(self.predictor.logits(signals.cpu().numpy()))


class Classifier:
    """A trained model of either framework, ready to be explained.

    A model that was trained on crops reads a record window by window, and the predictor averages the
    windows' probabilities. What is explained here is the mean of the windows' *logits*, which is not bounded.

    ``predictor``: the model with its card. It is set to evaluation mode, and its weights get no gradients.
    ``name``: name of the run.
    ``feature_layers``: maps that Grad-CAM reads; none where the model does not describe them.
    ``attention``: (B, samples, leads) -> each sample's share of the model's attention; None where it has none
        or reads crops that do not divide the record.
    """

    def __init__(self, predictor: Predictor, name: str):
        self.name, self.card, self.predictor = name, predictor.card, predictor
        self.model_name: str = predictor.card.name
        self.framework: str = predictor.card.framework
        self.classes, self.leads = predictor.classes, predictor.leads
        self.samples, self.sampling_rate = predictor.samples, predictor.sampling_rate
        self.multilabel: bool = predictor.card.multilabel
        self.crop = predictor.crop if predictor.crop < predictor.samples else 0
        self._starts = crop_starts(self.samples, self.crop)
        self._length = self.crop or self.samples

        self.feature_layers = tuple(
            FeatureLayer(info, self._length, len(self.leads), channels_last=self.framework == "keras")
            for info in getattr(predictor.model, "feature_info", ())
            if info.explained
        )
        attends = hasattr(predictor.model, "attention") and self.samples % self._length == 0
        self.attention: Callable[[np.ndarray], np.ndarray] | None = self._attention if attends else None

    @cached_property
    def _model(self) -> nn.Module:
        """The model of one window: (B, length, leads) -> logits."""
        model = self.predictor.model
        if isinstance(self.predictor, OnnxPredictor):
            return _OnnxLogits(self.predictor).eval()
        if self.framework != "keras":
            for module in model.modules():  # hooks need a layer's input as it was
                if getattr(module, "inplace", False):
                    module.inplace = False
            return model.eval().requires_grad_(False)
        logits = _KerasLogits(model, self.feature_layers).eval()
        for variable in logits.network.variables:
            variable.value.requires_grad_(False)
        return logits

    @cached_property
    def module(self) -> nn.Module:
        """The model as methods see it: (B, samples, leads) -> logits."""
        return _MeanOverCrops(self._model, self._starts, self._length).eval() if self.crop else self._model

    @cached_property
    def fast(self) -> nn.Module:
        """Gives the same logits in many passes without gradients; `explain.engine.fast` puts a copy here."""
        return self.module

    @property
    def device(self) -> torch.device:
        return next(self._model.parameters()).device

    def standardize(self, signals_mv: np.ndarray) -> np.ndarray:
        """Check records and standardize them as in training.

        Shapes: signals_mv (N, samples, leads) -> (N, samples, leads).
        """
        return self.predictor.standardize(signals_mv)

    def tensor(self, x: np.ndarray) -> Tensor:
        """Copy signals to the model's device; x (B, samples, leads)."""
        return torch.tensor(np.asarray(x, dtype=np.float32), device=self.device)

    def logits(self, x: np.ndarray, batch_size: int = 32) -> np.ndarray:
        """Logits of standardized signals; x (B, samples, leads) -> (B, C)."""
        rows = [np.zeros((0, len(self.classes)), np.float32)]
        with torch.no_grad(), self.exact_arithmetic():
            for start in range(0, len(x), batch_size):
                rows.append(self.fast(self.tensor(x[start : start + batch_size])).float().cpu().numpy())
        return np.concatenate(rows)

    def probabilities(self, logits: Any) -> Any:
        """Probabilities of logits; logits (B, C) -> (B, C)."""
        values = torch.as_tensor(logits)
        result = torch.sigmoid(values) if self.multilabel else torch.softmax(values, dim=1)
        return result if isinstance(logits, Tensor) else result.numpy()

    @contextlib.contextmanager
    def exact_arithmetic(self) -> Iterator[None]:
        """Whole float32 products on a GPU, and LSTMs that can be differentiated in evaluation mode."""
        # cuDNN's LSTM refuses a backward pass in evaluation mode; PyTorch's own does not
        recurrent = any(isinstance(part, nn.RNNBase) for part in self.module.modules())
        products = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            with torch.backends.cudnn.flags(enabled=not recurrent, deterministic=True, allow_tf32=False):
                yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = products

    def feature_maps(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps of the layers that Grad-CAM looks at, in one forward pass that gradients flow through.

        Shapes: x (B, samples, leads) -> logits (B, C).
        """
        if isinstance(self._model, _KerasLogits):
            windows = _crops(x, self._starts, self._length)
            logits, *maps = self._model.with_features(windows.flatten(0, 1))
            return maps, logits.unflatten(0, windows.shape[:2]).mean(dim=1)
        names = [layer.info.name for layer in self.feature_layers]
        with recorded(self._model, names) as outputs:
            logits = self.module(x)
        return [outputs[name] for name in names], logits

    def lay_out(self, layer: FeatureLayer, values: Tensor, upsampling: str = "centered") -> Tensor:
        """Bring a coarse map to the samples it stands for.

        Shapes: values (rows, H, windows, columns) -> (B, samples, leads).
        """
        rows = layer.lay_out(values, upsampling)
        rows = rows.unflatten(0, (-1, len(self._starts)))
        result = rows.new_zeros(len(rows), self.samples, len(self.leads))
        for index, start in enumerate(self._starts):
            result[:, start : start + self._length] += rows[:, index]
        return result

    def _attention(self, x: np.ndarray) -> np.ndarray:
        return self.predictor.model.attention(x)["heatmap"]


def use_torch_backend() -> None:
    """Make Keras run on PyTorch; Keras must not have been imported on another backend."""
    if "keras" in sys.modules:
        backend = sys.modules["keras"].backend.backend()
        if backend != "torch":
            raise TwelveLeadError(
                f"Keras is already running on {backend} here, and Keras models are explained on its PyTorch "
                "backend: set KERAS_BACKEND=torch before Keras is imported"
            )
    os.environ["KERAS_BACKEND"] = "torch"


def load_classifier(path: str | os.PathLike, output_dir: str | os.PathLike = ".") -> Classifier:
    """Load a trained model of either framework for attribution."""
    folder = find_checkpoint(path, output_dir)
    if read_card(folder).framework == "keras":
        use_torch_backend()
    return Classifier(load_predictor(folder, output_dir), run_name(folder))
