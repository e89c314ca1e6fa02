"""Markdown tables and HTML pages."""

from utils.files import slug
from utils.report.markdown import markdown


def test_markdown_aligns_numbers_and_escapes_bars():
    table = markdown(["name", "score"], [["a|b", "0.5"]])
    assert table.splitlines() == ["| name | score |", "| --- | ---: |", r"| a\|b | 0.5 |"]


def test_slug_keeps_what_file_names_may_hold():
    assert slug("mitdb, net/seed:1.5-ü") == "mitdb__net_seed_1.5-ü"
