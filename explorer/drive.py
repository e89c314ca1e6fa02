"""The explorer in a browser that a program drives: for pictures, benchmarks and tests."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from explain.report.screenshot import find_browser
from explorer.command import AppOptions, server_words
from utils.errors import TwelveLeadError

PAINTED = ".ecg canvas[data-paint-ms]"
_TIMEOUT = 240_000  # ms
_STARTS_WITHIN = 240  # s


@contextmanager
def serving(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Address of an explorer with the models of a folder, which runs until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = server_words(AppOptions(port=port, no_browser=True))
    environment = {**(os.environ if environment is None else environment), "TWELVELEAD_OUTPUT": str(folder)}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _STARTS_WITHIN
        while not _answers(url):
            if server.poll() is not None or time.monotonic() > deadline:
                said = (folder / "log").read_text(encoding="utf-8", errors="replace")
                raise TwelveLeadError(f"the explorer did not start: {said[-500:]}")
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window, as Playwright's `Browser`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])


def open_page(browser: Any, url: str, width: int = 1400, height: int = 1500) -> Any:
    """A new session with its page, when the ECG is painted and the answers are there."""
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.set_default_timeout(_TIMEOUT)
    page.goto(url)
    page.wait_for_selector(PAINTED)
    settle(page)
    return page


def settle(page: Any) -> None:
    """Wait until the server has done what was asked, and the page shows it."""
    page.wait_for_timeout(350)  # a caliper is reported after 250 ms
    page.wait_for_selector(".stApp[data-test-script-state=notRunning]")
    page.wait_for_timeout(100)


def choose(page: Any, label: str, value: str) -> None:
    """Choose an option of a list."""
    page.get_by_role("combobox", name=label).last.click()
    page.get_by_role("option", name=value, exact=True).click()
    settle(page)


def open_tab(page: Any, name: str) -> None:
    """Open a tab and wait for its content."""
    page.get_by_role("tab", name=name, exact=True).click()
    settle(page)
