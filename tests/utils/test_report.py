"""Markdown tables, CSV files and HTML pages."""

import json
import re

import jinja2
import pandas as pd
import pytest

from tests.helpers.browser import drive
from utils.ecg import NOT_A_DEVICE
from utils.errors import UsageError
from utils.files import slug
from utils.report.markdown import markdown
from utils.report.page import _pages, fill, register_section, render_page, write_page
from utils.tables import escape_cell, unescape_cell, write_csv


def test_markdown_aligns_numbers_and_escapes_bars():
    table = markdown(["name", "score"], [["a|b", "0.5"]])
    assert table.splitlines() == ["| name | score |", "| --- | ---: |", r"| a\|b | 0.5 |"]


def test_slug_keeps_what_file_names_may_hold():
    assert slug("mitdb, net/seed:1.5-ü") == "mitdb__net_seed_1.5-ü"


# ---- CSV -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["=1+1", "+a", "-1", "@x", "\tx", "'=x", "'", "''=x", "plain", ""])
def test_csv_escapes_formulas_and_restores_them(tmp_path, text):
    table = pd.DataFrame({"record": [text, "b"], "score": [-0.5, 1.0]})
    path = write_csv(tmp_path / "a.csv", table)
    read = pd.read_csv(path, dtype={"record": str}, keep_default_na=False)
    assert not read["record"][0].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert unescape_cell(read["record"][0]) == text
    assert read["score"].tolist() == [-0.5, 1.0]  # numbers stay numbers


def test_csv_escapes_names_of_columns(tmp_path):
    path = write_csv(tmp_path / "a.csv", pd.DataFrame({"=cmd": [1]}))
    assert path.read_text() == "'=cmd\n1\n"
    assert escape_cell(3) == 3 and escape_cell(None) is None


# ---- pages ---------------------------------------------------------------------------------------


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setitem(_pages, "toy", None)
    del _pages["toy"]
    return "toy"


def toy(facts, images):
    return fill("<p>{{ name }} {{ images.picture | png_uri }}</p>", name=facts["name"], images=images)


def test_page_has_the_notice_at_top_and_bottom_and_loads_nothing(page, tmp_path):
    register_section(page, "toy", toy)
    path = write_page(tmp_path / "toy.html", page, "A <title>", {"name": "<b>&"}, {"picture": b"png"})
    text = path.read_text(encoding="utf-8")
    assert "<p>&lt;b&gt;&amp; data:image/png;base64,cG5n</p>" in text
    assert "<title>A &lt;title&gt;</title>" in text and "<h1>A &lt;title&gt;</h1>" in text
    body = text[text.index("<body>") :]
    assert body.count(NOT_A_DEVICE) == 2
    assert body.index(NOT_A_DEVICE) < body.index("<p>&lt;b") < body.rindex(NOT_A_DEVICE)
    assert "default-src 'none'" in text and not re.search(r"https?://|<link|@import", text)
    again = render_page(page, "A <title>", json.loads('{"name": "<b>&"}'), {"picture": b"png"})
    assert again == text


def test_page_sections_keep_their_order_and_may_be_empty(page):
    register_section(page, "z", lambda facts, images: fill("<p>first</p>"), ["utils.report/ratings.css"])
    register_section(page, "a", lambda facts, images: "1 < 2")
    register_section(page, "none", lambda facts, images: "", scripts=["utils.report/ratings.js"])
    text = render_page(page, "T", {})
    assert text.index("<p>first</p>") < text.index("1 &lt; 2")
    assert ".card" in text and "<script" not in text


def test_page_section_of_two_modules_is_refused(page):
    register_section(page, "toy", toy)
    register_section(page, "toy", toy)  # the module ran again

    def other(facts, images):
        return ""

    other.__module__ = "somebody.else"
    with pytest.raises(UsageError, match=r"section of page 'toy' 'toy': tests\.utils\.test_report and som"):
        register_section(page, "toy", other)


def test_template_without_a_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'name' is undefined"):
        fill("<p>{{ name }}</p>")


def test_page_data_cannot_end_its_script(page):
    source = '{% import "utils.report/ratings.html" as rating %}{{ rating.data(facts) }}'
    register_section(page, "data", lambda facts, images: fill(source + "<br>", facts=facts))
    text = render_page(page, "T", {"name": "</script><script>alert(1)"})
    data = re.search(r'id="facts">(.*?)</script>', text, re.DOTALL)[1]
    assert "<" not in data and json.loads(data) == {"name": "</script><script>alert(1)"}


# ---- ratings in a browser ------------------------------------------------------------------------

RATINGS = {
    "key": "toy-ratings",
    "file": "ratings.csv",
    "card": "number",
    "columns": ["rater", "number", "name", "rating", "best", "comment"],
    "cards": {"1": {"name": "a,b"}, "2": "eyJuYW1lIjogInNlY3JldCJ9", "3": {"name": "c"}},  # 2: base64
}
CARDS = """
{% import "utils.report/ratings.html" as rating %}
{{ rating.bar(rater=true) }}
{% for number in "123" %}
<div class="card" data-card="{{ number }}">
{% for value in "12" %}
<input type="radio" data-field="rating" name="rating{{ number }}" value="{{ value }}">
{% endfor %}
<input type="checkbox" data-field="best"><textarea data-field="comment"></textarea></div>
{% endfor %}
{{ rating.data(ratings) }}
"""


def test_ratings_stay_in_the_browser_and_become_a_csv(page, tmp_path):
    register_section(
        page,
        "cards",
        lambda facts, images: fill(CARDS, ratings=facts),
        scripts=["utils.report/ratings.js"],
    )
    path = write_page(tmp_path / "toy.html", page, "Toy", RATINGS)
    log = drive(
        path,
        """
        log.push(state.textContent);
        rater.value = "=Anna"; fire(rater, "change");
        field(1, "rating").checked = true; fire(field(1, "rating"), "change");
        field(2, "best").checked = true; fire(field(2, "best"), "change");
        field(3, "comment").value = 'say "x"'; fire(field(3, "comment"), "input");
        field(1, "best").checked = true; fire(field(1, "best"), "change");
        field(1, "best").checked = false; fire(field(1, "best"), "change");
        log.push(state.textContent, await csv());
        """,
        tmp_path / "profile",
    )
    table = [
        "rater,number,name,rating,best,comment",
        '\'=Anna,1,"a,b",1,,',
        "'=Anna,2,secret,,true,",
        '\'=Anna,3,c,,,"say ""x"""',
        "",
    ]
    assert log == ["0 of 3 rated.", "3 of 3 rated.", *table]
    log = drive(
        path,
        """
        log.push(state.textContent, rater.value, field(3, "comment").value, field(2, "best").checked);
        window.confirm = () => true;
        fire(document.getElementById("clear"), "click");
        log.push(state.textContent, field(2, "best").checked, localStorage.getItem(facts.key));
        """,
        tmp_path / "profile",
    )
    assert log == ["3 of 3 rated.", "=Anna", 'say "x"', "true", "0 of 3 rated.", "false", "{}"]
