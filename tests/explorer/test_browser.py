"""The page in a real browser: calipers, keys, what is painted, tabs, exports, uploads, two sessions."""

import json
import re
import zipfile
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from explorer.drive import PAINTED, choose, chromium, open_page, open_tab, serving, settle
from explorer.marks import rpeaks_of
from explorer.page import TABS
from explorer.paper import make_paper
from explorer.reasons import color_strength, find_reason
from explorer.sources import SAMPLES, read_sample
from tests.goldens.paper_geometry import PATH
from tests.helpers.browser import installed_browser
from tests.helpers.canvas import painted, redness
from tests.helpers.ptbxl_files import write_record, write_small_ptbxl
from training import load_predictor
from training.checkpoint import ROOT, read_card
from utils.ecg import LEADS, NOT_A_DEVICE

pytestmark = pytest.mark.torch
STATIC = ROOT / "explorer" / "static"
CLASSES = ["CD", "HYP", "MI", "NORM", "STTC"]
FOLD_10 = [19, 20, 39, 40]  # of the small database


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    pytest.importorskip("playwright.sync_api")
    installed_browser()
    with chromium() as opened:
        yield opened


def microvolts_of(sample):
    """A shipped sample as PTB-XL stores it."""
    return np.rint(1000 * np.asarray(read_sample(sample).recording.signal))


def write_scored_run(folder):
    """Predictions of fold 10 of the small database, as scoring writes them: record 39 is the worst one."""
    folder.mkdir(parents=True)
    labels = np.zeros((len(FOLD_10), len(CLASSES)), np.uint8)
    labels[:, 2] = 1
    chances = np.where(labels, 0.9, 0.2)
    chances[FOLD_10.index(39), 2] = 0.01
    arrays = {"ecg_id": FOLD_10, "patient_id": [1, 1, 2, 2], "label": labels, "probability": chances}
    np.savez(folder / "predictions.npz", classes=CLASSES, **arrays)
    counts = dict(zip(CLASSES, labels.sum(axis=0).tolist(), strict=True))
    half = dict.fromkeys(CLASSES, 0.5)
    weights = read_card(ROOT / "checkpoints" / "pretrained" / "ecgnet").weights_sha256
    report = {
        "metrics": {"class_roc_auc": half, "class_counts": counts, "thresholds": half, "macro_roc_auc": 0.5},
        "checkpoint": {"weights_sha256": weights},
        "split": "fold 10",
        "records": len(FOLD_10),
    }
    (folder / "test.json").write_text(json.dumps(report), encoding="utf-8")


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):
    """The explorer as `twelvelead app` starts it, with a small database and one scored run."""
    folder = tmp_path_factory.mktemp("app")
    write_scored_run(folder / "logs" / "mine")
    database = write_small_ptbxl(folder / "ptbxl", records=40)
    write_record(database / "records100" / "00000" / "00039_lr", microvolts_of("sample_ecg_mi.csv"), 100)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "TWELVELEAD_PTBXL": str(database),
        "MODEL_TO_USE": "ecgnet",
    }
    with serving(folder, environment) as url:
        yield url


@pytest.fixture(scope="module")
def shared(browser, address):
    """One session for all tests that can share it: the sample of an infarction, drawn and answered."""
    page = open_page(browser, address + "?record=sample%3Asample_ecg_mi.csv")
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def other(browser, address):
    """A second session at the same time."""
    page = open_page(browser, address)
    yield page
    page.context.close()


@pytest.fixture
def page(shared):
    """The shared page with its ECG, without calipers and help."""
    open_tab(shared, "ECG")
    shared.locator(".ecg canvas").focus()
    shared.keyboard.press("Escape")
    while readout(shared):
        shared.keyboard.press("n")
        shared.keyboard.press("Delete")
    settle(shared)
    return shared


def linked(url):
    """Calipers of a link."""
    return json.loads(parse_qs(urlsplit(url).query).get("calipers", ["[]"])[0])


def readout(page):
    """What the calipers say."""
    return page.locator(".ecg .readout").first.inner_text()


def test_canvas_and_python_agree_on_the_geometry(browser):
    page = browser.new_page()
    code = (STATIC / "canvas.js").read_text(encoding="utf-8")
    table = json.loads(PATH.read_text(encoding="utf-8"))
    worst = page.evaluate(
        """async ([code, table]) => {
            const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
            const canvas = await import(url);
            const off = [];
            for (const { paper, segment, points } of table.places) {
                for (const [sample, millivolts, x, y] of points) {
                    const there = canvas.place(paper, segment, sample, millivolts);
                    const back = canvas.locate(paper, segment, x, y);
                    off.push(there[0] - x, there[1] - y, back[0] - sample, back[1] - millivolts);
                }
            }
            for (const r of table.readings) {
                const ms = canvas.interval(r.a, r.b, r.rate);
                off.push(ms - r.ms, canvas.beatsPerMinute(ms) - r.bpm);
                for (const name of ["Bazett", "Fridericia"]) {
                    off.push(canvas.correctedQt(ms, r.rr, name) - r[name]);
                }
            }
            return [off.length, Math.max(...off.map(Math.abs))];
        }""",
        [code, table],
    )
    page.close()
    assert worst[0] > 600 and worst[1] < 1e-9


def test_calipers_are_moved_by_keys_to_the_sample(page):
    canvas = page.locator(".ecg canvas")
    canvas.focus()
    page.keyboard.press("t")
    before = int(re.search(r"(\d+) ms", readout(page))[1])
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert readout(page).startswith(f"▸ {before + 110} ms")  # 100 Hz: one sample is 10 ms
    page.keyboard.press(" ")
    page.keyboard.press("ArrowRight")
    assert readout(page).startswith(f"▸ {before + 100} ms")
    assert "QTc" in readout(page) and "Bazett" in readout(page) and "of the R-peaks" in readout(page)
    page.keyboard.press("l")
    page.keyboard.press("ArrowRight")
    assert readout(page).startswith(f"▸ {before + 100} ms") and "(locked)" in readout(page)
    page.keyboard.press("v")
    page.keyboard.press("ArrowUp")
    assert readout(page).split("\n")[1].endswith("1.010 mV")
    page.keyboard.press("Delete")
    page.keyboard.press("l")
    page.keyboard.press("r")
    assert readout(page).startswith("▸ RR ")
    page.keyboard.press("Delete")
    assert readout(page) == ""
    page.keyboard.press("?")
    assert "march the time caliper" in page.locator(".ecg .help").inner_text()


def test_caliper_is_dragged_marched_and_restored_by_its_link(page, browser):
    canvas = page.locator(".ecg canvas")
    canvas.focus()
    page.keyboard.press("t")
    page.keyboard.press("m")
    before = int(re.search(r"(\d+) ms", readout(page))[1])
    box = canvas.bounding_box()
    pixels = canvas.evaluate(  # the active line is drawn in red over the whole height
        """(canvas) => {
            const row = canvas.getContext("2d").getImageData(0, canvas.height - 3, canvas.width, 1).data;
            const found = [];
            for (let x = 0; x < canvas.width; x += 1) {
                const [r, g, b] = row.slice(4 * x, 4 * x + 3);
                if (r > 150 && g < 90 && b < 90) found.push(x / canvas.width);
            }
            return found;
        }"""
    )
    x, y = box["x"] + pixels[-1] * box["width"] - 1, box["y"] + 0.6 * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y, steps=5)
    page.mouse.move(x + 60, y, steps=5)
    page.mouse.up()
    after = int(re.search(r"(\d+) ms", readout(page))[1])
    assert after > before + 100
    page.wait_for_url(lambda url: [10 * abs(b - a) for _, a, b, _ in linked(url)] == [after])
    restored = open_page(browser, page.url)
    assert readout(restored) == readout(page)
    restored.context.close()


def test_exports_are_drawings_without_identity(page, tmp_path):
    for kind, head in (("SVG", b"<?xml"), ("PNG", b"\x89PNG"), ("PDF", b"%PDF")):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Save {kind}").click()
        file = tmp_path / f"ecg.{kind.lower()}"
        download.value.save_as(file)
        assert file.read_bytes().startswith(head) and download.value.suggested_filename == file.name
    text = (tmp_path / "ecg.svg").read_text(encoding="utf-8")
    assert "1737" not in text and "sample" not in text
    assert NOT_A_DEVICE in page.inner_text("body")


def strong_and_weak(paper, heat):
    """Places (segment, sample) where a map is strong, and where it is next to nothing around."""
    strong, weak = [], []
    strength = np.abs(color_strength(heat))
    for segment in paper.segments:
        row = strength[segment.start : segment.stop, LEADS.index(segment.lead)]
        near = np.max([np.roll(row, step) for step in range(-3, 4)], axis=0)
        for number in range(4, len(row) - 4):
            if row[number] > 0.5:
                strong.append((segment, segment.start + number))
            elif near[number] < 0.1:
                weak.append((segment, segment.start + number))
    return strong, weak


def test_canvas_paints_grid_traces_peaks_and_reasons_where_the_table_says(page):
    recording = read_sample("sample_ecg_mi.csv").recording
    signals = np.asarray(recording.signal, dtype=np.float64)
    paper = make_paper(signals, recording.sampling_rate)
    canvas = painted(page, paper)
    thick = [canvas.at(x, 2.5)[:, 1].mean() for x in range(25, 265, 5)]
    between = [canvas.at(x + 2.5, 2.5)[:, 1].mean() for x in range(25, 265, 5)]
    assert np.mean(thick) < np.mean(between) - 15 and min(between) > 215  # lines on pale paper
    strip = paper.segments[-1]
    peaks, _ = rpeaks_of(recording)
    for sample in peaks:
        x, y = paper.place(strip, sample, signals[sample, LEADS.index(strip.lead)])
        assert canvas.at(x, y, 0.7).max(axis=1).min() < 110  # ink
        letter = canvas.at(x, y - 2.4, 1.3)
        assert (letter[:, 1] - letter[:, 0]).max() > 40  # green
    page.keyboard.press("t")
    (_, first, second, _), *_ = link_of(page)
    measured = painted(page, paper)
    for sample in (first, second):
        x, _ = paper.place(next(s for s in paper.segments if s.start == 0), sample, 0)
        for y in (0.4, paper.height - 0.4):
            assert redness(measured.at(x, y, 0.5)).max() > 90 > redness(canvas.at(x, y, 0.5)).max()
    page.keyboard.press("Delete")
    choose(page, "by", "saliency")
    page.wait_for_selector("text=Red raises MI")
    colored = painted(page, paper)
    heat = find_reason(load_predictor("ecgnet"), recording, "saliency", "MI").heat
    for places, reach, is_painted in zip(
        strong_and_weak(paper, heat), (0.6, 0.1), (True, False), strict=True
    ):
        assert len(places) > 3
        for segment, sample in places:
            x, y = paper.place(segment, sample, signals[sample, LEADS.index(segment.lead)])
            change = np.abs(colored.at(x, y - 1.5, reach) - canvas.at(x, y - 1.5, reach)).max()
            assert (change > 25) == is_painted, (segment.label, sample)
    choose(page, "by", "none")


def link_of(page):
    """Calipers of the page's own link, when it has some."""
    page.wait_for_url(lambda url: bool(linked(url)))
    return linked(page.url)


# Rule, mark of the element: what Streamlit makes and a page cannot change.
OF_STREAMLIT = {
    # the drop zone has a label beside its role "presentation"; keys reach the button inside it
    "presentation-role-conflict": 'data-testid="stFileUploaderDropzone"',
}


def violations(page):
    """What axe-core objects to, as rule and element: the whole page, shadow roots included."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    rules = axe.run(page).response["violations"]
    found = [(rule["id"], node["html"]) for rule in rules for node in rule["nodes"]]
    return [f"{rule}: {html[:200]}" for rule, html in found if OF_STREAMLIT.get(rule, html + "?") not in html]


def test_page_is_accessible_in_every_tab(page):
    page.keyboard.press("t")
    page.keyboard.press("v")
    page.keyboard.press("?")
    choose(page, "by", "saliency")
    page.get_by_text("How this recording was read").click()
    assert violations(page) == []
    page.get_by_role("button", name="About this model").click()
    page.get_by_text("validation macro ROC-AUC").wait_for()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_text("How this recording was read").click()
    choose(page, "by", "none")
    for tab in TABS[1:]:
        open_tab(page, tab)
        if tab == "Leads":
            page.get_by_role("button", name="Compute the importance").click()
            page.get_by_text("rank correlation").wait_for()
        settle(page)
        assert violations(page) == [], tab
    open_tab(page, "ECG")
    page.locator(".ecg button").first.evaluate("(button) => { button.style.color = '#cccccc'; }")
    assert [line.partition(":")[0] for line in violations(page)] == ["color-contrast"]  # it sees the canvas
    page.locator(".ecg button").first.evaluate("(button) => { button.style.color = ''; }")


def test_toolbar_is_used_by_keys_with_a_visible_focus(page):
    button = page.locator(".ecg button").first
    button.focus()
    page.keyboard.press("Tab")
    second = page.locator(".ecg button").nth(1)
    assert second.evaluate("(element) => getComputedStyle(element).outlineWidth") == "3px"
    page.keyboard.press("Enter")
    assert "mV" in readout(page)


def test_captions_are_as_dark_as_other_text(page):
    notice = page.locator("[data-testid=stCaptionContainer]").first
    assert NOT_A_DEVICE in notice.inner_text()
    assert notice.evaluate("(element) => getComputedStyle(element).opacity") == "1"


def test_click_on_an_error_opens_its_record(other):
    page = other
    open_tab(page, "Errors")
    choose(page, "Records", "false negatives")
    box = page.locator("[data-testid=stDataFrame]").last.bounding_box()
    page.mouse.click(box["x"] + 16, box["y"] + 52)  # the first row below the header
    page.wait_for_url(lambda url: "record=ptbxl%3A39" in url)
    settle(page)
    assert page.locator("[role=tab][aria-selected=true]").inner_text() == "ECG"
    assert "PTB-XL record 39" in page.locator(".ecg canvas").first.get_attribute("aria-label")


def upload(page, *files):
    """Hand files to the page as a user does."""
    page.get_by_text("Upload", exact=True).click()
    page.wait_for_selector("input[type=file]", state="attached")
    page.set_input_files("input[type=file]", list(files))


def test_upload_is_seen_by_its_session_alone(page, other):
    upload(page, str(SAMPLES / "sample_ecg_mi.csv"))
    page.wait_for_selector("text=uploaded file sample_ecg_mi.csv", state="attached")
    other.reload()
    other.wait_for_selector(PAINTED)
    settle(other)
    assert "sample_ecg_mi.csv" not in other.content().replace("sample:sample_ecg_mi.csv", "")
    assert "record=upload" not in page.url


def test_uploads_that_are_bad_are_refused_in_words(other, tmp_path):
    page = other
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ecg.csv", bytes(300 * 2**20))
    upload(page, str(bomb))
    page.wait_for_selector("text=unpacks to 300 MB")
    assert violations(page) == []
    assert "Traceback" not in page.inner_text("body") and "/dev/shm" not in page.inner_text("body")


def test_record_of_50_megabytes_is_shown(browser, address, tmp_path):
    page = open_page(browser, address)
    write_record(tmp_path / "long", np.tile(microvolts_of("sample_ecg_mi.csv"), (2200, 1)), 100)
    assert (tmp_path / "long.dat").stat().st_size > 50 * 2**20
    upload(page, str(tmp_path / "long.hea"), str(tmp_path / "long.dat"))
    page.wait_for_selector("text=uploaded file long.hea", state="attached")
    assert "long.hea" in page.locator(".ecg canvas").first.get_attribute("aria-label")
    page.context.close()
