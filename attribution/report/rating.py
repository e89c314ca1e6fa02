"""A page part on which a clinician rates maps without knowing which method made them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from attribution.report.rating_script import SCRIPT
from explain.prototypes.report import image

# the five points of the published human study
SCALE = ("very unhelpful", "unhelpful", "neutral", "helpful", "very helpful")

STYLE = """
.card { border: 1px solid #ccc; padding: .6em; margin: 1em 0; max-width: 1100px; }
.card.rated { border-left: 4px solid #009e73; }
.rate label { margin-right: 1em; white-space: nowrap; } textarea { width: 98%; height: 2.4em; }
.bar { position: sticky; top: 0; background: white; padding: .4em 0; border-bottom: 1px solid #ccc; }
"""


@dataclass(frozen=True)
class BlindMap:
    """One map to rate.

    ``picture``: PNG without the name of the method.
    ``words``: what the rater may know: the class that is explained.
    ``facts``: what goes into the CSV: method, sign, dataset, model, seed, record, window, target.
    """

    picture: bytes
    words: str
    facts: dict[str, Any]


def shuffled(maps: Sequence[BlindMap], seed: int) -> list[BlindMap]:
    """Put the maps into a random order."""
    return [maps[i] for i in np.random.default_rng(seed).permutation(len(maps))]


def rating_part(maps: Sequence[BlindMap]) -> str:
    """Make the part of a page: one card a map, ratings from 1 to 5, and a button that saves them as CSV.

    Ratings stay in the browser until their user downloads them; nothing is sent. The facts of a map are in
    the page, encoded, so that a glance at the source does not unblind; they become readable in the CSV.
    """
    choices = "".join(
        f'<label><input type="radio" name="NAME" value="{n}"> {n} {escape(words)}</label>'
        for n, words in enumerate(SCALE, 1)
    )
    cards = "\n".join(
        f'<div class="card" data-map="{number}"><p><strong>Map {number}</strong>: {escape(item.words)}</p>'
        f"{image(item.picture, f'Map {number}: {item.words}')}"
        f'<p class="rate">{choices.replace("NAME", f"rating{number}")}</p>'
        f'<textarea aria-label="comment on map {number}" placeholder="comment"></textarea></div>'
        for number, item in enumerate(maps, 1)
    )
    secrets = [_encoded(item.facts) for item in maps]
    key = hashlib.sha256("".join(secrets).encode()).hexdigest()[:16]
    facts = json.dumps({"key": f"attribution-ratings-{key}", "maps": secrets})
    return f"""<p>How much does the coloured map help to see why this ECG has the named class? The maps come
from different methods, in random order, without names; some may be noise. Ratings stay in this browser until
you save them; nothing is sent.</p>
<p class="bar"><label>Rater <input id="rater" size="12"></label>
<button id="save" type="button">Save as CSV</button>
<button id="clear" type="button">Delete all ratings</button>
<span id="state"></span></p>
{cards}
<script type="application/json" id="facts">{facts}</script>
<script>{SCRIPT}</script>"""


def _encoded(facts: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(facts).encode()).decode()
