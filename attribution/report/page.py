"""The HTML pages of the report: studies with tables and figures, and blind rating of maps."""

from __future__ import annotations

from typing import Any

from attribution.report.tables import (
    CLAIM_HEADER,
    SOURCE,
    claim_lines,
    counted_words,
    made_words,
    ranking_words,
    study_panels,
    tested_words,
    titled,
)
from utils.report import fill, register_section
from utils.report.page import Images

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
