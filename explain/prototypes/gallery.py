"""All prototypes of a model on one HTML page, to look through and to rate."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from explain.prototypes.gallery_script import SCRIPT
from explain.prototypes.pictures import seconds
from explain.prototypes.source_records import ReadSource
from training.checkpoint import run_name
from training.predictor import Predictor
from training.protoecgnet.projected import branches_of, labels_of, prototype_list
from utils.ecg import DISPLAY_NAMES, NOT_A_DEVICE
from utils.files import write_text

# Thumbnails count in twentieths of a millimetre of paper: 25 mm/s and 10 mm/mV are whole numbers then.
_PER_SECOND, _PER_MV, _MM = 500, 200, 20
_MARGIN_S = 0.25
_SAMPLES_A_SECOND = 100
_GAP = 60
_LIMB_TO_CHEST = ((0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11))  # rows of the usual printout
_RHYTHM_STRIPS = ((1,), (6,))  # II and V1, one below the other

STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; color: #111; margin: 1em; }
h2 { border-top: 2px solid #4a2fc9; padding-top: .4em; } .device, .dim { color: #555; }
nav a { margin-right: .8em; white-space: nowrap; } .cards { display: flex; flex-wrap: wrap; gap: 1em; }
section { content-visibility: auto; contain-intrinsic-size: auto 1200px; scroll-margin-top: 3em; }
.card { border: 1px solid #ccc; padding: .6em; width: 470px; max-width: 95vw; box-sizing: border-box; }
.card.best { border: 2px solid #009e73; } .card.bad { border: 2px solid #d55e00; }
.card svg { width: 100%; height: auto; background: #fff8f6; }
.card p { margin: .3em 0; }
.rate label { margin-right: .8em; white-space: nowrap; } textarea { width: 98%; height: 2.6em; }
.bar { position: sticky; top: 0; z-index: 1; background: white; padding: .4em 0;
  border-bottom: 1px solid #ccc; }
"""

_GRID_AT = 5 * _MM
_GRID = f"""<svg width="0" height="0" style="position: absolute"><defs>
<pattern id="grid" width="{_GRID_AT}" height="{_GRID_AT}" patternUnits="userSpaceOnUse">
<path d="M0 0H{_GRID_AT}M0 0V{_GRID_AT}" stroke="#eeb3ae" stroke-width="6" fill="none"/>
</pattern></defs></svg>"""


def write_gallery(predictor: Predictor, read_source: ReadSource | None, path: str | os.PathLike) -> Path:
    """Write a page of all prototypes by branch and class, with fields for ratings.

    Ratings (representative and clear, 1 to 5), marks and comments stay in the browser until its user
    downloads them as a CSV.
    """
    listed = prototype_list(predictor)
    weights = predictor.model.head.weight.detach().cpu().numpy()
    sections: list[str] = []
    links, first = [], 0
    for network in branches_of(predictor.model):
        count = len(network.prototype_vectors)
        groups: dict[str, list[int]] = {}
        for p in range(first, first + count):
            groups.setdefault(" and ".join(listed[p]["classes"]), []).append(p)
        anchors = []
        for name, members in groups.items():
            anchor = f"c{len(sections)}"
            anchors.append(f'<a href="#{anchor}">{escape(name)} ({len(members)})</a>')
            cards = "\n".join(_card(predictor, p, listed[p], weights[:, p], read_source) for p in members)
            sections.append(
                f'<section id="{anchor}"><h2>{escape(name)} <span class="dim">{escape(network.branch)} branch'
                f'</span></h2><div class="cards" data-class="{escape(name)}">{cards}</div></section>'
            )
        links.append(f"<p><strong>{escape(network.branch)}</strong> {' '.join(anchors)}</p>")
        first += count
    write_text(path, _page(predictor, listed, links, sections, read_source is not None))
    return Path(path)


def thumbnail(signals_mv: np.ndarray, sampling_rate: float, start_ms: float, end_ms: float) -> str:
    """Draw a window across all leads, or leads II and V1 of a whole record, as a light SVG.

    Shapes: signals_mv (T, 12).
    """
    duration = len(signals_mv) / sampling_rate
    start, end = start_ms / 1000, end_ms / 1000
    whole = end - start >= duration
    left, right = (0, duration) if whole else (max(0, start - _MARGIN_S), min(duration, end + _MARGIN_S))
    step = max(1, round(sampling_rate / _SAMPLES_A_SECOND))
    here = signals_mv[round(left * sampling_rate) : round(right * sampling_rate) : step]
    heights = np.rint((here - np.median(here, axis=0)) * _PER_MV).astype(int)
    across = np.rint(np.arange(len(here)) * step / sampling_rate * _PER_SECOND).astype(int)
    width = round((right - left) * _PER_SECOND)
    shades, paths, names, y = [], [], [], 0
    first, length = round((start - left) * _PER_SECOND), round((end - start) * _PER_SECOND)
    rows = _RHYTHM_STRIPS if whole else _LIMB_TO_CHEST
    total = len(rows[0]) * (width + _GAP) - _GAP
    size = total // 42  # of the lead names: readable at the width of a card
    for row in rows:
        up, down = max(60, heights[:, row].max()), max(60, -heights[:, row].min())
        y += up + size + 12
        for column, lead in enumerate(row):
            x = column * (width + _GAP)
            if not whole:
                shades.append(f"M{x + first} {y - up}h{length}v{up + down}h-{length}z")
            paths.append(_path(across + x, y - heights[:, lead]))
            names.append(f'<text x="{x + 8}" y="{y - up - 8}">{DISPLAY_NAMES[lead]}</text>')
        y += down
    height = y + 20
    return (
        f'<svg viewBox="0 0 {total} {height}"><rect width="{total}" height="{height}" fill="url(#grid)"/>'
        f'<path fill="#4a2fc9" fill-opacity=".16" d="{"".join(shades)}"/>'
        f'<path fill="none" stroke="#111" stroke-width="14" stroke-linejoin="round" d="{"".join(paths)}"/>'
        f'<g font-size="{size}">{"".join(names)}</g></svg>'
    )


def _path(x: np.ndarray, y: np.ndarray) -> str:
    steps = " ".join(f"{a} {b}" for a, b in zip(np.diff(x), np.diff(y), strict=True))
    return f"M{x[0]} {y[0]}l{steps}".replace(" -", "-")


def _card(
    predictor: Predictor,
    index: int,
    entry: dict[str, Any],
    weights: np.ndarray,
    read_source: ReadSource | None,
) -> str:
    own = ", ".join(
        f"{escape(name)} {weights[predictor.classes.index(name)]:+.3f}"
        for name in entry["classes"]
        if name in predictor.classes
    )
    rating = f"""<p class="rate">
<label>Representativeness <select name="representativeness">{_CHOICES}</select></label>
<label>Clarity <select name="clarity">{_CHOICES}</select></label>
<label><input type="checkbox" name="best"> best</label>
<label><input type="checkbox" name="bad"> bad</label></p>
<textarea name="comment" aria-label="comment" placeholder="comment"></textarea>"""
    head = f'<div class="card" data-prototype="{index}"><p><strong>Prototype {index}</strong>: '
    if entry["ecg_id"] is None:
        return f"{head}no training ECG, as its class had none. Weight {own}.</p>{rating}</div>"
    start, end = entry["start_ms"], entry["end_ms"]
    first, last = entry["receptive_field_ms"]
    where = f'{seconds(start, end)} <span class="dim">(influenced by {seconds(first, last)})</span>'
    if (first, last) == (start, end):
        where = "the whole record"
    picture = ""
    if read_source:
        signals = read_source(entry["ecg_id"])
        picture = '<p class="dim">Its ECG is not in the data folder.</p>'
        if signals is not None:
            picture = thumbnail(signals, predictor.sampling_rate, start, end)
    return f"""{head}training ECG {entry["ecg_id"]}, {where}</p>{picture}
<p>True labels: {escape(", ".join(labels_of(entry)) or "none")}.
Similarity at projection {entry["similarity"]:.3f}; weight {own}.</p>{rating}</div>"""


_CHOICES = '<option value="">–</option>' + "".join(f"<option>{n}</option>" for n in range(1, 6))


def _page(
    predictor: Predictor,
    listed: Sequence[dict[str, Any]],
    links: Sequence[str],
    sections: Sequence[str],
    pictures: bool,
) -> str:
    title = f"Prototypes of {run_name(predictor.folder)}"
    facts = {
        "key": f"twelvelead-gallery-{predictor.card.get('weights_sha256', '')}",
        "prototypes": [
            {"classes": " and ".join(e["classes"]), "branch": e["branch"], "ecg_id": e["ecg_id"]}
            for e in listed
        ],
    }
    data = json.dumps(facts).replace("<", "\\u003c")  # nothing in it can end the script element
    missing = "" if pictures else "<p>For pictures, give the folder of PTB-XL: --data_dir FOLDER.</p>"
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>
<style>{STYLE}</style></head>
<body>{_GRID}
<h1>{escape(title)}</h1>
<p class="device"><strong>{NOT_A_DEVICE}</strong></p>
<p>{len(listed)} prototypes, each a piece of a training ECG; one square is 5 mm: 0.2 s and 0.5 mV. Shaded: the
window that is compared; on each side a quarter of a second more. Prototypes of the rhythm and global branches
are whole records; leads II and V1 are drawn.</p>{missing}
<p>Rate each from 1 (strongly disagree) to 5 (strongly agree). <em>Representativeness</em>: this is a typical
or defining presentation of the class. <em>Clarity</em>: it can be interpreted and is not noisy.</p>
<div class="bar"><button type="button" id="download">Download ratings (CSV)</button>
<button type="button" id="clear">Delete ratings</button> <span id="state" role="status"></span>
<span class="dim">Ratings stay in this browser; nothing is sent anywhere.</span></div>
<nav>{"".join(links)}</nav>
{"".join(sections)}
<p class="device">{NOT_A_DEVICE}</p>
<script type="application/json" id="facts">{data}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""
