"""Fixtures that several test files share."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

# Before any framework is imported, and for every subprocess: quiet, on the CPU, one thread a worker.
for _name, _value in {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "MPLBACKEND": "Agg",
}.items():
    os.environ.setdefault(_name, _value)

import pytest  # noqa: E402  (after the environment is set)
from hypothesis import settings  # noqa: E402

from utils.logs import Console  # noqa: E402

# A busy machine makes single examples slow; no test is about time. The suite draws the same examples each
# time; `pytest -m hypothesis --hypothesis-profile search` draws others, and many where a test sets no number.
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("fixed")

# What training logs reaches capsys as a command would show it, and caplog as well.
logging.getLogger("training").addHandler(Console())
logging.getLogger("training").setLevel(logging.INFO)

# A suite started in the background inherits an ignored Ctrl-C; the tests of interruption need the usual one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("TWELVELEAD_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "ptbxl" / "ptbxl_database.csv").exists():
        pytest.skip(f"no real recordings at {folder} (set TWELVELEAD_DATA to their folder)")
    return folder


@pytest.fixture(scope="session")
def shared_cases(shared_data: Path) -> Path:
    """Folder of ECG files that were once misread; tests that need it skip where it is absent."""
    folder = shared_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    return folder


def unpacked_folder(config: pytest.Config) -> Path:
    """Folder of the databases that a test session unpacks: one for all its workers, in pytest's own."""
    base = config._tmp_path_factory.getbasetemp()
    return (base.parent if hasattr(config, "workerinput") else base) / "unpacked"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the unpacked databases, 1 GB, at the end of the session, when every worker is done."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(unpacked_folder(config), ignore_errors=True)


def unpack(config: pytest.Config, shared_data: Path, database: str) -> Path:
    """Write all records of a database in its official layout, once a session."""
    tool = shared_data.parent / "tools" / "unpack-data"
    if not (shared_data / "packed").is_dir() or not tool.is_file():
        pytest.skip(f"no packed databases in {shared_data}")
    folder = unpacked_folder(config)
    folder.mkdir(exist_ok=True)
    complete = folder / f"{database}.complete"
    fcntl = pytest.importorskip("fcntl")
    with open(folder / f"{database}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        if not complete.exists():
            command = [sys.executable, str(tool), str(folder / database), "--database", database]
            subprocess.run(command, check=True, capture_output=True)
            complete.touch()
    return folder / database


@pytest.fixture(scope="session", autouse=True)
def fold10_log(tmp_path_factory) -> Path:
    """The log of scorings of every test and of the commands it starts: never the repository's."""
    path = tmp_path_factory.mktemp("fold10") / "log.csv"
    os.environ["TWELVELEAD_FOLD10_LOG"] = str(path)
    return path


@pytest.fixture(scope="session")
def whole_ptbxl(pytestconfig, shared_data) -> Path:
    """All of PTB-XL 1.0.3 at 100 Hz; its array cache, beside it, is shared by the session's workers."""
    return unpack(pytestconfig, shared_data, "ptbxl")


@pytest.fixture(scope="session")
def whole_mitdb(pytestconfig, shared_data) -> Path:
    """The 44 records of MIT-BIH that DS1 and DS2 name."""
    return unpack(pytestconfig, shared_data, "mitdb")


# Tiers, by what a file needs: whole commands, models that run, or neither.
_CLI = (
    "benchmarks/",
    "commands/",
    "extension/",
    "twelvelead/",
    "databases/test_download.py",
    "preprocessing/test_search.py",
    "test_conventions.py",
    "test_docs.py",
    "test_fuzz.py",
    "test_tutorials.py",
    "test_version1_runs.py",
    "utils/test_environment.py",
    "utils/test_loggers.py",
    "utils/test_renamed.py",
    "utils/test_text.py",
    "utils/test_threads.py",
)
_TRAIN = ("attribution/", "explain/", "training/", "test_model_contract.py", "test_version1_outputs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier: cli, train or unit."""
    for item in items:
        name = item.path.relative_to(ROOT / "tests").as_posix()
        heavy = any(item.get_closest_marker(marker) for marker in ("slow", "tf", "torch"))
        tier = "cli" if name.startswith(_CLI) else "train" if name.startswith(_TRAIN) or heavy else "unit"
        item.add_marker(getattr(pytest.mark, tier))
