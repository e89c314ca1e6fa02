"""``python -m benchmarks`` and the commands that it replaced."""

import subprocess
import sys

from benchmarks import render
from tests.helpers.benchmark_files import leave_run, readme_with_markers
from training.checkpoint import ROOT
from utils.files import read_json


def run_benchmarks(*arguments: str, module: str = "benchmarks") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


# ---- the real commands ---------------------------------------------------------------------------


def test_collect_render_and_check_as_commands(tmp_path):
    data, readme, docs = tmp_path / "data", readme_with_markers(tmp_path), tmp_path / "docs"
    leave_run(tmp_path, "plain")
    done = run_benchmarks(
        "collect", "--run", "plain", "--row", "ecgnet", "--output_dir", tmp_path, "--data", data
    )
    assert done.returncode == 0, done.stderr
    row = data / "ptbxl_small" / "ecgnet"
    assert {p.name for p in row.iterdir()} == {
        "card.json", "test.json", "predictions.npz", "metrics.csv", "row.json",
    }  # fmt: skip
    places = ["--data", data, "--docs", docs, "--readme", readme]
    assert run_benchmarks("check", *places).returncode == 1
    assert "old" in readme.read_text() and not docs.exists(), "check wrote"
    assert run_benchmarks("render", *places).returncode == 0
    assert render.outdated(data, docs, readme) == []

    text, metrics = readme.read_text(), read_json(row / "test.json")["metrics"]
    assert text.startswith("# Title\n\n" + render.BEGIN) and text.endswith(render.END + "\n\nThe end.\n")
    auc = f"**{metrics['macro_roc_auc']:.3f}**"
    line = next(line for line in text.splitlines() if line.startswith("| ECGNet"))
    assert line.startswith(f"| ECGNet | 2,032 | {auc} [") and "*0.910*" in line
    page = (docs / "ptbxl.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith("| ECGNet | `ecgnet.yaml`"))
    for part in ("1,031,949", "2,032 / 288 / 60", "7 (3)", "0.912", "*0.910*", "*87.3*", "*0.771*", auc):
        assert part in line, part
    assert f"| {100 * metrics['mean_accuracy']:.1f} |" in line
    assert f"{metrics['ece']:.3f} → 0.012" in line
    assert "8.4 times fewer" in page and "Not a medical device" in page
    assert "python torch_train.py --config configs/ecgnet.yaml --data_dir data/ptb --threads 1" in page
    assert "Seed 42" in page and "`0123456789ab` with changes (training)" in page

    (docs / "ptbxl.md").write_text(page.replace("2,032", "2,033"))
    stale = run_benchmarks("check", *places)
    assert stale.returncode == 1 and "ptbxl.md is out of date" in stale.stdout


def test_commands_without_a_run_say_what_to_do(tmp_path):
    for words, message in (
        (["collect", "--run", "nothing", "--output_dir", tmp_path], "no trained model 'nothing'"),
        (["collect"], "one of --run RUN, --report FOLDER"),
        (["colect"], "did you mean 'collect'?"),
    ):
        done = run_benchmarks(*words)
        assert done.returncode == 2 and message in done.stderr, done.stderr


def test_former_commands_warn_and_work(tmp_path):
    leave_run(tmp_path, "plain")
    results = tmp_path / "results"
    words = ["collect", "--run", "plain", "--output_dir", tmp_path, "--results", results]
    done = run_benchmarks(*words, module="benchmarks.results")
    assert done.returncode == 0 and "FutureWarning: benchmarks.results is now" in done.stderr, done.stderr
    assert (results / "plain" / "card.json").exists()
    done = run_benchmarks("table", "--results", results, module="benchmarks.results")
    assert done.returncode == 0 and "| ECGNet |" in (results / "README.md").read_text()
    done = run_benchmarks("table", "--check", module="benchmarks.attribution")
    assert done.returncode == 0 and "every generated file is up to date" in done.stdout
    done = run_benchmarks("ablate", "--only", "sigmod", module="benchmarks.protoecgnet")
    assert done.returncode == 2 and "did you mean 'sigmoid'?" in done.stderr
