"""The picture of the explorer for README and docs: python -m explorer.screenshot."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from explain.report.screenshot import smaller
from explorer.drive import choose, chromium, open_page, serving
from utils.config import Options, option, parse
from utils.errors import run_cli
from utils.files import write_bytes

_QUERY = "?record=sample%3Asample_ecg_mi.csv&calipers=%5B%5B-1%2C137%2C178%2C%22%22%5D%5D"
_WIDTH, _HEIGHT = 1240, 1220  # as small as the page stays whole: README shows it at 830 pixels


@dataclass
class PictureOptions(Options):
    """Where the picture goes."""

    to: Path = option(Path("docs/images/explorer.png"), "PNG to write")


def take(url: str) -> bytes:
    """The sample of an infarction: answers of two frameworks, a QT interval, a painted reason; as PNG."""
    with chromium() as browser:
        page = open_page(browser, url + _QUERY, _WIDTH, _HEIGHT)
        choose(page, "Models", "resnet1d_wang (shipped)")
        page.keyboard.press("Escape")
        choose(page, "by", "attention")
        page.wait_for_selector("text=Red is where it matters")
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        page.wait_for_timeout(1000)
        return smaller(page.screenshot())


def main() -> None:
    """Start the explorer, take the picture, stop it."""
    options = parse(PictureOptions, description=__doc__)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as url:
        write_bytes(options.to, take(url))
    print(f"wrote {options.to}")


if __name__ == "__main__":
    run_cli(main)
