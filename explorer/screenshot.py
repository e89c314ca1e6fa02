"""The picture of the explorer for README and docs: python -m explorer.screenshot."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from explain.report.screenshot import find_browser
from explorer.command import AppOptions, server_words
from utils.config import Options, option, parse
from utils.errors import run_cli
from utils.files import write_bytes

_QUERY = "?record=sample%3Asample_ecg_mi.csv&calipers=%5B%5B-1%2C137%2C178%2C%22%22%5D%5D"


@dataclass
class PictureOptions(Options):
    """Where the picture goes."""

    to: Path = option(Path("docs/images/explorer.png"), "PNG to write")


def take(url: str, path: Path) -> None:
    """Open the sample of an infarction with attention on it, and keep what is seen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = window.new_page(viewport={"width": 1360, "height": 1400})
        page.set_default_timeout(240_000)
        page.goto(url + _QUERY)
        page.wait_for_selector(".ecg canvas[data-paint-ms]")
        for label, value in (("by", "attention"), ("for the class", "MI")):
            page.get_by_role("combobox", name=label).last.click()
            page.get_by_role("option", name=value, exact=True).click()
        page.wait_for_selector("text=Red is where it matters")
        page.wait_for_timeout(3000)
        write_bytes(path, page.screenshot())


def main() -> None:
    """Start the explorer, take the picture, stop it."""
    options = parse(PictureOptions, description=__doc__)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        words = server_words(AppOptions(port=port, no_browser=True))
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.2)
            take(url, options.to)
        finally:
            server.terminate()
            server.wait(30)
    print(f"wrote {options.to}")


if __name__ == "__main__":
    run_cli(main)
