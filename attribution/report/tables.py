"""The tables and sentences of a report, from the summary of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from attribution.report.ranks import can_differ
from attribution.scores.summary import in_order, without_twin
from explain.names import FAMILIES, RANDOM, metric, row_title
from utils.report import fill, register_section
from utils.report.markdown import markdown
from utils.report.page import Images

SOURCE = (
    "Suh et al., Computers in Biology and Medicine 182 (2024) 109088, doi:10.1016/j.compbiomed.2024.109088"
)


class Cell(NamedTuple):
    """One mean as text.

    ``mean``: with its standard deviation over seeds where there are several.
    ``interval``: 95 % interval over patients, or empty.
    ``windows``: windows, and those without a score.
    ``place``: 1 to 3 for the best three of the column, otherwise 0.
    """

    mean: str
    interval: str
    windows: str
    place: int


class Panel(NamedTuple):
    """A table of one family and ground truth.

    ``title``: such as ``localization, ground truth: beats``.
    ``header``: titles of the columns after the first.
    ``rows``: title of the row and its cells; None without a score.
    """

    title: str
    header: list[str]
    rows: list[tuple[str, list[Cell | None]]]


def study_panels(summary: dict[str, Any]) -> Iterator[Panel]:
    """Panels of a study's summary, also of one that was read from JSON."""
    yield from panels(
        pd.DataFrame(summary["table"]).astype(dict.fromkeys(("mean", "low", "high", "sd"), float))
    )


def panels(table: pd.DataFrame) -> Iterator[Panel]:
    """Split the table of one study into panels.

    relevance_mass_accuracy has no column where attribution_localization, the same number, has one.
    """
    table = without_twin(table)
    families = table["metric"].map(lambda name: metric(name).family)
    for family in FAMILIES:
        for ground_truth, part in in_order(table[families == family]).groupby("ground_truth", sort=False):
            names = list(dict.fromkeys(part["metric"]))
            places = {name: _best_three(part[part["metric"] == name]) for name in names}
            order = in_order(part.drop_duplicates(["method", "sign"]).assign(metric=names[0]))
            cells = {(line.method, line.sign, line.metric): line for line in part.itertuples()}
            rows = []
            for method, sign in zip(order["method"], order["sign"], strict=True):
                lines = [cells.get((method, sign, name)) for name in names]
                texts = [
                    None if line is None else _cell(line, places[name].get((method, sign), 0))
                    for name, line in zip(names, lines, strict=True)
                ]
                rows.append((row_title(method, sign), texts))
            title = titled({"family": family, "ground_truth": ground_truth})
            yield Panel(title, [metric(name).header for name in names], rows)


def _best_three(part: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Places of the best three rows; equal means share a place."""
    scored = metric(part["metric"].iloc[0])
    ranked = part[(part["method"] != RANDOM) & part["mean"].notna()]
    if scored.higher_is_better is None:
        return {}
    goodness = pd.Series(scored.goodness(ranked["mean"].to_numpy(dtype=float)), index=ranked.index)
    places = goodness.rank(ascending=False, method="min").astype(int)
    rows = zip(ranked["method"], ranked["sign"], places, strict=True)
    return {(method, sign): int(place) for method, sign, place in rows if place <= 3}


def _cell(line: Any, place: int) -> Cell:
    without = f", {line.nan:.0f} NaN" if line.nan else ""
    count = f"{line.windows:.0f}{without}"
    if not np.isfinite(line.mean):
        return Cell("–", "", count, 0)
    spread = f" ± {line.sd:.3f}" if np.isfinite(line.sd) else ""
    interval = f"[{line.low:z.3f}, {line.high:z.3f}]" if np.isfinite(line.low) else ""
    return Cell(f"{line.mean:z.3f}{spread}", interval, count, place)


def panel_markdown(panel: Panel) -> str:
    """A panel as Markdown."""

    def text(cell: Cell | None) -> str:
        if cell is None:
            return ""
        mean = f"**{cell.mean}** ({cell.place})" if cell.place else cell.mean
        return f"{mean} {cell.interval}<br><sub>{cell.windows}</sub>".replace(" <br>", "<br>")

    return markdown(
        ["method", *panel.header], [[name, *(text(cell) for cell in cells)] for name, cells in panel.rows]
    )


def claim_lines(rankings: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Rows of the table of published ranks."""
    lines = []
    for entry in rankings:
        family = entry["family"] + (f" ({entry['ground_truth']})" if entry["ground_truth"] else "")
        for claim in entry["claims"]:
            ranked = claim["here"] is not None
            place = f"{claim['here']} of {claim['of']}" if ranked else "not ranked"
            holds = {True: "holds", False: "does not hold", None: "–"}[claim["holds"]]
            lines.append([family, claim["row"], f"{claim['published']}", place, holds])
    return lines


CLAIM_HEADER = ["ranking", "row", "published rank", "rank here", "statement"]


def titled(entry: Mapping[str, Any]) -> str:
    """Family of metrics, with the ground truth that it used."""
    return entry["family"] + (f", ground truth: {entry['ground_truth']}" if entry["ground_truth"] else "")


def ranking_words(entry: dict[str, Any]) -> str:
    """The metrics and the first rows of a ranking, as a sentence."""
    ranking = entry["ranking"]
    used = ", ".join(metric(name).header for name in ranking["metrics"])
    first = [
        f"{row['place']} {row_title(row['method'], row['sign'])} ({row['average_rank']:.1f})"
        for row in ranking["rows"][:3]
    ]
    words = f"Average rank over {used}: {'; '.join(first) or 'no row has all of them'}."
    if ranking["absent"]:
        words += f" Not measured here: {', '.join(metric(name).title for name in ranking['absent'])}."
    if ranking["unranked"]:
        words += f" Not ranked because a mean is missing: {', '.join(ranking['unranked'])}."
    return words


_APPROXIMATE = (
    "These tests used the normal approximation of the signed-rank test, not today's exact test. With few "
    "patients and many rows it can hardly show a difference, so that *not distinguishable* may mean no more "
    "than that."
)


def tested_words(test: dict[str, Any]) -> str:
    """Result of the tests of a metric, as a sentence."""
    name = metric(test["metric"]).title + (f" ({test['ground_truth']})" if test["ground_truth"] else "")
    if test["reason"]:
        return f"{name}: no test, {test['reason']}."
    words = f"{name}: {test['patients']} patients"
    words += f" ({test['left_out']} left out because a row has no score there)" if test["left_out"] else ""
    if test["friedman"]:
        p = test["friedman"][1]
        words += f", Friedman p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"
    equal, others = test["not_different_from_best"], len(test["rows"]) - 1
    words += f". Best average rank: {test['rows'][0]}"
    if not can_differ(test["patients"], others + 1):
        return f"{words}; too few patients to show a difference between this many rows."
    if not equal or len(equal) == others:
        return f"{words}, {'not distinguishable' if equal else 'different'} from all others."
    return f"{words}, not distinguishable from {len(equal)} of {others} others: {', '.join(equal)}."


def counted_words(summary: dict[str, Any]) -> str:
    """What was explained, as a sentence."""
    seeds = ", ".join(str(seed) for seed in summary["seeds"])
    classes = ", ".join(f"{name} {count}" for name, count in summary["classes"].items())
    pooled = " (all seeds together)" if len(summary["seeds"]) > 1 else ""
    return (
        f"{summary['windows']} explanations of {summary['records']} records, {summary['patients']} patients; "
        f"explained classes{pooled}: {classes}; seeds of the model: {seeds}."
    )


def made_words(summary: dict[str, Any]) -> list[str]:
    """How windows were selected and explained, and which bootstrap samples were left out."""
    methods = {row["method"] for row in summary["table"]}
    sentences = []
    for source in (source for source in summary["sources"] if "settings" in source):
        settings = source["settings"]
        limit = source.get("limit")
        sample = f"a sample of at most {limit}" if limit else "all"
        length = f"{settings['segment_samples']} samples"
        if not settings["segment_samples"]:
            length = f"{settings['segment_ms']:g} ms"
        parts = [
            f"Seed {source['seed']}: {sample} of the test windows whose true class "
            f"has a probability above {source['prob_threshold']:g}"
        ]
        if "integrated_gradients" in methods:
            parts.append(f"integrated gradients: {settings['ig_steps']} steps")
        if {"lime", "kernel_shap"} & methods:
            parts.append(
                f"LIME and KernelSHAP: {settings['n_samples']} perturbations of segments of {length}"
            )
        if "deep_shap" in methods:
            parts.append(f"DeepSHAP: {settings['n_baselines']} baselines ({settings['baselines']})")
        sentences.append("; ".join(parts) + ".")
    rejected = max((row.get("rejected", 0) for row in summary["table"]), default=0)
    if rejected:
        sentences.append(
            f"Bootstrap samples of patients without a score are left out of the "
            f"intervals: at most {rejected}."
        )
    return sentences


def study_markdown(summary: dict[str, Any]) -> str:
    """All tables of a study as Markdown."""
    parts = [f"## {summary['dataset']}, {summary['model']}", counted_words(summary), *made_words(summary)]
    parts += [f"Note: {note}" for note in summary["notes"]]
    claims = claim_lines(summary["rankings"])
    if claims:
        parts += ["### Claims of the published study", markdown(CLAIM_HEADER, claims), f"Source: {SOURCE}."]
    parts += [f"**{titled(entry)}.** {ranking_words(entry)}" for entry in summary["rankings"]]
    if summary["tests"]:
        parts += ["### Tests over patients", "\n".join(f"- {tested_words(t)}" for t in summary["tests"])]
        if summary.get("signed_rank") != "exact" and not all(test["reason"] for test in summary["tests"]):
            parts.append(_APPROXIMATE)
    for panel in study_panels(summary):
        title = f"<details><summary>Table: {escape(panel.title)}</summary>"
        parts += [title, panel_markdown(panel), "</details>"]
    parts.append(
        "In the tables: mean over windows [95 % interval over patients]; below: windows, and those without a "
        "score (NaN). Bold and numbered: the best three; the random baseline does not compete. → 0: nearest "
        "to 0 is best. Relevance mass accuracy is attribution localization by another name and has no column."
    )
    return "\n\n".join(parts)


PAGE = "attribution"
RATING_PAGE = "rate_maps"
TITLE, RATING_TITLE = "Can these explanations be trusted?", "Rate maps of ECGs"
SCALE = ("very unhelpful", "unhelpful", "neutral", "helpful", "very helpful")  # of the published human study


def _study(summary: dict[str, Any]) -> dict[str, Any]:
    """What the template shows of a study's summary."""
    figures = summary["figures"]
    return {
        "name": f"{summary['dataset']}, {summary['model']}",
        "paragraphs": [counted_words(summary), *made_words(summary)],
        "notes": summary["notes"],
        "claims": claim_lines(summary["rankings"]),
        "rankings": [
            {"title": titled(entry), "words": ranking_words(entry)} for entry in summary["rankings"]
        ],
        "tests": [tested_words(test) for test in summary["tests"]],
        "figures": [f for f in figures if not f["folded"]],
        "folded": [f for f in figures if f["folded"]],
        "panels": list(study_panels(summary)),
    }


def _studies(facts: dict[str, Any], images: Images) -> str:
    values = facts | {"studies": [_study(summary) for summary in facts["studies"]], "images": images}
    return fill("attribution.report/studies.html", claim_header=CLAIM_HEADER, source=SOURCE, **values)


def _rating(facts: dict[str, Any], images: Images, folded: bool = False) -> str:
    if not facts["maps"]:
        return ""
    return fill("attribution.report/rating.html", scale=SCALE, images=images, folded=folded, **facts)


_STYLES, _SCRIPTS = ["utils.report/ratings.css", "attribution.report/report.css"], ["utils.report/ratings.js"]
register_section(PAGE, "studies", _studies, ["attribution.report/report.css"])
register_section(
    PAGE, "rating", lambda facts, images: _rating(facts["rating"], images, True), _STYLES, _SCRIPTS
)
register_section(RATING_PAGE, "rating", _rating, _STYLES, _SCRIPTS)
