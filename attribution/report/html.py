"""The report as one HTML page that needs nothing else and sends nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from attribution.report.analysis import Study
from attribution.report.rating import STYLE as RATING_STYLE
from attribution.report.tables import (
    CLAIM_HEADER,
    SOURCE,
    claim_lines,
    counted_words,
    made_words,
    panel_html,
    panels,
    ranking_words,
    tested_words,
)
from explain.prototypes.report import image
from utils.ecg import NOT_A_DEVICE

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #111; max-width: 1420px; margin: 1.5em auto;
  padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: .2em; } h3 { font-size: 1.05em; margin: 1.6em 0 .3em; }
h2 { font-size: 1.25em; border-top: 2px solid #4a2fc9; padding-top: .6em; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top; }
table.scores tr:nth-child(odd) { background: #f7f6fc; } small { color: #555; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1em 0; } img { max-width: 100%; height: auto; border: 1px solid #ddd; }
.note { background: #f4f2fc; border-left: 4px solid #4a2fc9; padding: .5em .8em; } .device { color: #555; }
summary { font-weight: bold; cursor: pointer; }
"""
# Nothing is loaded, nothing is sent: pictures are in the page, connections are forbidden.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_HOW_TO_READ = """<p class="note">Each number is a mean over windows; in brackets its 95 % interval over
patients, below it the number of windows and of those without a score (NaN: the map is zero everywhere, or the
truth is empty). ↑ more is better, ↓ less is better, → 0 nearest to 0 is best. <i>abs</i>: magnitudes of the
map. Bold and numbered: the best three; the random baseline does not compete. Relevance mass accuracy is
attribution localization by another name and has no column. That a map scores well says that it points at the
known place or at what moves the model, not that the model is right.</p>"""


def page(heading: str, body: str) -> str:
    """Make a page that is complete in itself."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(heading)}</title>
<style>{STYLE}{RATING_STYLE}</style></head>
<body>
<h1>{escape(heading)}</h1>
<p class="device"><strong>{NOT_A_DEVICE}</strong></p>
{body}
<p class="device">{NOT_A_DEVICE}</p>
</body>
</html>
"""


def study_part(
    study: Study,
    pictures: Mapping[str, tuple[bytes, str]],
    notes: Sequence[str] = (),
    sources: Sequence[dict[str, Any]] = (),
) -> str:
    """Make the section of one data set and model."""
    summary: dict[str, Any] = {**study.summary(), "sources": sources}
    parts = [f"<h2>{escape(study.name)}</h2>"]
    parts += [f"<p>{escape(words)}</p>" for words in (counted_words(summary), *made_words(summary))]
    parts += [f'<p class="note">{escape(note)}</p>' for note in notes]
    claims = claim_lines(summary["rankings"])
    if claims:
        head = "".join(f"<th>{title}</th>" for title in CLAIM_HEADER)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in line)}</tr>" for line in claims)
        parts += ["<h3>What the published study said</h3>", f"<table><tr>{head}</tr>{rows}</table>"]
        parts += [f"<p>{escape(SOURCE)}.</p>"]
    for entry in summary["rankings"]:
        family = entry["family"] + (f", truth: {entry['truth']}" if entry["truth"] else "")
        parts.append(f"<p><b>{escape(family)}.</b> {escape(ranking_words(entry))}</p>")
    tests = "".join(f"<li>{escape(tested_words(test))}</li>" for test in summary["tests"])
    if tests:
        parts += ["<h3>Tests over patients</h3>", f"<ul>{tests}</ul>"]
    shown: list[str] = []
    folded: list[str] = []
    for name, (png, words) in pictures.items():
        figure = f"<figure>{image(png, words)}<figcaption>{escape(words)}.</figcaption></figure>"
        (folded if name.startswith("critical_difference") else shown).append(figure)
    parts += shown
    if folded:
        title = f"Critical-difference diagrams ({len(folded)})"
        parts.append(f"<details><summary>{title}</summary>{''.join(folded)}</details>")
    for panel in panels(study.table):
        parts.append(
            f"<details><summary>Table: {escape(panel.title)}</summary>{_HOW_TO_READ}"
            f"{panel_html(panel)}</details>"
        )
    return "\n".join(parts)


def report_page(parts: Sequence[str], provenance: str, rating: str) -> str:
    """Put the sections of all studies and the rating part together."""
    body = [f"<p><code>{escape(provenance)}</code></p>".replace("\n", "<br>"), *parts]
    if rating:
        body.append(
            '<details id="rate"><summary>Rate maps blind</summary>'
            "<p>The windows here are not among the pictures above. A rater who should not see the scores "
            f"gets the page rate_maps.html, which holds this part alone.</p>{rating}</details>"
        )
    return page("Can these explanations be trusted?", "\n".join(body))
