"""The view as a link: which record, how it is drawn and what is measured on it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from explorer.paper import GAINS, LAYOUTS, ORDERS, SPEEDS

_MOST_CALIPERS = 20


@dataclass
class View:
    """Everything that a link restores; an upload is not in it.

    ``record``: ``sample:FILE`` or ``ptbxl:ECG_ID``.
    """

    record: str = ""
    layout: str = "3x4+1"
    order: str = "standard"
    speed: float = 25.0
    gain: float = 10.0
    calipers: list[dict[str, Any]] = field(default_factory=list)


def to_query(view: View) -> dict[str, str]:
    """Query of the link; what is as usual is left out."""
    usual, query = View(), {}
    for name in ("record", "layout", "order", "speed", "gain"):
        value = getattr(view, name)
        if value != getattr(usual, name) and not (name == "record" and value.startswith("upload:")):
            query[name] = f"{value:g}" if isinstance(value, float) else value
    if view.calipers:
        query["calipers"] = json.dumps([_short(caliper) for caliper in view.calipers], separators=(",", ":"))
    return query


def from_query(query: Mapping[str, str]) -> tuple[View, list[str]]:
    """The view of a link, and a sentence for each part of it that cannot be used."""
    view, ignored = View(), []
    for name, known in (("layout", LAYOUTS), ("order", ORDERS)):
        if name in query:
            if query[name] in known:
                setattr(view, name, query[name])
            else:
                ignored.append(f"the link's {name} '{query[name][:40]}' is not known")
    for name, values in (("speed", SPEEDS), ("gain", GAINS)):
        if name in query:
            try:
                value = float(query[name])
            except ValueError:
                value = math.nan
            if value in values:
                setattr(view, name, value)
            else:
                ignored.append(f"the link's {name} '{query[name][:40]}' is not known")
    if query.get("record", "").partition(":")[0] in ("sample", "ptbxl"):
        view.record = query["record"]
    elif "record" in query:
        ignored.append(f"the link's record '{query['record'][:40]}' is not known")
    try:
        view.calipers = [_long(item) for item in json.loads(query.get("calipers", "[]"))[:_MOST_CALIPERS]]
    except (ValueError, TypeError, KeyError, AttributeError):
        ignored.append("the link's calipers cannot be read")
    return view, ignored


def _short(caliper: Mapping[str, Any]) -> list[Any]:
    flags = "".join(letter for letter, name in _FLAGS.items() if caliper.get(name))
    where = caliper["segment"] if caliper["kind"] == "voltage" else -1
    return [where, round(float(caliper["a"]), 3), round(float(caliper["b"]), 3), flags]


_FLAGS = {"l": "locked", "m": "march", "r": "rr"}


def _long(item: Any) -> dict[str, Any]:
    where, first, second, flags = item
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in (where, first, second)):
        raise ValueError("not a number")
    caliper = {"kind": "time" if where < 0 else "voltage", "a": first, "b": second}
    if where >= 0:
        caliper["segment"] = int(where)
    return caliper | {name: letter in str(flags) for letter, name in _FLAGS.items()}
