"""The card of a run, written from its configuration, data and validation predictions."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from training.card import Card, DataSource, Inputs, Outputs, Provenance
from training.config import TrainOptions
from training.setup import TrainingData
from utils import plugins
from utils.provenance import command, git_commit, versions


def provenance_of(config: TrainOptions, made_from: list[str] | None = None) -> Provenance:
    """Where a run comes from, as of now."""
    return Provenance(
        command=command(),
        git_commit=git_commit(),
        packages=versions(),
        seed=config.seed,
        config=config.to_json(),
        made_from=made_from,
        plugins=plugins.loaded(),
    )


def make_card(
    data: TrainingData,
    framework: str,
    model: dict[str, Any],
    predictions: np.ndarray,
    metrics: dict[str, Any],
    provenance: Provenance,
    extra: dict[str, Any] | None = None,
) -> Card:
    """Make the card of a model; its decision is fitted on the validation predictions.

    ``extra``: what the family adds; ``task`` in it replaces the name of the target set.

    Shapes: predictions (N, ..., C).
    """
    val, task, extra = data.val, data.task, dict(extra or {})
    return Card(
        framework=framework,
        model=model,
        task=extra.pop("task", val.task),
        kind=task.kind,
        inputs=Inputs(
            leads=tuple(val.leads),
            sampling_rate=val.sampling_rate,
            samples=int(val.signals.shape[1]),
            unit="mV",
            crop=provenance.config.get("crop", 0),
            standardization=data.standardization,
        ),
        outputs=Outputs(
            classes=tuple(val.classes),
            decision=task.fit_decision(val, predictions),
            chosen_on=data.names[1],
        ),
        metrics=metrics,
        data=DataSource(
            fingerprint=data.fingerprint,
            splits=dict(zip(("train", "val", "test"), data.names, strict=True)),
            records=data.counts(),
        ),
        provenance=replace(provenance, written=time.strftime("%Y-%m-%d", time.gmtime())),
        extra=extra,
    )
