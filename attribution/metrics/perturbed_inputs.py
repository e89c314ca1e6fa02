"""Outputs of a model for perturbed inputs, many in one forward pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from explain.engine.classifier import Classifier
from utils.config import check_values, option
from utils.errors import UsageError

_NEVER = np.iinfo(np.int32).max


class Plan(NamedTuple):
    """When each sample is removed.

    ``rank`` (T, leads): rank, from 1, of the patch that removes the sample; the largest int32 where none
        does.
    ``patches``: number of removed patches.
    """

    rank: np.ndarray
    patches: int


def sliding_plan(
    values: np.ndarray, patch: int, regions: int, descending: bool, generator: np.random.Generator | None
) -> Plan:
    """Remove patches at any start in order of their sum, each unless it overlaps one removed before.

    Shapes: values (T, leads).
    """
    samples, leads = values.shape
    lead_rows = values.T
    if generator is None:
        lead_rows = np.pad(lead_rows, [(0, 0), (0, patch - 1)])
    sums = np.lib.stride_tricks.sliding_window_view(lead_rows, patch, axis=1).sum(axis=-1)
    starts = sums.shape[1]

    free, removed = bytearray(b"\1" * sums.size), []
    for place in _order(sums.ravel(), descending, generator).tolist():
        if free[place]:
            removed.append(place)
            if len(removed) == regions:
                break
            lead = place // starts * starts
            low, high = max(lead, place - patch + 1), min(lead + starts, place + patch)
            free[low:high] = bytes(high - low)

    lead, start = np.divmod(np.array(removed), starts)
    rank = np.full((leads, samples + patch), _NEVER, dtype=np.int32)
    rank[lead[:, None], start[:, None] + np.arange(patch)] = np.arange(1, len(removed) + 1)[:, None]
    return Plan(np.ascontiguousarray(rank[:, :samples].T), len(removed))


def grid_order(values: np.ndarray, patch: int, generator: np.random.Generator) -> np.ndarray:
    """Order the patches of a fixed grid by their mean, most relevant first.

    Shapes: values (T, leads) -> (patches,).
    """
    begins = np.arange(0, len(values), patch)
    lengths = np.diff(np.append(begins, len(values)))
    means = np.add.reduceat(values.astype(np.float64), begins, axis=0) / lengths[:, None]
    return _order(means.T.ravel(), True, generator)


def grid_plan(order: np.ndarray, shape: tuple[int, int], patch: int) -> Plan:
    """Remove all patches of a fixed grid in a given order; order (patches,)."""
    samples, leads = shape
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(1, len(order) + 1)
    by_lead = np.repeat(rank.reshape(leads, -1), patch, axis=1)[:, :samples]
    return Plan(np.ascontiguousarray(by_lead.T), len(order))


def _order(scores: np.ndarray, descending: bool, generator: np.random.Generator | None) -> np.ndarray:
    """Indices in order of removal."""
    if generator is None:
        order = np.argsort(scores)
        return order[::-1] if descending else order
    return np.lexsort((generator.random(scores.size), -scores if descending else scores))


FILLS = ("zero", "linear")
_FIRST_POINTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)  # parts of the patches; curves bend early


@dataclass(frozen=True)
class PerturbationSettings:
    """How the input is perturbed; `option` declares the ranges that are checked."""

    patch_ms: float = option(50.0, "patch in milliseconds", above=0)
    patch_samples: int = option(0, "patch in samples; 0 takes patch_ms", min=0)
    coverage: float = option(0.5, "part that region perturbation removes", above=0, max=1)
    regions: int = option(0, "the same as a number of patches; 0 takes coverage", min=0)
    tolerance: float = option(
        0.0025,
        "a section of a curve is halved by another forward pass while the triangle between its ends could "
        "hide more area; 0: a forward pass after every patch",
        min=0,
    )
    fill: str = option("zero", "what removed samples become", choices=FILLS)
    subset_ratio: float = option(0.1, "size of the subsets of the faithfulness correlation", above=0, below=1)
    runs: int = option(100, "number of subsets of the faithfulness correlation", min=3)
    random_orders: int = option(3, "random orders of deletion and insertion", min=1)
    seed: int = option(0, "seed of subsets, orders and ties", min=0)
    batch_size: int = option(64, "windows per forward pass", scope="machine", min=1)
    # ties, the end of the window and random numbers as in the published study: the subsets of all windows
    # come from one stream, so that those of a window depend on the ones before it
    reference: bool = False

    def __post_init__(self) -> None:
        check_values(self)

    @classmethod
    def published(cls, **changes: Any) -> PerturbationSettings:
        """Settings of the published study: 100 patches of 16 samples, every point of a curve."""
        return cls(**{"patch_samples": 16, "regions": 100, "tolerance": 0, "reference": True, **changes})


class PerturbedInputs:
    """Standardized windows on the model's device, and the model's outputs with samples removed.

    ``x`` (N, T, leads): standardized windows.
    ``targets`` (N,): the class of interest of each.
    ``seeds`` (N,): gives each window random numbers of its own; by default its number.
    ``skip``: number of the first window, in the random numbers of the published study.
    """

    def __init__(
        self,
        classifier: Classifier,
        x: np.ndarray,
        targets: np.ndarray,
        settings: PerturbationSettings,
        seeds: np.ndarray | None = None,
        skip: int = 0,
    ):
        x, targets = np.ascontiguousarray(x, dtype=np.float32), np.asarray(targets)
        if x.ndim != 3 or targets.shape != (len(x),):
            raise UsageError(
                f"windows are {x.shape} and targets {targets.shape}, expected (N, T, leads), (N,)"
            )
        self.seeds = np.arange(len(x)) if seeds is None else np.asarray(seeds)
        if self.seeds.shape != (len(x),) or self.seeds.dtype.kind not in "iu" or (self.seeds < 0).any():
            raise UsageError(
                f"seeds must be one number >= 0 for each of {len(x)} windows, not {self.seeds.shape}"
            )
        self.classifier, self.settings, self.skip = classifier, settings, skip
        self.patch = settings.patch_samples or max(
            1, round(settings.patch_ms * classifier.sampling_rate / 1000)
        )
        if self.patch > x.shape[1]:
            raise UsageError(f"a patch of {self.patch} samples is longer than the windows ({x.shape[1]})")
        self.device = torch.device(classifier.device)
        self.x = torch.from_numpy(x).to(self.device)
        self.targets = torch.from_numpy(targets.astype(np.int64)).to(self.device)

    def __len__(self) -> int:
        return len(self.x)

    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Outputs for the unperturbed windows; logits, probabilities (N,)."""
        size = self.settings.batch_size
        return self._collect(
            (self.x[start : start + size], self.targets[start : start + size])
            for start in range(0, len(self), size)
        )

    def areas(self, plans: Sequence[Plan], rows: Sequence[int], whole: np.ndarray) -> np.ndarray:
        """Mean probability of the target while patches are removed, as many as each plan has.

        The area under the probability over the fraction of removed patches, by trapezoids. The curve is
        evaluated at a few points, then in the middle of every section that may hide more than the tolerance:
        most curves fall early and stay low, so that few points matter. A curve that leaves and returns
        between two of the first points is missed.

        Shapes: whole (N,) -> (plans,).
        """
        ranks = torch.from_numpy(np.stack([plan.rank for plan in plans])).to(self.device)
        row_of = torch.as_tensor(np.asarray(rows), dtype=torch.int64, device=self.device)
        curves = [{0: float(whole[row])} for row in rows]

        def evaluate(points: list[tuple[int, int]]) -> None:
            def inputs() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
                for part in torch.tensor(points, device=self.device).split(self.settings.batch_size):
                    plan, removed = part.T
                    row = row_of[plan]
                    yield self._without(self.x[row], ranks[plan] <= removed[:, None, None]), self.targets[row]

            probabilities = self._collect(inputs())[1].tolist()
            for (plan, removed), probability in zip(points, probabilities, strict=True):
                curves[plan][removed] = probability

        points = [(index, count) for index, plan in enumerate(plans) for count in self._first_points(plan)]
        while points:
            evaluate(points)
            touched = sorted({plan for plan, _ in points})
            points = [(i, middle) for i in touched for middle in self._doubtful(curves[i], plans[i].patches)]
        return np.array([_area(curve) for curve in curves])

    def _first_points(self, plan: Plan) -> list[int]:
        if self.settings.tolerance == 0:
            return list(range(1, plan.patches + 1))
        return sorted({max(1, round(part * plan.patches)) for part in _FIRST_POINTS})

    def _doubtful(self, curve: dict[int, float], patches: int) -> list[int]:
        """Middles of the sections whose triangle may hide too much."""
        ends = sorted(curve)
        limit = 2 * self.settings.tolerance * patches
        return [
            (low + high) // 2
            for low, high in itertools.pairwise(ends)
            if high - low > 1 and abs(curve[high] - curve[low]) * (high - low) > limit
        ]

    def without_subsets(self, row: int, subsets: np.ndarray) -> np.ndarray:
        """Logits of one window without subsets of its samples; subsets (runs, size) -> (runs,)."""
        x, places = self.x[row], torch.from_numpy(subsets).to(self.device)
        removed = torch.zeros((len(places), x.numel()), dtype=torch.bool, device=self.device)
        removed = removed.scatter_(1, places, True).reshape(-1, *x.shape)
        return self._collect(
            (self._without(x.expand_as(part), part), self.targets[row].expand(len(part)))
            for part in removed.split(self.settings.batch_size)
        )[0]

    def _without(self, x: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
        if self.settings.fill == "zero":
            return x.masked_fill(removed, 0.0)
        return _interpolated(x, removed)

    def _collect(self, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> tuple[np.ndarray, np.ndarray]:
        """Logits and probabilities of the targets, batch after batch."""
        logits, probabilities = [], []
        with torch.inference_mode(), self.classifier.exact_arithmetic():
            for inputs, targets in batches:
                output = self.classifier.fast(inputs)
                logits.append(output.gather(1, targets[:, None])[:, 0])
                probability = self.classifier.probabilities(output)
                probabilities.append(probability.gather(1, targets[:, None])[:, 0])
            parts = torch.cat(logits).double().cpu(), torch.cat(probabilities).double().cpu()
        return parts[0].numpy(), parts[1].numpy()


def _interpolated(x: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    """Replace removed samples by straight lines; constant at the ends, zero where a whole lead is removed."""
    samples = x.shape[1]
    time = torch.arange(samples, device=x.device)[None, :, None].expand(x.shape)
    before = torch.where(removed, -1, time).cummax(dim=1).values
    after = torch.where(removed, samples, time).flip(1).cummin(dim=1).values.flip(1)
    left, right = before.clamp(min=0), after.clamp(max=samples - 1)
    low, high = x.gather(1, left), x.gather(1, right)
    low, high = torch.where(before < 0, high, low), torch.where(after == samples, low, high)
    weight = (time - before) / (after - before)
    line = (low + weight * (high - low)).masked_fill(removed.all(dim=1, keepdim=True), 0.0)
    return torch.where(removed, line, x)


def _area(curve: dict[int, float]) -> float:
    removed = np.array(sorted(curve))
    return float(np.trapezoid([curve[count] for count in removed.tolist()], removed / removed[-1]))
