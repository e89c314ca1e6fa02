"""Rows, result pages and the commands that make them."""

from __future__ import annotations

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import collect, models, render
from benchmarks.collect import collect_row
from benchmarks.pages import ptbxl
from benchmarks.pages.cells import change
from benchmarks.rows import DATA, read_rows, recipe
from tests.helpers.benchmark_files import FIVE, MACHINE_DIR, leave_run, readme_with_markers
from training.card import Provenance
from training.checkpoint import ROOT
from utils.bootstrap import paired_difference
from utils.calibration import Calibrator
from utils.errors import TwelveLeadError, UsageError
from utils.files import read_json, write_json, write_npz
from utils.metrics import evaluate, roc_auc
from utils.yaml_files import read_mapping

# ---- rows ----------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch):
    """Counting parameters builds the model; the numbers do not matter here."""
    monkeypatch.setattr(collect, "count_parameters", lambda card: 12345)


def test_rows_name_no_folder_of_one_machine(tmp_path, counted):
    leave_run(tmp_path, "plain")
    (folder,) = collect_row("plain", "", tmp_path, data=tmp_path / "data")
    for path in folder.glob("*.json"):
        assert MACHINE_DIR not in path.read_text() and str(tmp_path) not in path.read_text(), path
    assert read_json(folder / "card.json")["provenance"]["config"]["data_dir"] == "data/ptb"


def test_rows_that_cannot_be_collected_are_refused(tmp_path, counted):
    data = tmp_path / "data"
    leave_run(tmp_path, "plain")
    logs = tmp_path / "logs" / "plain"
    report_before = read_json(logs / "test.json")
    with pytest.raises(UsageError, match="plain folder name"):
        collect_row("plain", "../elsewhere", tmp_path, data=data)
    write_json(logs / "test.json", {**report_before, "checkpoint": {"weights_sha256": "0"}})
    with pytest.raises(UsageError, match="belongs to other weights"):
        collect_row("plain", "", tmp_path, data=data)
    del report_before["metrics"]["macro_roc_auc"]
    write_json(logs / "test.json", report_before)
    with pytest.raises(UsageError, match="no macro ROC-AUC"):
        collect_row("plain", "", tmp_path, data=data)
    (logs / "test.json").unlink()
    with pytest.raises(
        UsageError, match=r"has no test.json.*python torch_test.py --model ecgnet --run plain"
    ):
        collect_row("plain", "", tmp_path, data=data)
    assert not data.exists()


def test_incomplete_row_is_named(tmp_path, counted):
    leave_run(tmp_path, "plain")
    (folder,) = collect_row("plain", "", tmp_path, data=tmp_path)
    (folder / "metrics.csv").unlink()
    with pytest.raises(TwelveLeadError, match=r"plain has no metrics\.csv: collect the row again"):
        read_rows(tmp_path / "ptbxl_small")


def test_rows_of_all_records_have_a_folder_of_their_own(tmp_path, counted):
    leave_run(tmp_path, "full", records=17_084)
    assert collect_row("full", "", tmp_path, data=tmp_path) == [tmp_path / "ptbxl" / "full"]


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
def test_recipe_is_the_file_and_what_changed_it(words, expected):
    card = SimpleNamespace(provenance=Provenance(command=f"python train.py {words}"))
    assert recipe(card) == expected


def test_parameters_are_counted_as_published():
    ecgnet, resnet101 = (
        SimpleNamespace(framework="torch", model={"name": name}) for name in ("ecgnet", "resnet101")
    )
    assert collect.count_parameters(ecgnet) == 1_031_949
    assert collect.count_parameters(resnet101) == 156_889_221


# ---- tables --------------------------------------------------------------------------------------


@pytest.fixture
def four_rows(tmp_path, counted):
    leave_run(tmp_path, "imle_net", "imle_net")
    leave_run(tmp_path, "imle_net_crops", "imle_net", skill=3.0)
    leave_run(tmp_path, "resnet101", "resnet101", limit=256)
    leave_run(tmp_path, "imle_net_mi", "imle_net", "mi")
    for run in ("resnet101", "imle_net_mi", "imle_net_crops", "imle_net"):
        collect_row(run, "", tmp_path, data=tmp_path / "data")
    return tmp_path / "data" / "ptbxl_small"


def test_rows_are_in_the_order_of_the_published_scores(four_rows):
    names = [row.name for row in read_rows(four_rows)]
    assert names == ["imle_net", "imle_net_crops", "imle_net_mi", "resnet101"]


def test_limited_row_says_so(four_rows):
    page = ptbxl.page([], read_rows(four_rows))
    assert "| ResNet101 * |" in page
    assert "`resnet101`: trained with --limit 256 (records of each split)" in page


def test_mi_stage_has_a_table_of_its_own(four_rows):
    page = ptbxl.page([], read_rows(four_rows)).split("## How each row")[0]
    main, second = page.split("### Five superclasses")[1].split("### Second stage")
    top1 = read_json(four_rows / "imle_net_mi" / "test.json")["metrics"]["top1_accuracy"]
    assert f"| {100 * top1:.1f} |" in second
    assert main.count("| IMLE-Net |") == 2 and second.count("| IMLE-Net |") == 1
    assert "published" not in second.split("ROC-AUC of each class")[0]


def test_pages_without_rows_say_so(tmp_path):
    texts = render.documents(tmp_path, tmp_path / "docs", readme_with_markers(tmp_path))
    assert all("has been collected yet" in text for path, text in texts.items() if path.suffix == ".md")


def test_table_has_dashes_for_unknown_models_and_label_sets(tmp_path, counted):
    leave_run(tmp_path, "resnet18", "resnet18")
    leave_run(tmp_path, "rhythm", "mine", "rhythm")
    leave_run(tmp_path, "large", "resnet18", records=17_084)
    for run in ("resnet18", "rhythm", "large"):
        collect_row(run, "", tmp_path, data=tmp_path)
    full, small = read_rows(tmp_path / "ptbxl"), read_rows(tmp_path / "ptbxl_small")
    page = ptbxl.page(full, small)
    line = next(line for line in page.splitlines() if line.startswith("| ResNet-18 | `resnet18.yaml`"))
    assert line.count(" – |") == 3
    assert "### Label set `rhythm`" in page and "| mine | `mine.yaml` |" in page
    short = ptbxl.tables.short_table(full, small)
    assert short.count("| ResNet-18") == 2 and "mine" not in short
    assert {line["folder"] for line in csv.DictReader(ptbxl.to_csv(full, small).splitlines())} == {
        "ptbxl", "ptbxl_small",
    }  # fmt: skip


def test_rows_on_all_records_replace_those_on_few(tmp_path, counted):
    leave_run(tmp_path, "ecgnet")
    collect_row("ecgnet", "", tmp_path, data=tmp_path)
    for seed in (42, 1):
        leave_run(tmp_path, "ecgnet", records=17_084, seed=seed, skill=3.0)
        collect_row("ecgnet", "ecgnet" if seed == 42 else "ecgnet_seed1", tmp_path, data=tmp_path)
    full, small = read_rows(tmp_path / "ptbxl"), read_rows(tmp_path / "ptbxl_small")
    lines = [
        line for line in ptbxl.tables.short_table(full, small).splitlines() if line.startswith("| ECGNet")
    ]
    assert len(lines) == 1 and lines[0].startswith("| ECGNet | 17,084 |")
    line = ptbxl.tables.efficiency_table(full, small).splitlines()[2]
    assert line.startswith("| ECGNet | `ecgnet` | 2,032 | **") and "| 17,084 | **" in line
    seeds = ptbxl.tables.seed_table(full).splitlines()
    assert len(seeds) == 3 and seeds[2].startswith("| ECGNet | `ecgnet.yaml` | 42, 1 | ")
    assert ptbxl.tables.seed_table(small) == ""
    page = ptbxl.page(full, small)
    assert "### ecgnet\n" in page and "### ecgnet, 2,032 records\n" in page


def test_differences_are_paired_on_the_same_records(four_rows):
    found = read_rows(four_rows)
    base, better = (found[i].predictions() for i in (0, 1))
    arrays = (base["label"], better["probability"], base["probability"], base["patient_id"])
    d = paired_difference(*arrays)
    five = [row for row in found if row.card.task == "superdiagnostic"]
    text = ptbxl.tables.differences(five)
    assert f"| `imle_net_crops` | {change(d)} | yes |" in text
    assert "| `resnet101` | +0.000 [+0.000, +0.000] | no |" in text
    other = dict(better, ecg_id=better["ecg_id"] + 1)
    write_npz(four_rows / "imle_net_crops" / "predictions.npz", **other)
    assert "scored on other records" in ptbxl.tables.differences(five)


def test_undefined_numbers_are_dashes(four_rows):
    path = four_rows / "imle_net" / "test.json"
    test = read_json(path)
    test["metrics"]["class_roc_auc"]["HYP"] = None
    test["bootstrap"]["intervals"]["class_roc_auc"]["HYP"] = None
    write_json(path, test)
    line = next(
        x for x in ptbxl.tables.class_table(read_rows(four_rows)[:1]).splitlines() if "`imle_net`" in x
    )
    assert line.split("|")[3].strip() == "–"


def test_csv_holds_the_same_numbers(four_rows):
    text = ptbxl.to_csv([], read_rows(four_rows))
    lines = {line["row"]: line for line in csv.DictReader(text.splitlines())}
    test = read_json(four_rows / "imle_net" / "test.json")
    assert float(lines["imle_net"]["test_macro_roc_auc"]) == test["metrics"]["macro_roc_auc"]
    assert lines["imle_net"]["published_macro_roc_auc"] == "0.9216"
    assert lines["imle_net_mi"]["published_macro_roc_auc"] == ""


def test_readme_without_markers_is_left_alone_and_named(four_rows, tmp_path, capsys):
    readme, data = tmp_path / "README.md", four_rows.parent
    for text in (
        None,
        "# no markers\n",
        f"{render.END}\n{render.BEGIN}\n",
        f"{render.BEGIN}\n" * 2 + render.END,
    ):
        if text is not None:
            readme.write_text(text)
        render.render(data, tmp_path / "docs", readme)
        assert "no table there" in capsys.readouterr().out
        assert render.outdated(data, tmp_path / "docs", readme) == [readme]
        assert readme.exists() == (text is not None)
        if text is not None:
            assert readme.read_text() == text


def test_calibration_of_a_row(tmp_path, counted):
    leave_run(tmp_path, "ecgnet")
    collect_row("ecgnet", "", tmp_path, data=tmp_path)
    (row,) = read_rows(tmp_path / "ptbxl_small")
    raw = f"| {row.test['metrics']['ece']:.3f} → – | – |"
    assert raw in ptbxl.tables.calibration_table([row])  # a card without calibrator
    saved = row.predictions()
    calibration = {"method": "platt", "slope": [0.5] * 5, "intercept": [0.1] * 5}
    outputs = replace(row.card.outputs, decision={"calibration": calibration})
    row = replace(row, card=replace(row.card, outputs=outputs))
    calibrated = Calibrator.from_json(calibration)(saved["probability"])
    arguments = saved["label"], calibrated, saved["probability"], saved["patient_id"]
    d = paired_difference(*arguments, "ece")
    assert d["difference"] == pytest.approx(
        evaluate(saved["label"], calibrated, FIVE)["ece"] - row.test["metrics"]["ece"]
    )
    cell = f"{d['b']:.3f} → {d['a']:.3f} | {change(d)}"
    assert cell in ptbxl.tables.calibration_table([row])
    row.test["calibrated"] = {"differences": {"ece": {**d, "a": 0.777}}}  # what the test wrote comes first
    assert " → 0.777 | " in ptbxl.tables.calibration_table([row])


# ---- what is committed ---------------------------------------------------------------------------


def committed_rows():
    return [row for name in ("ptbxl", "ptbxl_small") for row in read_rows(DATA / name)]


def test_generated_documents_are_up_to_date():
    assert render.outdated() == [], "run python -m benchmarks render"


def test_committed_recipes_name_files_of_the_repository():
    for row in committed_rows():
        path = ROOT / "configs" / recipe(row.card).split(", ")[0]
        assert read_mapping(path, str(path))["model"] == row.model, path


@pytest.mark.parametrize("small", sorted((ROOT / "configs" / "small").glob("*.yaml")), ids=lambda p: p.stem)
def test_recipe_for_few_records_has_one_of_its_name_for_all(small):
    few, every = (read_mapping(path, str(path)) for path in (small, small.parent.parent / small.name))
    for name in ("epochs", "patience", "limit", "batchsize"):
        few.pop(name, None), every.pop(name, None)
    assert few == every


def test_committed_predictions_give_the_committed_numbers():
    assert committed_rows()
    for row in committed_rows():
        arrays = row.predictions()
        auc = float(np.nanmean(roc_auc(arrays["label"], arrays["probability"])))
        assert auc == pytest.approx(row.test["metrics"]["macro_roc_auc"], abs=1e-9), row.name


def test_page_names_the_study_of_each_published_score():
    rows = [row for row in committed_rows() if row.model == "mousavi"][:1]
    (imle,) = (models.title(row.model) for row in rows)
    assert ptbxl.sources(rows) == f"the IMLE-Net study (doi:{models.SOURCE})"
    card = replace(rows[0].card, model={**rows[0].card.model, "name": "resnet1d_wang"})
    wang = replace(rows[0], name="wang", card=card)
    assert wang.published == {"macro_roc_auc": 0.930}
    told = ptbxl.sources([*rows, wang])
    assert f"IMLE-Net study (doi:{models.SOURCE}) for {imle}; the PTB-XL benchmark (doi:10.1109/JBHI" in told
    assert told.endswith("for resnet1d_wang") and told in ptbxl.page([*rows, wang], [])


def test_page_lists_many_classes_as_rows():
    row = next(row for row in committed_rows() if row.card.task == "superdiagnostic")
    names = [f"class {index}" for index in range(13)]
    card = replace(row.card, outputs=replace(row.card.outputs, classes=tuple(names)))
    wide = replace(row, card=card)
    assert f"| class | `{row.name}` |" in ptbxl.page([wide], [])
    assert f"| class | `{row.name}` |" not in ptbxl.page([row], [])
