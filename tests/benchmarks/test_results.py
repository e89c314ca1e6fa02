"""The results table and the yardsticks of the speed benchmarks."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import rows, tables
from benchmarks.results import write_tables
from benchmarks.rows import RESULTS, collect, read_rows, recipe
from training.checkpoint import ROOT, write_checkpoint
from training.config import read_yaml
from utils.bootstrap import bootstrap, paired_difference
from utils.calibration import Calibrator
from utils.errors import TwelveLeadError, UsageError
from utils.files import read_json, write_json, write_npz
from utils.metrics import evaluate, roc_auc

FIVE, THREE = ["CD", "HYP", "MI", "NORM", "STTC"], ["ASMI", "IMI", "NORM"]
MACHINE_DIR = "/".join(["", "mnt", "disk7", "ptbxl"])  # a folder that no other machine has


def leave_run(output: Path, run: str, model: str = "ecgnet", task: str = "superdiagnostic", **config) -> None:
    """Leave what training and test leave, with made-up predictions; better ones for a larger `skill`."""
    skill, limit = config.pop("skill", 1.0), config.pop("limit", 0)
    classes = THREE if task == "mi" else FIVE
    rng = np.random.default_rng(5)
    if task == "mi":
        labels = np.eye(3, dtype=np.uint8)[rng.integers(3, size=60)]
    else:
        labels = (rng.random((60, 5)) < 0.4).astype(np.uint8)
    logits = skill * (2 * labels - 1.0) + rng.normal(size=labels.shape)
    probabilities = 1 / (1 + np.exp(-logits))
    if task == "mi":
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    patients, thresholds = np.arange(60) // 2, [0.5] * len(classes)
    script = "torch_train.py" if model in ("ecgnet", "resnet101") else "train.py"
    flags = f"--config configs/{model}.yaml --data_dir {MACHINE_DIR} --threads 1"
    card = {
        "framework": "torch" if script.startswith("torch") else "keras",
        "model": {"name": model, "num_classes": len(classes)},
        "task": task,
        "classes": classes,
        "leads": ["I"],
        "unit": "mV",
        "sampling_rate": 100,
        "samples": 1000,
        "standardization": {"mean": 0.0, "std": 1.0},
        "metrics": {"epoch": 3, "val_macro_roc_auc": 0.9123},
        "data": {"fingerprint": "f" * 64, "records": {"train": 2032, "val": 288}},
        "seed": 42,
        "config": {"data_dir": MACHINE_DIR, "limit": limit},
        "command": f"python {script} {flags}" + (f" --limit {limit}" if limit else ""),
        "git_commit": "0123456789abcdef+changes",
        "packages": {"python": "3.11.7", "torch": "2.13.0"},
    }
    write_checkpoint(output / "checkpoints" / run, card, lambda path: path.write_bytes(run.encode()))
    card = read_json(output / "checkpoints" / run / "card.json")
    logs = output / "logs" / run
    metrics = ("macro_roc_auc", "class_roc_auc")
    test = {
        "records": 60,
        "limit": 0,
        "times_scored": 1,
        "trained_on_this_data": True,
        "checkpoint": {"weights_sha256": card["weights_sha256"], "epoch": 3},
        "command": f"python torch_test.py --run {run} --data_dir {MACHINE_DIR}",
        "git_commit": "0123456789abcdef",
        "metrics": evaluate(labels, probabilities, classes, thresholds),
        "bootstrap": bootstrap(labels, probabilities, patients, metrics, resamples=50, classes=classes),
        "ece_calibrated": 0.0123,
    }
    write_json(logs / "test.json", test)
    write_npz(
        logs / "predictions.npz",
        ecg_id=np.arange(60),
        patient_id=patients,
        label=labels,
        probability=probabilities,
        classes=np.array(classes),
    )
    (logs / "metrics.csv").write_text(
        "epoch,val_macro_roc_auc\n" + "".join(f"{i},0.9\n" for i in range(1, 8))
    )


def readme_with_markers(folder: Path) -> Path:
    path = folder / "README.md"
    path.write_text(f"# Title\n\n{tables.BEGIN}\nold\n{tables.END}\n\nThe end.\n")
    return path


def run_results(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmarks.results", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


# ---- the real commands ---------------------------------------------------------------------------


def test_collect_and_table_as_commands(tmp_path):
    results, readme = tmp_path / "results", readme_with_markers(tmp_path)
    leave_run(tmp_path, "plain")
    done = run_results(
        "collect", "--run", "plain", "--row", "ecgnet", "--output_dir", tmp_path, "--results", results
    )
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (results / "ecgnet").iterdir()} == {
        "card.json", "test.json", "predictions.npz", "metrics.csv", "row.json",
    }  # fmt: skip
    table = ["table", "--results", results, "--readme", readme]
    assert run_results(*table, "--check").returncode == 1
    assert "old" in readme.read_text(), "--check wrote"
    assert run_results(*table).returncode == 0
    assert write_tables(readme, results, check=True) == 0

    text, metrics = readme.read_text(), read_json(results / "ecgnet" / "test.json")["metrics"]
    assert text.startswith("# Title\n\n" + tables.BEGIN) and text.endswith(tables.END + "\n\nThe end.\n")
    line = next(line for line in text.splitlines() if line.startswith("| ECGNet"))
    for part in (
        "`ecgnet.yaml`",
        "1,031,949",
        "2,032 / 288 / 60",
        "7 (3)",
        "0.912",
        "*0.910*",
        "*87.3*",
        "*0.771*",
    ):
        assert part in line, part
    assert f"**{metrics['macro_roc_auc']:.3f}**" in line
    assert f"| {100 * metrics['mean_accuracy']:.1f} |" in line
    assert f"{metrics['ece']:.3f} → 0.012" in line
    assert "8.4 times fewer" in text
    page = (results / "README.md").read_text()
    assert "python torch_train.py --config configs/ecgnet.yaml --data_dir data/ptb --threads 1" in page
    assert "Seed 42" in page and "`0123456789ab` with changes (training)" in page

    (results / "README.md").write_text(page.replace("2,032", "2,033"))
    stale = run_results(*table, "--check")
    assert stale.returncode == 1 and "not up to date" in stale.stdout


def test_a_command_without_a_run_says_what_to_do(tmp_path):
    done = run_results("collect", "--run", "nothing", "--output_dir", tmp_path)
    assert done.returncode == 2 and "no trained model 'nothing'" in done.stderr
    done = run_results("table", "--results", tmp_path)
    assert done.returncode == 2 and "collect one" in done.stderr


# ---- rows ----------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch):
    """Counting parameters builds the model; the numbers do not matter here."""
    monkeypatch.setattr(rows, "count_parameters", lambda card: 12345)


def test_no_row_names_a_folder_of_one_machine(tmp_path, counted):
    leave_run(tmp_path, "plain")
    folder = collect("plain", None, tmp_path, tmp_path / "results")
    for path in folder.glob("*.json"):
        assert MACHINE_DIR not in path.read_text() and str(tmp_path) not in path.read_text(), path
    assert read_json(folder / "card.json")["config"]["data_dir"] == "data/ptb"


def test_what_cannot_be_a_row_is_refused(tmp_path, counted):
    leave_run(tmp_path, "plain")
    logs = tmp_path / "logs" / "plain"
    report_before = read_json(logs / "test.json")
    with pytest.raises(UsageError, match="plain folder name"):
        collect("plain", "../elsewhere", tmp_path, tmp_path / "results")
    write_json(logs / "test.json", {**report_before, "checkpoint": {"weights_sha256": "0"}})
    with pytest.raises(UsageError, match="belongs to other weights"):
        collect("plain", None, tmp_path, tmp_path / "results")
    (logs / "test.json").unlink()
    with pytest.raises(
        UsageError, match=r"has no test.json.*python torch_test.py --model ecgnet --run plain"
    ):
        collect("plain", None, tmp_path, tmp_path / "results")
    leave_run(tmp_path, "rhythm", task="rhythm")
    with pytest.raises(UsageError, match="task rhythm; tables exist for superdiagnostic and mi"):
        collect("rhythm", None, tmp_path, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_an_incomplete_row_is_named(tmp_path, counted):
    leave_run(tmp_path, "plain")
    (collect("plain", None, tmp_path, tmp_path / "results") / "metrics.csv").unlink()
    with pytest.raises(TwelveLeadError, match=r"plain has no metrics\.csv: collect the row again"):
        read_rows(tmp_path / "results")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--config configs/ecgnet.yaml --data_dir d --threads 1 --epochs 22", "ecgnet.yaml, --epochs 22"),
        ("--config ./configs/small/ecgnet.yaml --data_dir d", "small/ecgnet.yaml"),
        ("--config tuning/ecgnet/best.yaml --data_dir d", "best.yaml"),
        ("--config=configs/ecgnet.yaml --lr=1e-4 --run x --overwrite", "ecgnet.yaml, --lr 1e-4"),
        ("--model imle_net --data_dir d", "defaults"),
        ("--sub True --init imle_net --crop 250 --mixup 0.2", "defaults, --crop 250, --mixup 0.2"),
    ],
)
def test_the_recipe_is_the_file_and_what_changed_it(words, expected):
    assert recipe({"command": f"python train.py {words}"}) == expected


def test_parameters_are_counted_as_published():
    assert rows.count_parameters({"framework": "torch", "model": {"name": "ecgnet"}}) == 1_031_949
    assert rows.count_parameters({"framework": "torch", "model": {"name": "resnet101"}}) == 156_889_221


# ---- tables --------------------------------------------------------------------------------------


@pytest.fixture
def four_rows(tmp_path, counted):
    results = tmp_path / "results"
    leave_run(tmp_path, "imle_net", "imle_net")
    leave_run(tmp_path, "imle_net_crops", "imle_net", skill=3.0)
    leave_run(tmp_path, "resnet101", "resnet101", limit=256)
    leave_run(tmp_path, "imle_net_mi", "imle_net", "mi")
    for run in ("resnet101", "imle_net_mi", "imle_net_crops", "imle_net"):
        collect(run, None, tmp_path, results)
    return results


def test_rows_stand_in_the_order_of_the_study(four_rows):
    names = [row.name for row in read_rows(four_rows)]
    assert names == ["imle_net", "imle_net_crops", "imle_net_mi", "resnet101"]


def test_a_limited_row_says_so(four_rows):
    block = tables.block(read_rows(four_rows))
    assert "| ResNet101 * |" in block
    assert "`resnet101`: trained with --limit 256 (records of each split)" in block


def test_the_second_stage_has_its_own_table(four_rows):
    block = tables.block(read_rows(four_rows))
    main, second = block.split("Second stage")
    top1 = read_json(four_rows / "imle_net_mi" / "test.json")["metrics"]["top1_accuracy"]
    assert f"| {100 * top1:.1f} |" in second
    assert main.count("| IMLE-Net |") == 2 and second.count("| IMLE-Net |") == 1
    assert "published" not in second.split("ECE:")[0]


def test_differences_are_paired_on_the_same_records(four_rows):
    found = read_rows(four_rows)
    base, better = (found[i].predictions() for i in (0, 1))
    arrays = (base["label"], better["probability"], base["probability"], base["patient_id"])
    d = paired_difference(*arrays)
    five = [row for row in found if row.card["task"] == "superdiagnostic"]
    text = tables.differences(five)
    assert f"| `imle_net_crops` | {d['difference']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}] | yes |" in text
    assert "| `resnet101` | +0.000 [+0.000, +0.000] | no |" in text
    other = dict(better, ecg_id=better["ecg_id"] + 1)
    write_npz(four_rows / "imle_net_crops" / "predictions.npz", **other)
    assert "scored on other records" in tables.differences(five)


def test_undefined_numbers_are_dashes(four_rows):
    path = four_rows / "imle_net" / "test.json"
    test = read_json(path)
    test["metrics"]["class_roc_auc"]["HYP"] = None
    test["bootstrap"]["intervals"]["class_roc_auc"]["HYP"] = None
    write_json(path, test)
    line = next(x for x in tables.class_table(read_rows(four_rows)[:1]).splitlines() if "`imle_net`" in x)
    assert line.split("|")[3].strip() == "–"


def test_the_csv_holds_the_same_numbers(four_rows, tmp_path):
    assert write_tables(readme_with_markers(tmp_path), four_rows, check=False) == 0
    with open(four_rows / "table.csv", newline="") as file:
        lines = {line["row"]: line for line in csv.DictReader(file)}
    test = read_json(four_rows / "imle_net" / "test.json")
    assert float(lines["imle_net"]["test_macro_roc_auc"]) == test["metrics"]["macro_roc_auc"]
    assert lines["imle_net"]["published_macro_roc_auc"] == "0.9216"
    assert lines["imle_net_mi"]["published_macro_roc_auc"] == ""


def test_a_readme_without_markers_is_left_alone_and_named(four_rows, tmp_path, capsys):
    readme = tmp_path / "README.md"
    for text in (
        None,
        "# no markers\n",
        f"{tables.END}\n{tables.BEGIN}\n",
        f"{tables.BEGIN}\n" * 2 + tables.END,
    ):
        if text is not None:
            readme.write_text(text)
        assert write_tables(readme, four_rows, check=False) == 0
        assert "no block for it" in capsys.readouterr().out
        assert write_tables(readme, four_rows, check=True) == 1
        assert readme.exists() == (text is not None)
        if text is not None:
            assert readme.read_text() == text


def test_calibration_of_a_row(tmp_path, counted):
    leave_run(tmp_path, "ecgnet")
    collect("ecgnet", None, tmp_path, tmp_path / "results")
    (row,) = read_rows(tmp_path / "results")
    raw = f"| {row.test['metrics']['ece']:.3f} → – | – |"
    assert raw in tables.calibration_table([row])  # a card without calibrator
    saved = row.predictions()
    row.card["calibration"] = {"method": "platt", "slope": [0.5] * 5, "intercept": [0.1] * 5}
    calibrated = Calibrator.from_json(row.card["calibration"])(saved["probability"])
    arguments = saved["label"], calibrated, saved["probability"], saved["patient_id"]
    d = paired_difference(*arguments, "ece")
    assert d["difference"] == pytest.approx(
        evaluate(saved["label"], calibrated, FIVE)["ece"] - row.test["metrics"]["ece"]
    )
    cell = f"{d['b']:.3f} → {d['a']:.3f} | {d['difference']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]"
    assert cell in tables.calibration_table([row])
    row.test["calibrated"] = {"differences": {"ece": {**d, "a": 0.777}}}  # what the test wrote comes first
    assert " → 0.777 | " in tables.calibration_table([row])


# ---- what is committed ---------------------------------------------------------------------------


def test_the_committed_tables_are_up_to_date():
    assert write_tables(ROOT / "README.md", RESULTS, check=True) == 0


def test_the_committed_recipes_name_files_of_the_repository():
    for row in read_rows():
        path = ROOT / "configs" / recipe(row.card).split(", ")[0]
        assert read_yaml(path)["model"] == row.card["model"]["name"], path


@pytest.mark.parametrize("small", sorted((ROOT / "configs" / "small").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_recipe_for_few_records_has_one_of_its_name_for_all(small):
    few, every = read_yaml(small), read_yaml(small.parent.parent / small.name)
    for name in ("epochs", "patience", "limit", "batchsize"):
        few.pop(name, None), every.pop(name, None)
    assert few == every


def test_the_committed_predictions_give_the_committed_numbers():
    found = read_rows()
    assert found
    for row in found:
        arrays = row.predictions()
        auc = float(np.nanmean(roc_auc(arrays["label"], arrays["probability"])))
        assert auc == pytest.approx(row.test["metrics"]["macro_roc_auc"], abs=1e-9), row.name
