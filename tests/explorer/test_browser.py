"""The page in a real browser: calipers, keys, exports, uploads, two sessions."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
import zipfile
from urllib.parse import parse_qs, urlsplit

import pytest

from explain.report.screenshot import BROWSERS
from explorer.command import AppOptions, server_words
from explorer.sources import SAMPLES
from tests.goldens.paper_geometry import PATH
from training.checkpoint import ROOT
from utils.ecg import NOT_A_DEVICE

pytestmark = [pytest.mark.torch, pytest.mark.tf]
STATIC = ROOT / "explorer" / "static"
PAINTED = ".ecg canvas[data-paint-ms]"


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):
    """The explorer as `twelvelead app` starts it, with the shipped models alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("app")
    words = server_words(AppOptions(port=port, no_browser=True))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TWELVELEAD_OUTPUT": str(folder)}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def open_page(browser, url):
    """A new session with its page, when the ECG is painted."""
    page = browser.new_context(viewport={"width": 1400, "height": 1500}).new_page()
    page.set_default_timeout(240_000)
    page.goto(url)
    page.wait_for_selector(PAINTED)
    return page


@pytest.fixture
def page(browser, address):
    """The normal ECG among the samples, drawn and its answers there."""
    page = open_page(browser, address)
    yield page
    page.context.close()


def linked(url):
    """Calipers of a link."""
    return json.loads(parse_qs(urlsplit(url).query).get("calipers", ["[]"])[0])


def readout(page):
    """What the calipers say."""
    return page.locator(".ecg .readout").inner_text()


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
    assert "mm/mV" in text or "<path" in text
    assert NOT_A_DEVICE in page.inner_text("body")


def test_canvas_reports_its_first_paint(page):
    assert float(page.locator(".ecg canvas").get_attribute("data-paint-ms")) > 0


def upload(page, *files):
    """Hand files to the page as a user does."""
    page.get_by_text("Upload", exact=True).click()
    page.wait_for_selector("input[type=file]", state="attached")
    page.set_input_files("input[type=file]", list(files))


def test_upload_is_seen_by_its_session_alone(page, browser, address):
    upload(page, str(SAMPLES / "sample_ecg_mi.csv"))
    page.wait_for_selector("text=uploaded file sample_ecg_mi.csv", state="attached")
    other = open_page(browser, address)
    assert "sample_ecg_mi.csv" not in other.content().replace("sample:sample_ecg_mi.csv", "")
    assert "record=upload" not in page.url
    other.context.close()


def test_uploads_that_are_bad_are_refused_in_words(page, browser, address, tmp_path):
    large = tmp_path / "large.csv"
    large.write_bytes(b"I,II\n" + b"0.1,0.2\n" * 6_600_000)  # 50 MB
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ecg.csv", bytes(300 * 2**20))
    upload(page, str(bomb))
    page.wait_for_selector("text=unpacks to 300 MB")
    other = open_page(browser, address)
    upload(other, str(large))
    other.wait_for_selector("[data-testid=stAlert] >> text=large.csv")
    for shown in (page, other):
        assert "Traceback" not in shown.inner_text("body") and "/dev/shm" not in shown.inner_text("body")
    other.context.close()


def test_controls_have_names_and_enough_contrast(page):
    nameless = page.locator(".ecg button, .ecg canvas, .ecg [role]").evaluate_all(
        """(elements) => elements.filter((element) =>
            !(element.getAttribute("aria-label") || element.textContent.trim())).length"""
    )
    assert nameless == 0
    ratios = page.locator(".ecg button, .ecg .readout, .ecg .position").evaluate_all(
        """(elements) => {
            const light = (color) => {
                const [r, g, b] = color.match(/\\d+/g).map((part) => {
                    const share = part / 255;
                    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            return elements.map((element) => {
                const style = getComputedStyle(element);
                const both = [light(style.color), light(style.backgroundColor)];
                return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
            });
        }"""
    )
    assert len(ratios) == 12 and min(ratios) >= 4.5  # WCAG 2.2, AA
    button = page.locator(".ecg button").first
    button.focus()
    page.keyboard.press("Tab")
    second = page.locator(".ecg button").nth(1)
    assert second.evaluate("(element) => getComputedStyle(element).outlineWidth") == "3px"
    page.keyboard.press("Enter")
    assert "mV" in readout(page)
