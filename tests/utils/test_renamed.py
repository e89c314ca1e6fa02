"""Modules are importable and runnable under their old names, with a warning."""

import importlib
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from utils.renamed import RENAMED


def test_renamed_modules_exist_and_former_ones_do_not():
    for old, new in RENAMED.items():
        assert importlib.util.find_spec(new) is not None, new
        assert not (ROOT / old.replace(".", "/")).with_suffix(".py").exists(), old


@pytest.mark.filterwarnings("ignore:databases.synthetic_ecg is now:FutureWarning")  # the package itself
@pytest.mark.parametrize(
    "old",
    ["preprocessing.load", "attribution.windows", "databases.synthetic_ecg.cohort"],
)
def test_name_of_old_is_the_new_module(old):
    sys.modules.pop(old, None)
    package, _, rest = old.rpartition(".")
    new = RENAMED.get(old) or f"{RENAMED[package]}.{rest}"
    with pytest.warns(FutureWarning, match=f"{old} is now {new}"):
        assert importlib.import_module(old) is importlib.import_module(new)


def test_command_that_was_renamed_runs():
    command = [sys.executable, "-m", "training.tune", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "usage: " in done.stdout
    assert "training.tune is now training.experiments.tune" in done.stderr


def test_module_that_is_unknown_stays_unknown():
    with pytest.raises(ModuleNotFoundError, match=r"training\.nonsense"):
        importlib.import_module("training.nonsense")
