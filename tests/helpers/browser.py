"""Pages in a real browser, where there is one."""

from __future__ import annotations

import html
import re
import subprocess
from pathlib import Path

import pytest

from explain.report.screenshot import find_browser
from utils.errors import UsageError

_START = """
const log = [];
const fire = (element, type) => element.dispatchEvent(new Event(type, { bubbles: true }));
const field = (card, name) => document.querySelector(`[data-card="${card}"] [data-field="${name}"]`);
let saved;
URL.createObjectURL = (blob) => { saved = blob; return "#"; };
URL.revokeObjectURL = () => {};
HTMLAnchorElement.prototype.click = () => {};
async function csv() { fire(document.getElementById("download"), "click"); return saved.text(); }
"""
_END = """
const result = document.createElement("pre");
result.id = "result";
result.textContent = log.join("\\n");
document.body.append(result);
"""


def installed_browser() -> str:
    """Path of a browser; the test is skipped where there is none."""
    try:
        return find_browser()
    except UsageError as error:
        pytest.skip(str(error))


def drive(page: Path, script: str, profile: Path) -> list[str]:
    """Open a page, run a script that fills ``log``, and return the lines of the log.

    Pages opened with one profile share what the browser keeps for them.
    """
    browser = installed_browser()
    code = f"<script>(async () => {{{_START}{script}{_END}}})();</script></body>"
    driven = page.with_name("driven.html")
    driven.write_text(page.read_text(encoding="utf-8").replace("</body>", code), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    command += [f"--user-data-dir={profile}", "--dump-dom", driven.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    result = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert result, f"the script did not end: {done.stderr[-2000:]}"
    return html.unescape(result[1]).split("\n")
