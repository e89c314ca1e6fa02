"""Results of a grid: collected, and their page."""

import pytest

from benchmarks.__main__ import main
from benchmarks.pages import grids as grids_page
from tests.helpers.benchmark_files import leave_run
from training.experiments.grid_table import groups
from utils.errors import UsageError
from utils.files import read_json, write_json

SCORES = {1e-3: (0.80, 0.82, 0.81), 1e-2: (0.90, 0.91, 0.92)}


def leave_grid(folder, **changes):
    """A finished grid of two learning rates and three seeds, as `training.experiments.grid` leaves it."""
    runs = []
    for lr, scores in SCORES.items():
        for seed, score in enumerate(scores, 1):
            name = f"lr-{lr}_seed-{seed}"
            leave_run(folder, name)
            run = {"name": name, "folder": f"checkpoints/{name}", "status": "finished", "model": "ecgnet"}
            run |= {"framework": "torch", "seed": seed, "fold": None, "score": score, "epoch": 2, "epochs": 5}
            run |= {"score_name": "macro ROC-AUC", "higher_is_better": True, "seconds": 60.0, "scores": {}}
            run |= {"changes": {"lr": lr}, "settings": {"lr": lr, "seed": seed, "task": "superdiagnostic"}}
            runs.append(run | changes)
    grid = {"name": "rates", "file": "configs/grids/rates.yaml", "axes": ["lr", "seed"], "notice": "Scores."}
    write_json(folder / "grid.json", {**grid, "version": 1, "runs": runs, "groups": groups(runs)})


def test_grid_becomes_a_page_with_tests_between_its_recipes(tmp_path):
    leave_grid(tmp_path / "grid")
    main(["collect", "--grid", str(tmp_path / "grid"), "--data", str(tmp_path / "data")])
    collected = tmp_path / "data" / "grids" / "rates.json"
    assert str(tmp_path) not in collected.read_text() and len(read_json(collected)["runs"]) == 6
    page = grids_page.page(collected.parent)
    assert page.count("ot a medical device") == 1 and page.count("\n# ") == 0
    assert "6 runs on 2,032 / 288 records" in page and "6 minutes in all" in page
    first = next(line for line in page.splitlines() if line.startswith("| 1 |"))
    assert "lr 0.01" in first and "0.9100" in first
    assert "### Over seeds and folds" in page and "Kendall's tau" in page and "0 of 3 runs" in page


def test_grid_with_runs_that_wait_is_refused(tmp_path):
    leave_grid(tmp_path, status="waiting")
    with pytest.raises(UsageError, match="did not finish: run twelvelead grid"):
        main(["collect", "--grid", str(tmp_path), "--data", str(tmp_path / "data")])
