"""Certified thresholds of a card: what they promise, and what they say of a record.

`training.certification` finds them; `Task.describe` and the explorer show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.tasks.base import Decision
from utils.errors import DataError


def certified_of(decision: Decision) -> dict[str, dict[str, float]]:
    """Certified ``threshold`` and ``miss_rate`` of the classes that have one."""
    return ((decision or {}).get("certified") or {}).get("classes") or {}


def check_certified(decision: Decision, classes: Sequence[str], where: Any) -> None:
    """Refuse promises that cannot be those of a model with these classes, with a `DataError`."""
    promise = (decision or {}).get("certified")
    if promise is None:
        return
    try:
        good = 0 < promise["confidence"] < 1 and type(promise["all_at_once"]) is bool
        good = good and isinstance(promise["chosen_on"], str)
        for name, entry in promise["classes"].items():
            good = good and name in classes and 0 <= entry["threshold"] <= 1 and 0 < entry["miss_rate"] < 1
    except (KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise DataError(
            f"{where}: 'certified' must hold confidence, all_at_once, chosen_on and classes with threshold "
            f"and miss_rate, not {promise!r:.200}"
        )


def certified_remark(decision: Decision) -> str:
    """What the certified thresholds of a card promise, in a sentence; empty without any."""
    if not certified_of(decision):
        return ""
    promise = (decision or {})["certified"]
    together = "all at once" if promise["all_at_once"] else "each alone"
    return (
        f"certified thresholds hold {together} with {100 * promise['confidence']:g} % confidence, for "
        f"patients like those of {promise['chosen_on']}"
    )


def describe_certified(decision: Decision, name: str, probability: float) -> dict[str, Any]:
    """``certified`` of one class of a record, None where it has no promise; empty for a card without any."""
    promises = certified_of(decision)
    if not promises:
        return {}
    entry = promises.get(name)
    return {"certified": entry and {**entry, "flagged": bool(probability >= entry["threshold"])}}


def certified_text(entry: dict[str, Any] | None) -> str:
    """What `describe_certified` says of a record, in words; empty without a promise."""
    if not entry:
        return ""
    flagged = "flagged" if entry["flagged"] else "not flagged"
    promise = f"misses <= {100 * entry['miss_rate']:g} %"
    return f"certified threshold {entry['threshold']:.3f} ({promise}): {flagged}"
