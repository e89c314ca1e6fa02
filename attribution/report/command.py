"""Report on evaluated attribution maps: tables with intervals, tests over patients, figures, an HTML page.

python -m attribution.report results_attr/mitdb_seed1 --output_dir results/attribution/mitdb
python -m attribution.report results_attr/mitdb_seed* results_attr/svdb --output_dir results/attribution/all

Each RESULT_DIR holds scores/*.csv as attribution.evaluate and attribution.sanity write them. Folders of one
dataset and model with different seeds are one study: means over seeds, with their standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from tqdm import tqdm

from attribution.compute import RECORDED
from attribution.engine.store import RECORD, read_record
from attribution.engine.workspace import open_workspace
from attribution.report.analysis import Study, analyze
from attribution.report.figures import critical_difference, score_table
from attribution.report.maps import (
    BlindMap,
    Picture,
    blind_maps,
    draw_windows,
    map_pictures,
    rating_facts,
    shuffled,
)
from attribution.report.ranks import ALPHA
from attribution.report.tables import PAGE, RATING_PAGE, RATING_TITLE, TITLE, study_markdown
from attribution.sanity.checks import cascade_similarity, flag
from attribution.scores.summary import COLUMNS, LEVEL, read_scores
from explain.names import RANDOM, method_title, metric
from utils.config import Options, option, parse, write_settings
from utils.ecg import NOT_A_DEVICE
from utils.errors import TwelveLeadError
from utils.files import write_bytes, write_json, write_text
from utils.plotting.ecg import png
from utils.provenance import command, git_commit, portable, versions
from utils.report.page import write_page
from utils.tables import write_csv

_KEPT = ("seed", "command", "git_commit", "settings", *RECORDED)


def write_report(
    folders: Sequence[Path],
    output_dir: Path,
    resamples: int = 1000,
    seed: int = 0,
    maps: int = 3,
    rated: int = 2,
) -> list[Path]:
    """Read the scores of all folders and write everything."""
    scores = read_scores(folders)
    studies = analyze(scores, resamples, seed)
    provenance: dict[str, Any] = {
        "command": command(),
        "git_commit": git_commit(),
        "versions": versions(),
        "settings": {"resamples": resamples, "seed": seed, "level": LEVEL, "alpha": ALPHA},
    }
    summaries: list[dict[str, Any]] = []
    images: dict[str, bytes] = {}
    blind: list[BlindMap] = []
    written: list[Path] = []
    for study in tqdm(studies, unit="study", disable=len(studies) < 2):
        folder = output_dir if len(studies) == 1 else output_dir / study.slug
        sources, notes = read_sources(study)
        drawn, hidden, more = draw_maps(study, maps, rated, seed)
        notes += more
        blind += hidden
        summary = {**provenance, "sources": sources, "notes": notes, **study.summary()}
        summary = portable(summary, {str(Path.cwd()): "."})
        write_json(folder / "summary.json", summary)
        written.append(folder / "summary.json")
        figures = []
        for picture in [*draw_scores(study), *drawn]:
            written.append(folder / f"{picture.stem}.png")
            write_bytes(written[-1], picture.png)
            name = str(written[-1].relative_to(output_dir))
            images[name] = picture.png
            folded = picture.stem.startswith("critical_difference")
            figures.append({"image": name, "caption": picture.caption, "folded": folded})
        summaries.append({**summary, "figures": figures})
        for note in notes:
            tqdm.write(f"note: {note}")
    write_csv(output_dir / "scores.csv", scores[COLUMNS])
    write_csv(output_dir / "table.csv", pd.concat(study.table for study in studies))
    text = "\n\n".join([f"# Scores of attribution maps\n\n{NOT_A_DEVICE}", *map(study_markdown, summaries)])
    write_text(output_dir / "table.md", text + "\n")
    write_json(output_dir / "ranks.json", [_ranks(study) for study in studies])
    names = ["scores.csv", "table.csv", "table.md", "ranks.json", "report.html"]
    rating, rated_images = rating_facts(shuffled(blind, seed))
    facts = {
        "command": provenance["command"],
        "commit": provenance["git_commit"],
        "seed": seed,
        "studies": summaries,
        "rating": rating,
    }
    write_page(output_dir / "report.html", PAGE, TITLE, facts, images | rated_images)
    if blind:
        write_page(output_dir / "rate_maps.html", RATING_PAGE, RATING_TITLE, rating, rated_images)
        names.append("rate_maps.html")
    return [*(output_dir / name for name in names), *written]


def read_sources(study: Study) -> tuple[list[dict[str, Any]], list[str]]:
    """How the maps of a study were made, and notes on them."""
    sources, notes = [], []
    for folder in dict.fromkeys(study.scores["folder"]):
        args = read_record(Path(folder))
        sources.append({"folder": folder, **{key: args[key] for key in _KEPT if key in args}})
        if not args:
            notes.append(f"{folder} has no {RECORD}: the settings of its maps are unknown.")
        for method, reason in args.get("not_possible", {}).items():
            notes.append(f"{method_title(method)} cannot explain this model: {reason}")
    for method, scores in study.scores.groupby("method", sort=False):
        if method != RANDOM and (warning := flag(cascade_similarity(scores))):
            notes.append(f"{method_title(method)}: {warning}.")
    return sources, list(dict.fromkeys(notes))


def draw_scores(study: Study) -> list[Picture]:
    """Draw the scores and tests."""
    counts = study.counts()
    subtitle = f"{counts['windows']} explanations of {counts['patients']} patients"
    subtitle += f", {len(counts['seeds'])} seeds" if len(counts["seeds"]) > 1 else ""
    pictures = []
    for stem, families, what in (
        ("score_table", ("localization", "perturbation"), "scores of the maps"),
        ("sanity_table", ("sanity",), "sanity checks of the maps"),
    ):
        title = f"{study.name}: {what}"
        figure = score_table(study.table, title, families, subtitle)
        if figure:
            pictures.append(Picture(stem, png(figure), title))
    for test in study.tests:
        ground_truth = f", ground truth: {test.ground_truth}" if test.ground_truth else ""
        title = f"{study.name}: {metric(test.metric).title}{ground_truth}"
        stem = f"critical_difference_{test.metric}"
        stem += f"_{test.ground_truth}" if len(study.ground_truths) > 1 and test.ground_truth else ""
        figure = critical_difference(test.comparison, title, test.random)
        if figure:
            content = png(figure, colors=256, method=Image.Quantize.MEDIANCUT)
            pictures.append(Picture(stem, content, f"{title}: average ranks"))
    return pictures


def draw_maps(
    study: Study, maps: int, rated: int, seed: int
) -> tuple[list[Picture], list[BlindMap], list[str]]:
    """Draw maps of the study's first result folder: pictures, maps for rating, and notes."""
    if maps + rated < 1:
        return [], [], []
    source = Path(study.scores["folder"].iloc[0])
    try:
        result = open_workspace(source)
        positions = draw_windows(result.targets, maps + rated, seed)
        pictures = list(map_pictures(study, result, positions[:maps]))
        blind = blind_maps(study, result, positions[maps:])
    except TwelveLeadError as error:  # tables and tests do not need maps
        return [], [], [f"No pictures of maps from {source}: {error}"]
    notes = []
    if len(positions) < maps + rated:
        notes.append(
            f"Only {len(positions)} windows were explained, fewer than the {maps + rated} to be drawn."
        )
    return pictures, blind, notes


def _ranks(study: Study) -> dict[str, Any]:
    return {
        "dataset": study.dataset,
        "model": study.model,
        "rankings": study.rankings,
        "tests": [asdict(test) for test in study.tests],
    }


@dataclass
class ReportOptions(Options):
    """Options of `python -m attribution.report`."""

    result_dir: list[Path] = option(
        [], "folder with scores/*.csv", scope="run", positional=True, required=True
    )
    output_dir: Path = option(Path("results/attribution/report"), "where the report goes", scope="run")
    resamples: int = option(1000, "bootstrap samples of patients, for the intervals", min=2)
    seed: int = option(0, "seed of the bootstrap and of the choice of windows", min=0)
    maps: int = option(3, "windows of each study whose maps are drawn", min=0)
    rated: int = option(2, "further windows of each study for the blind rating; 0: no rating", min=0)


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags and write the report."""
    options = parse(ReportOptions, args, prog="python -m attribution.report", description=__doc__)
    written = write_report(
        options.result_dir, options.output_dir, options.resamples, options.seed, options.maps, options.rated
    )
    written.append(options.output_dir / "report.yaml")
    write_settings(written[-1], options)
    print("wrote " + "\nwrote ".join(str(path) for path in written))
    print(NOT_A_DEVICE)
