"""Windows with one wave, narrow or broad, and small classifiers that tell them apart."""

import numpy as np
import torch
from safetensors.torch import save_file

from models_torch import create_model
from tests.helpers.training_files import card_of
from training.checkpoint import write_checkpoint

SAMPLES, RATE = 128, 25
STAGES = ["head", "layer4", "layer3", "layer2", "layer1", "stem"]


def small_resnet(seed=0, classes=2):
    torch.manual_seed(seed)
    return create_model("resnet18", num_classes=classes, samples=SAMPLES, leads=1, widths=(4, 6, 8, 8)).eval()


def beats(count, seed=0):
    """Windows with one wave each; class V has a broad one where class N has a narrow one."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    place, time = random.integers(40, 88, count)[:, None], np.arange(SAMPLES)
    wave = np.exp(-(((time - place) / np.where(labels, 9, 3)[:, None]) ** 2))
    return (wave + 0.05 * random.standard_normal(wave.shape)).astype(np.float32)[:, :, None], labels


def trained_checkpoint(folder, seed=0, steps=60):
    """A small ResNet-18 that tells the two kinds of waves apart."""
    model = small_resnet(seed).train()
    signals, labels = beats(256, seed)
    x, y = torch.from_numpy((signals - 0.2) / 0.3), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(steps):
        part = slice(step % 8 * 32, step % 8 * 32 + 32)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[part]), y[part]).backward()
        optimizer.step()
    changes = {"samples": SAMPLES, "sampling_rate": RATE, "leads": ["II"], "classes": ["N", "VEB"]}
    changes["standardization"] = {"mean": 0.2, "std": 0.3}
    card = card_of(model.config, "torch", **changes, multilabel=False)
    write_checkpoint(folder, card, lambda path: save_file(model.state_dict(), path))
    return folder
