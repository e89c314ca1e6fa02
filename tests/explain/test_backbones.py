"""A classifier on any backbone is explained by what `feature_info` says: no method knows the network."""

import numpy as np
import pytest
import torch

from explain.methods import CannotExplain, Settings, explain
from models_torch import create_model
from tests.helpers.attribution_golden import classifier
from tests.helpers.attribution_models import small_signals
from tests.helpers.small_backbones import SMALL

pytestmark = pytest.mark.torch

TARGETS = np.array([0, 2, 1])


def on_backbone(case: str):
    """A classifier without gates of its own on a small backbone; records of 160 samples."""
    name, config = SMALL[case]
    torch.manual_seed(0)
    model = create_model(
        "ecg_crnn", num_classes=3, samples=160, leads=3, backbone=name, backbone_config=config,
        attention="none", pool="avg", head_units=(),
    )  # fmt: skip
    return classifier(model.eval(), sampling_rate=100, name=case)


@pytest.mark.parametrize("case", [case for case in SMALL if "leadwise" not in case])
def test_methods_explain_a_classifier_on_every_backbone(case):
    subject, x = on_backbone(case), small_signals()
    for method in ("gradcam", "saliency", "deep_lift", "lrp"):
        try:
            maps = explain(subject, method, x, TARGETS, Settings(seed=0))
        except CannotExplain as error:  # gates multiply activations; what else these two refuse, they name
            assert method in ("deep_lift", "lrp") and "cannot explain" in str(error)
            continue
        assert maps.shape == x.shape and np.isfinite(maps).all() and np.abs(maps).max() > 0, method
        if method == "deep_lift":
            rows = np.arange(3)
            rise = (subject.logits(x) - subject.logits(np.zeros_like(x)))[rows, TARGETS]
            np.testing.assert_allclose(maps.sum(axis=(1, 2)), rise, rtol=0.02, atol=1e-3)
