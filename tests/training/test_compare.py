"""twelvelead compare: pairs of runs, recipes over seeds and folds, grids, and what is refused."""

import json

import numpy as np
import pytest

from tests.helpers.benchmark_files import leave_run
from twelvelead.commands.compare import main
from utils.bootstrap import paired_difference
from utils.errors import DataError, UsageError
from utils.files import read_json, read_npz, write_json, write_npz
from utils.significance import corrected_t_test, rank_stability


def leave(out, run, skill=1.0, noise=0, keep=slice(None), **config):
    """A scored run whose probabilities have noise of their own; higher ``skill`` is better."""
    leave_run(out, run, skill=skill, seed=config.pop("seed", noise))
    card = read_json(out / "checkpoints" / run / "card.json")
    card["provenance"]["config"] |= config
    write_json(out / "checkpoints" / run / "card.json", card)
    path = out / "logs" / run / "predictions.npz"
    stored = read_npz(path, "")
    logits = skill * (2.0 * stored["label"] - 1)
    logits += np.random.default_rng(100 + noise).normal(0, 1.5, logits.shape)
    stored["probability"] = 1 / (1 + np.exp(-logits))
    rows = {k: stored[k][keep] for k in ("ecg_id", "patient_id", "label", "probability")}
    write_npz(path, **rows, classes=stored["classes"])


def compare(out, *words):
    main([*map(str, words), "--output_dir", str(out), "--out", str(out / "c"), "--resamples", "60"])
    return read_json(out / "c" / "compare.json")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for seed in range(4):
        leave(out, f"good_seed{seed}", 2.0, seed, lr=0.1)
        leave(out, f"poor_seed{seed}", 0.7, 50 + seed, seed=seed, lr=0.2)
    return out


def test_pair_of_runs_is_compared_on_the_same_patients(runs, capsys):
    result = compare(runs, "good_seed0", "poor_seed0")
    a, b = (read_npz(runs / "logs" / run / "predictions.npz", "") for run in ("good_seed0", "poor_seed0"))
    for row in result["by_records"]["pairs"]:
        arrays = a["label"], a["probability"], b["probability"], a["patient_id"]
        expected = paired_difference(*arrays, row["metric"], resamples=60)
        found = [row[key] for key in ("difference", "low", "high")]
        np.testing.assert_allclose(found, [expected[key] for key in ("difference", "low", "high")])
    assert result["by_records"]["patients"] == 30 and result["over_runs"] is None
    classes = [row for row in result["by_records"]["class_pairs"] if row["metric"] == "macro_roc_auc"]
    macro = result["by_records"]["pairs"][0]
    assert np.mean([row["difference"] for row in classes]) == pytest.approx(macro["difference"])
    assert macro["detectable"] == pytest.approx(2.8016 * macro["standard_error"], rel=1e-4)
    printed = capsys.readouterr().out
    assert "good_seed0 − poor_seed0" in printed and "Not a medical device" in printed
    assert printed.startswith((runs / "c" / "compare.md").read_text())
    assert "Use --resamples 200 or more" in printed  # 60 resamples give no p below 0.03


def test_order_of_runs_changes_the_sign_alone(runs):
    one = compare(runs, "good_seed0", "poor_seed0")["by_records"]["pairs"]
    other = compare(runs, "poor_seed0", "good_seed0")["by_records"]["pairs"]
    for a, b in zip(one, other, strict=True):
        assert (a["difference"], a["low"]) == pytest.approx((-b["difference"], -b["high"]))
        assert a["p_holm"] == b["p_holm"]


def test_recipes_are_compared_over_their_seeds(runs):
    names = [f"{recipe}_seed{seed}" for recipe in ("good", "poor") for seed in range(4)]
    result = compare(runs, *names)
    assert [recipe["name"] for recipe in result["recipes"]] == ["good", "poor"]
    over = result["over_runs"]
    assert over["test_ratio"] == pytest.approx(60 / 2032) and "randomness of training" in over["covers"]
    single = [compare(runs, f"good_seed{s}", f"poor_seed{s}")["by_records"]["pairs"][0] for s in range(4)]
    expected = corrected_t_test([row["difference"] for row in single], 60 / 2032)
    test = over["tests"][0]
    assert test["metric"] == "macro_roc_auc" and test["a_better"] == 4
    assert (test["t"], test["p"], test["low"]) == pytest.approx([expected[k] for k in ("t", "p", "low")])
    assert over["ranks"]["macro_roc_auc"]["tau"]["mean"] == 1
    # the bootstrap compares the means over seeds
    assert result["by_records"]["pairs"][0]["difference"] == pytest.approx(test["mean"])
    brier = next(row for row in over["tests"] if row["metric"] == "brier")
    assert brier["mean"] < 0 and brier["a_better"] == 4


def test_folds_are_resampled_one_by_one(tmp_path):
    for fold in (1, 2):
        keep = slice(0, 30) if fold == 1 else slice(30, 60)
        for recipe, skill in (("a", 2.0), ("b", 0.7)):
            more = {"split": "kfold", "fold": fold, "lr": skill, "seed": 1}
            leave(tmp_path, f"{recipe}_fold{fold}", skill, 10 * fold + int(skill), keep, **more)
    result = compare(tmp_path, "a_fold1", "a_fold2", "b_fold1", "b_fold2")
    assert result["by_records"]["records"] == 60 and result["over_runs"]["tests"][0]["runs"] == 2
    assert "different training and scored records" in result["over_runs"]["covers"]
    with pytest.raises(UsageError, match="'a' was scored on the test fold 1, 2, 'b_fold1' on"):
        compare(tmp_path, "a_fold1", "a_fold2", "b_fold1")


def test_files_for_papers_and_spreadsheets(runs):
    compare(runs, "good_seed0", "poor_seed0", "poor_seed1", "good_seed1")
    tex = (runs / "c" / "compare.tex").read_text()
    assert tex.count("\\toprule") == tex.count("\\end{tabular}") == 3 and "good $-$ poor" in tex
    assert all(line.endswith("\\\\") for line in tex.splitlines() if " & " in line)
    lines = (runs / "c" / "compare.csv").read_text().splitlines()
    assert lines[0].startswith("over,a,b,metric,class,difference,low,high")
    assert len(lines) == 1 + 4 + 15 + 4
    before = [(runs / "c" / f"compare.{e}").read_bytes() for e in ("md", "csv", "tex", "json")]
    compare(runs, "good_seed0", "poor_seed0", "poor_seed1", "good_seed1")
    after = [(runs / "c" / f"compare.{e}").read_bytes() for e in ("md", "csv", "tex", "json")]
    assert before == after


def test_records_that_differ_are_refused_or_intersected(tmp_path, capsys):
    leave(tmp_path, "all", 2.0, 1, lr=0.1)
    leave(tmp_path, "part", 0.7, 2, np.arange(59, 9, -1), lr=0.2)
    with pytest.raises(UsageError, match=r"different records \('all' 60, 'part' 50; 50 in common\)"):
        compare(tmp_path, "all", "part")
    result = compare(tmp_path, "all", "part", "--intersection")
    assert result["by_records"]["records"] == 50
    assert "50 records in common, of up to 60" in capsys.readouterr().out
    path = tmp_path / "logs" / "part" / "predictions.npz"
    stored = read_npz(path, "")
    a, b = (read_npz(tmp_path / "logs" / run / "predictions.npz", "") for run in ("all", "part"))
    kept = np.isin(a["ecg_id"], b["ecg_id"])
    turned = {k: b[k][::-1] for k in ("ecg_id", "label", "probability")}
    np.testing.assert_array_equal(a["ecg_id"][kept], turned["ecg_id"])
    expected = paired_difference(
        turned["label"], a["probability"][kept], turned["probability"], a["patient_id"][kept], resamples=60
    )
    row = result["by_records"]["pairs"][0]
    assert (row["difference"], row["low"]) == pytest.approx((expected["difference"], expected["low"]))
    write_npz(path, **(stored | {"label": 1 - stored["label"]}))
    with pytest.raises(DataError, match="other labels for 50 of 50 records"):
        compare(tmp_path, "all", "part", "--intersection")


def test_runs_that_cannot_be_compared(runs, tmp_path):
    with pytest.raises(UsageError, match="named twice"):
        compare(runs, "good_seed0", "good_seed0")
    with pytest.raises(UsageError, match="name runs of two recipes"):
        compare(runs, "good_seed0", "good_seed1")
    with pytest.raises(UsageError, match="two or more runs"):
        compare(runs, "good_seed0")
    with pytest.raises(UsageError, match="no trained model 'absent'"):
        compare(runs, "good_seed0", "absent")
    leave(tmp_path, "one")
    leave(tmp_path, "copy")
    same = compare(tmp_path, "one", "copy")["by_records"]["pairs"][0]  # trained again with the same seed
    assert same["difference"] == 0 and same["p"] == 1
    leave_run(tmp_path, "infarction", task="mi")
    with pytest.raises(UsageError, match="classes"):
        compare(tmp_path, "one", "infarction")
    stored = read_json(tmp_path / "logs" / "copy" / "test.json")
    write_json(tmp_path / "logs" / "copy" / "test.json", stored | {"checkpoint": {"weights_sha256": "0"}})
    with pytest.raises(DataError, match="other weights"):
        compare(tmp_path, "one", "copy")


def test_committed_rows_are_found_by_name(tmp_path):
    result = compare(tmp_path, "resnet1d_wang", "mousavi")
    assert result["by_records"]["records"] == 2158 and result["split"] == "fold 10"
    assert result["by_records"]["pairs"][0]["low"] > 0.02


def leave_grid(folder, scores, **changes):
    """What a grid leaves: runs with their validation scores, grouped by settings."""
    runs, groups = [], []
    for name, values in scores.items():
        group = {"changes": {"lr": name}, "task": "superdiagnostic", "model": "ecgnet", "names": []}
        groups.append({**group, "score_name": "macro_roc_auc", "higher_is_better": True, **changes})
        for seed, value in enumerate(values):
            run = {"name": f"{name}-{seed}", "status": "finished", "seed": seed, "fold": None}
            runs.append({**run, "score": value, "folder": f"checkpoints/{name}-{seed}"})
            groups[-1]["names"].append(run["name"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "grid.json").write_text(json.dumps({"name": "g", "runs": runs, "groups": groups}))


def test_recipes_of_a_grid_by_validation_scores(tmp_path, capsys):
    scores = {"0.1": [0.90, 0.91, 0.92], "0.2": [0.88, 0.92, 0.89], "0.3": [0.7, 0.71, 0.69]}
    folder = tmp_path / "results" / "grids" / "g"
    leave_grid(folder, scores)
    result = compare(tmp_path, "--grid", folder)
    over = result["over_runs"]
    expected = corrected_t_test([0.02, -0.01, 0.03], 0.25)
    assert over["tests"][0]["p"] == pytest.approx(expected["p"])
    assert "No card tells the number of training records" in over["covers"]
    ranks = rank_stability(np.array(list(scores.values())).T)
    assert over["ranks"]["macro_roc_auc"]["tau"]["mean"] == pytest.approx(ranks["tau"]["mean"])
    assert "lr 0.1 in 67 % of 3" in capsys.readouterr().out
    leave_grid(folder, {"0.1": [0.9], "0.2": [0.8]})
    with pytest.raises(UsageError, match="nothing to test"):
        compare(tmp_path, "--grid", folder)
    (folder / "grid.json").write_text('{"runs": []}')
    with pytest.raises(DataError, match="is not the result of a grid"):
        compare(tmp_path, "--grid", folder)
