"""Reports of the attribution study: the command, the pages, blind rating and the generated tables."""

import base64
import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest

from attribution.report.analysis import analyze
from attribution.report.command import main, read_sources, write_report
from attribution.report.maps import HIDDEN, BlindMap, rating_facts, shuffled
from attribution.report.tables import PAGE, RATING_PAGE, RATING_TITLE, TITLE
from benchmarks.pages import attribution as results
from preprocessing.windows import save_windows
from tests.helpers.attribution_scores import METHODS, make_windows, score_lines, write_maps, write_scores
from training.checkpoint import ROOT
from utils.ecg import LEADS, NOT_A_DEVICE
from utils.errors import run_cli
from utils.files import read_json
from utils.report.page import render_page


class Page(HTMLParser):
    """Collects what a page would load, what it shows, and whether its tags close."""

    VOID = ("meta", "img", "br", "input", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.text, self.policy, self.images = [], [], [], "", 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.loads += [v for k, v in attrs if k in ("src", "href", "action", "srcset", "data", "poster")]
        self.images += tag == "img"
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def check_alone(text):
    """The page needs nothing, sends nothing, and says what it is not."""
    page = Page(text)
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert "default-src 'none'" in page.policy and "connect-src" not in page.policy
    assert not re.search(r"https?://|@import|url\(", text)
    assert " ".join(page.text).count(NOT_A_DEVICE) >= 3  # top, bottom and beside what was predicted
    return page


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The command, once, on two seeds of a study with maps and another study without."""
    base = tmp_path_factory.mktemp("report")
    write_maps(base / "a", make_windows())
    write_scores(base / "a")
    write_scores(base / "b", seed=2)
    write_scores(base / "c", methods=["lime"], dataset="svdb", patients=2)
    command = [sys.executable, "-W", "error", "-m", "attribution.report", *(str(base / n) for n in "abc")]
    command += ["--output_dir", str(base / "out"), "--resamples", "50", "--maps", "1", "--rated", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return base / "out", done


def test_report_writes_what_it_prints(report):
    out, done = report
    written = [line.removeprefix("wrote ") for line in done.stdout.splitlines() if line.startswith("wrote ")]
    files = sorted(str(path) for path in out.rglob("*") if path.is_file())
    assert sorted(written) == files
    names = {path[len(str(out)) + 1 :] for path in files}
    assert {"scores.csv", "table.csv", "table.md", "ranks.json", "report.html", "rate_maps.html"} <= names
    assert {
        "mitdb-net/score_table.png",
        "mitdb-net/critical_difference_auc.png",
        "svdb-net/summary.json",
    } <= names
    assert any(re.fullmatch(r"mitdb-net/maps_1\d\d_\d+_(SVEB|VEB)\.png", name) for name in names)
    assert "note: Attention cannot explain this model: it has none" in done.stderr + done.stdout
    assert re.search(r"note: No pictures of maps from \S+c: .*holds no maps", done.stderr + done.stdout)
    table = pd.read_csv(out / "table.csv")
    lime = table[(table["dataset"] == "mitdb") & (table["method"] == "lime") & (table["metric"] == "auc")]
    assert lime["seeds"].tolist() == [2, 2] and lime["sd"].notna().all()
    assert len(pd.read_csv(out / "scores.csv")) == 2 * 4 * 2 * 3 * 14 + 2 * 3 * 4
    ranks = json.loads((out / "ranks.json").read_text())
    assert [entry["dataset"] for entry in ranks] == ["mitdb", "svdb"]
    assert len(ranks[0]["tests"][0]["comparison"]["pairs"]) == 15


def test_report_page_is_self_contained_and_complete(report):
    text = (report[0] / "report.html").read_text(encoding="utf-8")
    page = check_alone(text)
    words = " ".join(page.text)
    for text in (
        "mitdb, net",
        "svdb, net",
        "Guided Grad-CAM (abs)",
        "published rank",
        "Friedman",
        "seeds of the model: 1, 2",
    ):
        assert text in words
    assert "2 patients: no test is possible with fewer than 6" in words
    assert "explained classes (all seeds together)" in words and "explained classes: " in words
    assert page.images >= 4 + 4


PLUGIN = """
from attribution.report.tables import PAGE
from utils.report import fill, register_section

def longest(facts, images):
    names = [f"{study['dataset']} & {study['model']}" for study in facts["studies"]]
    return fill("<p>Longest name: {{ name }}</p>", name=max(names, key=len))

register_section(PAGE, "longest", longest)
"""


def test_report_shows_the_section_of_a_plugin(tmp_path):
    write_scores(tmp_path / "a", methods=["lime"], patients=2)
    (tmp_path / "longest.py").write_text(PLUGIN)
    command = [sys.executable, "-W", "error", "-m", "attribution.report", str(tmp_path / "a"), "--maps", "0"]
    command += ["--rated", "0", "--resamples", "20", "--output_dir", str(tmp_path / "out")]
    command += ["--plugins", str(tmp_path / "longest.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert text.index("<h2>mitdb, net</h2>") < text.index("<p>Longest name: mitdb &amp; net</p>")


def test_report_pages_are_rebuilt_byte_for_byte(report):
    """From the JSON and the images alone, without scores, maps or figures."""
    out = report[0]
    folders = sorted(path.parent for path in out.glob("*/summary.json"))
    summaries = [read_json(folder / "summary.json") for folder in folders]
    page = (out / "report.html").read_text(encoding="utf-8")
    captions = dict(re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)"', page))
    images = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}
    by_content = {base64.b64encode(png).decode(): name for name, png in images.items()}
    figures = [(by_content[png], html.unescape(alt)) for alt, png in captions.items() if png in by_content]
    for folder, summary in zip(folders, summaries, strict=True):
        summary["figures"] = [
            {"image": name, "caption": caption, "folded": "critical_difference" in name}
            for name, caption in figures
            if name.startswith(folder.name)
        ]
    facts = {"command": summaries[0]["command"], "commit": summaries[0]["git_commit"], "seed": 0}
    facts |= {"studies": summaries, "rating": {"maps": []}}
    rebuilt = render_page(PAGE, TITLE, facts, images)
    cut = page.index('<details id="rate">')
    start = page.index("<body>")  # the style sheets and scripts of the rating are only on the page with it
    assert page[start:cut] == rebuilt[rebuilt.index("<body>") :][: cut - start]


def test_rating_page_hides_method_names(report):
    text = (report[0] / "rate_maps.html").read_text(encoding="utf-8")
    page = check_alone(text)
    words = " ".join(page.text)
    assert not re.search("lime|cam|random_baseline|beats", words, re.IGNORECASE)
    assert not re.search(
        "lime|gradcam|random_baseline", text, re.IGNORECASE
    )  # nor in the source as it stands
    assert page.images == len(METHODS) and words.count("very helpful") == len(METHODS)
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text)[1])
    hidden = [json.loads(base64.b64decode(secret)) for secret in facts["cards"].values()]
    assert {fact["method"] for fact in hidden} == set(METHODS)
    assert len({fact["window"] for fact in hidden}) == 1
    assert set(hidden[0]) == set(HIDDEN) == set(facts["columns"][4:])
    # the rated window is none of those that are drawn with names
    named = next(report[0].glob("mitdb-net/maps_*.png")).name
    start = make_windows().starts[hidden[0]["window"]]
    assert f"_{start}_" not in named


def test_rating_shuffles_maps_and_escapes_text():
    maps = [BlindMap(b"png", f"<b>{n}</b>", {"method": n}) for n in range(9)]
    order = [item.facts["method"] for item in shuffled(maps, 0)]
    assert sorted(order) == list(range(9)) != order
    assert order == [item.facts["method"] for item in shuffled(maps, 0)]
    page = render_page(RATING_PAGE, RATING_TITLE, *rating_facts(maps))
    assert "<b>3</b>" not in page and "&lt;b&gt;3&lt;/b&gt;" in page


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 2, "has no scores/*.csv"),
        (["nowhere", "--maps", "-1"], 2, "--maps must not be negative"),
        (["nowhere", "--map", "1"], 2, "unknown argument '--map'"),
        ([], 2, "result_dir"),
    ],
)
def test_report_usage_errors_are_one_line(tmp_path, capsys, words, code, message):
    words = [str(tmp_path / w) if w == "nowhere" else w for w in words]
    with pytest.raises(SystemExit) as end:
        run_cli(lambda: main(words))
    assert end.value.code == code and message in capsys.readouterr().err


def test_report_draws_twelve_leads_with_the_best_method(tmp_path):
    folder = write_maps(tmp_path / "a", make_windows(leads=LEADS, patients=1), METHODS[1:3])
    write_scores(folder, methods=METHODS[1:3], patients=1)
    written = write_report([folder], tmp_path / "out", resamples=20, maps=1, rated=0)
    names = sorted(path.name for path in written if path.name.startswith("maps_"))
    assert len(names) == 2 and names[1].endswith("_guided_gradcam.png")
    assert "rate_maps.html" not in {path.name for path in written}


def test_report_without_maps_of_other_windows(tmp_path):
    folder = write_maps(tmp_path / "a", make_windows(patients=1), ["gradcam"])
    write_scores(folder, methods=["gradcam"], patients=1)
    save_windows(make_windows(patients=1, rate=50), folder / "windows.npz")
    write_report([folder], tmp_path / "out", resamples=20)
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "No pictures of maps" in text and "is not the file whose windows" in text


# ---- generated tables ----------------------------------------------------------------------------


def test_collected_studies_become_a_page(report, tmp_path):
    command = [sys.executable, "-W", "error", "-m", "benchmarks"]
    data = ["--data", str(tmp_path / "data")]
    places = ["--docs", str(tmp_path / "docs"), "--readme", str(tmp_path / "README.md")]
    for words in (["collect", "--report", str(report[0]), *data], ["render", *data, *places]):
        done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    studies = results.read_studies(tmp_path / "data" / "attribution")
    assert [study["dataset"] for study in studies] == ["mitdb", "svdb"]
    page = (tmp_path / "docs" / "attribution.md").read_text()
    assert page == results.page(studies)
    assert "Guided Grad-CAM (abs)" in page and "| 2 | not ranked |" in page  # guided backprop was not run
    assert "`python -m attribution.compute --dataset mitdb`" in page


def test_report_names_maps_that_ignore_the_weights():
    steps = (("randomization_head", ""), ("randomization_layer1", ""), ("auc", "beats"))
    methods = ("lime", "guided_gradcam", "random_baseline")  # about 0.2, 0.6 and 0 in all scores
    scores = pd.concat([score_lines(method, metrics=steps) for method in methods])
    (study,) = analyze(scores.assign(folder="nowhere"), resamples=20)
    _, notes = read_sources(study)
    (flagged,) = [note for note in notes if "random weights" in note]
    assert flagged.startswith("Guided Grad-CAM: similarity 0.6")
    assert flagged.endswith("its maps show the signal more than what the model has learned.")
