"""Bidirectional LSTM over the samples of a record, in the form of the PTB-XL benchmark."""

from __future__ import annotations

from models_torch.lstm import Lstm
from models_torch.registry import register_model
from utils.model_registry import ModelCase, Published


@register_model(
    title="lstm_bidir",
    doi="10.1109/JBHI.2020.3022989",
    parameters=2_330_629,
    published=(
        Published("all", {"macro_roc_auc": 0.914}, "10.1109/JBHI.2020.3022989"),
        Published("diagnostic", {"macro_roc_auc": 0.932}, "10.1109/JBHI.2020.3022989"),
        Published("subdiagnostic", {"macro_roc_auc": 0.923}, "10.1109/JBHI.2020.3022989"),
        Published("superdiagnostic", {"macro_roc_auc": 0.921}, "10.1109/JBHI.2020.3022989"),
        Published("form", {"macro_roc_auc": 0.876}, "10.1109/JBHI.2020.3022989"),
        Published("rhythm", {"macro_roc_auc": 0.949}, "10.1109/JBHI.2020.3022989"),
    ),
    cases=(
        ModelCase(
            {"samples": 160, "leads": 3, "lstm_units": 4, "units": 6, "dropout": 0.0},
            parameters=981,
            samples=(20, 250),
            leads=(1, 12),
        ),
    ),
)
class Lstm_Bidir(Lstm):  # noqa: N801  (its registered name has the underscore)
    """lstm_bidir of the PTB-XL benchmark: layers of LSTM read the samples in both directions.

    Strodthoff et al., IEEE JBHI 25(5), 2021, doi:10.1109/JBHI.2020.3022989.
    """

    def __init__(
        self,
        num_classes: int = 5,
        samples: int = 1000,
        leads: int = 12,
        lstm_units: int = 256,
        layers: int = 2,
        units: int = 128,
        dropout: float = 0.5,
    ):
        super().__init__(num_classes, samples, leads, lstm_units, layers, True, units, dropout)
