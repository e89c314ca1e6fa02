"""The page of certified thresholds: which labels a model can promise not to miss, and at what cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from utils.ecg import NOT_A_DEVICE
from utils.files import read_json
from utils.report.certified import certified_summary, certified_table


def _part(entry: dict[str, Any]) -> str:
    return (
        f"## {entry['run']}: {entry['task']}\n\n{certified_summary(entry)}\n\n{certified_table(entry)}\n\n"
        f"```bash\n{entry['command']}\n```"
    )


def page(folder: Path) -> str:
    """Markdown of the files that ``collect --certified`` wrote."""
    parts = "\n\n".join(_part(read_json(path)) for path in sorted(folder.glob("*.json")))
    return f"""# Certified thresholds

{NOT_A_DEVICE}

Generated from `benchmarks/data/certified` by `python -m benchmarks render`.

For which labels a model can promise to miss few patients, by learn-then-test on the validation
records ([method and assumptions](../statistics.md#certified-thresholds)). Positives are patients with
the label; needed is the number from which on anything can be promised. Flagged is the share of all
records that reach the threshold: the price of the promise. The last columns are those of the test
records, which had no part in the choice; "more, within chance" is a miss rate above the promised one that
a model that keeps its promise shows with a probability of 5 % or more.

{parts}
"""
