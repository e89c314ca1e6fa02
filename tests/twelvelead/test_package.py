"""The installed face: lazy names, the command line, foreign packages, metadata."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires

import pytest

import twelvelead
from tests.conftest import ROOT
from twelvelead.cli import COMMANDS, main

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*words: str, cwd=ROOT, **options):
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, capture_output=True, text=True, timeout=300, **options
    )


def test_names_that_are_public_exist_and_are_documented():
    for name in twelvelead.__all__:
        assert getattr(twelvelead, name).__doc__, name
    assert set(twelvelead.__all__) <= set(dir(twelvelead))
    with pytest.raises(AttributeError, match="no attribute 'load_predicto'"):
        twelvelead.load_predicto  # noqa: B018


def test_help_imports_no_framework():
    code = (
        "import sys; from twelvelead.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'numpy', 'torch', 'keras', 'tensorflow', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in COMMANDS)


def test_version_and_unknown_commands():
    assert run("-m", "twelvelead", "--version").stdout == f"twelvelead {twelvelead.__version__}\n"
    unknown = run("-m", "twelvelead", "tun")
    assert unknown.returncode == 2
    assert "unknown command 'tun': did you mean 'tune'? Valid: " in unknown.stderr


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_commands_explain_themselves(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)  # which the command line replaces
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert not ended.value.code
    assert f"usage: twelvelead {name} " in capsys.readouterr().out


@pytest.mark.parametrize("foreign", ["utils.py", "utils/__init__.py", "training.py"])
def test_module_of_the_same_name_elsewhere_is_named(tmp_path, foreign):
    (tmp_path / foreign).parent.mkdir(exist_ok=True)
    (tmp_path / foreign).write_text("")
    code = f"import sys; sys.path.append({str(ROOT)!r}); import twelvelead"
    done = run("-c", code, cwd=tmp_path)
    message = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert message.startswith(f"ImportError: TwelveLead needs its own package '{foreign[:5].rstrip('/')}")
    assert str(tmp_path / foreign) in message and "rename that file" in message


def test_install_that_is_not_editable_is_refused(tmp_path):
    code = "import sys; sys.path.insert(0, '.ci'); import build_backend; build_backend.build_wheel('.')"
    done = run("-c", code)
    assert done.returncode == 1
    assert "pip install -e ." in done.stderr


def name_and_bounds(requirement: str) -> tuple[str, str]:
    name, bounds = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?(.*)", requirement).groups()
    return name.lower(), bounds


def test_ranges_admit_the_pins():
    pinned = dict(
        line.split("#")[0].strip().lower().split("==")
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line
    )
    extras = PROJECT["optional-dependencies"]
    ranges = dict(map(name_and_bounds, [*PROJECT["dependencies"], *(r for e in extras.values() for r in e)]))
    assert set(ranges) == set(pinned)
    for name, bounds in ranges.items():
        lowest = tuple(map(int, bounds.removeprefix(">=").split(".")))
        assert tuple(map(int, pinned[name].split(".")))[: len(lowest)] >= lowest, name


def test_conda_installs_the_pins():
    text = (ROOT / "environment.yml").read_text()
    assert "- -r requirements.txt" in text and "- -e ." in text
    assert f"python={PROJECT['requires-python'].removeprefix('>=')}" in text


def test_version_is_said_once():
    try:
        installed = requires("twelvelead")
    except PackageNotFoundError:
        pytest.skip("twelvelead is not installed here")
    assert any(line.startswith("numpy") for line in installed or [])
