"""The code of the tutorials, run as it is printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from databases.synthetic.dataset import write_dataset
from tests.helpers.own_files import write_table
from training.checkpoint import ROOT
from utils.ecg import LEADS

DOCS = ROOT / "docs"
pytestmark = [pytest.mark.slow, pytest.mark.torch]
SHORT = ["--epochs", "1", "--threads", "1", "--limit", "24"]


def write_code(name: str, folder: Path) -> list[str]:
    """Write the files of a tutorial; its commands."""
    text = (DOCS / name).read_text(encoding="utf-8")
    for file, code in re.findall(r'```python title="([^"]+)"\n(.*?)```', text, re.DOTALL):
        (folder / file).write_text(code, encoding="utf-8")
    (block,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return block.splitlines()


def run(command: str, folder: Path, *more: str, **paths: Path) -> str:
    """Run a command of a tutorial in a folder, with other paths; its output."""
    words = shlex.split(command)[1:]
    words = [str(paths.get(Path(word).name, word)) for word in words]
    if words[0].endswith(".py"):
        words[0] = str(ROOT / words[0])
    more = (*more, *(SHORT if "train" in words[0] else ["--resamples", "20"] if "test" in words[0] else []))
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    if words[0] == "-m":
        program += f"import runpy; sys.argv = {[words[1], *words[2:], *more]!r}\n"
        program += f"runpy.run_module({words[1]!r}, run_name='__main__', alter_sys=True)"
    else:
        program += (
            f"import runpy; sys.argv = {[*words, *more]!r}\nrunpy.run_path({words[0]!r}, run_name='__main__')"
        )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_tutorial_on_adding_a_model_runs(tmp_path):
    database = write_dataset(tmp_path / "ptb", 100)
    record = next(database.glob("records100/*/*.hea"))
    train, _, test, inference = write_code("tutorials/add_model.md", tmp_path)
    paths = {"ptb": database, "record": record}
    assert "run 'mynet'" in run(train, tmp_path, **paths)
    assert "records of fold 10" in run(test, tmp_path, **paths)
    assert "Not a medical device" in run(inference, tmp_path, **paths)


def write_records(folder: Path) -> None:
    """The folder that the tutorial speaks of: WFDB records of 250 Hz and records.csv."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for number in range(60):
        name, rhythm = f"r{number:02d}", ("AF", "SR")[number % 2]
        wave = np.sin(2 * np.pi * (2.1 if rhythm == "AF" else 1.2) * np.arange(2500) / 250)
        signal = 0.5 * wave[:, None] + rng.normal(0, 0.05, (2500, 12))
        wfdb.wrsamp(
            name, fs=250, units=["mV"] * 12, sig_name=list(LEADS), p_signal=signal, fmt=["16"] * 12,
            write_dir=str(folder),
        )  # fmt: skip
        split = "train" if number < 40 else "val" if number < 50 else "test"
        rate = 2.1 if rhythm == "AF" else 1.2
        lines.append(
            {"record": name, "patient": f"p{number // 2}", "split": split, "rhythm": rhythm, "rate": rate}
        )
    pd.DataFrame(lines).to_csv(folder / "records.csv", index=False)


def test_tutorial_on_adding_a_database_runs(tmp_path):
    write_records(tmp_path / "data" / "mine")
    summary, train, kfold, test = write_code("tutorials/add_database.md", tmp_path)
    assert re.search(r"SR +20 +5 +5", run(summary, tmp_path))
    assert "my_rhythms: AF, SR; train: 24 records" in run(train, tmp_path)
    assert "fold 3 of 5" in run(kfold, tmp_path)
    assert "ROC-AUC SR" in run(test, tmp_path)


def test_tutorial_on_adding_a_task_runs(tmp_path):
    write_records(tmp_path / "data" / "mine")
    write_code("tutorials/add_database.md", tmp_path)
    train, test = write_code("tutorials/add_task.md", tmp_path)
    assert "mean absolute error" in run(train, tmp_path)
    assert "mean absolute error" in run(test, tmp_path)


def test_tutorial_on_a_database_of_ones_own_runs(tmp_path):
    write_table(tmp_path / "data" / "my_ecgs.csv", 48)
    summary, train, test, inference = write_code("tutorials/own_database.md", tmp_path)
    assert re.search(r"NORM +12 +6 +6", run(summary, tmp_path))
    said = run(train, tmp_path)
    assert "labels: AF, MI, NORM; training rows of the table: 24 records" in said
    assert "pretrained/ecgnet, all but head.weight, head.bias" in said
    assert "ROC-AUC AF" in run(test, tmp_path)
    said = run(inference, tmp_path)
    assert "AF  " in said and "ecg.png" in said and "Not a medical device" in said


def test_python_of_the_tutorial_on_explanations_runs(tmp_path):
    database = write_dataset(tmp_path / "ptb", 60)
    text = (DOCS / "tutorials/explain.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + code.replace("data/ptb", str(database))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "(4, 1000, 12)" in done.stdout and "'lime'" in done.stdout


@pytest.mark.parametrize(("name", "said"), [("rpeaks", "peaks, the first at"), ("waves", "QRS")])
def test_python_of_the_tutorials_on_peaks_and_waves_runs(shared_data, tmp_path, name, said):
    text = (DOCS / f"tutorials/{name}.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + code.replace('"data/', f'"{shared_data}/')
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
