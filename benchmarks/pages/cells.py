"""Numbers as text in tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

NOTICE = "Not a medical device: for research and teaching only."


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.3f}".replace("-", "−")


def change(result: dict[str, Any]) -> str:
    """A paired difference with its interval."""
    return f"{signed(result['difference'])} [{signed(result['low'])}, {signed(result['high'])}]"


def spread(values: Sequence[float]) -> str:
    """Mean, smallest and largest."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} – {max(values):.3f})"
