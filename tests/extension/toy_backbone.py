"""A backbone: one convolution and a linear head, for records or for samples."""

from torch import nn

from models_torch import register_model
from utils.feature_info import Grid
from utils.model_registry import ModelCase


@register_model(title="Toy net", cases=(ModelCase({"samples": 100, "leads": 2}, parameters=193),))
class ToyNet(nn.Module):
    """Convolution of 9 samples; `per_sample` gives logits (B, T, classes) instead of (B, classes)."""

    def __init__(self, num_classes=5, samples=1000, leads=12, width=8, per_sample=False):
        super().__init__()
        self.per_sample = per_sample
        self.body = nn.Sequential(nn.Conv1d(leads, width, 9, padding=4), nn.ReLU())
        self.feature_info = (Grid().through(9).info("body", width, explained=True),)
        self.head = nn.Linear(width, num_classes)

    def features(self, x):
        """(B, T, leads) -> (B, width, T)."""
        return self.body(x.transpose(1, 2))

    def forward(self, x):
        columns = self.features(x).transpose(1, 2)
        return self.head(columns if self.per_sample else columns.amax(dim=1))
