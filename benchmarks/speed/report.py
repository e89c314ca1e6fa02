"""The measurements as one Markdown page."""

from __future__ import annotations

from pathlib import Path

from benchmarks import models
from benchmarks.speed.imle_net_variants import VARIANTS
from benchmarks.speed.options import BENCHMARKS
from utils.files import read_json
from utils.report.markdown import fill_markdown


def page(folder: Path) -> str:
    """The page, from the JSON reports in a folder."""
    paths = {name: folder / f"{name}.json" for name in BENCHMARKS}
    reports = {name: read_json(path) if path.is_file() else None for name, path in paths.items()}
    return fill_markdown(
        "benchmarks.speed/page.md.jinja", title_of=models.title, VARIANTS=VARIANTS, **reports
    )
