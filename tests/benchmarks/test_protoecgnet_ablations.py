"""Ablations of ProtoECGNet: the list, the runs and the tables made of them."""

import copy
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import torch_test
import torch_train
from benchmarks import __main__ as commands
from benchmarks import ablate as ablations
from benchmarks.pages import ablations as ablation_tables
from benchmarks.pages import protoecgnet
from benchmarks.pages.cells import change
from benchmarks.rows import DATA
from tests.helpers.training_files import ROOT, call, small_database
from tests.training.test_protoecgnet_stages import CODES
from training.checkpoint import read_card
from training.protoecgnet.config import parse_proto_config
from utils.errors import DataError, TwelveLeadError, UsageError
from utils.files import read_json, read_npz, write_json, write_npz

pytestmark = pytest.mark.torch
RUNS = DATA / "protoecgnet"
BASE, PREFIX = ablations.BASE, ablations.PREFIX
_BASE_FILE = f"{BASE}_predictions.npz"
SMALL = """
width: 2
proto_dim: 4
single_class_prototype_per_class: 2
epochs: 1
classifier_epochs: 2
batchsize: 16
"""


def test_ablations_change_options_that_exist():
    listed = ablations.read_ablations()
    assert listed.pop(BASE) == {}
    base = parse_proto_config("", []).to_json()
    for run, changes in listed.items():
        config = parse_proto_config("", [w for k, v in changes.items() for w in (f"--{k}", str(v))]).to_json()
        assert {key: value for key, value in config.items() if value != base[key]} == changes != {}, run


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("typo: {lam_contrast: 0}", "did you mean 'lam_cnrst'"),
        ("typo: {pooling: meann}", "typo: unknown pooling .meann.: did you mean .mean."),
        ("typo: {data_dir: x}", "--data_dir is not a setting of a variant"),
        ("- pooling", "each line is"),
        ("typo: {pooling", "is not valid YAML"),
    ],
)
def test_ablation_list_with_an_error_is_refused_before_training(tmp_path, text, message):
    path = tmp_path / "ablations.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        ablations.read_ablations(path)


def test_ablate_command_refuses_bad_words():
    with pytest.raises(UsageError, match=r"'sigmod': did you mean 'sigmoid'"):
        commands.main(["ablate", "--only", "bounded", "sigmod"])  # before bounded is trained
    for words in (["ablate", "--run", "x"], ["collect", "--only", "bounded"], ["collect"]):
        with pytest.raises((UsageError, SystemExit)) as caught:
            commands.main(words)
        assert getattr(caught.value, "code", 2) == 2


def test_ablation_of_late_stages_starts_from_the_base(tmp_path, monkeypatch, capfd):
    database, config, out = (
        small_database(tmp_path / "ptbxl", codes=CODES),
        tmp_path / "small.yaml",
        tmp_path / "out",
    )
    config.write_text(SMALL + "model: protoecgnet\n")
    words = ["ablate", "--base", str(config), "--data_dir", str(database), "--output_dir", str(out)]
    words += ["--data", str(tmp_path / "data"), "--only"]
    with pytest.raises(UsageError, match=r"starts from .*--only protoecgnet_small"):
        commands.main([*words, "nearest"])
    scripts = {"torch_train.py": torch_train.main, "torch_test.py": torch_test.main}
    with monkeypatch.context() as patch:  # most of it in this process: seconds instead of a minute
        patch.setattr(ablations, "_call", lambda _, script, *given: call(scripts[script], script, *given))
        commands.main([*words, BASE, "nearest"])
    commands.main([*words, "fusion_l1_all"])

    def cards(run, stage):
        return [read_card(out / "checkpoints" / run / branch / stage) for branch in ablations.BRANCHES]

    nearest, fusion = PREFIX + "nearest", PREFIX + "fusion_l1_all"
    assert cards(nearest, "joint") == cards(BASE, "joint")
    assert [card.config["one_to_one"] for card in cards(nearest, "projection")] == [False] * 3
    assert [card.config["one_to_one"] for card in cards(nearest, "classifier")] == [False] * 3
    assert cards(fusion, "classifier") == cards(BASE, "classifier")
    collected = {
        run: read_json(tmp_path / "data" / "protoecgnet" / f"{run}.json") for run in (BASE, nearest, fusion)
    }
    assert ablation_tables.changes(collected[nearest], collected[BASE]) == {"one_to_one": False}
    assert ablation_tables.changes(collected[fusion], collected[BASE]) == {"fusion_l1": "all"}
    capfd.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(ablations, "_call", None)  # nothing is done again
        commands.main([*words, "nearest"])
        assert "already trained and scored" in capfd.readouterr().out
        report = read_json(out / "logs" / nearest / "fusion" / "test.json")
        write_json(out / "logs" / nearest / "fusion" / "test.json", report | {"limit": 5})
        with pytest.raises(TypeError):  # a score of a part of fold 10 is none
            commands.main([*words, "nearest"])
    with monkeypatch.context() as patch:
        patch.setattr(ablations, "_call", None)
        config.write_text(SMALL.replace("width: 2", "width: 3") + "model: protoecgnet\n")
        with pytest.raises(UsageError, match=r"protoecgnet_small.*with --width 2, not 3: delete"):
            commands.main([*words, "nearest"])
    config.write_text(SMALL + "model: protoecgnet\nseed: 42\n")
    base = ["--config", config, "--data_dir", database, "--output_dir", out, "--run", BASE, "--threads", 1]
    head = [*base, "--training_stage", "classifier", "--branch", "global", "--overwrite", "--l1", 0.1]
    call(torch_train.main, "torch_train.py", *head)
    with pytest.raises(UsageError, match=r"protoecgnet_small/global/classifier was trained with --l1 0\.1"):
        commands.main([*words, "nearest"])


def test_stage_that_fails_or_is_interrupted_is_reported(tmp_path, monkeypatch):
    (tmp_path / "torch_train.py").write_text(
        "import pathlib, signal, sys, time\n"
        "def stop(*_):\n"
        "    time.sleep(0.6)\n"
        "    pathlib.Path('saved').touch()\n"
        "    sys.exit(130)\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "pathlib.Path('ready').touch()\n"
        "time.sleep(30) if sys.argv[1] == 'wait' else sys.exit(int(sys.argv[1]))\n"
    )
    monkeypatch.setattr(ablations, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    for code, kind in ((2, UsageError), (1, TwelveLeadError)):
        with pytest.raises(kind, match=f"ended with code {code}") as caught:
            ablations._call(1, "torch_train.py", str(code))
        assert caught.type is kind
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from benchmarks import ablate as ablations\n"
        "from utils.errors import run_cli\n"
        f"ablations.ROOT = Path({str(tmp_path)!r})\n"
        "run_cli(lambda: ablations._call(1, 'torch_train.py', 'wait'))\n"
    )
    (tmp_path / "ready").unlink()
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, start_new_session=True) as child:
        for _ in range(600):
            if (tmp_path / "ready").exists():
                break
            time.sleep(0.1)
        os.killpg(child.pid, signal.SIGINT)  # as Ctrl-C does: all processes of the terminal
        assert child.wait(timeout=60) == 130
    assert (tmp_path / "saved").exists()  # it was given the time to save


@pytest.fixture()
def made(tmp_path):
    """The base and three ablations, as copies of the committed base with other options and scores."""
    base = read_json(RUNS / f"{BASE}.json")
    predictions = read_npz(RUNS / f"{BASE}_predictions.npz", "")
    runs = {}
    listed = ablations.read_ablations()
    for name in (
        BASE,
        f"{PREFIX}sigmoid",
        f"{PREFIX}fusion_l1_all",
        f"{PREFIX}seed1",
        f"{PREFIX}no_contrast",
    ):
        run = copy.deepcopy(base)
        for part, entry in run["stages"].items():
            first = "fusion" if name.endswith("l1_all") else ""
            if first in part:
                entry["config"] |= listed[name]
                entry["seed"] = entry["config"]["seed"]
        runs[name] = run
        write_npz(tmp_path / f"{name}_predictions.npz", **predictions)
    return runs, tmp_path


def test_tables_of_ablations(made):
    runs, folder = made
    rows = ablation_tables.score_table(runs, ablation_tables.listed(runs), folder).splitlines()
    assert [row.split(" | ")[0] for row in rows[2:]] == [
        "| (base)", "| `--lam_cnrst 0.0`", "| `--sigmoid True`", "| `--fusion_l1 all`", "| `--seed 1`",
    ]  # fmt: skip
    assert rows[3].endswith("| +0.000 [+0.000, +0.000] |")
    assert rows[2].endswith("(base of its seed) |") and rows[6].endswith("(base of its seed) |")
    seeds = ablation_tables.seed_table(runs, ablation_tables.listed(runs)).splitlines()
    assert len(seeds) == 3 and seeds[2].startswith("| (base) | 42, 1 | ")
    assert ablation_tables.reference_difference(runs, folder) is None
    many = {f"{PREFIX}reference_all": runs.pop(f"{PREFIX}sigmoid"), BASE: runs[BASE]}
    write_npz(folder / f"{PREFIX}reference_all_predictions.npz", **read_npz(RUNS / _BASE_FILE, ""))
    assert change(ablation_tables.reference_difference(many, folder)) == "+0.000 [+0.000, +0.000]"
    del runs[f"{PREFIX}seed1"]
    assert ablation_tables.seed_table(runs, ablation_tables.listed(runs)) == ""
    assert "Other seeds" not in protoecgnet.page(runs, folder)
    report = runs[BASE]["stages"]["rhythm/projection"]
    row = ablation_tables.prototype_table(runs, ablation_tables.listed(runs)).splitlines()[2]
    assert f"{report['projection']['distinct_records']} + " in row


def test_difference_is_that_of_the_scores(made):
    runs, folder = made
    name = f"{PREFIX}sigmoid"
    path = folder / f"{name}_predictions.npz"
    predictions = read_npz(path, "")
    rng = np.random.default_rng(0)
    noisy = 0.5 * predictions["probability"] + 0.5 * rng.random(predictions["probability"].shape)
    write_npz(path, **{**predictions, "probability": noisy})
    with pytest.raises(UsageError, match="collect it again"):
        ablation_tables.difference(name, BASE, runs, folder)
    test = runs[name]["stages"]["fusion"]["test"]["frequent"]
    columns = [predictions["classes"].tolist().index(c) for c in test["classes"]]
    aucs = [_auc(predictions["label"][:, column], noisy[:, column]) for column in columns]
    before, test["macro_roc_auc"] = test["macro_roc_auc"], float(np.mean(aucs))
    result = ablation_tables.difference(name, BASE, runs, folder)
    assert result["difference"] == pytest.approx(np.mean(aucs) - before, abs=1e-9)
    assert result["low"] < result["difference"] < result["high"] < 0
    swapped = {**predictions, "classes": predictions["classes"][::-1]}
    for broken, message in ((swapped, "differ in classes"), ({**predictions, "label": 1}, "differ in label")):
        write_npz(path, **broken)
        with pytest.raises(UsageError, match=message):
            ablation_tables.difference(name, BASE, runs, folder)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="collect the run again"):
        ablation_tables.difference(name, BASE, runs, folder)


def _auc(label, score):
    positive, negative = score[label > 0][:, None], score[label == 0][None, :]
    return (positive > negative).mean() + 0.5 * (positive == negative).mean()


def test_runs_that_are_not_what_the_list_says(made):
    runs, folder = made
    name = f"{PREFIX}sigmoid"
    kept = copy.deepcopy(runs[name])
    runs[name]["stages"]["morphology/joint"]["config"]["sigmoid"] = False
    with pytest.raises(UsageError, match="the branches are not of one run"):
        ablation_tables.score_table(runs, ablation_tables.listed(runs), folder)
    runs[name] = copy.deepcopy(kept)
    for entry in runs[name]["stages"].values():
        entry["config"]["pooling"] = "mean"
    with pytest.raises(UsageError, match=r"was trained with .*'mean'.*ablate --only ablation_sigmoid"):
        ablation_tables.listed(runs)
    runs[name] = copy.deepcopy(kept)
    del runs[name]["stages"]["rhythm/classifier"]["test"], runs[name]["stages"]["global/joint"]
    with pytest.raises(UsageError, match=r"lacks global/joint, the score of rhythm/classifier"):
        ablation_tables.listed(runs)


def test_base_alone_makes_no_section(made):
    runs, folder = made
    assert "## Ablations" in protoecgnet.page(runs, folder)
    assert "## Ablations" not in protoecgnet.page({BASE: runs[BASE]}, folder)
