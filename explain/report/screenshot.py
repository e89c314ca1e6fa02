"""The picture of a report for the documentation.

twelvelead report resnet1d_wang --data_dir data/ptb
python -m explain.report.screenshot results/resnet1d_wang/report/report.html
"""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from utils.config import Options, option, parse
from utils.errors import UsageError, run_cli
from utils.files import write_bytes

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_COLORS = 256  # of the palette


@dataclass
class PictureOptions(Options):
    """What is shown, and where the picture goes."""

    page: Path = option(Path("report.html"), "page of a report", positional=True)
    section: str = option("curves", "anchor of the section to show")
    to: Path = option(Path("docs/images/report.png"), "PNG to write")


def find_browser() -> str:
    """Path of a browser that can be driven."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise UsageError(f"there is no browser that can be driven: install one of {', '.join(BROWSERS)}")
    return browser


def take(page: Path, section: str) -> bytes:
    """A section of a page as PNG."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1280, "height": 1000})
        window.set_default_timeout(240_000)
        window.goto(page.resolve().as_uri())
        content = window.locator(f"section:has(#{section})").screenshot()
        browser.close()
    return smaller(content)


def smaller(content: bytes) -> bytes:
    """A PNG with a palette, a third of its size; rare colors stay what they are."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    picture = picture.quantize(_COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small = io.BytesIO()
    picture.save(small, "PNG", optimize=True)
    return small.getvalue()


def main() -> None:
    """Run the command line."""
    options = parse(PictureOptions, description=__doc__)
    if not options.page.is_file():
        raise UsageError(f"{options.page} does not exist: write it with twelvelead report")
    write_bytes(options.to, take(options.page, options.section))
    print(f"wrote {options.to}")


if __name__ == "__main__":
    run_cli(main)
