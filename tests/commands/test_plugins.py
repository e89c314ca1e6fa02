"""A model from outside the repository is trained, scored and resumed by the ordinary commands."""

import subprocess
import sys

import pytest

from tests.helpers.training_files import ROOT, small_database

pytestmark = pytest.mark.torch
PLUGIN = """
from torch import nn

from models_torch import register_model


@register_model
class ToyNet(nn.Module):
    def __init__(self, num_classes=5, samples=1000, leads=12, width=4):
        super().__init__()
        conv = nn.Conv1d(leads, width, 9, 4)
        self.body = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.body(x.transpose(1, 2)))
"""


def command(*words):
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=240
    )


def test_plugin_model_is_trained_and_scored(tmp_path):
    database = small_database(tmp_path / "ptbxl")
    plugin = tmp_path / "toy_model.py"
    plugin.write_text(PLUGIN)
    model = ["--model", "toynet", "--plugins", plugin, "--output_dir", tmp_path, "--data_dir", database]
    trained = command("torch_train.py", *model, "--epochs", 1, "--threads", 1)
    assert trained.returncode == 0, trained.stderr
    tested = command("torch_test.py", *model, "--resamples", 2)
    assert tested.returncode == 0, tested.stderr
    unknown = command("torch_train.py", "--model", "toynet")
    assert unknown.returncode == 2 and "unknown model 'toynet'" in unknown.stderr
