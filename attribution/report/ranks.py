"""Comparison of methods: average ranks over patients and tests of their differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, rankdata, wilcoxon

from explain.names import RANDOM, metric, row_title

ALPHA = 0.05  # level of all tests
FEWEST_PATIENTS = 6  # with five, no signed-rank test can reach 5 %: its smallest p is 2 / 2**5
_EXACT = 50  # patients; above them the normal approximation is good
_DIGITS = 12  # further digits of equal means depend on the order of their sums


@dataclass(frozen=True)
class Comparison:
    """Rows of one metric compared over patients, best average rank first.

    ``average_ranks``: mean over patients of a row's rank among all rows; 1 is best, equal scores
        share their ranks.
    ``patients``: those with a score in every row.
    ``left_out``: patients without a score in some row.
    ``friedman``: statistic and p-value of Friedman's test that all rows are equal; None where it is
        impossible.
    ``pairs``: ``a``, ``b``, ``p`` (from `signed_rank`), ``p_holm`` (corrected over all pairs) and
        ``differ``.
    ``groups``: first and last place of the longest runs of rows that do not differ, at least two
        rows each.
    ``reason``: why there is no test; empty where there is one.
    """

    rows: list[str]
    average_ranks: list[float]
    patients: int
    left_out: int
    friedman: tuple[float, float] | None
    pairs: list[dict[str, Any]]
    groups: list[tuple[int, int]]
    reason: str = ""


def patient_means(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean score of each patient in each row, all seeds with equal weight."""
    each = scores.groupby(["patient", "method", "sign", "seed"], sort=True)["score"].mean()
    return each.groupby(level=[0, 1, 2]).mean().unstack(["method", "sign"]).sort_index(axis=1)


def compare(means: pd.DataFrame, higher_is_better: bool) -> Comparison:
    """Friedman's test, then Wilcoxon's signed-rank test of every pair with Holm's correction.

    Two rows differ when Friedman's test rejects that all rows are equal and the corrected p of the pair is
    below `ALPHA`. Only patients with a score in every row take part. A group, a bar of the
    critical-difference diagram, is a run of rows in the order of their average ranks in which no two differ.

    Shapes: means (patients, rows).

    Demsar, Journal of Machine Learning Research 7 (2006) 1-30. Benavoli, Corani and Mangili, ibid. 17 (2016)
    1-10: signed-rank tests instead of mean-rank tests, whose result for a pair depends on the other rows.
    """
    complete = means.dropna()
    left_out = len(means) - len(complete)
    values = complete.to_numpy(dtype=np.float64).round(_DIGITS)
    if not len(complete) or not values.shape[1]:
        reason = "no patient has a score in every row" if means.shape[1] else "no row has a score"
        return Comparison([], [], 0, left_out, None, [], [], reason)
    ranks = rankdata(-values if higher_is_better else values, axis=1).mean(axis=0)
    order = np.argsort(ranks, kind="stable")
    rows, values = [str(means.columns[i]) for i in order], values[:, order]
    places = ranks[order].tolist()
    reason = ""
    if len(rows) < 2:
        reason = "a single row: nothing to compare"
    elif len(complete) < FEWEST_PATIENTS:
        reason = f"{len(complete)} patients: no test is possible with fewer than {FEWEST_PATIENTS}"
    if reason:
        return Comparison(rows, places, len(complete), left_out, None, [], [], reason)

    friedman = _friedman(values) if len(rows) > 2 else None
    all_equal = friedman is not None and friedman[1] >= ALPHA
    p_values = [(i, j, signed_rank(values[:, i], values[:, j])) for i in range(len(rows)) for j in range(i)]
    corrected = holm([p for *_, p in p_values])
    differ = np.zeros((len(rows), len(rows)), dtype=bool)
    pairs = []
    for (i, j, p), q in zip(p_values, corrected, strict=True):
        differ[i, j] = differ[j, i] = q < ALPHA and not all_equal
        pairs.append({"a": rows[j], "b": rows[i], "p": p, "p_holm": q, "differ": bool(differ[i, j])})
    return Comparison(rows, places, len(complete), left_out, friedman, pairs, _groups(differ))


def _friedman(values: np.ndarray) -> tuple[float, float]:
    if (values == values[:, :1]).all():
        return 0.0, 1.0  # all rows tie for every patient: the statistic is 0 / 0
    statistic, p = friedmanchisquare(*values.T)
    return float(statistic), float(p)


def signed_rank(a: np.ndarray, b: np.ndarray) -> float:
    """Wilcoxon's signed-rank test, two-sided, with Pratt's treatment of equal pairs.

    Up to 50 pairs the p-value is exact, also with ties, by counting all signs of the ranks. (SciPy enumerates
    them, seconds per test with 13 tied pairs, and approximates from 14 on, where 231 corrected tests could
    not show any difference.)

    Shapes: a, b (n,).

    Pratt, Journal of the American Statistical Association 54 (1959) 655-667,
    doi:10.1080/01621459.1959.10501526.
    """
    difference = (a - b).round(_DIGITS)
    if not difference.any():
        return 1.0
    if len(difference) > _EXACT:
        return float(wilcoxon(difference, zero_method="pratt", method="asymptotic").pvalue)
    ranks = np.rint(2 * rankdata(np.abs(difference))).astype(np.int64)  # doubled: ties share half ranks
    ways = np.zeros(ranks[difference != 0].sum() + 1)  # to reach each sum of the positive ranks
    ways[0] = 1
    for rank in ranks[difference != 0]:
        ways[rank:] = ways[rank:] + ways[:-rank]
    observed = ranks[difference > 0].sum()
    tail = min(ways[: observed + 1].sum(), ways[observed:].sum())
    return float(min(1.0, 2 * tail / ways.sum()))


def can_differ(patients: int, rows: int) -> bool:
    """Whether this number of patients can show any difference after Holm's correction."""
    return 2.0 ** (1 - patients) * rows * (rows - 1) / 2 < ALPHA


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction.

    Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(steps, 1)
    return corrected.tolist()


def _groups(differ: np.ndarray) -> list[tuple[int, int]]:
    groups: list[tuple[int, int]] = []
    for first in range(len(differ)):
        last = first
        while last + 1 < len(differ) and not differ[first : last + 1, last + 1].any():
            last += 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def against_random(scores: pd.DataFrame, higher_is_better: bool) -> dict[str, dict]:
    """Test every row against random maps of the same sign, with Holm's correction over the rows."""
    means = patient_means(scores)
    tests: dict[str, dict] = {}
    for name, sign in means.columns:
        if name == RANDOM or (RANDOM, sign) not in means:
            continue
        both = means[[(name, sign), (RANDOM, sign)]].dropna().to_numpy()
        if len(both) >= FEWEST_PATIENTS:
            gain = (both[:, 0] - both[:, 1]).mean() * (1 if higher_is_better else -1)
            tests[row_title(name, sign)] = {
                "patients": len(both),
                "p": signed_rank(*both.T),
                "better": gain > 0,
            }
    for entry, q in zip(tests.values(), holm([e["p"] for e in tests.values()]), strict=True):
        entry |= {"p_holm": q, "better": bool(entry["better"] and q < ALPHA)}
    return tests


def compare_methods(scores: pd.DataFrame) -> tuple[Comparison, dict[str, dict]]:
    """Compare all methods, signed and absolute, on one metric.

    The random baseline is not a row of the comparison. Rows without any score are left out.
    """
    better = bool(metric(str(scores["metric"].iloc[0])).higher_is_better)
    means = patient_means(scores[scores["method"] != RANDOM]).dropna(axis=1, how="all")
    means = means.set_axis([row_title(*row) for row in means.columns], axis=1)
    return compare(means, better), against_random(scores, better)


# What the scripts of the study measured; the first present metric of each tuple counts.
COUNTED = {
    "localization": (
        ("attribution_localization", "relevance_mass_accuracy"),
        ("auc",),
        ("pointing_game",),
        ("relevance_rank_accuracy",),
    ),
    "perturbation": (
        ("region_perturbation_morf",),
        ("region_perturbation_lerf",),
        ("faithfulness_correlation",),
    ),
}
# Suh et al., Computers in Biology and Medicine 182 (2024) 109088, doi:10.1016/j.compbiomed.2024.109088
PUBLISHED = {
    "localization": (
        ("guided_gradcam", "absolute"),
        ("guided_backprop", "absolute"),
        ("gradcam", "signed"),
    ),
    "perturbation": (
        ("lime", "signed"),
        ("deep_shap", "signed"),
        ("integrated_gradients", "absolute"),
    ),
}


def rankings(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Rank methods over the metrics of a family, as the published study's overview does.

    Localization counts attribution_localization, auc, pointing_game and relevance_rank_accuracy (higher is
    better in all); perturbation counts region_perturbation_morf and faithfulness_correlation (higher is
    better) and region_perturbation_lerf (lower is better): what the study's scripts ran.
    attribution_localization and relevance_mass_accuracy are one number by two names and count once.
    top_k_intersection, deletion, insertion and the sanity checks are in the tables but do not count.

    For each metric the rows (method and sign) are ranked by their means, 1 the best, equal means share their
    ranks; a row's average rank over the metrics decides its place. The random baseline is not ranked, nor is
    a row without a mean in one of the metrics.
    """
    by_family: dict[str, dict[str, Any]] = {}
    for family, counted in COUNTED.items():
        names = [next((n for n in choice if (table["metric"] == n).any()), None) for choice in counted]
        used = [name for name in names if name]
        if not used:
            continue
        rows = table[(table["method"] != RANDOM) & table["metric"].isin(used)]
        means = rows.pivot(index=["method", "sign"], columns="metric", values="mean")[used]
        signs = [-1 if metric(name).higher_is_better else 1 for name in used]
        ranks = means.dropna().round(12).mul(signs).rank().mean(axis=1).sort_values(kind="stable")
        places = ranks.round(9).rank(method="min").astype(int)
        by_family[family] = {
            "metrics": used,
            "absent": [choice[0] for choice, name in zip(counted, names, strict=True) if name is None],
            "rows": [
                {"method": method, "sign": sign, "average_rank": float(rank), "place": int(place)}
                for (method, sign), rank, place in zip(ranks.index, ranks, places, strict=True)
            ],
            "unranked": [row_title(*row) for row in means.index[means.isna().any(axis=1)]],
        }
    return by_family


def published_claims(ranking: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare the claims of the published study with a ranking.

    Suh et al., Computers in Biology and Medicine 182 (2024) 109088, doi:10.1016/j.compbiomed.2024.109088.
    """
    claims = []
    for family in (name for name in PUBLISHED if name in ranking):
        rows = ranking[family]["rows"]
        places = {(row["method"], row["sign"]): row["place"] for row in rows}
        for rank, row in enumerate(PUBLISHED[family], 1):
            here = places.get(row)
            holds = None if here is None else here == rank
            claim = {"family": family, "row": row_title(*row), "published": rank, "here": here}
            claims.append({**claim, "of": len(rows), "holds": holds})
    return claims
