"""ECG_CRNN: a classifier on any backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from models_torch.backbones.layers import named
from models_torch.crnn import CRNN, POOLS, Perceptron
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.model_registry import ModelCase


@register_model(
    title="ECG_CRNN",
    doi="10.48550/arXiv.2204.04420",
    parameters=9_557_861,
    cases=(
        ModelCase(
            {
                "samples": 160, "leads": 3, "backbone": "resnet_nature_comm", "rnn": "lstm",
                "rnn_units": (4,), "attention_config": {"reduction": 2}, "head_units": (8,), "pool": "gem",
                "backbone_config": {
                    "stem": {"num_filters": [4], "filter_lengths": [5]}, "num_filters": [4, 8],
                    "num_blocks": [1, 1], "filter_lengths": [7, 5], "strides": [2, 4],
                    "building_block": ["basic", "bottleneck"], "block": [{"dropout": 0.0}, {"dropout": 0.0}],
                },
            },
            parameters=2642,
            samples=(64, 333),
            leads=(1, 12),
        ),
        ModelCase(
            {
                "samples": 162, "leads": 3, "backbone": "resnet_18", "attention": "none", "pool": "max",
                "head_units": (8,), "backbone_config": {
                    "stem": {"num_filters": [4], "filter_lengths": [5]}, "num_filters": [4, 8],
                    "num_blocks": [1, 1], "filter_lengths": [5, 3], "strides": [1, 2],
                    "building_block": ["basic", "basic"], "block": [{}, {}],
                },
            },
            parameters=733,
            name="plain",
        ),
        ModelCase(
            {
                "samples": 200, "leads": 2, "backbone": "tresnetF", "attention": "transformer",
                "attention_config": {"heads": 2, "hidden": 8, "dropout": 0.0}, "pool": "concat",
                "head_units": (8,), "backbone_config": {
                    "stem": {"num_filters": [8]}, "num_filters": [8, 8], "num_blocks": [1, 1],
                    "filter_lengths": [5, 3], "strides": [1, 2], "building_block": ["basic", "bottleneck"],
                    "block": [
                        {"blur_size": 3, "attn": {"name": "se", "reduction": 2}},
                        {"blur_size": 3, "conv_type": "anti_alias", "attn": None},
                    ],
                },
            },
            parameters=6713,
            name="tresnet",
        ),
    ),
)  # fmt: skip
class ECG_CRNN(CRNN):
    """A backbone, a sequence module, attention, pooling and a perceptron.

    ``backbone``, ``backbone_config``: name of a backbone and changes of its configuration.
    ``sampling_rate``: in Hz; filter lengths are rescaled from 500 Hz to it; 0 leaves them.
    ``rnn``: none, ``lstm`` (widths ``rnn_units``) or ``linear`` (a perceptron for each column).
    ``last_step``: what the LSTM gives is read at its last column; attention and pooling are left out.
    ``attention``: none, se, gc, nl, cbam, ge, sk, bam, coordinate, sa or transformer.
    ``pool``: max, avg, gem, concat (max and avg) or attentive, over ``pool_size`` parts; none gives logits
        (B, columns, classes).

    Wen and Kang, Investigating deep learning benchmarks for electrocardiography signal processing, 2022,
    doi:10.48550/arXiv.2204.04420.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        backbone: str = "resnet_nature_comm_bottle_neck",
        backbone_config: Mapping[str, Any] | None = None,
        sampling_rate: int = 0,
        rnn: str = "none",
        rnn_units: Sequence[int] = (192, 192),
        rnn_bidirectional: bool = True,
        rnn_activation: str = "mish",
        last_step: bool = False,
        attention: str = "se",
        attention_config: Mapping[str, Any] | None = None,
        pool: str = "max",
        pool_size: int = 1,
        head_units: Sequence[int] = (1024,),
        head_activation: str = "mish",
        dropout: float = 0.2,
        channels_first: bool = False,
    ):
        if last_step and rnn != "lstm":
            raise UsageError(f"ecg_crnn: last_step is for rnn 'lstm', not '{rnn}'")
        super().__init__(
            "ecg_crnn", samples, leads, backbone, backbone_config, sampling_rate, rnn, rnn_units,
            rnn_bidirectional, rnn_activation, "none" if last_step else attention,
            None if last_step else attention_config, dropout, channels_first,
        )  # fmt: skip
        self.last_step = last_step
        self.pool: nn.Module | None = None
        if pool != "none" and not last_step:
            build = named("pool", pool, {**POOLS, "none": nn.Identity})
            if not 1 <= pool_size <= self.columns:
                raise UsageError(
                    f"ecg_crnn: pool_size {pool_size} must be 1 to {self.columns}, the map's columns"
                )
            self.pool = build(self.channels, pool_size)
        channels = self.channels if self.pool is None else self.pool.channels
        self.perceptron = Perceptron(channels, head_units, head_activation, dropout)
        self.head = nn.Linear(self.perceptron.channels, num_classes)

    def forward(self, signals: Tensor) -> Tensor:
        x = self.trunk(signals)
        if self.last_step:
            x = self.sequence.last(x)
        elif self.pool is None:
            x = x.transpose(1, 2)
        else:
            x = self.pool(x)
        return self.head(self.perceptron(x))
