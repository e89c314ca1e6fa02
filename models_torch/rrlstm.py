"""RR-LSTM: a bidirectional LSTM over RR intervals, with a conditional random field for their sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_torch.crf import CrfHead
from models_torch.layers import LSTM, channels_first
from models_torch.registry import register_model
from utils.errors import UsageError
from utils.feature_info import FeatureInfo
from utils.model_registry import ModelCase

_CERTAIN = 12.0  # logit of a class on the most probable path; the others have 0


class SqueezeExcitation(nn.Module):
    """Weights of channels from their means over time (Hu et al., 2018, doi:10.1109/CVPR.2018.00745)."""

    def __init__(self, channels: int, reduction: int = 8):
        super().__init__()
        self.squeeze = nn.Linear(channels, max(channels // reduction, 1))
        self.excite = nn.Linear(self.squeeze.out_features, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.sigmoid(self.excite(functional.mish(self.squeeze(x.mean(dim=2)))))
        return x * weights[..., None]


@register_model(
    title="RR-LSTM",
    doi="10.1016/j.compbiomed.2018.07.001",
    parameters=367_290,
    cases=(
        ModelCase(
            {"samples": 30, "leads": 1, "units": 12, "decode": "marginals"},
            parameters=1_771,
            samples=(1, 7, 100),
            leads=(1, 2),
            columns=30,
        ),
        ModelCase(
            {"samples": 12, "leads": 1, "units": 3, "attention": "none", "crf": False, "hidden": 4},
            parameters=197,
            name="linear",
            samples=(1, 30),
            leads=(1, 2),
            columns=12,
        ),
        ModelCase(
            {"samples": 12, "leads": 1, "units": 12, "crf": False, "hidden": 4, "pool": "max"},
            parameters=1_736,
            name="pooled",
            samples=(1, 30),
            leads=(1, 2),
        ),
    ),
)
class RRLSTM(nn.Module):
    """LSTM over RR intervals (B, `samples` intervals, `leads` values); it takes sequences of any length.

    With ``crf`` it learns by the likelihood of whole sequences (`sequence_loss`), and ``decode`` says what it
    answers: ``viterbi``, the most probable sequence, with logits that leave no doubt, or ``marginals``, the
    log probability of each class at each interval. Without, a linear layer with `hidden` units gives logits
    of every interval, or with ``pool="max"`` of the whole sequence.

    Faust et al., Automated detection of atrial fibrillation using long short-term memory network with RR
    interval signals, Computers in Biology and Medicine 102 (2018) 327-335,
    doi:10.1016/j.compbiomed.2018.07.001.
    """

    def __init__(
        self,
        num_classes: int = 2,
        samples: int = 30,
        leads: int = 1,
        units: int = 200,
        attention: str = "se",
        crf: bool = True,
        decode: str = "viterbi",
        hidden: int = 50,
        pool: str = "none",
        dropout: float = 0.0,
    ):
        super().__init__()
        _check("attention", attention, ("none", "se"))
        _check("decode", decode, ("viterbi", "marginals"))
        _check("pool", pool, ("none", "max"))
        if crf and pool != "none":
            raise UsageError("rrlstm: a CRF answers for every interval: leave out pool, or give crf=false")
        self.samples, self.leads, self.decode, self.pool = samples, leads, decode, pool
        self.lstm = LSTM(leads, units, batch_first=True, bidirectional=True)
        self.attention: nn.Module = SqueezeExcitation(2 * units) if attention == "se" else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.hidden: nn.Module = nn.Identity()
        if not crf:
            self.hidden = nn.Sequential(nn.Linear(2 * units, hidden), nn.Mish())
        self.head: nn.Linear = CrfHead(2 * units, num_classes) if crf else nn.Linear(hidden, num_classes)
        # every column sees every interval
        self.feature_info = (
            FeatureInfo("", 2 * units, 1, receptive_field=2 * samples + 1, start=-samples, explained=True),
        )
        self.learns_sequences = crf

    def features(self, signals: Tensor) -> Tensor:
        """Output of the LSTM: (B, samples, leads) -> (B, 2 units, samples)."""
        channels_first(signals, self.samples, self.leads, "rrlstm")
        return self.attention(self.lstm(signals)[0].transpose(1, 2))

    def _emissions(self, signals: Tensor) -> Tensor:
        return self.head(self.hidden(self.dropout(self.features(signals).transpose(1, 2))))

    def forward(self, signals: Tensor) -> Tensor:
        """Logits: (B, samples, leads) -> (B, samples, num_classes), or (B, num_classes) where pooled."""
        emissions = self._emissions(signals)
        if not isinstance(self.head, CrfHead):
            return emissions if self.pool == "none" else emissions.amax(dim=1)
        if self.decode == "viterbi" and not self.training:
            path = self.head.viterbi(emissions)
            return _CERTAIN * functional.one_hot(path, self.head.out_features).to(emissions.dtype)
        return self.head.log_marginals(emissions)

    def sequence_loss(self, signals: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood of sequences of classes, targets (B, samples, num_classes).

        A further column holds weights: an interval of weight 0 has no class.
        """
        if not isinstance(self.head, CrfHead):
            raise UsageError("rrlstm: there is no CRF whose likelihood could be a loss")
        classes = self.head.out_features
        labels, weights = targets[..., :classes], targets[..., classes:]
        known = labels * (weights > 0) if weights.shape[-1] else labels
        return self.head.negative_log_likelihood(self._emissions(signals), known)


def _check(option: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise UsageError(f"rrlstm: {option} must be {' or '.join(valid)}, not '{value}'")
