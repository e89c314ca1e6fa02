"""The contribution of each prototype to each logit of a ProtoECGNet, and the windows it was found in.

A logit is ``bias + sum over the prototypes of weight x similarity`` (in a fusion the similarity is
standardized over the training records), so that the decomposition is exact: the terms are sorted by size and
checked to add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from models_torch.protoecgnet.prototype_classifier import PrototypeClassifier
from training.predictor import Predictor
from training.protoecgnet.projected import branches_of
from training.protoecgnet.projected import prototype_list as prototype_list
from utils.errors import DataError, UsageError, nearest

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Evidence:
    """One prototype's share of one logit.

    ``prototype``: number in the model and in the list of the card.
    ``branch``: ``rhythm``, ``morphology`` or ``global``.
    ``classes``: classes of the prototype.
    ``similarity``: of the prototype and the record: the score that the classifier uses.
    ``standardized``: factor of the weight: in a fusion (similarity - mean) / standard deviation over the
        training records, else the similarity.
    ``weight``: of the prototype for the explained class.
    ``window``: the most similar window of the explained record.
    ``start_ms, end_ms``: where that window lies in the explained record.
    ``receptive_field_ms``: part of the explained record that can influence the window.
    ``source``: the card's entry: training record, window, true labels.
    """

    prototype: int
    branch: str
    classes: tuple[str, ...]
    kind: str
    similarity: float
    standardized: float
    weight: float
    contribution: float
    window: int
    start_ms: float
    end_ms: float
    receptive_field_ms: tuple[float, float]
    source: dict[str, Any]


@dataclass(frozen=True)
class ClassExplanation:
    """One logit, decomposed: ``bias + sum of the evidence + rest = logit``.

    ``bias``: 0 where the classifier has none.
    ``threshold``: lowest probability of a predicted class.
    ``evidence``: the largest contributions, sorted.
    ``rest``: sum of the contributions of all other prototypes.
    ``contributions`` (P,): all of them.
    """

    name: str
    logit: float
    bias: float
    probability: float
    threshold: float
    predicted: bool
    evidence: tuple[Evidence, ...]
    rest: float
    contributions: np.ndarray


@dataclass(frozen=True)
class Explanation:
    """Explanation of the prediction for one record.

    ``probabilities`` (C,): of all classes.
    ``predicted``: classes that reach their threshold, also those not explained.
    ``similarities, windows`` (P,): of all prototypes, and the most similar window of each.
    ``classes``: the explained classes, the most probable first.
    """

    probabilities: np.ndarray
    predicted: tuple[str, ...]
    similarities: np.ndarray
    windows: np.ndarray
    classes: tuple[ClassExplanation, ...]


def _spans(predictor: Predictor) -> list[list[dict[str, Any]]]:
    """Span and receptive field of each window of each prototype."""
    spans = []
    for network in branches_of(predictor.model):
        of_branch = []
        for window in range(network.windows):
            samples = (*network.window_span(window), *network.window_receptive_field(window))
            start, end, first, last = (1000 * sample / predictor.sampling_rate for sample in samples)
            of_branch.append({"start_ms": start, "end_ms": end, "receptive_field_ms": (first, last)})
        spans += [of_branch] * len(network.prototype_vectors)
    return spans


def explain_records(
    predictor: Predictor,
    signals_mv: Any,
    top: int = 5,
    classes: str | Sequence[str] = "predicted",
    batch_size: int = 32,
) -> list[Explanation]:
    """Decompose the logits of records into the contributions of prototypes; signals_mv (N, T, leads)."""
    prototypes, spans = prototype_list(predictor), _spans(predictor)
    if top < 1:
        raise UsageError(f"at least one prototype must be listed, not {top}")
    fixed = None if classes == "predicted" else _columns(predictor, classes)
    weight, bias = _classifier(predictor.model)
    explanations = []
    for first in range(0, len(signals_mv), batch_size):
        batch = predictor.standardize(signals_mv[first : first + batch_size])
        scores, windows, inputs, logits, probabilities = _forward(predictor, batch)
        positive = _positive(predictor, probabilities)
        for row in range(len(batch)):
            columns = fixed
            if columns is None:
                columns = np.flatnonzero(positive[row]).tolist() or [int(probabilities[row].argmax())]
            parts = []
            for c in sorted(columns, key=lambda c: -probabilities[row, c]):
                terms = weight[c] * inputs[row]
                best = np.argsort(-terms, kind="stable")[:top]
                evidence = [
                    Evidence(
                        prototype=p,
                        branch=prototypes[p]["branch"],
                        classes=tuple(prototypes[p]["classes"]),
                        kind=prototypes[p]["kind"],
                        similarity=float(scores[row, p]),
                        standardized=float(inputs[row, p]),
                        weight=float(weight[c, p]),
                        contribution=float(terms[p]),
                        window=int(windows[row, p]),
                        **spans[p][windows[row, p]],
                        source=prototypes[p],
                    )
                    for p in best.tolist()
                ]
                part = ClassExplanation(
                    name=predictor.classes[c],
                    logit=float(logits[row, c]),
                    bias=float(bias[c]),
                    probability=float(probabilities[row, c]),
                    threshold=float(predictor.thresholds[c]),
                    predicted=bool(positive[row, c]),
                    evidence=tuple(evidence),
                    rest=float(np.delete(terms, best).sum()),
                    contributions=terms,
                )
                check_sum(part, first + row)
                parts.append(part)
            names = tuple(name for name, yes in zip(predictor.classes, positive[row], strict=True) if yes)
            explanations.append(
                Explanation(probabilities[row], names, scores[row], windows[row], tuple(parts))
            )
    return explanations


def check_sum(part: ClassExplanation, record: int) -> None:
    """Check that bias, evidence and rest add up to the logit."""
    total = part.bias + sum(e.contribution for e in part.evidence) + part.rest
    # the model adds in float32: its rounding error grows with the size of the terms
    allowed = TOLERANCE + 1e-6 * float(np.abs(part.contributions).sum())
    if not abs(total - part.logit) <= allowed:
        raise DataError(
            f"record {record}, class {part.name}: the contributions add up to {total:.6f}, but the logit is "
            f"{part.logit:.6f}: the weights are damaged or the classifier is not linear; train it again"
        )


def _columns(predictor: Predictor, names: Sequence[str]) -> list[int]:
    for name in names:
        if name not in predictor.classes:
            raise UsageError(f"unknown class '{name}': {nearest(name, predictor.classes)}")
    return [predictor.classes.index(name) for name in names]


def _classifier(model: PrototypeClassifier) -> tuple[np.ndarray, np.ndarray]:
    """Weights (C, P) and biases (C,) as float64."""
    weight = model.head.weight.detach().cpu().double().numpy()
    bias = model.head.bias
    return weight, np.zeros(len(weight)) if bias is None else bias.detach().cpu().double().numpy()


def _forward(predictor: Predictor, batch: np.ndarray) -> tuple[np.ndarray, ...]:
    """Scores and windows (B, P), inputs of the classifier (B, P), logits and probabilities (B, C)."""
    model = predictor.model
    with torch.inference_mode():
        scores, windows = model.scores(torch.from_numpy(batch).to(model.head.weight.device))
        inputs = model.standardized(scores)
        logits = model.logits_of(scores).float()
        multilabel = predictor.card.multilabel
        probabilities = torch.sigmoid(logits) if multilabel else torch.softmax(logits, dim=1)
    return tuple(t.cpu().numpy() for t in (scores, windows, inputs.double(), logits, probabilities))


def _positive(predictor: Predictor, probabilities: np.ndarray) -> np.ndarray:
    """Predicted classes, (B, C) bool; of exclusive classes only the most probable one."""
    if predictor.card.multilabel:
        return probabilities >= predictor.thresholds
    return np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]
