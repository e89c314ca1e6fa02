"""The ranking of methods over the metrics of a family, beside that of the published study."""

from __future__ import annotations

from typing import Any

import pandas as pd

from explain.names import RANDOM, metric, row_title

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
    top_k_intersection, deletion, insertion and the sanity checks stand in the tables but do not count.

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

    References
    ----------
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
