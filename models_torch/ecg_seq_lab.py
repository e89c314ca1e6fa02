"""ECG_SEQ_LAB_NET: tags a sequence, one row of logits for each column of the backbone's map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from models_torch.crnn import CRNN, Perceptron
from models_torch.registry import register_model
from utils.model_registry import ModelCase


@register_model(
    title="ECG_SEQ_LAB_NET",
    doi="10.1109/ACCESS.2020.2997473",
    parameters=2_906_453,
    cases=(
        ModelCase(
            {
                "samples": 160, "leads": 3, "rnn_units": (4,), "attention_config": {"reduction": 2},
                "head_units": (4,),
                "backbone_config": {
                    "num_filters": [4, 4], "filter_lengths": [5, 3], "subsample_lengths": [2, 2],
                    "dropouts": [0.0, 0.0], "dilations": [[[1], [1, 1]], [[2], [2, 4]]],
                },
            },
            parameters=953,
            samples=(64, 333),
            leads=(1, 12),
            columns=40,
        ),
        ModelCase(
            {
                "samples": 160, "leads": 3, "rnn": "none", "attention": "none", "head_units": (4,),
                "recover_length": True, "backbone_config": {
                    "num_filters": [4, 4], "filter_lengths": [5, 3], "subsample_lengths": [2, 2],
                    "dropouts": [0.0, 0.0], "dilations": [[[1], [1, 1]], [[2], [2, 4]]],
                },
            },
            parameters=429,
            name="all samples",
            columns=160,
        ),
    ),
)  # fmt: skip
class ECG_SEQ_LAB(CRNN):
    """A backbone, a sequence module, attention and a perceptron for each column; logits (B, columns, K).

    ``recover_length``: interpolate the logits linearly to every sample, (B, T, K). ``columns`` says how many
    rows a record has. The other options are those of ``ecg_crnn``; without ``rnn`` and ``attention`` it is
    the convolutional network of the paper.

    Cai and Hu, QRS complex detection using novel deep learning neural networks, 2020,
    doi:10.1109/ACCESS.2020.2997473; Wen and Kang, 2022, doi:10.48550/arXiv.2204.04420.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        backbone: str = "multi_scopic_small",
        backbone_config: Mapping[str, Any] | None = None,
        sampling_rate: int = 0,
        rnn: str = "lstm",
        rnn_units: Sequence[int] = (256, 256),
        rnn_bidirectional: bool = True,
        rnn_activation: str = "mish",
        attention: str = "se",
        attention_config: Mapping[str, Any] | None = None,
        head_units: Sequence[int] = (256, 64),
        head_activation: str = "mish",
        dropout: float = 0.2,
        recover_length: bool = False,
        channels_first: bool = False,
    ):
        super().__init__(
            "ecg_seq_lab", samples, leads, backbone, backbone_config, sampling_rate, rnn, rnn_units,
            rnn_bidirectional, rnn_activation, attention, attention_config, dropout, channels_first,
        )  # fmt: skip
        self.recover_length = recover_length
        self.perceptron = Perceptron(self.channels, head_units, head_activation, dropout)
        self.head = nn.Linear(self.perceptron.channels, num_classes)

    def forward(self, signals: Tensor) -> Tensor:
        logits = self.head(self.perceptron(self.trunk(signals).transpose(1, 2)))
        if not self.recover_length:
            return logits
        return functional.interpolate(logits.transpose(1, 2), self.samples, mode="linear").transpose(1, 2)
