"""The command of the sanity checks: files, resuming, several models, bad input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from attribution import compute
from attribution.engine.store import ResumableTable
from attribution.engine.workspace import open_workspace, weights_fingerprint
from attribution.sanity import command as sanity
from attribution.sanity.checks import _mean_of_known
from attribution.scores.files import Column
from attribution.scores.summary import read_score_file
from explain.engine.classifier import load_classifier
from explain.methods import Settings, explain
from preprocessing.windows import Windows, load_windows, save_windows
from tests.helpers.attribution_waves import RATE, SAMPLES, STAGES, beats, trained_checkpoint
from utils.errors import DataError, UsageError
from utils.files import write_json, write_npz

pytestmark = pytest.mark.torch
ROOT = Path(__file__).resolve().parents[2]
METHODS = ("saliency", "random_baseline", "lrp")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A model that has learned, and one of another seed that has hardly begun."""
    folder = tmp_path_factory.mktemp("models")
    return [trained_checkpoint(folder / "seed0"), trained_checkpoint(folder / "seed1", 1, steps=3)]


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """Forty test windows of five patients, and some to train on."""
    signals, labels = beats(60, seed=9)
    patients = np.array([f"p{min(i // 4, 4)}" for i in range(40)] + ["t"] * 20)
    made = Windows(
        signals=signals,
        targets=np.eye(2, dtype=np.uint8)[labels],
        classes=["N", "VEB"],
        leads=("II",),
        sampling_rate=RATE,
        kind="multiclass",
        name="mitdb",
        ids=patients,
        patients=patients,
        starts=np.arange(60) * SAMPLES,
        splits=np.where(np.arange(60) < 40, "test", "train"),
        normal=["N"],
    )
    path = tmp_path_factory.mktemp("windows") / "mitdb.npz"
    save_windows(made, path)
    return path


def maps_folder(folder, windows_path, checkpoint, seed=0, first=0):
    """What attribution.compute leaves for the abnormal test windows from `first` on."""
    windows, classifier = load_windows(windows_path), load_classifier(checkpoint)
    rows = np.arange(first, 40)[windows.labels[first:40, 1] == 1]
    targets = np.ones(len(rows), dtype=np.int64)
    settings = {"seed": 0, "batch_size": 8, "n_samples": 40, "n_baselines": 5}
    args = {
        "dataset": "mitdb",
        "dataset_path": str(windows_path),
        "fingerprint": windows.fingerprint,
        "model": "small",
        "model_path": str(checkpoint),
        "model_fingerprint": weights_fingerprint(classifier),
        "seed": seed,
        "methods": list(METHODS),
        "settings": {**settings, "baselines": "training"},
    }
    write_json(folder / "args.json", args)
    write_npz(
        folder / "selection.npz", rows=rows, targets=targets, probability=np.ones(len(rows), np.float32)
    )
    x = classifier.standardize(windows.signals[rows])
    for method in METHODS:
        maps = explain(classifier, method, x, targets, Settings(**settings, seeds=rows))
        write_npz(folder / "maps" / f"{method}.npz", maps=maps)
    return folder


@pytest.fixture
def folder(tmp_path, windows, checkpoints):
    return maps_folder(tmp_path / "a", windows, checkpoints[0], seed=3)


def check(*words):
    sanity.main([str(word) for word in words])


def scores_of(folder, name):
    return read_score_file(folder / "scores" / f"{name}.csv")


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.integers(0, 40), st.integers(0, 3))
def test_draw_evenly_over_patients(patients, count, seed):
    patients = np.array(patients)
    places = sanity.draw_evenly(patients, count, seed)
    assert len(set(places.tolist())) == len(places) == (min(count, len(patients)) or len(patients))
    assert np.all(np.diff(places) > 0) and np.array_equal(places, sanity.draw_evenly(patients, count, seed))
    drawn = {p: int((patients[places] == p).sum()) for p in set(patients.tolist())}
    for p, number in drawn.items():  # nobody has less than another, unless that is all there is
        assert number >= min(max(drawn.values()) - 1, int((patients == p).sum()))


def test_sanity_writes_tidy_scores(folder, capsys):
    check("--attr_dir", folder, "--windows", 10, "--independent")
    output = capsys.readouterr().out
    for method in METHODS:
        assert f"wrote {folder / 'scores' / f'sanity_{method}.csv'}" in output
    scores = scores_of(folder, "sanity_random_baseline")
    assert set(scores["metric"]) == {
        *(f"randomization_{name}" for name in STAGES),
        *(f"randomization_only_{name}" for name in STAGES[1:]),
        *("seed_stability", "seed_stability_pearson", "sparseness_gini"),
    }
    columns = {
        "dataset": "mitdb",
        "model": "small",
        "seed": 3,
        "method": "random_baseline",
        "ground_truth": "",
    }
    assert all((scores[name] == value).all() for name, value in columns.items())
    assert set(scores["target"]) == {"VEB"} and (scores["record"] == scores["patient"]).all()
    drawn = scores[(scores["metric"] == "randomization_stem") & (scores["sign"] == "absolute")]
    assert drawn["patient"].value_counts().to_dict() == {f"p{i}": 2 for i in range(5)}
    assert len(scores[scores["metric"] == "sparseness_gini"]) == 20  # it costs nothing: every window
    assert drawn["score"].to_numpy() == pytest.approx(1)
    assert "FLAG random_baseline: similarity 1.00 over the cascade of random weights" in output
    assert "FLAG saliency" not in output
    lrp = scores_of(folder, "sanity_lrp")
    assert (lrp.loc[lrp["metric"] == "completeness_error", "score"] < 0.01).all()
    assert "seed_stability" not in set(lrp["metric"])
    entry = json.loads((folder / "args.json").read_text())["sanity"]["lrp"]
    assert entry["settings"]["windows"] == 10 and list(entry["groups"]) == STAGES
    assert "no seed_stability of saliency, lrp: they draw no random numbers" in output
    assert "no completeness_error of saliency, random_baseline: they promise no sum" in output


def test_sanity_keeps_finished_methods(folder, capsys, monkeypatch):
    made = []
    monkeypatch.setattr(
        sanity,
        "randomization_columns",
        lambda about, *_: made.append(about.method) or columns_of_nothing(about),
    )
    check("--attr_dir", folder, "--attr_method", "lrp", "saliency")
    assert made == ["saliency", "lrp"]
    check("--attr_dir", folder)
    assert made == ["saliency", "lrp", "random_baseline"]
    assert "2 of 3 methods are done already" in capsys.readouterr().out
    (folder / "scores" / "sanity_lrp.csv").unlink()
    check("--attr_dir", folder)  # a file was lost
    with pytest.raises(UsageError, match=r"other settings \(windows was 20, is now 4\).*--overwrite"):
        check("--attr_dir", folder, "--windows", 4, "--attr_method", "lrp")
    check("--attr_dir", folder, "--windows", 4, "--attr_method", "lrp", "--overwrite")
    write_npz(
        folder / "maps" / "saliency.npz", maps=open_workspace(folder).maps("saliency") * 2
    )  # other maps
    check("--attr_dir", folder, "--windows", 4, "--attr_method", "lrp")
    check("--attr_dir", folder, "--attr_method", "saliency")
    assert made[3:] == ["lrp", "lrp", "saliency"]
    check("--attr_dir", folder, "--attr_method", "saliency", "--overwrite")
    assert made[6:] == ["saliency"]


def columns_of_nothing(about):
    return [Column("randomization_stem", "absolute", np.zeros(len(about.x)))]


def test_sanity_flags_only_maps_that_ignore_the_weights(folder, monkeypatch, capsys):
    def vanishing(about, *_):
        steps = [np.ones(len(about.x)), *[np.full(len(about.x), np.nan)] * 3]
        return [Column(f"randomization_{n}", "absolute", v) for n, v in zip(STAGES, steps, strict=False)]

    monkeypatch.setattr(sanity, "randomization_columns", vanishing)
    check("--attr_dir", folder, "--attr_method", "saliency", "--windows", 8)
    output = capsys.readouterr().out
    assert "FLAG" not in output and "randomization_layer4 8 of 8, randomization_layer3 8 of 8" in output
    table, _ = sanity.summary(folder, ["saliency"])
    assert table["randomization"]["saliency"] == 0.25 and np.isnan(table["randomization_layer2"]["saliency"])


def test_sanity_keeps_finished_methods_after_ctrl_c(folder, monkeypatch):
    def interrupted(about, *_):
        if about.method == "random_baseline":
            raise KeyboardInterrupt
        return columns_of_nothing(about)

    monkeypatch.setattr(sanity, "randomization_columns", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check("--attr_dir", folder)
    assert sorted(p.name for p in (folder / "scores").iterdir()) == ["sanity_saliency.csv"]


def test_sanity_resumes_within_a_method(folder, monkeypatch):
    check("--attr_dir", folder, "--attr_method", "random_baseline", "--windows", 4)
    whole = (folder / "scores" / "sanity_random_baseline.csv").read_bytes()
    item, made = ResumableTable.item, []

    def counted(self, key, make):
        if key == "seed 2" and not made.count(key):
            made.append(key)
            raise KeyboardInterrupt
        return item(self, key, lambda: made.append(key) or make())

    monkeypatch.setattr(ResumableTable, "item", counted)
    words = ["--attr_dir", folder, "--attr_method", "random_baseline", "--windows", 4, "--overwrite"]
    with pytest.raises(KeyboardInterrupt):
        check(*words)
    assert made[-2:] == ["seed 1", "seed 2"] and "randomization_head" in made
    made[:-1] = []
    check(*words)
    assert made == ["seed 2", "seed 2"]  # all else was kept
    assert (folder / "scores" / "sanity_random_baseline.csv").read_bytes() == whole
    assert not list((folder / "scores").glob("*.table"))


def test_sanity_compares_models_of_several_seeds(tmp_path, windows, checkpoints, capsys, monkeypatch):
    monkeypatch.setattr(sanity, "randomization_columns", lambda about, *_: columns_of_nothing(about))
    a = maps_folder(tmp_path / "a", windows, checkpoints[0], seed=0)
    b = maps_folder(tmp_path / "b", windows, checkpoints[1], seed=1, first=10)  # fewer windows
    check("--attr_dir", a, b, "--attr_method", "saliency", "random_baseline")
    assert f"wrote {b / 'scores' / 'sanity_models_saliency.csv'}" in capsys.readouterr().out
    mine, theirs = (scores_of(f, "sanity_models_saliency").set_index("window")["score"] for f in (a, b))
    assert mine[mine.index < 10].isna().all() and mine[mine.index >= 10].equals(theirs)
    maps_a, maps_b = (open_workspace(f).maps("saliency") for f in (a, b))
    assert theirs.iloc[-1] == pytest.approx(
        spearmanr(*np.abs([maps_a[-1].ravel(), maps_b[-1].ravel()])).statistic
    )
    noise = scores_of(a, "sanity_models_random_baseline")["score"]
    assert noise.dropna().to_numpy() == pytest.approx(1)  # the noise knows no model
    with pytest.raises(DataError, match="same model"):
        check(
            "--attr_dir", a, maps_folder(tmp_path / "c", windows, checkpoints[0]), "--attr_method", "saliency"
        )


def test_mean_of_known_scores():
    assert np.array_equal(
        _mean_of_known(np.array([[np.nan, 1, 2], [np.nan, np.nan, 4]])), [np.nan, 1, 3], equal_nan=True
    )


@pytest.mark.parametrize(
    ("words", "error", "match"),
    [
        (
            ["--attr_method", "lime"],
            UsageError,
            r"no maps of 'lime': .*Valid: saliency, random_baseline, lrp",
        ),
        (["--windows", "-1"], UsageError, "--windows must not be negative, not -1"),
        (["--seeds", "0"], UsageError, "--seeds must be at least 1"),
        (["--model_path", "OTHER"], DataError, "is not the model whose maps"),
    ],
)
def test_sanity_refuses_bad_flags(folder, checkpoints, words, error, match):
    words = [str(checkpoints[1]) if word == "OTHER" else word for word in words]
    with pytest.raises(error, match=match):
        check("--attr_dir", folder, *words)


def test_sanity_refuses_folders_without_maps(folder, tmp_path):
    with pytest.raises(UsageError, match=r"attribution\.compute"):
        check("--attr_dir", tmp_path / "nothing")
    (folder / "maps" / "lrp.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError, match=r"lrp\.npz cannot be read"):
        check("--attr_dir", folder, "--attr_method", "lrp")
    for file in (folder / "maps").iterdir():
        file.rename(file.with_suffix(".part.npz"))
    with pytest.raises(DataError, match="no complete maps"):
        check("--attr_dir", folder)


def sanity_command(*words):
    command = [sys.executable, "-m", "attribution.sanity", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_sanity_on_the_command_line(tmp_path, windows, checkpoints):
    out = tmp_path / "maps"
    words = [
        "--dataset_path",
        windows,
        "--model_path",
        checkpoints[0],
        "--result_dir",
        out,
        "--n_samples",
        30,
    ]
    words += ["--limit", 4, "--n_baselines", 5, "--attr_method", "deep_shap", "kernel_shap", "guided_gradcam"]
    compute.main([str(word) for word in words])
    done = sanity_command("--attr_dir", out, "--windows", 3, "--seeds", 1, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    table = done.stdout[done.stdout.index(f"Means, {out}") :]
    assert all(f"\n{name} " in table for name in ("deep_shap", "kernel_shap", "guided_gradcam"))
    for method in ("deep_shap", "kernel_shap"):
        scores = scores_of(out, f"sanity_{method}")
        assert (scores.loc[scores["metric"] == "completeness_error", "score"] < 0.01).all()
        stable = scores[(scores["metric"] == "seed_stability") & (scores["sign"] == "signed")]["score"]
        assert len(stable) == 3 and (stable < 1).all()
    again = sanity_command("--attr_dir", out, "--windows", 3, "--seeds", 1)
    assert "3 of 3 methods are done already" in again.stdout and table in again.stdout
    wrong = sanity_command("--attr_dir", out, "--attr_methods", "lime")
    assert wrong.returncode == 2 and "--attr_method" in wrong.stderr
