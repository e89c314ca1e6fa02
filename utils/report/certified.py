"""The table of certified thresholds, from the JSON values of `training.certification`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from utils.report.markdown import markdown


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent, or a dash where there is none."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def certified_table(certified: Mapping[str, Any]) -> str:
    """A row for each label: whether a miss rate can be promised, at which threshold and at what cost."""
    test = certified["test"]
    header = ["label", "misses at most", "", "positives", "needed", "threshold", "flagged"]
    rows = []
    for name, entry in certified["labels"].items():
        known = entry["certified"]
        row = [
            name,
            percent(entry["miss_rate"], 3).replace(".000", ""),
            "can be promised" if known else "cannot be promised",
        ]
        row += [str(entry["positives"]), str(entry["needed"])]
        row += [f"{entry['threshold']:.4f}" if known else "–", percent(entry["flagged"])]
        if test is not None:
            seen = test["labels"].get(name, {"miss_rate": None, "flagged": None, "positives": "–"})
            by_chance = "more" if name in test["broken"] else "more, within chance"
            mark = f" ({by_chance})" if name in test["above"] else ""
            row += [str(seen["positives"]), percent(seen["miss_rate"]) + mark, percent(seen["flagged"])]
        rows.append(row)
    if test is not None:
        header += [f"{test['split']}: positives", "missed", "flagged"]
    return markdown(header, rows)


def certified_summary(certified: Mapping[str, Any]) -> str:
    """What is promised, how surely, and for how many labels, in a paragraph."""
    labels = certified["labels"].values()
    count = sum(entry["certified"] for entry in labels)
    confidence = f"{100 * (1 - certified['delta']):g} %"
    together = (
        f"all promises hold at once with {confidence} confidence (Bonferroni over {len(labels)} labels)"
        if certified["correction"] == "bonferroni"
        else f"each promise holds with {confidence} confidence, but not all of them at once"
    )
    text = (
        f"{count} of {len(labels)} labels can be promised on {certified['split']} ({certified['records']} "
        f"records of {certified['patients']} patients): {together}."
    )
    test = certified["test"]
    if test is None:
        return text
    above, broken = (", ".join(test[key]) or "none" for key in ("above", "broken"))
    return (
        f"{text} Labels that miss more than promised on {test['split']} ({test['records']} records): "
        f"{above}; more than chance explains (p < 0.05): {broken}."
    )
