"""The conventions, checked on the tree itself.

Every checker is a function from text to problems; beside the tree each one is shown a small bad example,
so that a checker that has gone blind is noticed.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.conventions import (
    code_lines,
    docstring_problems,
    exports,
    import_cycles,
    import_problems,
    imported_modules,
    long_functions,
    parse,
    unsafe_loading,
)

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PYPROJECT["tool"]["importlinter"]["root_packages"]
MAX_LINES = 400  # of code in a file; blank lines, comments and docstrings do not count
MAX_BYTES = 10_000_000

# Pinned although no file imports them, and why.
USED_WITHOUT_IMPORT = {
    "coverage": "make coverage",
    "mkdocs-material": "make docs",
    "mkdocstrings-python": "the API reference of make docs",
    "tensorboard": "torch.utils.tensorboard and the TensorBoard command",
    "tensorflow": "Keras' default backend",
    "pytest-xdist": "make test runs on two processes",
    "pytest-timeout": "a test that hangs is named and stopped",
    "ruff": "style",
    "mypy": "types",
    "import-linter": "the one-way import contract",
    "sleepecg": "preprocessing.rpeaks imports it by its name",
}
DISTRIBUTION = {"sklearn": "scikit-learn", "yaml": "PyYAML", "PIL": "pillow"}


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Files that are, or would be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return sorted({path for path in paths if path.is_file()})


def texts(files: list[Path], *suffixes: str) -> Iterator[tuple[str, str]]:
    """Name and content of the text files, or of those that end with one of the suffixes."""
    for path in files:
        if suffixes and path.suffix not in suffixes:
            continue
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            assert path.suffix not in (".py", ".md", ".yaml", ".toml", ".json"), f"{path} is not UTF-8"


def problems_in(
    files: list[Path], check: Callable[[str], list[str]], *suffixes: str, tests: bool = True
) -> list[str]:
    """Every problem of the tree as ``file: problem``."""
    return [
        f"{name}: {problem}"
        for name, text in texts(files, *suffixes)
        if tests or not name.startswith("tests/")
        for problem in check(text)
    ]


def run_tool(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, timeout=600
    )


# ---- tools ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]])
def test_tools_are_content(arguments):
    done = run_tool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_configuration_of_the_tools_bites(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in PYPROJECT["tool"]["mypy"]["files"]:
        path = tmp_path / name if name.endswith(".py") else tmp_path / name / "__init__.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    (tmp_path / "utils" / "__init__.py").write_text("import os\n\ndef f()->int:\n    return 'one'\n")
    assert "F401" in run_tool("ruff", "check", "--no-cache", ".", cwd=tmp_path).stdout
    assert run_tool("ruff", "format", "--no-cache", "--check", ".", cwd=tmp_path).returncode == 1
    assert "Incompatible return value" in run_tool("mypy", "--no-incremental", cwd=tmp_path).stdout


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    code = "from importlinter.cli import lint_imports_command as main; main()"
    command = [sys.executable, "-c", code, "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def test_imports_point_one_way():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_contract_bites(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        (tmp_path / package / "module.py").write_text("")
    assert lint_imports(tmp_path).returncode == 0
    wrong = [
        ("utils", "databases"),
        ("databases", "training"),
        ("preprocessing", "models_torch"),
        ("models_tf", "tensorflow"),
        ("models_torch", "models_tf"),
        ("models_torch", "keras"),
        ("models_torch", "preprocessing"),
    ]
    for where, what in wrong:
        with open(tmp_path / where / "module.py", "a") as file:
            file.write(f"import {what}\n")
    broken = lint_imports(tmp_path)
    assert broken.returncode == 1, broken.stderr
    for where, what in wrong:
        assert f"{where} is not allowed to import {what}" in broken.stdout


def test_packages_are_under_the_contract_and_typed(files):
    packages = {
        path.parent.name for path in files if path.name == "__init__.py" and path.parent.parent == ROOT
    }
    assert packages - {"tests"} == set(PACKAGES)
    scripts = {path.name for path in files if path.suffix == ".py" and path.parent == ROOT}
    assert set(PYPROJECT["tool"]["mypy"]["files"]) == scripts | set(PACKAGES)


def test_packages_import_no_script(files):
    scripts = {path.stem for path in files if path.suffix == ".py" and path.parent == ROOT}
    inside = [path for path in files if path.relative_to(ROOT).parts[0] in PACKAGES]
    found = problems_in(inside, lambda text: import_problems(text, scripts), ".py")
    assert not found, "\n".join(found)
    assert import_problems("import json\nfrom train import main\n", {"train"}) == ["line 2: imports train"]


def test_modules_do_not_import_each_other(files):
    sources = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): text
        for name, text in texts(files, ".py")
        if name.split("/")[0] in PACKAGES
    }
    assert import_cycles(sources) == [] and len(sources) > 200
    chain = {"a": "import b", "b": "from c import x", "c": "def f():\n    import a\n", "d": "from a import y"}
    assert import_cycles(chain) == []
    assert import_cycles(chain | {"c": "import a"}) == [["a", "b", "c", "a"]]


def test_data_layers_import_no_framework():
    code = (
        "import importlib, pkgutil, sys\n"
        "for package in ('utils', 'databases', 'preprocessing'):\n"
        "    found = importlib.import_module(package)\n"
        "    for module in pkgutil.walk_packages(found.__path__, package + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "print(*sorted({'keras', 'tensorflow', 'torch', 'wandb'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


# ---- docstrings ----------------------------------------------------------------------------------


def test_exported_names_are_documented(files):
    checks = set(PYPROJECT["tool"]["numpydoc_validation"]["checks"])
    found, exported = [], 0
    for init in files:
        if init.name != "__init__.py" or init.relative_to(ROOT).parts[0] not in PACKAGES:
            continue
        by_module: dict[str, set[str]] = {}
        for name, module in exports(init).items():
            by_module.setdefault(module, set()).add(name)
            exported += 1
        for module, names in by_module.items():
            path = (ROOT / module.replace(".", "/")).with_suffix(".py")
            if path.exists():
                found += [f"{module}: {problem}" for problem in docstring_problems(path, checks, names)]
    assert not found, "\n".join(found)
    assert exported > 10


def docstring_lines(text: str) -> int:
    """Lines that the docstrings of a file take."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [
        n.body[0] for n in ast.walk(parse(text)) if isinstance(n, kinds) and n.body and ast.get_docstring(n)
    ]
    return sum((node.end_lineno or 0) - node.lineno + 1 for node in nodes)


def test_docstrings_are_at_most_22_percent_of_the_source(files):
    source = [text for name, text in texts(files, ".py") if not name.startswith("tests/")]
    share = sum(map(docstring_lines, source)) / sum(text.count("\n") for text in source)
    assert share <= 0.22
    assert docstring_lines('"""Module."""\n\ndef f():\n    """One.\n\n    Two.\n    """\n') == 5


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        ("def f(a):\n    return a\n", "GL08"),
        ('def f(a):\n    """Summary."""\n', "PR01"),
        (
            'class A:\n    """Sum.\n\n    b : int\n        It.\n    """\n\n'
            '    def f(self, a, b):\n        """Sum."""\n',
            "PR01",
        ),
        (
            'def f():\n    """Sum.\n\n    Parameters\n    ----------\n    a : int\n        It.\n    """\n',
            "PR02",
        ),
        ('def f():\n    """Summary."""\n    return 1\n', "RT01"),
        ('def f():\n    """Summary."""\n    for i in range(3):\n        yield i\n', "YD01"),
        ('class A:\n    """Summary."""\n\n    def f(self):\n        pass\n', "GL08"),
        (
            'import dataclasses\n\n@dataclasses.dataclass\nclass A:\n    """Summary."""\n\n    width: int\n',
            "field width",
        ),
    ],
)
def test_docstring_check_bites(tmp_path, code, finding):
    (tmp_path / "module.py").write_text('"""Module."""\n\n' + code)
    checks = set(PYPROJECT["tool"]["numpydoc_validation"]["checks"])
    found = docstring_problems(tmp_path / "module.py", checks)
    assert len(found) == 1, found
    assert finding in found[0]


# ---- nothing that is loaded can run code ---------------------------------------------------------


def test_loading_cannot_run_code(files):
    found = problems_in(files, unsafe_loading, ".py", tests=False)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.save(state, path)",
        "value = eval(text)",
        "exec(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "keras.saving.load_model(path, safe_mode=False)",
    ],
)
def test_unsafe_loading_check_bites(line):
    assert len(unsafe_loading(line)) == 1
    assert unsafe_loading("model.eval()\nyaml.safe_load(text)\nnp.load(path, allow_pickle=False)\n") == []


# ---- the tree ------------------------------------------------------------------------------------


def machine_paths(text: str) -> list[str]:
    """Absolute paths that exist on one machine only."""
    pattern = r"(?<![\w.])/(?:work|root|scratch|Users|home/(?!twelvelead))/?[\w.-]*|[A-Z]:\\Users"
    return [f"machine path {found}" for found in re.findall(pattern, text)]


def test_machine_paths_are_absent(files):
    found = problems_in(files, machine_paths)
    assert not found, "\n".join(found)
    home = "/".join(["", "home", "anna"])
    assert machine_paths(f"data in {home}/ptb") == [f"machine path {home}"]
    assert machine_paths("see https://site.org/work/1 and data/root") == []


def unfinished(text: str) -> list[str]:
    """Marks of unfinished work."""
    return re.findall(r"\b(?:TODO|FIXME|XXX|raise NotImplementedError)\b", text)


def test_unfinished_work_is_absent(files):
    found = problems_in(files, unfinished, ".py", tests=False)
    assert not found, "\n".join(found)
    assert unfinished("raise NotImplementedError  # TODO") == ["raise NotImplementedError", "TODO"]
    assert unfinished("except NotImplementedError:") == []


def test_files_are_of_readable_size(files):
    lines = {name: len(code_lines(text)) for name, text in texts(files, ".py")}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}
    assert {str(path): path.stat().st_size for path in files if path.stat().st_size > MAX_BYTES} == {}


def test_functions_are_short(files):
    found = problems_in(files, long_functions, ".py", tests=False)
    assert not found, "\n".join(found)
    assert long_functions("def f():\n" + "    pass\n" * 60) == ["f: 61 lines of code"]
    assert long_functions("def f():\n" + "    # why\n\n" * 60 + "    pass\n") == []


def test_family_is_named_in_one_registration(files):
    """Shared code asks the registry of families; it never compares the name of a model."""
    outside = ("training/", "utils/", "preprocessing/", "databases/", "twelvelead/")
    allowed = ("training/protoecgnet/", "utils/renamed.py")
    named = {
        name: sum("protoecgnet" in line.lower() for line in text.splitlines())
        for name, text in texts(files, ".py")
        if name.startswith(outside) and not name.startswith(allowed)
    }
    assert {name: count for name, count in named.items() if count} == {"training/families.py": 1}


def test_goldens_say_what_made_them():
    folder = ROOT / "tests" / "goldens"
    text = (folder / "README.md").read_text()
    code = ("README.md", "__init__.py", "__pycache__", "version1_outputs.py")
    named = re.findall(r"`([\w.]+)`", text)
    made = {path.stem for path in folder.iterdir() if path.name not in code}
    assert made == {Path(name).stem for name in named if (folder / name).exists()} - {"README"}


NO_SUBJECT = re.compile(
    "an?|the|every|each|any|no|one|two|three|both|all|some|other|another|same|such|what|which|who|when|where|how|"
    "why|of|in|on|at|to|for|from|with|without|by|until|after|before|neither|nothing|nobody|everything|even|only|if|"
    "real|damaged|wrong|impossible|bad|broken|missing|unknown|absent|named|interrupted|killed|malicious|equal|many|"
    "first|second|last|later|full|written"
)


def names_without_subject(text: str) -> list[str]:
    """Tests whose name does not start with what is tested."""
    names = re.findall(r"^(?:async )?def test_(\w+)", text, re.MULTILINE)
    return [
        f"test_{name} should start with its subject"
        for name in names
        if NO_SUBJECT.fullmatch(name.split("_")[0])
    ]


def test_names_start_with_their_subject(files):
    found = problems_in([f for f in files if "tests" in f.parts], names_without_subject, ".py")
    assert not found, "\n".join(found)
    assert names_without_subject("def test_a_card_is_read():\n    pass\n") == [
        "test_a_card_is_read should start with its subject"
    ]
    assert names_without_subject("def test_card_is_read():\n    pass\n") == []


def test_folds_of_ptbxl_are_named_by_its_module_alone(files):
    """Everything else asks the dataset what its splits are; result pages are documents."""
    allowed = ("tests/", "benchmarks/", "databases/ptbxl")
    named = {
        name: re.findall(r"\bfold[ _-]9\b", text)
        for name, text in texts(files, ".py")
        if not name.startswith(allowed)
    }
    assert {name: count for name, count in named.items() if count} == {}
    assert "fold 9" in (ROOT / "databases" / "ptbxl.py").read_text()


# ---- requirements --------------------------------------------------------------------------------


def pins(text: str) -> dict[str, str]:
    """Name and exact version of every requirement."""
    found = {}
    for line in text.splitlines():
        requirement = line.split("#")[0].strip()
        if requirement:
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\d[\w.]*)", requirement)
            assert match, f"not an exact pin: {requirement}"
            found[match[1]] = match[2]
    return found


def test_requirements_are_what_is_imported(files):
    files = [path for path in files if path.name != "build_backend.py"]  # pip brings what a build needs
    pinned = set(pins((ROOT / "requirements.txt").read_text()))
    local = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in files if path.suffix == ".py"}
    modules = {module for _, text in texts(files, ".py") for module in imported_modules(text)}
    imported = {DISTRIBUTION.get(m, m.replace("_", "-")) for m in modules - local - sys.stdlib_module_names}
    assert imported - pinned == set(), "imported but not pinned"
    assert pinned - imported - set(USED_WITHOUT_IMPORT) == set(), "pinned but not used"
    assert set(USED_WITHOUT_IMPORT) - pinned == set(), "said to be used but not pinned"


def test_captum_is_for_tests_and_benchmarks_only(files):
    importing = [name for name, text in texts(files, ".py") if "captum" in imported_modules(text)]
    assert importing and all(name.startswith(("tests/", "benchmarks/")) for name in importing)


def test_pins_are_exact():
    assert pins("torch==2.13.0  # why\n\n# text\n") == {"torch": "2.13.0"}
    for loose in ("torch", "torch>=2", "torch==2.*", "torch~=2.13"):
        with pytest.raises(AssertionError, match="not an exact pin"):
            pins(loose)


def test_lock_holds_every_pin_with_hashes():
    """A changed pin needs `make lock`."""
    text = (ROOT / "requirements.lock").read_text()
    entries = re.findall(r"(?m)^([\w.-]+)==(\S+)(.*(?:\n    .*)+)", text)
    locked: dict[str, set[str]] = {}
    for name, version, rest in entries:
        locked.setdefault(name.lower(), set()).add(version)
        assert "--hash=sha256:" in rest, name
    wanted = pins((ROOT / "requirements.txt").read_text())
    missing = {name: version for name, version in wanted.items() if locked.get(name.lower()) != {version}}
    assert not missing, f"run `make lock`: {missing}"
    assert len(entries) > len(wanted) + 50


def test_actions_are_pinned_by_commit():
    workflows = "\n".join(path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml"))
    used = re.findall(r"uses: *(.*)", workflows)
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", line) for line in used)


def test_pre_commit_runs_the_pinned_ruff():
    version = pins((ROOT / "requirements.txt").read_text())["ruff"]
    assert f"rev: v{version}" in (ROOT / ".pre-commit-config.yaml").read_text()


# ---- documents -----------------------------------------------------------------------------------


def dead_links(text: str, folder: Path) -> list[str]:
    """Relative links and pictures of a Markdown text that lead nowhere."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    local = [t.split("#")[0] for t in targets if not re.match(r"[a-z]+:", t)]
    return [f"dead link {target}" for target in local if target and not (folder / target).exists()]


def test_links_and_pictures_exist(files):
    found = []
    for name, text in texts(files, ".md"):
        found += [f"{name}: {problem}" for problem in dead_links(text, (ROOT / name).parent)]
    assert not found, "\n".join(found)
    assert dead_links('[a](Makefile) [b](https://x.org) ![c](no.png) <img src="no.svg">', ROOT) == [
        "dead link no.png",
        "dead link no.svg",
    ]


WRITTEN_BY_COMMANDS = {"compare.md", "model_card.md", "report.md", "table.md"}  # where the user says


def absent_documents(text: str, folder: Path) -> list[str]:
    """Markdown files that a text refers to and that are not in the tree."""
    names = (
        set(re.findall(r"(?<![\w./:-])(?!//)([A-Za-z][\w/-]*\.md)\b(?!\.jinja)", text)) - WRITTEN_BY_COMMANDS
    )
    folders = (ROOT, folder, ROOT / "docs", ROOT / "docs" / "results")
    return [f"speaks of {n}, which is absent" for n in names if not any((p / n).exists() for p in folders)]


def test_documents_that_are_named_exist(files):
    found = []
    for name, text in texts([f for f in files if not f.name.startswith(".")]):
        found += [f"{name}: {problem}" for problem in absent_documents(text, (ROOT / name).parent)]
    assert not found, "\n".join(found)


def test_changelog_knows_the_version():
    version = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)
    assert version
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text()


def test_python_files_parse_on_the_oldest_python(files):
    for _, text in texts(files, ".py"):
        ast.parse(text, feature_version=(3, 11))
