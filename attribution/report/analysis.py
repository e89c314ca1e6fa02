"""One dataset and one model: means, tests, rankings and the claims of the published study."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from attribution.report.ranks import Comparison, compare_methods, published_claims, rankings
from attribution.scores.summary import in_order, summarize
from explain.names import metric
from utils.files import slug


@dataclass(frozen=True)
class MetricTest:
    """The tests of one metric.

    ``ground_truth``: of a localization metric, otherwise empty.
    ``metric``: name of the metric.
    ``comparison``: of all rows with each other.
    ``random``: of each row with random maps, from `ranks.against_random`.
    """

    ground_truth: str
    metric: str
    comparison: Comparison
    random: dict[str, dict]


@dataclass(frozen=True)
class Study:
    """Results for one dataset and model.

    ``table``: from `scores.summary.summarize`, in the order of tables.
    ``tests``: one per ground truth and metric, localization and perturbation only.
    ``rankings``: of each ``family`` and ``ground_truth`` an entry of `ranks.rankings`, ``ranking``, and the
        published ``claims`` about it.
    """

    dataset: str
    model: str
    scores: pd.DataFrame
    table: pd.DataFrame
    tests: list[MetricTest]
    rankings: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """Dataset and model, for headings."""
        return f"{self.dataset}, {self.model}"

    @property
    def slug(self) -> str:
        """Dataset and model, for names of files."""
        return slug(f"{self.dataset}-{self.model}")

    @property
    def ground_truths(self) -> list[str]:
        """Ground truths of the localization metrics."""
        return sorted({r["ground_truth"] for r in self.rankings if r["family"] == "localization"})

    def counts(self) -> dict[str, Any]:
        once = self.scores.drop_duplicates(["seed", "window", "target"])
        return {
            "windows": len(once.drop_duplicates(["window", "target"])),
            "patients": int(once["patient"].nunique()),
            "records": int(once["record"].nunique()),
            "seeds": sorted(once["seed"].unique().tolist()),
            "classes": dict(sorted(once["target"].value_counts().to_dict().items())),
        }

    def summary(self) -> dict[str, Any]:
        """JSON values from which all tables are made."""
        lines = self.table.drop(columns=["dataset", "model"]).round(6)
        tests = []
        for test in self.tests:
            entry = asdict(test.comparison)
            pairs = entry.pop("pairs")
            best = entry["rows"][0] if entry["rows"] else ""
            entry["not_different_from_best"] = [
                pair["b"] if pair["a"] == best else pair["a"]
                for pair in pairs
                if best in (pair["a"], pair["b"]) and not pair["differ"]
            ]
            entry["average_ranks"] = [round(rank, 4) for rank in entry["average_ranks"]]
            better = [name for name, result in test.random.items() if result["better"]]
            tests.append(
                {
                    "ground_truth": test.ground_truth,
                    "metric": test.metric,
                    **entry,
                    "better_than_random": better,
                }
            )
        return {
            "dataset": self.dataset,
            "model": self.model,
            **self.counts(),
            "table": lines.to_dict("records"),
            "rankings": self.rankings,
            "signed_rank": "exact",
            "tests": tests,
        }


def analyze(scores: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> list[Study]:
    """Compute means, intervals, tests and rankings of every dataset and model."""
    table = summarize(scores, resamples, seed)
    studies = []
    for (dataset, model), part in scores.groupby(["dataset", "model"], sort=True):
        lines = table[(table["dataset"] == dataset) & (table["model"] == model)]
        studies.append(_study(str(dataset), str(model), part, in_order(lines)))
    return studies


def _study(dataset: str, model: str, scores: pd.DataFrame, table: pd.DataFrame) -> Study:
    tests, studied = [], []
    family = table["metric"].map(lambda name: metric(name).family)
    tested = table[family.isin(["localization", "perturbation"])]
    for (ground_truth, name), _ in tested.groupby(["ground_truth", "metric"], sort=False):
        twin = (table["ground_truth"] == ground_truth) & (table["metric"] == "attribution_localization")
        if name == "relevance_mass_accuracy" and twin.any():
            continue  # the same number
        part = scores[(scores["ground_truth"] == ground_truth) & (scores["metric"] == name)]
        tests.append(MetricTest(ground_truth, name, *compare_methods(part)))
    for kind in ("localization", "perturbation"):
        for ground_truth, part in table[family == kind].groupby("ground_truth", sort=False):
            for which, ranking in rankings(part).items():
                claims = published_claims({which: ranking})
                entry = {"family": which, "ground_truth": str(ground_truth), "ranking": ranking}
                studied.append({**entry, "claims": claims})
    return Study(dataset, model, scores, table, tests, studied)
