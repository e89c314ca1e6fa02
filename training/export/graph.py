"""A trained model as one network from millivolts to probabilities, traced to ONNX."""

from __future__ import annotations

import copy
import io
import logging
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional

from preprocessing.transforms.normalize import Normalize
from preprocessing.transforms.standardize import Standardizer
from training.export.inside import split_steps
from training.predictor import Predictor, crop_starts
from utils.errors import TwelveLeadError
from utils.text import short_reason

OPSET = 17
INPUT, OUTPUTS = "signals_mv", ("logits", "probabilities")
_LEAST = 1e-7  # what the preprocessor `normalize` adds to a spread
_LEAST_STD = 1e-6  # what `Standardizer` adds to the standard deviation of a lead
_ROWS = 2  # of the traced batch; the exported model takes any number
_ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: torch.softmax(x, dim=-1),
    "linear": lambda x: x,
}


class Scaling(nn.Module):
    """What `Standardizer` does to records, as far as `split_steps` leaves it to the network.

    Shapes: (B, T, leads) -> (B, T, leads).
    """

    def __init__(self, standardizer: Standardizer):
        super().__init__()
        self.steps = split_steps(standardizer)[1]
        self.per_record = standardizer.per_record
        self.register_buffer("mean", torch.tensor(standardizer.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(standardizer.std, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = _normalized(step, x)
        if self.per_record:
            centered = x - x.mean(dim=1, keepdim=True)
            return centered / (centered.square().mean(dim=1, keepdim=True).sqrt() + _LEAST_STD)
        return (x - self.mean) / self.std


def _normalized(step: Normalize, x: Tensor) -> Tensor:
    """What `Normalize` does, in the same order of operations."""
    if step.method == "naive":
        return (x - step.mean) / step.std
    over = (1,) if step.per_channel else (1, 2)
    if step.method == "min-max":
        low, high = x.amin(dim=over, keepdim=True), x.amax(dim=over, keepdim=True)
        return (x - low) / (high - low + _LEAST)
    centered = x - x.double().mean(dim=over, keepdim=True).float()
    spread = centered.square().double().mean(dim=over, keepdim=True).sqrt() + _LEAST
    return centered * (step.std / spread).float() + step.mean


class FromMillivolts(nn.Module):
    """Scaling, windows, network, activation, and the mean over windows, as `Predictor.predict` does it.

    ``model``: standardized windows -> logits. The logits of a record are the mean over its windows, as
    explanations use them, and its probabilities the mean of the windows' probabilities.

    Shapes: (B, samples, leads) in mV -> (B, ..., C) twice.
    """

    def __init__(self, model: nn.Module, predictor: Predictor):
        super().__init__()
        self.scaling, self.model = Scaling(predictor.standardizer), model
        self.starts = crop_starts(predictor.samples, predictor.crop)
        self.length = predictor.crop or predictor.samples
        self.activate = _ACTIVATIONS[predictor.task.activation]
        self.reduction = predictor.task.reduction if predictor.task.aligned else 0
        self.samples = predictor.samples

    def forward(self, signals_mv: Tensor) -> tuple[Tensor, Tensor]:
        x = self.scaling(signals_mv)
        if len(self.starts) == 1:
            logits = self.model(x[:, : self.length]).float()
            return logits, self.activate(logits)
        windows = torch.stack([x[:, start : start + self.length] for start in self.starts], dim=1)
        rows = self.model(windows.flatten(0, 1)).float()
        logits = rows.reshape(-1, len(self.starts), *rows.shape[1:])
        return self._join(logits), self._join(self.activate(logits))

    def _join(self, windows: Tensor) -> Tensor:
        if not self.reduction:
            return windows.mean(dim=1)
        steps = -(-self.samples // self.reduction)
        counts, total = torch.zeros(steps, 1), torch.zeros(1)
        for index, sample in enumerate(self.starts):
            first = sample // self.reduction
            last = first + int(windows.shape[2])
            counts[first:last] += 1
            total = total + functional.pad(windows[:, index], (0, 0, first, steps - last))
        return total / counts


def network_of(predictor: Predictor) -> nn.Module:
    """A predictor's network without its last activation; Keras has to run on its PyTorch backend."""
    if predictor.card.framework == "keras":
        from training.export.keras_logits import KerasLogits

        return KerasLogits(predictor.model).eval()
    return exportable(predictor.model, predictor.crop or predictor.samples)


def exportable(model: nn.Module, samples: int) -> nn.Module:
    """A copy on the CPU whose modules with ``for_export(samples)`` are replaced by what that gives."""
    network = copy.deepcopy(model).cpu().eval()
    for name, module in list(network.named_modules()):
        if hasattr(module, "for_export"):
            network.set_submodule(name, module.for_export(samples))
    return network


def trace(model: nn.Module, samples: int, leads: int) -> bytes:
    """The ONNX file of a network, for any number of records.

    PyTorch's exporter by tracing takes a second, its successor (``dynamo=True``) a minute and more for the
    same operators.

    Raises
    ------
    TwelveLeadError
        An operator that ONNX lacks, by name.
    """
    example = torch.randn(_ROWS, samples, leads, generator=torch.Generator().manual_seed(0))
    file, names = io.BytesIO(), (INPUT, *OUTPUTS)
    level = logging.getLogger("torch.onnx").level
    with warnings.catch_warnings(), torch.no_grad():
        # of the exporter, about itself and about shapes: they are checked against the model afterwards
        for kind in (DeprecationWarning, FutureWarning, UserWarning, torch.jit.TracerWarning):
            warnings.simplefilter("ignore", kind)
        try:
            torch.onnx.export(
                model.eval(), (example,), file, input_names=[INPUT], output_names=list(OUTPUTS),
                opset_version=OPSET, dynamic_axes={name: {0: "batch"} for name in names}, dynamo=False,
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            raise TwelveLeadError(f"this model cannot be written as ONNX: {short_reason(error)}") from error
        finally:
            logging.getLogger("torch.onnx").setLevel(level)
    return file.getvalue()
