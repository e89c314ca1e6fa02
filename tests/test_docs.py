"""The documentation: it builds strictly and offline, and its commands exist."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import runpy
import shlex
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from databases.synthetic.dataset import write_dataset
from training.checkpoint import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"])
SHOW_PREDICTIONS = ("index", "train", "own_ecg", "explain", "protoecgnet", "attribution", "ptbxl", "README")


class Loads(HTMLParser):
    """What a page loads by itself, and its headings' ids."""

    def __init__(self, text: str):
        super().__init__()
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        link = tag == "link" and given.get("rel") in ("stylesheet", "icon", "preconnect", "preload")
        if tag in ("script", "img", "iframe") or link:
            self.loads += [value for key, value in attrs if key in ("src", "href") and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed")
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING -" not in done.stdout + done.stderr
    return folder


def test_site_has_every_page_and_loads_nothing_from_elsewhere(site):
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists(), page
    for page in site.rglob("*.html"):
        outside = [url for url in Loads(page.read_text(encoding="utf-8")).loads if "//" in url]
        assert not outside, page


def test_api_page_documents_the_exported_names(site):
    text = (site / "api.html").read_text(encoding="utf-8")
    for name in ("training.load_predictor", "databases.Database.read", "preprocessing.Dataset.split"):
        assert f'id="{name}"' in text, name


def test_folded_tables_are_rendered(site):
    text = (site / "results" / "attribution.html").read_text(encoding="utf-8")
    assert "| method |" not in text and text.count("<details") > 5


def test_pages_with_predictions_say_that_this_is_not_a_medical_device():
    for page in PAGES:
        if page.stem in SHOW_PREDICTIONS:
            text = " ".join(page.read_text(encoding="utf-8").split())
            assert re.search(r"not a medical device|is a medical device|a medical device", text, re.I), page


def test_readme_is_short():
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") <= 150


# ---- commands ------------------------------------------------------------------------------------


def typed_commands() -> dict[str, set[str]]:
    """Commands in the documents' code blocks, with the flags that are shown for each."""
    commands: dict[str, set[str]] = {}
    for page in PAGES:
        if page.name == "CHANGELOG.md" or page.parent.name == "results":
            continue
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = [w for w in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", w)]
                if words[:1] != ["python"]:
                    continue
                name = words[2] if words[1] == "-m" else words[1]
                if name == "benchmarks":
                    name += f" {words[3]}"
                flags = {word.split("=")[0] for word in words if word.startswith("--")}
                commands.setdefault(name, set()).update(flags)
    return commands


def help_of(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    name, *words = command.split()
    monkeypatch.setattr(sys, "argv", [name, *words, "--help"])
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.raises(SystemExit) as end:
        if name.endswith(".py"):
            runpy.run_path(str(ROOT / name), run_name="__main__")
        else:
            for module in (name, f"{name}.__main__"):  # another test may have imported it
                monkeypatch.delitem(sys.modules, module, raising=False)
            runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert end.value.code in (0, None), command
    return output.getvalue()


@pytest.mark.tf
@pytest.mark.torch
def test_commands_in_the_documents_have_the_flags_that_are_shown(monkeypatch):
    commands = typed_commands()
    commands.pop("venv", None)
    assert len(commands) > 12
    for command, flags in commands.items():
        text = help_of(command, monkeypatch)
        known = set(re.findall(r"(--\w+)", text))
        # the flags of a family appear with its model
        if command in ("torch_train.py", "torch_test.py") or command.endswith("tune"):
            known |= set(re.findall(r"(--\w+)", help_of(f"{command} --model protoecgnet", monkeypatch)))
        assert flags <= known, f"{command}: {sorted(flags - known)}"


@pytest.mark.tf
def test_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    database = tmp_path / "ptbxl"
    write_dataset(database, 200)
    record = next(database.glob("records100/*/*.hea"))
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code.strip().count("\n") <= 10
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path / "cache"))
    script = tmp_path / "ten_lines.py"
    script.write_text(code.replace("data/ptb", str(database)).replace("path/to/record", str(record)))
    runpy.run_path(str(script))
    assert 0 <= float(capsys.readouterr().out.split()[-1]) <= 1
