"""What the tests of deep_lift, deep_shap and lrp share: any network as a classifier, and maps that add up."""

from __future__ import annotations

import numpy as np

from explain.methods import Settings, explain
from tests.helpers.attribution_golden import classifier

METHODS = ("deep_lift", "deep_shap", "lrp")


def plain(net, samples=16, leads=2, num_classes=3):
    """Any network (B, samples, leads) -> (B, num_classes) as a classifier."""
    net.config = {"name": "plain", "samples": samples, "leads": leads, "num_classes": num_classes}
    return classifier(net.eval(), name="plain")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def promised_sums(subject, method, x, targets, baselines):
    """What each map must sum to."""
    rows = np.arange(len(x))
    logits = subject.logits(x)[rows, targets].astype(np.float64)
    if method == "lrp":
        return logits
    if method == "deep_lift":
        return logits - subject.logits(np.zeros_like(x[:1]))[0, targets]
    return logits - subject.logits(baselines).mean(axis=0, dtype=np.float64)[targets]


def assert_complete(subject, method, x, targets, baselines, relative=1e-4):
    options = Settings(baselines=baselines, n_baselines=len(baselines), batch_size=4)
    maps = explain(subject, method, x, targets, options)
    expected = promised_sums(subject, method, x, targets, baselines)
    rounding = 1e-6 * np.abs(maps).sum(axis=(1, 2)) + 1e-6
    assert (np.abs(maps.sum(axis=(1, 2)) - expected) <= relative * np.abs(expected) + rounding).all()
    return maps


def error(map_, golden):
    """Largest difference of a window, relative to its largest golden value; the worst window counts."""
    return (np.abs(map_ - golden).max(axis=(1, 2)) / np.abs(golden).max(axis=(1, 2))).max()
