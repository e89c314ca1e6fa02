"""The page of grids: recipes ranked by validation scores, and tests between them over seeds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from training.experiments.compare_tables import markdown_page
from training.experiments.grid_table import markdown_of
from utils.ecg import NOT_A_DEVICE
from utils.files import read_json


def _below(text: str) -> str:
    """A page without its title and notices, its headings one level deeper."""
    kept = [
        line
        for line in text.splitlines()
        if not line.startswith(("# ", "Compared on")) and "ot a medical device" not in line
    ]
    return re.sub(r"(?m)^#", "##", "\n".join(kept)).strip()


def _part(entry: dict[str, Any]) -> str:
    records = " / ".join(f"{entry['records'][split]:,}" for split in ("train", "val"))
    split = entry["splits"].get("val", "the validation split")
    if len({run.get("fold") for run in entry["runs"]}) > 1:  # the card that tells them is that of one run
        records, split = f"about {records}", "the validation fold of each, one after another"
    minutes = sum(run["seconds"] for run in entry["runs"]) / 60
    intro = (
        f"{len(entry['runs'])} runs on {records} records for training and validation; scores are those of "
        f"{split}. {minutes:.0f} minutes in all."
    )
    parts = [
        f"## {entry['name']}",
        intro,
        f"```bash\ntwelvelead grid {entry['file']} --data_dir data/ptb\n```",
    ]
    parts.append(_below(markdown_of(entry)))
    if entry["comparison"]:
        parts.append(_below(markdown_page(entry["comparison"])))
    return "\n\n".join(parts)


def page(folder: Path) -> str:
    """Markdown of the files that ``collect --grid`` wrote."""
    parts = "\n\n".join(_part(read_json(path)) for path in sorted(folder.glob("*.json")))
    return f"""# Grids

{NOT_A_DEVICE}

Generated from `benchmarks/data/grids` by `python -m benchmarks render`. [How grids are
run](../experiments.md); [what the tests mean](../statistics.md). The test records were not read: a grid is
for choices. Times are those of a machine on which other jobs ran.

{parts}
"""
