"""Scores of attribution maps by perturbing the input: whether relevant samples change the model's output.

============================  ============================================================================
``region_perturbation_morf``  mean loss of probability while the most relevant patches are removed, one
                              after another, until half of the input is gone; higher is better
``region_perturbation_lerf``  the same, least relevant first; lower is better
``faithfulness_correlation``  correlation, over random subsets of a tenth of the samples, of the relevance
                              of the subset with the loss of logit when it is removed; higher is better
``deletion``                  area under the probability while all patches of a fixed grid are removed, most
                              relevant first, less the mean area of random orders; lower is better
``insertion``                 the same while they are put back into an empty input; higher is better
============================  ============================================================================

`perturbation_score` scores maps by one metric, `perturbation_scores` several maps by several metrics at once.

The last two are 0 for a map that does no better than chance on this window and model. A removed sample
becomes zero, the mean of the standardized signal (with the study's standardization that of the window), or
with ``fill="linear"`` lies on the straight line between its remaining neighbors: zeroing makes steps that no
ECG has. The score is NaN where the map is zero everywhere or holds NaN or infinity; for the correlation also
where the map is constant or the model's output does not change.

Random numbers come from the seed and the window's own seed, so that no score depends on the batch;
the orders and subsets of a window are the same for all methods.

Sources: region perturbation, Samek et al. 2017 (doi:10.1109/TNNLS.2016.2599820); faithfulness correlation,
Bhatt et al. 2020 (doi:10.24963/ijcai.2020/417); deletion and insertion, Petsiuk et al. 2018
(arXiv:1806.07421); on ECGs, Suh et al. 2024 (doi:10.1016/j.compbiomed.2024.109088).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from attribution.metrics.perturbed_inputs import PerturbationSettings
from attribution.metrics.removal_curves import METRICS, SIGNS, Controls, measure_controls, perturbation_scores

if TYPE_CHECKING:
    from explain.engine.classifier import Classifier

__all__ = [
    "METRICS",
    "SIGNS",
    "Controls",
    "PerturbationSettings",
    "measure_controls",
    "perturbation_score",
    "perturbation_scores",
]


def perturbation_score(
    metric: str,
    classifier: Classifier,
    x: np.ndarray,
    targets: np.ndarray,
    maps: np.ndarray,
    absolute: bool = False,
    settings: PerturbationSettings | None = None,
    seeds: np.ndarray | None = None,
) -> np.ndarray:
    """Score maps by one metric.

    Shapes: x (N, T, leads), targets (N,), maps (N, T, leads), seeds (N,) -> (N,).
    """
    sign = SIGNS[absolute]
    scores = perturbation_scores(classifier, x, targets, {"": maps}, [metric], [sign], settings, seeds)
    return scores["", sign, metric]
