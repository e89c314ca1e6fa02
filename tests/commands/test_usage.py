"""How every command is typed, and what each of them understands."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

COMMANDS = {
    "python train.py": ["train.py"],
    "python torch_test.py": ["torch_test.py"],
    "python inference.py": ["inference.py"],
    "python -m attribution.build": ["-m", "attribution.build"],
    "python -m attribution.compute": ["-m", "attribution.compute"],
    "python -m attribution.train": ["-m", "attribution.train"],
    "python -m benchmarks collect": ["-m", "benchmarks", "collect"],
    "python -m benchmarks.speed": ["-m", "benchmarks.speed"],
    "python -m databases.download": ["-m", "databases.download"],
    "python -m databases.synthetic": ["-m", "databases.synthetic"],
    "python -m preprocessing.summary": ["-m", "preprocessing.summary"],
    "python -m training.experiments.tune": ["-m", "training.experiments.tune"],
    "python -m training.publish": ["-m", "training.publish"],
    "twelvelead baselines": ["-m", "twelvelead", "baselines"],
    "twelvelead certify": ["-m", "twelvelead", "certify"],
    "twelvelead compare": ["-m", "twelvelead", "compare"],
    "twelvelead summary": ["-m", "twelvelead", "summary"],
}


@pytest.mark.parametrize("usage", COMMANDS)
def test_usage_is_what_one_types_and_config_and_plugins_are_there(usage):
    command = [sys.executable, *COMMANDS[usage], "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {usage} [-h]"), done.stderr
    assert "--config FILE" in done.stdout and "--plugins" in done.stdout
