"""What the convolutional recurrent networks share: a backbone, a sequence module, attention, pooling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.backbones import create_backbone
from models_torch.backbones.attention import list_attention, make_attention
from models_torch.backbones.base import module_size, module_size_text
from models_torch.backbones.columns import Columns, TooShortError, walk
from models_torch.backbones.layers import activation_layer, named
from models_torch.layers import LSTM, channels_first
from utils.errors import UsageError, nearest
from utils.feature_info import Grid


class StackedLSTM(nn.Module):
    """LSTMs, one after another, over the columns of a map.

    Shapes: (B, channels, columns) -> (B, `channels` of this module, columns).
    """

    def __init__(self, channels: int, units: Sequence[int], bidirectional: bool, dropout: float):
        super().__init__()
        self.lstms = nn.ModuleList()
        for width in units:
            self.lstms.append(LSTM(channels, width, batch_first=True, bidirectional=bidirectional))
            channels = width * (2 if bidirectional else 1)
        self.dropout = nn.Dropout(dropout)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for index, lstm in enumerate(self.lstms):
            x, _ = lstm(x if index == 0 else self.dropout(x))
        return x.transpose(1, 2)

    def last(self, x: Tensor) -> Tensor:
        """What each direction gives once it has read all columns; x as `forward` returns it."""
        if not self.lstms[-1].bidirectional:
            return x[:, :, -1]
        return torch.cat([x[:, : self.channels // 2, -1], x[:, self.channels // 2 :, 0]], dim=1)


class Perceptron(nn.Module):
    """Linear layers with an activation and dropout behind each; the last dimension is channels."""

    def __init__(self, channels: int, units: Sequence[int], activation: str, dropout: float):
        super().__init__()
        self.layers = nn.Sequential()
        for width in units:
            self.layers.extend(
                [nn.Linear(channels, width), activation_layer(activation), nn.Dropout(dropout)]
            )
            channels = width
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class ColumnPerceptron(Perceptron):
    """A perceptron applied to every column of a map (B, channels, columns)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class SelfAttention(nn.Module):
    """Multi-head attention of the columns to each other, without a residual path.

    Channels that the heads do not divide are projected to the next number that they do, and back.
    Vaswani et al., Attention is all you need, 2017, doi:10.48550/arXiv.1706.03762.
    """

    def __init__(self, channels: int, heads: int = 8, dropout: float = 0.0):
        super().__init__()
        width = -(-channels // heads) * heads
        self.widen, self.narrow = _projections(channels, width)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(x.transpose(1, 2))
        return self.narrow(self.attention(x, x, x, need_weights=False)[0]).transpose(1, 2)


class Transformer(nn.Module):
    """Encoder layers of a transformer over the columns, normalization after each sum."""

    def __init__(
        self, channels: int, heads: int = 8, hidden: int = 1024, layers: int = 1, dropout: float = 0.1
    ):
        super().__init__()
        width = -(-channels // heads) * heads
        self.widen, self.narrow = _projections(channels, width)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, heads, hidden, dropout, batch_first=True)
                for _ in range(layers)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(self.layers(self.widen(x.transpose(1, 2)))).transpose(1, 2)


def _projections(channels: int, width: int) -> tuple[nn.Module, nn.Module]:
    if channels == width:
        return nn.Identity(), nn.Identity()
    return nn.Linear(channels, width), nn.Linear(width, channels)


SEQUENCE_ATTENTION: dict[str, Callable[..., nn.Module]] = {"sa": SelfAttention, "transformer": Transformer}


def attention_module(name: str, options: Mapping[str, Any], channels: int) -> nn.Module:
    """An attention module over a map, by name; ``none`` is the identity."""
    if name == "none":
        return nn.Identity()
    if name in SEQUENCE_ATTENTION:
        try:
            return SEQUENCE_ATTENTION[name](channels, **options)
        except TypeError as error:
            raise UsageError(f"attention '{name}': options {dict(options)} do not fit ({error})") from error
    names = ["none", *list_attention(), *SEQUENCE_ATTENTION]
    if name not in names:
        raise UsageError(f"unknown attention '{name}': {nearest(name, names)}")
    return make_attention({"name": name, **options}, channels)


# ---- pooling -------------------------------------------------------------------------------------


class AdaptivePool(nn.Module):
    """Mean, maximum or both over ``size`` equal parts of the columns: (B, C, columns) -> (B, out)."""

    def __init__(self, channels: int, size: int, kinds: Sequence[str]):
        super().__init__()
        self.size, self.kinds = size, kinds
        self.channels = channels * size * len(kinds)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._pooled(x, kind) for kind in self.kinds], dim=1)

    def _pooled(self, x: Tensor, kind: str) -> Tensor:
        if self.size == 1:
            return x.amax(dim=2) if kind == "max" else x.mean(dim=2)
        pool = functional.adaptive_max_pool1d if kind == "max" else functional.adaptive_avg_pool1d
        return pool(x, self.size).flatten(1)


class GeneralizedMean(nn.Module):
    """Generalized mean (GeM) of what is positive, with a learned exponent for all channels.

    Radenovic et al., Fine-tuning CNN image retrieval, 2019, doi:10.1109/TPAMI.2018.2846566.
    """

    def __init__(self, channels: int, size: int, exponent: float = 3.0, epsilon: float = 1e-6):
        super().__init__()
        self.size, self.epsilon = size, epsilon
        self.exponent = nn.Parameter(torch.tensor([exponent]))
        self.channels = channels * size

    def forward(self, x: Tensor) -> Tensor:
        power = x.clamp(min=self.epsilon) ** self.exponent
        if self.size == 1:
            mean = power.mean(dim=2)
        else:
            mean = functional.adaptive_avg_pool1d(power, self.size).flatten(1)
        return mean ** (1 / self.exponent)


class AttentivePool(nn.Module):
    """Sum of the columns, weighted by a softmax over scores of a small perceptron."""

    def __init__(self, channels: int, size: int, dropout: float = 0.2):
        super().__init__()
        if size != 1:
            raise UsageError("pool 'attentive' has pool_size 1")
        hidden = max(1, channels // 2)
        self.hidden, self.score = nn.Linear(channels, hidden), nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(dropout)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        columns = x.transpose(1, 2)
        scores = self.score(self.dropout(torch.tanh(self.hidden(columns))))
        return (torch.softmax(scores, dim=1) * columns).sum(dim=1)


POOLS: dict[str, Callable[[int, int], nn.Module]] = {
    "max": lambda channels, size: AdaptivePool(channels, size, ("max",)),
    "avg": lambda channels, size: AdaptivePool(channels, size, ("avg",)),
    "concat": lambda channels, size: AdaptivePool(channels, size, ("max", "avg")),
    "gem": GeneralizedMean,
    "attentive": AttentivePool,
}


# ---- the network ---------------------------------------------------------------------------------


class CRNN(nn.Module):
    """Backbone, sequence module, attention and a perceptron for each column.

    ``trunk`` gives (B, channels, columns); subclasses pool it, or tag its columns. The maps of the backbone
    are what `feature_info` describes.
    """

    def __init__(
        self,
        model: str,
        samples: int,
        leads: int,
        backbone: str,
        backbone_config: Mapping[str, Any] | None,
        sampling_rate: int,
        rnn: str,
        rnn_units: Sequence[int],
        rnn_bidirectional: bool,
        rnn_activation: str,
        attention: str,
        attention_config: Mapping[str, Any] | None,
        dropout: float,
        channels_first: bool,
    ):
        super().__init__()
        self.model, self.samples, self.leads, self.channels_first = model, samples, leads, channels_first
        self.backbone = create_backbone(
            backbone, leads, backbone_config, channels_first=True, fs=sampling_rate
        )
        self.resolved_options = {"backbone_config": self.backbone.config.to_json()}
        channels, self.columns = self.backbone.output_shape(samples)
        self.feature_info = tuple(info.inside("backbone") for info in self.backbone.feature_info)
        if rnn != "none" and not rnn_units:
            raise UsageError(f"{model}: rnn '{rnn}' needs rnn_units")
        sequences: dict[str, Callable[..., nn.Module]] = {
            "none": nn.Identity,
            "lstm": lambda: StackedLSTM(channels, rnn_units, rnn_bidirectional, dropout),
            "linear": lambda: ColumnPerceptron(channels, rnn_units, rnn_activation, dropout),
        }
        self.sequence = named("rnn", rnn, sequences)()
        self.channels = getattr(self.sequence, "channels", channels)
        self.attention_module = attention_module(attention, attention_config or {}, self.channels)
        self._check_columns()

    def _check_columns(self) -> None:
        if hasattr(self.attention_module, "columns"):
            try:
                walk(self.attention_module, Columns(Grid(), self.columns))
            except TooShortError:
                raise UsageError(
                    f"{self.model}: {self.samples} samples leave {self.columns} columns behind the backbone, "
                    "too few for its attention: use longer records, smaller strides or another attention"
                ) from None

    def features(self, signals: Tensor) -> Tensor:
        """Map of the backbone: (B, T, leads), or (B, leads, T) if ``channels_first``, to (B, C, columns)."""
        signals = channels_first(signals, self.samples, self.leads, self.model, self.channels_first)
        return self.backbone(signals)

    def trunk(self, signals: Tensor) -> Tensor:
        return self.attention_module(self.sequence(self.features(signals)))

    @property
    def module_size(self) -> int:
        """Number of trainable parameters."""
        return module_size(self)

    @property
    def module_size_(self) -> str:
        """Memory of the trainable parameters as text."""
        return module_size_text(self)
