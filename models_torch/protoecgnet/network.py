"""ProtoECGNet: an ECG is classified by how much it looks like prototypes, each a piece of a training ECG.

A residual trunk and add-on layers turn the record into feature columns. Each prototype is compared with every
window of columns; the best window gives its score, and a linear layer adds the scores up to the logits:
``logit = bias + sum of weight x score``. The three branches differ in what a window is:

rhythm      the average over the whole record (its course over the 10 s matters)
morphology  three columns, about one second (the shape of a beat)
global      all the columns in their order
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.layers import channels_first
from models_torch.protoecgnet.model_trunk import make_trunk
from models_torch.protoecgnet.prototype_classifier import BRANCHES, PrototypeClassifier, list_prototypes
from models_torch.registry import register_model
from utils.errors import UsageError, nearest
from utils.feature_info import FeatureInfo
from utils.model_registry import ModelCase

EPSILON = 1e-4


def window_cosines(features: Tensor, prototypes: Tensor) -> Tensor:
    """Cosine between each window of the features and each prototype.

    Shapes: features (B, D, L), prototypes (P, D, T) -> (B, P, L - T + 1).
    """
    columns = prototypes.shape[2]
    unit = prototypes / prototypes.square().sum((1, 2), keepdim=True).add(EPSILON).sqrt()
    energy = features.square().sum(1, keepdim=True)
    energy = functional.avg_pool1d(energy, columns, 1) * columns
    return functional.conv1d(features, unit) / energy.add(EPSILON).sqrt()


def window_distances(features: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distance between each window of the features and each prototype.

    Shapes: features (B, D, L), prototypes (P, D, T) -> (B, P, L - T + 1).
    """
    columns, kind = prototypes.shape[2], features.dtype
    features, prototypes = features.double(), prototypes.double()  # small differences of large sums
    energy = functional.avg_pool1d(features.square().sum(1, keepdim=True), columns, 1) * columns
    prototype_energy = prototypes.square().sum((1, 2))[:, None]
    square = energy - 2 * functional.conv1d(features, prototypes) + prototype_energy
    return square.clamp(min=1e-12).sqrt().to(kind)


PARTS = ("trunk", "add_on", "prototypes", "head")
_TOP_WINDOWS = 5


def _check_similarity(pooling: str, latent_space_type: str, activation: str, scale: str) -> None:
    _choose("pooling", pooling, ("max", "top", "mean"))
    _choose("latent_space_type", latent_space_type, ("arc", "l2"))
    _choose("prototype_activation_function", activation, ("log", "linear"))
    _choose("similarity_scale", scale, ("cosine", "reference"))


def _choose(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UsageError(f"protoecgnet: unknown {name} '{value}': {nearest(value, choices)}")


@register_model(
    title="ProtoECGNet, one branch",
    doi="10.48550/arXiv.2504.08713",
    parameters=4_512_839,
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "width": 4, "proto_dim": 8},
            parameters=18_611,
            samples=(96, 333),
            leads=(1, 12),
        ),
        ModelCase(
            {"samples": 160, "leads": 3, "width": 4, "proto_dim": 8, "branch": "rhythm"},
            parameters=16_326,
            name="rhythm",
            samples=(96, 333),
        ),
        ModelCase(
            {
                "samples": 640, "leads": 2, "width": 2, "proto_dim": 4, "branch": "global", "bounded": True,
                "backbone": "resnet50", "add_on_layers_type": "other",
            },
            parameters=18_562,
            name="global with bottlenecks",
        ),
    ),
)  # fmt: skip
class ProtoECGNet(PrototypeClassifier):
    """One branch of ProtoECGNet; the branch decides the options that are 0 or empty.

    ``backbone``: one of the ResNets, or any registered model, with ``backbone_config`` as its options.
    ``width``, ``bounded``, ``dropout``, ``decimation``: see `ResNet`.
    ``add_on_layers_type``: ``linear`` (two layers), ``other`` (two with a bottleneck) or ``identity``.
    ``sigmoid``: after the add-on layers, as in the reference. It makes all features positive and all cosines
        high, so prototypes hardly differ: off by default.
    ``proto_dim``: channels of the add-on layers' output.
    ``single_class_prototype_per_class``: 0: as many as in the paper.
    ``joint_prototypes_per_border``: prototypes of each pair of classes.
    ``prototype_classes``: classes of each prototype, where prototypes were pruned.
    ``proto_time_len``: columns of a prototype; 0: those of the branch.
    ``latent_space_type``: ``arc``: cosine; ``l2``: Euclidean distance.
    ``prototype_activation_function``: how an l2 distance becomes a similarity: ``log`` or ``linear``.
    ``pooling``: score of a prototype from its windows: ``max``, ``top`` (mean of the five best) or ``mean``
        (the reference, whose pictures nevertheless show the best window).
    ``similarity_scale``: ``cosine``: from -1 to 1 in every branch; ``reference``: times floor(sqrt(D T)) / T
        but for rhythm.
    ``last_layer_connection_weight``: first weight from a prototype to its own class; 0: ten divided by the
        prototypes of the class.
    ``off_class_weight``: first weight to the other classes; -0.5 in the reference.
    ``bias``: whether the classifier has one; the reference's has not.
    ``reference_layers``: image layers and dead weights of the reference, for its exact parameter counts.

    Sethi et al., ProtoECGNet: Case-Based Interpretable Deep Learning for Multi-Label ECG Classification with
    Contrastive Learning, MLHC 2025, PMLR 298, arXiv:2504.08713.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        branch: str = "morphology",
        backbone: str = "",
        width: int = 64,
        bounded: bool = False,
        dropout: float = 0.0,
        decimation: int = 1,
        add_on_layers_type: str = "linear",
        sigmoid: bool = False,
        proto_dim: int = 512,
        single_class_prototype_per_class: int = 0,
        joint_prototypes_per_border: int = 0,
        prototype_classes: Sequence[Sequence[int]] | None = None,
        proto_time_len: int = 0,
        latent_space_type: str = "arc",
        prototype_activation_function: str = "log",
        pooling: str = "max",
        similarity_scale: str = "cosine",
        last_layer_connection_weight: float = 0.0,
        off_class_weight: float = 0.0,
        bias: bool = True,
        reference_layers: bool = False,
        backbone_config: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        _choose("branch", branch, list(BRANCHES))
        _check_similarity(pooling, latent_space_type, prototype_activation_function, similarity_scale)
        paper = BRANCHES[branch]
        self.samples, self.leads, self.branch, self.pooling = samples, leads, branch, pooling
        self.latent_space_type, self.activation = latent_space_type, prototype_activation_function
        sizes = (leads, width, bounded, dropout, decimation, reference_layers)
        self.trunk = make_trunk(backbone or paper.backbone, samples, backbone_config, *sizes)
        self.averaged = paper.columns < 0
        self.columns = 1 if self.averaged else self.trunk.columns(samples)
        length = self._prototype_length(proto_time_len, paper.columns)
        self.windows = self.columns - length + 1
        self.add_on, depth = _add_on(add_on_layers_type, self.trunk.channels, proto_dim, sigmoid)
        per_class = single_class_prototype_per_class or paper.prototypes_per_class
        classes_of = prototype_classes or list_prototypes(num_classes, per_class, joint_prototypes_per_border)
        self.register_buffer("identity", _identity(classes_of, num_classes), persistent=False)
        self.prototype_vectors = nn.Parameter(torch.randn(len(classes_of), depth, length))
        scaled = similarity_scale == "reference" and not self.averaged
        self.scale = int((depth * length) ** 0.5) / length if scaled else 1.0
        self.head = nn.Linear(len(classes_of), num_classes, bias=bias)
        own_class_weight = last_layer_connection_weight or 10 / per_class
        with torch.no_grad():
            self.head.weight.copy_(torch.where(self.identity.T > 0, own_class_weight, off_class_weight))
            if bias:
                self.head.bias.zero_()
        if reference_layers:  # never used: the reference keeps such a copy, and counts it
            self.ones = nn.Parameter(torch.ones_like(self.prototype_vectors), requires_grad=False)
        self._frozen: set[str] = set()
        self.feature_info = self._describe(depth)

    def _prototype_length(self, proto_time_len: int, paper_columns: int) -> int:
        length = 1 if self.averaged else proto_time_len or paper_columns or self.columns
        if proto_time_len < 0 or (proto_time_len > 1 and self.averaged):
            raise UsageError(
                "protoecgnet: proto_time_len is a number of columns; the rhythm branch has one, their average"
            )
        if length > self.columns:
            raise UsageError(
                f"protoecgnet: prototypes of {length} columns do not fit into records of {self.columns}"
            )
        return length

    def _describe(self, depth: int) -> tuple[FeatureInfo, ...]:
        inner = tuple(info.inside("trunk") for info in self.trunk.feature_info)
        if self.averaged:
            size = self.samples
            return (*inner, FeatureInfo("add_on", depth, stride=size, receptive_field=size, start=0))
        return (*inner, dataclasses.replace(inner[-1], name="add_on", channels=depth, explained=False))

    @property
    def parts(self) -> dict[str, nn.Module | nn.Parameter]:
        """What a training stage can train or freeze, by name."""
        return dict(zip(PARTS, (self.trunk, self.add_on, self.prototype_vectors, self.head), strict=True))

    def freeze(self, *parts: str) -> None:
        """Freeze some of `PARTS`, and no others: no gradient, evaluation mode for batch norm and dropout."""
        for name, part in self.parts.items():
            part.requires_grad_(name not in parts)
        self._frozen = set(parts)
        self.train(self.training)

    def train(self, mode: bool = True) -> ProtoECGNet:
        """Switch between training and evaluation; frozen parts stay in evaluation."""
        super().train(mode)
        for name in self._frozen:
            part = self.parts[name]
            if isinstance(part, nn.Module):
                part.eval()
        return self

    def features(self, signals: Tensor) -> Tensor:
        """Feature columns behind the add-on layers: (B, samples, leads) -> (B, D, columns)."""
        x = self.trunk(channels_first(signals, self.samples, self.leads, "protoecgnet"))
        return self.add_on(x.mean(2, keepdim=True) if self.averaged else x)

    def activations(self, features: Tensor) -> Tensor:
        """Similarity of each window with each prototype: (B, D, columns) -> (B, P, windows)."""
        if self.latent_space_type == "arc":
            return window_cosines(features, self.prototype_vectors) * self.scale
        distances = window_distances(features, self.prototype_vectors)
        if self.activation == "linear":
            return -distances
        return ((distances + 1) / (distances + EPSILON)).log()

    def pool(self, activations: Tensor) -> tuple[Tensor, Tensor]:
        """Score of each prototype, and its most similar window: (B, P, windows) -> (B, P) each."""
        best, window = activations.max(dim=2)
        if self.pooling == "mean":
            return activations.mean(dim=2), window
        if self.pooling == "top":
            return activations.topk(min(_TOP_WINDOWS, self.windows), dim=2).values.mean(dim=2), window
        return best, window

    def scores(self, signals: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity of each prototype, and its best window: (B, samples, leads) -> (B, P) each."""
        return self.pool(self.activations(self.features(signals)))

    def window_span(self, window: int) -> tuple[int, int]:
        """First sample that a window stands for in a picture, and the one after the last.

        That is the whole record for the rhythm and the global branch.
        """
        if self.windows == 1:
            return 0, self.samples
        stride, length = self.trunk.stride, self.columns - self.windows + 1
        # a column looks at the samples around the one it stands for
        start = self.trunk.first_middle + window * stride - stride // 2
        return max(0, start), min(start + length * stride, self.samples)

    def window_samples(self, windows: Tensor) -> Tensor:
        """`window_span` of many windows: (B, P) -> (B, P, 2)."""
        spans = [self.window_span(window) for window in range(self.windows)]
        return torch.tensor(spans, device=windows.device)[windows]

    def window_receptive_field(self, window: int) -> tuple[int, int]:
        """First sample of the record that can influence a window, and the one after the last."""
        if self.windows == 1:
            return 0, self.samples
        last, column = window + self.columns - self.windows, self.feature_info[-1]
        start = column.start + window * column.stride
        stop = column.start + last * column.stride + column.receptive_field
        return max(0, start), min(stop, self.samples)


def _identity(classes_of: Sequence[Sequence[int]], num_classes: int) -> Tensor:
    """Which prototype stands for which class, (P, num_classes) of zeros and ones."""
    identity = torch.zeros(len(classes_of), num_classes)
    for index, classes in enumerate(classes_of):
        identity[index, list(classes)] = 1
    return identity


def _add_on(kind: str, channels: int, depth: int, sigmoid: bool) -> tuple[nn.Module, int]:
    """Layers of kernel 1 between trunk and prototypes, and the number of channels that leave them."""
    _choose("add_on_layers_type", kind, ("linear", "other", "identity"))
    if kind == "identity":
        return nn.Identity(), channels
    inside = max(1, depth // 2) if kind == "other" else depth
    layers = [nn.Conv1d(channels, inside, 1), nn.ReLU(), nn.Conv1d(inside, depth, 1)]
    for layer in layers:
        if isinstance(layer, nn.Conv1d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers, *([nn.Sigmoid()] if sigmoid else [])), depth
