"""Options of commands: flags, files, types, ranges, former names, plugins and hostile files."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from utils import plugins
from utils.config import SCOPES, Options, fields_of, names_of, option, parse, read_config, write_settings
from utils.errors import UsageError

COMMANDS = (
    "utils",
    "databases",
    "preprocessing",
    "training",
    "explain",
    "attribution",
    "benchmarks",
    "twelvelead",
)


@dataclass
class Toy(Options):
    files: list[Path] = option([], "files", positional=True)
    rate: int = option(100, "Hz", min=1, max=1000, alias=("sampling_rate",))
    cutoff: float | None = option(None, "Hz", above=0, scope="machine")
    leads: tuple[str, ...] = option((), "leads", choices=("I", "II", "V1"), searchable=False)
    counts: list[int] = option([1, 2], "counts", min=0)
    standardize: bool = option(True, "standardize", old=("standardise",), values={"yes please": True})
    extra: dict = option({}, "more")
    name: str = option("", "name", scope="run", choices=lambda: ["alpha", "beta"])


def toy(*words, **how):
    return parse(Toy, [str(word) for word in words], prog="toy", **how)


def settings(tmp_path, text):
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    return path


def test_options_types_of_flags():
    options = toy("a,b.csv", "c.csv", "--leads", "I,II", "V1", "--counts", "3", "--cutoff", "0.5")
    assert options.files == [Path("a,b.csv"), Path("c.csv")]
    assert options.leads == ("I", "II", "V1") and options.counts == [3] and options.cutoff == 0.5
    assert toy() == Toy() and toy().counts is not toy().counts
    assert toy("--extra", '{"a": [1]}').extra == {"a": [1]}
    assert toy("--sampling_rate", 250).rate == 250
    assert toy("--standardize", "yes please").standardize and not toy("--standardize", "False").standardize


def test_options_flags_with_hyphens(capsys):
    assert toy("--sampling-rate", 250).rate == toy("--sampling-rate=250").rate == 250
    assert toy("--gpu-num", "-1", ignored={"gpu_num": "the GPU is used"}) == Toy()
    assert "--gpu_num has no meaning here: the GPU is used" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        toy("--sampling-rates", 250)
    assert "unknown argument '--sampling-rates': did you mean '--" in capsys.readouterr().err


def test_options_round_trip_through_a_settings_file(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["toy.py", "--rate", "5"])
    options = toy(
        "x.csv", "--rate", 5, "--leads", "I", "--extra", '{"a": 1}', "--name", "beta", "--cutoff", "1e-3"
    )
    write_settings(tmp_path / "settings.yaml", options)
    assert (tmp_path / "settings.yaml").read_text().startswith("# python ")
    assert toy("--config", tmp_path / "settings.yaml") == options
    assert toy("--config", tmp_path / "settings.yaml", "--rate", 6).rate == 6


def test_options_former_names_print_a_note(tmp_path, capsys):
    assert not toy("--standardise", "False").standardize
    assert "note: --standardise is now --standardize" in capsys.readouterr().err
    assert not toy("--config", settings(tmp_path, "standardise: false")).standardize
    assert "'standardise' is now 'standardize'" in capsys.readouterr().err
    assert toy("--gpu_num", "-1", "--rate", 7, ignored={"gpu_num": "the GPU is used"}).rate == 7
    assert "--gpu_num has no meaning here: the GPU is used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rate", 0], "--rate must be at least 1 and at most 1000, not 0"),
        (["--cutoff", 0], "--cutoff must be above 0, not 0.0"),
        (["--cutoff", "inf"], "--cutoff must be a finite number"),
        (["--counts", "1,-1"], "--counts must not be negative"),
        (["--counts", 10**30], "--counts is too large"),
        (["--leads", "I,V"], "unknown leads 'V': did you mean 'V1'"),
        (["--name", "alfa"], "unknown name 'alfa': did you mean 'alpha'"),
        (["--config", "absent.yaml"], "No such file"),
    ],
)
def test_options_wrong_values_are_refused(words, message):
    with pytest.raises(UsageError) as caught:
        toy(*words)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rat", 1], "did you mean '--rate'"),
        (["--rate", "fast"], "must be of type int, not 'fast'"),
        (["--rate", "9" * 5000], "must be of type int, not '999"),
        (["--standardise", "maybe"], "neither True nor False"),
        (["--extra", "[" * 100_000], "not JSON"),
        (["--extra", '{"a": ' * 200 + "1" + "}" * 200], "not JSON"),
    ],
)
def test_options_wrong_words_end_with_code_2(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        toy(*words)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and message in said and len(said) < 3000


def test_options_required_may_come_from_a_file(tmp_path, capsys):
    @dataclass
    class Needs(Options):
        dir: str = option("", "folder", required=True)

    Needs.__annotations__["dir"] = str
    assert parse(Needs, ["--config", str(settings(tmp_path, "dir: here"))]).dir == "here"
    with pytest.raises(SystemExit):
        parse(Needs, [])
    assert "the following arguments are required: --dir" in capsys.readouterr().err


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases (*name) are not supported"),
        ("extra: " + "[" * 5000, "nested deeper than"),
        ("extra: " + "{a: " * 5000, "nested deeper than"),
        ("rate: " + "9" * 5000, "not valid YAML"),
        ("cutoff: " + "9" * 400, "must be of type float"),
        ("rate: 2024-01-31", "must be of type int, not '2024-01-31'"),
        ("rate: 2024-99-99", "must be of type int, not '2024-99-99'"),
        ("rate: " + "x" * 100_000, "must be of type int"),
        ("rate: 1\nrate: 2", "key 'rate' is given twice"),
        ("? [1, 2]\n: 3", "not valid YAML"),
        ("rate: \0", "not valid YAML"),
        ("k" * 500 + ": 1", "unknown key"),
        ("x: '" + "y" * 1_000_001 + "'", "larger than 1 MB"),
        ("plugins: [evil.py]", "was written with plugins: give --plugins evil.py"),
    ],
)
def test_options_hostile_files_give_one_short_error(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        read_config(settings(tmp_path, text), Toy)
    assert message in str(caught.value) and len(str(caught.value)) < 1500


def test_options_scientific_numbers_and_dates_in_files(tmp_path):
    path = settings(tmp_path, "cutoff: 1e-3\nextra: {day: 2024-01-31}\ncounts: [1, 2]\nleads: I,II")
    values = {"cutoff": 1e-3, "extra": {"day": "2024-01-31"}, "counts": [1, 2], "leads": ("I", "II")}
    assert read_config(path, Toy) == values


def test_fields_of_scope_and_search():
    assert names_of(Toy, "machine") == {"cutoff"} and names_of(Toy, ("run", "machine")) == {"cutoff", "name"}
    assert "leads" not in {f.name for f in fields_of(Toy, searchable=True)}
    with pytest.raises(ValueError, match="did you mean 'machine'"):
        option(1, scope="machin")


def test_fields_of_every_command_say_their_scope():
    for package in COMMANDS:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    classes = [Options]
    for kind in classes:
        classes += kind.__subclasses__()
    ours = [kind for kind in classes if kind.__module__.split(".")[0] in COMMANDS]
    assert len(ours) > 5
    for kind in ours:
        unjudged = [f.name for f in fields(kind) if f.metadata.get("scope") not in SCOPES]
        assert not unjudged, f"{kind.__name__}: {unjudged} must be declared with option(...)"
        parse(kind, [], prog="x", check=None) if not any(
            f.metadata["required"] for f in fields(kind)
        ) else None


def test_plugins_are_imported_once_and_before_flags(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setenv(plugins.VARIABLE, "")
    file = tmp_path / "my_plugin.py"
    file.write_text(
        "from dataclasses import dataclass\nprint('imported')\n@dataclass\nclass A:\n    x: 'int' = 1\n"
    )
    for _ in range(2):
        toy("--plugins", file)
    assert capsys.readouterr().out.count("imported") == 1 and plugins.loaded() == [str(file)]
    path = settings(tmp_path, "plugins: [elsewhere/my_plugin.py]\nrate: 3")
    assert toy("--config", path).rate == 3
    monkeypatch.setenv(plugins.VARIABLE, f"{file},json")
    toy()
    assert plugins.loaded() == [str(file), "json"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent.py", None, "there is no file"),
        ("no_such_module_anywhere", None, "a file is named with its ending .py"),
        ("broken.py", "1 / 0", "cannot be imported: ZeroDivisionError"),
        ("syntax.py", "def", "cannot be imported: SyntaxError"),
        (
            "refusing.py",
            "from utils.errors import UsageError\nraise UsageError('two of one name')",
            "two of one name",
        ),
    ],
)
def test_plugins_that_cannot_be_imported(tmp_path, monkeypatch, name, text, message):
    monkeypatch.setattr(plugins, "_loaded", {})
    if text:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        toy("--plugins", tmp_path / name if name.endswith(".py") else name)
