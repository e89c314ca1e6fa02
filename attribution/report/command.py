"""Report on evaluated attribution maps: tables with intervals, tests over patients, pictures, an HTML page.

python -m attribution.report results_attr/mitdb_seed1 --output_dir results/attribution/mitdb
python -m attribution.report results_attr/mitdb_seed* results_attr/svdb --output_dir results/attribution/all

Each RESULT_DIR holds scores/*.csv as attribution.evaluate and attribution.sanity write them. Folders of one
data set and model with different seeds are one study: means over seeds, with their standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from attribution.engine.results import ARGS, load_maps
from attribution.report.analysis import Study, analyse
from attribution.report.figures import critical_difference, png, score_table
from attribution.report.html import page, report_page, study_part
from attribution.report.maps import blind_maps, draw_windows, map_pictures
from attribution.report.rating import BlindMap, rating_part, shuffled
from attribution.report.tables import study_markdown
from attribution.sanity.files import cascade_similarity, flag
from attribution.scores.summary import COLUMNS, read_scores
from explain.names import RANDOM, TITLES, metric
from utils.ecg import NOT_A_DEVICE
from utils.errors import TwelveLeadError, UsageError
from utils.files import atomic_path, read_json, write_json, write_text
from utils.flags import Parser
from utils.provenance import command, git_commit, portable, versions

_KEPT = ("seed", "command", "git_commit", "settings", "prob_threshold", "target_label", "limit", "reference")
Pictures = dict[str, tuple[bytes, str]]


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
    studies = analyse(scores, resamples, seed)
    provenance: dict[str, Any] = {
        "command": command(),
        "git_commit": git_commit(),
        "versions": versions(),
        "settings": {"resamples": resamples, "seed": seed, "level": 0.95, "alpha": 0.05},
    }
    where = {str(Path.cwd()): "."}
    parts: list[str] = []
    blind: list[BlindMap] = []
    written: list[Path] = []
    text = [f"# Scores of attribution maps\n\n{NOT_A_DEVICE}"]
    for study in tqdm(studies, unit="study", disable=len(studies) < 2):
        folder = output_dir if len(studies) == 1 else output_dir / study.slug
        pictures = draw_scores(study, folder)
        sources, notes = read_sources(study)
        drawn, hidden, more = draw_maps(study, folder, maps, rated, seed)
        notes += more
        pictures |= drawn
        blind += hidden
        parts.append(study_part(study, pictures, notes, sources))
        text.append(study_markdown({**study.summary(), "notes": notes, "sources": sources}))
        summary = {**provenance, "sources": sources, "notes": notes, **study.summary()}
        write_json(folder / "summary.json", portable(summary, where))
        written += [folder / "summary.json", *(folder / f"{stem}.png" for stem in pictures)]
        for note in notes:
            tqdm.write(f"note: {note}")
    with atomic_path(output_dir / "scores.csv") as temporary:
        scores[COLUMNS].to_csv(temporary, index=False)

    with atomic_path(output_dir / "table.csv") as temporary:
        pd.concat(study.table for study in studies).to_csv(temporary, index=False)
    write_text(output_dir / "table.md", "\n\n".join(text) + "\n")
    write_json(output_dir / "ranks.json", [_ranks(study) for study in studies])
    rating = rating_part(shuffled(blind, seed)) if blind else ""
    said = f"{provenance['command']}\ncommit {provenance['git_commit']}, seed {seed}"
    write_text(output_dir / "report.html", report_page(parts, said, rating))
    names = ["scores.csv", "table.csv", "table.md", "ranks.json", "report.html"]
    if rating:
        write_text(output_dir / "rate_maps.html", page("Rate maps of ECGs", rating))
        names.append("rate_maps.html")
    return [*(output_dir / name for name in names), *written]


def read_sources(study: Study) -> tuple[list[dict[str, Any]], list[str]]:
    """Find out how the maps of a study were made."""
    sources, notes = [], []
    for folder in dict.fromkeys(study.scores["folder"]):
        path = Path(folder) / ARGS
        args = read_json(path) if path.exists() else {}
        sources.append({"folder": folder, **{key: args[key] for key in _KEPT if key in args}})
        if not args:
            notes.append(f"{folder} has no {ARGS}: how its maps were made is not known.")
        for method, reason in args.get("not_possible", {}).items():
            notes.append(f"{TITLES.get(method, method)} cannot explain this model: {reason}")
    for method, scores in study.scores.groupby("method", sort=False):
        if method != RANDOM and (told := flag(cascade_similarity(scores))):
            notes.append(f"{TITLES.get(method, method)}: {told}.")
    return sources, list(dict.fromkeys(notes))


def draw_scores(study: Study, folder: Path) -> Pictures:
    """Write the pictures of scores and tests."""
    counts = study.counts()
    words = f"{counts['windows']} explanations of {counts['patients']} patients"
    words += f", {len(counts['seeds'])} seeds" if len(counts["seeds"]) > 1 else ""
    drawn: list[tuple[str, Figure | None, str]] = []
    for stem, families, what in (
        ("score_table", ("localisation", "perturbation"), "scores of the maps"),
        ("sanity_table", ("sanity",), "sanity checks of the maps"),
    ):
        title = f"{study.name}: {what}"
        drawn.append((stem, score_table(study.table, title, families, words), title))
    for test in study.tests:
        truth = f", truth: {test.truth}" if test.truth else ""
        title = f"{study.name}: {metric(test.metric).title}{truth}"
        stem = f"critical_difference_{test.metric}"
        stem += f"_{test.truth}" if len(study.truths) > 1 and test.truth else ""
        figure = critical_difference(test.comparison, title, test.random)
        drawn.append((stem, figure, f"{title}: average ranks"))
    pictures = {}
    for stem, figure, said in drawn:
        if figure:
            few = Image.Quantize.MEDIANCUT if stem.startswith("critical_difference") else None
            pictures[stem] = (_write(png(figure, few), folder / f"{stem}.png"), said)
    return pictures


def draw_maps(
    study: Study, folder: Path, maps: int, rated: int, seed: int
) -> tuple[Pictures, list[BlindMap], list[str]]:
    """Write pictures of maps of the study's first result folder, and make those for rating."""
    if maps + rated < 1:
        return {}, [], []
    source = Path(study.scores["folder"].iloc[0])
    try:
        result = load_maps(source)
        chosen = draw_windows(result.targets, maps + rated, seed)
        pictures = {
            picture.stem: (_write(png(picture.figure), folder / f"{picture.stem}.png"), picture.words)
            for picture in map_pictures(study, result, chosen[:maps])
        }
        blind = blind_maps(study, result, chosen[maps:])
    except TwelveLeadError as error:  # tables and tests do not need the maps
        return {}, [], [f"No pictures of maps from {source}: {error}"]
    notes = []
    if len(chosen) < maps + rated:
        notes.append(f"Only {len(chosen)} windows were explained: {maps + rated} were asked for pictures.")
    return pictures, blind, notes


def _write(picture: bytes, path: Path) -> bytes:
    with atomic_path(path) as temporary:
        temporary.write_bytes(picture)
    return picture


def _ranks(study: Study) -> dict[str, Any]:
    return {
        "dataset": study.dataset,
        "model": study.model,
        "rankings": [asdict(ranking) for ranking in study.rankings],
        "tests": [asdict(test) for test in study.tests],
    }


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags and write the report."""
    parser = Parser(prog="python -m attribution.report", description=__doc__)
    parser.add_argument("result_dir", nargs="+", type=Path, help="folder with scores/*.csv")
    parser.add_argument(
        "--output_dir",
        type=Path,
        default=Path("results/attribution/report"),
        help="where the report goes (default: %(default)s)",
    )
    parser.add_argument(
        "--resamples", type=int, default=1000, help="of patients, for the intervals (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the resamples and the choice of windows (default: %(default)s)",
    )
    parser.add_argument(
        "--maps", type=int, default=3, help="windows of each study that are drawn (default: %(default)s)"
    )
    parser.add_argument(
        "--rated",
        type=int,
        default=2,
        help="further windows of each study in the blind rating (default: %(default)s; 0: no rating)",
    )
    options = parser.parse_args(args)
    for name in ("maps", "rated", "seed"):
        if getattr(options, name) < 0:
            raise UsageError(f"--{name} must not be negative, got {getattr(options, name)}")
    written = write_report(
        options.result_dir, options.output_dir, options.resamples, options.seed, options.maps, options.rated
    )
    print("wrote " + "\nwrote ".join(str(path) for path in written))
    print(NOT_A_DEVICE)
