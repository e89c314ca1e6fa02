"""Scoring of maps as a command: tidy files, what is missing, resuming after a kill, foreign maps."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attribution import evaluate
from attribution.engine import store
from attribution.engine.workspace import open_workspace
from attribution.metrics import localization
from attribution.metrics.perturbation import measure_controls, perturbation_scores
from attribution.metrics.perturbed_inputs import PerturbationSettings, PerturbedInputs
from attribution.scores import compute as scoring
from attribution.scores.compute import ALL_METRICS, LOCALIZATION, resolve_metrics
from attribution.scores.summary import COLUMNS, read_score_file
from preprocessing.targets.regions import ground_truth_mask
from preprocessing.windows import save_windows
from tests.helpers.attribution_maps import COUNT, SAMPLES, checkpoint, noise, some_windows, write_maps
from utils.errors import DataError, UsageError
from utils.files import read_json, write_json, write_npz

pytestmark = pytest.mark.torch
ROOT = Path(__file__).resolve().parents[2]
PERTURBATION = [name for name in ALL_METRICS if name not in LOCALIZATION]


@pytest.fixture
def maps(tmp_path):
    """Two methods; one of them has a zero map and one without a positive value."""
    first, second = noise(1), np.abs(noise(2))
    first[2], first[4] = 0, -np.abs(first[4])
    return write_maps(tmp_path / "maps_of_small", {"saliency": first, "gradcam": second})


FAST = ["--runs", "5", "--random_orders", "1", "--tolerance", "0.05"]


def command(*words):
    words = [sys.executable, "-W", "error", "-m", "attribution.evaluate", *map(str, words)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(folder, *words):
    evaluate.main(["--attr_dir", str(folder), *FAST, *map(str, words)])


# ---- what is written -----------------------------------------------------------------------------


def test_evaluate_scores_everything(maps):
    output = command("--attr_dir", maps, *FAST)
    table = pd.concat([read_score_file(maps / "scores" / f"{m}.csv") for m in ("saliency", "gradcam")])
    assert list(pd.read_csv(maps / "scores" / "saliency.csv").columns) == COLUMNS
    cells = 2 * 2 * len(LOCALIZATION) + 2 * len(PERTURBATION)
    assert len(table) == 2 * cells * COUNT
    assert set(table["metric"]) == set(ALL_METRICS) and set(table["sign"]) == {"signed", "absolute"}
    local = table["metric"].isin(list(LOCALIZATION))
    assert set(table["ground_truth"][local]) == {"beats", "QRS"} and set(table["ground_truth"][~local]) == {
        ""
    }
    one = table.iloc[0]
    assert (one["dataset"], one["model"], one["seed"], one["target"]) == ("mitdb", "small", 3, "VEB")
    assert (one["record"], one["patient"]) == ("100", "p0")
    # the numbers are those of the functions
    result = open_workspace(maps)
    values, masks = (
        result.maps("saliency"),
        np.stack([ground_truth_mask(result.windows, i, 1, "QRS") for i in range(COUNT)]),
    )
    chosen = table[
        (table["method"] == "saliency") & (table["sign"] == "absolute") & (table["ground_truth"] == "QRS")
    ]
    np.testing.assert_allclose(
        chosen[chosen["metric"] == "auc"]["score"], localization.auc(values, masks, True)
    )
    settings = PerturbationSettings(runs=5, random_orders=1, tolerance=0.05)
    x = result.model.standardize(result.windows.signals[result.rows])
    prepared = PerturbedInputs(result.model, x, result.targets, settings, result.rows)
    found = perturbation_scores(prepared, values, measure_controls(prepared))
    for (sign, metric), scores in found.items():
        chosen = table[
            (table["method"] == "saliency") & (table["sign"] == sign) & (table["metric"] == metric)
        ]
        np.testing.assert_allclose(chosen["score"], scores, rtol=0, atol=1e-5)
    # zero map: no score anywhere; no positive value: none where only these count
    zero = table[(table["method"] == "saliency") & (table["window"] == 2)]
    assert zero["score"].isna().all() and len(zero) == cells
    assert table[table["score"].isna()].groupby("window").size().to_dict() == {2: cells, 4: 2 * 2}
    for text in (
        "Means, ground truth 'beats' (8 windows)",
        "Means, perturbation of the input",
        "no score: saliency, signed, relevance_mass_accuracy, QRS: 1 x no positive value, 1 x zero map",
        "no score: saliency, absolute, deletion: 1 x zero map",
        "(2 NaN)",
        f"wrote {maps / 'scores'}",
    ):
        assert text in output
    assert not list((maps / "scores").glob("saliency.table"))


def test_evaluate_one_metric_sign_and_ground_truth(maps):
    run(
        maps,
        "--eval_metric",
        "auc",
        "--absolute",
        "True",
        "--ground_truth",
        "QRS",
        "--attr_method",
        "gradcam",
    )
    assert [path.name for path in (maps / "scores").glob("*.csv")] == ["gradcam.csv"]
    table = read_score_file(maps / "scores" / "gradcam.csv")
    assert (
        len(table) == COUNT and set(table["sign"]) == {"absolute"} and set(table["ground_truth"]) == {"QRS"}
    )
    # more is added; what is there stays as it is
    run(maps, "--eval_metric", "auc", "deletion", "--attr_method", "gradcam")
    more = read_score_file(maps / "scores" / "gradcam.csv")
    assert len(more) == COUNT * (4 + 2)
    again = more[(more["metric"] == "auc") & (more["sign"] == "absolute") & (more["ground_truth"] == "QRS")]
    np.testing.assert_array_equal(again["score"], table["score"])


def test_evaluate_localization_without_the_model(maps):
    shutil.rmtree(maps.parent / "checkpoints")
    run(maps, "--eval_metric", "localization")
    assert len(read_score_file(maps / "scores" / "saliency.csv")) == COUNT * 2 * 2 * len(LOCALIZATION)
    with pytest.raises(UsageError):
        run(maps, "--eval_metric", "deletion")


def test_evaluate_windows_without_ground_truth(tmp_path):
    folder = write_maps(tmp_path / "m", {"saliency": noise()}, some_windows(ground_truths=False))
    run(folder, "--perturb_order", "morf")
    found = set(read_score_file(folder / "scores" / "saliency.csv")["metric"])
    assert found == set(PERTURBATION) - {"region_perturbation_lerf"}
    with pytest.raises(UsageError, match="no ground truth that auc could compare with"):
        run(folder, "--eval_metric", "auc")


def test_evaluate_one_window(tmp_path):
    folder = write_maps(tmp_path / "m", {"saliency": noise(count=1)}, some_windows(1), count=1)
    run(folder)
    assert read_score_file(folder / "scores" / "saliency.csv")["score"].notna().all()


def test_evaluate_zero_maps(tmp_path, capsys):
    folder = write_maps(tmp_path / "m", {"lime": np.zeros((COUNT, SAMPLES, 1))})
    run(folder)
    table = read_score_file(folder / "scores" / "lime.csv")
    assert table["score"].isna().all() and len(table) == COUNT * (
        4 * len(LOCALIZATION) + 2 * len(PERTURBATION)
    )
    assert "8 x zero map" in capsys.readouterr().out


def test_evaluate_with_published_settings(maps):
    words = ["--reference", "--eval_metric", "region_perturbation", "pointing_game", "--patch_size", "4"]
    evaluate.main(["--attr_dir", str(maps), *words])
    how = read_json(maps / "args.json")["evaluate"]["saliency"]["settings"]
    assert how["pointing_game"] == {"ties": "reference"}
    assert how["region_perturbation_morf"]["regions"] == 100
    assert how["region_perturbation_morf"]["tolerance"] == 0


def test_evaluate_writes_the_same_files_for_the_same_scores(maps):
    names = ("args.json", "scores/saliency.csv", "scores/gradcam.csv")
    before = (maps / "args.json").read_bytes()
    run(maps)
    whole = [(maps / name).read_bytes() for name in names]
    shutil.rmtree(maps / "scores")
    (maps / "args.json").write_bytes(before)
    run(maps, "--eval_metric", "deletion", "auc")
    run(maps)
    assert [(maps / name).read_bytes() for name in names] == whole
    assert list(json.loads(whole[0])["evaluate"]["saliency"]["settings"]) == list(ALL_METRICS)


# ---- resuming ------------------------------------------------------------------------------------


def test_evaluate_keeps_finished_methods(maps, capsys, monkeypatch):
    run(maps)
    before = {path: path.read_bytes() for path in (maps / "scores").glob("*.csv")}
    monkeypatch.setattr(evaluate, "add_localization", lambda *_: pytest.fail("scored again"))
    run(maps)
    assert "2 of 2 methods are scored already" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before


def test_evaluate_refuses_other_settings(maps):
    run(maps, "--eval_metric", "deletion", "auc")
    with pytest.raises(
        UsageError,
        match=r"saliency\.csv, deletion, was made .* \(patch_ms was 50\.0, is now 30\.0\)",
    ):
        run(maps, "--eval_metric", "deletion", "--patch_ms", "30")
    old = read_score_file(maps / "scores" / "saliency.csv")
    run(maps, "--eval_metric", "deletion", "--patch_ms", "30", "--overwrite")
    new = read_score_file(maps / "scores" / "saliency.csv")
    assert len(new) == len(old)
    auc = new["metric"] == "auc"
    np.testing.assert_array_equal(new["score"][auc], old["score"][old["metric"] == "auc"])
    assert (
        new["score"][~auc].to_numpy() != old["score"][old["metric"] == "deletion"].to_numpy()
    ).mean() > 0.5


def test_evaluate_scores_new_maps_again(maps, capsys, caplog):
    run(maps, "--eval_metric", "auc")
    write_npz(maps / "maps" / "saliency.npz", maps=np.abs(noise(5)), seconds=np.array(1.0))
    run(maps, "--eval_metric", "auc")
    output = "".join(capsys.readouterr()) + caplog.text
    assert "saliency.csv was made from other maps" in output and "1 of 2 methods" in output
    assert read_score_file(maps / "scores" / "saliency.csv")["score"].notna().all()


def test_evaluate_replaces_lines_without_a_record(maps):
    run(maps, "--eval_metric", "auc", "pointing_game")
    expected = (maps / "scores" / "gradcam.csv").read_bytes()
    path = maps / "args.json"
    record = json.loads(path.read_text())
    record["evaluate"]["gradcam"]["settings"].pop("auc")  # killed between the two files
    write_json(path, record)
    table = pd.read_csv(maps / "scores" / "gradcam.csv")
    table.loc[table["metric"] == "auc", "score"] = 7.0
    table.to_csv(maps / "scores" / "gradcam.csv", index=False)
    run(maps, "--eval_metric", "auc", "pointing_game")
    assert (maps / "scores" / "gradcam.csv").read_bytes() == expected


KILLED = """
import os, signal, sys
from attribution import evaluate
from attribution.engine import store
from attribution.scores import compute as scoring
scoring._CHUNK = 2
append = store.ResumableTable.append
def killed(self, key, arrays):
    append(self, key, arrays)
    if self.path.name == "saliency.table" and key == "2":
        os.kill(os.getpid(), signal.SIGKILL)
store.ResumableTable.append = killed
evaluate.main(sys.argv[1:])
"""


def test_evaluate_resumes_after_a_kill(maps):
    whole = maps.parent / "whole"
    run(maps, "--result_dir", whole)
    words = [sys.executable, "-c", KILLED, "--attr_dir", str(maps), *FAST]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (maps / "scores" / "saliency.csv").exists()
    # finished windows are not scored again: their numbers are taken from the table
    change(maps / "scores" / "saliency.table", "absolute insertion", 1, 0.123)
    run(maps)
    assert differing(maps, whole, "saliency")["score"].tolist() == [0.123]
    assert differing(maps, whole, "gradcam").empty
    assert not list((maps / "scores").glob("[!c]*.table"))


def test_evaluate_resumes_after_ctrl_c(maps, monkeypatch):
    whole = maps.parent / "whole"
    run(maps, "--result_dir", whole)
    append = store.ResumableTable.append

    def interrupted(self, key, arrays):
        append(self, key, arrays)
        if self.path.name == "controls_subsets.table" and key == "2":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "_CHUNK", 2)
        patch.setattr(store.ResumableTable, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(maps)
    change(maps / "scores" / "controls_subsets.table", "losses", 1, np.arange(5))
    run(maps)
    other = differing(maps, whole, "gradcam")
    assert set(other["window"]) == {1} and set(other["metric"]) == {"faithfulness_correlation"}


def change(path, name, row, value):
    """Change a number of the first chunk in a table that holds two chunks of two windows."""
    (head, _), *blocks = store._blocks(path.read_bytes())
    assert len(blocks) == 2
    with np.load(io.BytesIO(blocks[0][0])) as file:
        arrays = {key: file[key] for key in file.files}
    assert str(arrays["key"]) == "0" and len(arrays[name]) == 2
    arrays[name][row] = value
    content = io.BytesIO()
    np.savez(content, **arrays)
    payloads = [head, content.getvalue(), blocks[1][0]]
    path.write_bytes(b"".join(map(store._block, payloads)))


def differing(folder, other, method):
    """Lines of a method's scores that differ between two folders."""
    ours, theirs = (read_score_file(place / "scores" / f"{method}.csv") for place in (folder, other))
    assert ours.drop(columns="score").equals(theirs.drop(columns="score"))
    return ours[~np.isclose(ours["score"], theirs["score"], rtol=0, atol=1e-5, equal_nan=True)]


# ---- what does not fit ---------------------------------------------------------------------------


def test_evaluate_refuses_maps_of_another_dataset(maps):
    save_windows(some_windows(COUNT + 1), maps.parent / "windows.npz")
    with pytest.raises(DataError, match="is not the file whose windows"):
        run(maps)


def test_evaluate_refuses_maps_of_another_model(maps):
    other = checkpoint(maps.parent / "checkpoints" / "other", seed=9)
    with pytest.raises(DataError, match="is not the model whose maps"):
        run(maps, "--model_path", other, "--eval_metric", "deletion")
    moved = maps.parent / "elsewhere"
    os.rename(maps.parent / "checkpoints" / "small_seed3", moved)
    run(maps, "--model_path", moved, "--eval_metric", "deletion")  # the same weights in another place


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--eval_metric", "acu"], "did you mean 'auc'"),
        (["--attr_method", "salency"], "did you mean 'saliency'"),
        (["--ground_truth", "beat"], "did you mean 'beats'"),
        (["--subset_ratio", "2"], "subset_ratio"),
        (["--top_k", "128"], "between 1 and 127"),
        (["--patch_size", "129", "--eval_metric", "deletion"], "longer than the windows"),
        (["--threads", "-1"], "--threads"),
        (["--patch_size", "4", "--patch_ms", "20"], "choose one"),
        (["--patch_ms", "inf"], "patch_ms"),
        (["--reference"], "--tolerance contradicts the settings of the published study"),
    ],
)
def test_evaluate_refuses_bad_flags(maps, words, text):
    with pytest.raises(UsageError, match=text):
        run(maps, *words)


def test_evaluate_refuses_folders_without_maps(tmp_path, maps):
    with pytest.raises(UsageError, match="holds no maps"):
        run(tmp_path / "nowhere")
    shutil.rmtree(maps / "maps")
    with pytest.raises(DataError, match="no complete maps"):
        run(maps)


def test_evaluate_refuses_a_damaged_record(maps):
    run(maps, "--eval_metric", "auc")
    (maps / "args.json").write_text("[1]")
    with pytest.raises(DataError, match=r"args\.json is not a record of the attribution study"):
        run(maps, "--eval_metric", "auc")


def test_evaluate_takes_the_record_of_the_version_before(maps, capsys):
    run(maps, "--eval_metric", "auc", "deletion")
    record = read_json(maps / "args.json")
    entries = record.pop("evaluate")
    for entry in entries.values():
        entry["maps"], entry["how"] = entry.pop("source")["maps"], entry.pop("settings")
    write_json(maps / "args.json", record)
    write_json(maps / "scores" / "evaluate.json", entries)
    run(maps, "--eval_metric", "auc", "deletion")
    assert "2 of 2 methods are scored already" in capsys.readouterr().out
    write_json(maps / "scores" / "evaluate.json", {"saliency": 3})
    with pytest.raises(DataError, match=r"evaluate\.json is not a record of the attribution study"):
        run(maps, "--eval_metric", "auc")


def test_evaluate_elsewhere_records_how_the_maps_were_made(maps, tmp_path):
    run(maps, "--eval_metric", "auc", "--result_dir", tmp_path / "other")
    record = read_json(tmp_path / "other" / "args.json")
    assert record["model"] == "small" and list(record["evaluate"]) == ["saliency", "gradcam"]
    assert "evaluate" not in read_json(maps / "args.json")


def test_resolve_metrics():
    assert resolve_metrics(["all"]) == list(ALL_METRICS)
    assert resolve_metrics(["region_perturbation"], ["lerf"]) == ["region_perturbation_lerf"]
    assert resolve_metrics(["perturbation"], ["morf"])[0] == "region_perturbation_morf"
    assert resolve_metrics(["insertion", "auc", "auc"]) == ["auc", "insertion"]
    assert "region_perturbation_lerf" in resolve_metrics(["region_perturbation_lerf"], ["morf"])
