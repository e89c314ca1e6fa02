"""The commands of the published ECG-CNN README on the synthetic sample, with one epoch and a small model."""

import re

import numpy as np
import pandas as pd
import pytest

from databases.ptbxl import read_database
from databases.synthetic import load_ground_truth
from databases.synthetic.scp_table import statement_table
from explain.report.folds import write_fold_page
from preprocessing.splits import SPLITS
from tests.helpers.command_lines import ROOT, run_lines
from training.checkpoint import read_card
from utils.errors import DataError
from utils.files import read_json

pytestmark = pytest.mark.torch
BASELINE = ROOT / "configs" / "ecg_cnn" / "baseline.yaml"
SMALL = """--n_epochs 1 --threads 1 --model_config '{"filters": 2, "units": [4]}'"""
LINES = [
    f"python -m twelvelead train --config {BASELINE} --sample-only {SMALL} --n_folds 3 --conv-dropout 0.1",
    "python -m twelvelead evaluate --enable_ovr --prefer accuracy --resamples 5 --shap fast --threads 1",
    "python -m twelvelead evaluate --fold 2 --ovr_classes MI,NORM --shap off --report False --resamples 5",
    f"python -m twelvelead train --model ECGConvNet --sample_only {SMALL} --subsample-frac 0.5 --verbose "
    "--save-best --batch-size 16 --weight-decay 0.01 --sampling-rate 500 --n_folds 1 --run single",
    "python -m twelvelead evaluate --run single --disable_ovr --report False --shap custom --shap-n 2 "
    "--resamples 5",
    "python -m twelvelead evaluate --run single --split train --shap off --resamples 5 --report False",
    "python -m twelvelead train --model ECGConvNet --sample_only --run single --resume --subsample_frac 0.2",
    f"python -m twelvelead train --config {BASELINE} --sample-only --n_folds 3",
    f"python -m twelvelead train --config {BASELINE} --sample-only {SMALL} --n_folds 3 --conv-dropout 0.1 "
    "--resume",
    "python -m twelvelead evaluate --run single --shap off --data_dir nowhere",
    f"python -m twelvelead train --config {BASELINE.with_name('compact_grid.yaml')}",
    "python -m twelvelead report ecgconvnet",
    "python -m twelvelead train --help",
    "python -m twelvelead evaluate --help",
]
CODES = [0, 0, 0, 0, 0, 0, 2, 2, 0, 1, 2, 0, 0, 0]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ecg_cnn")
    lines = run_lines(LINES, folder, check=False, TWELVELEAD_FOLD10_LOG=str(folder / "log.csv"))
    assert [line.code for line in lines] == CODES, [line.err for line in lines]
    return folder, lines


def test_sample_has_the_labels_of_its_findings(done):
    folder, _ = done
    table = read_database(folder / "data" / "sample")
    ids, _, signs = load_ground_truth(folder / "data" / "sample")
    assert len(table) == 100 and ids.tolist() == table.index.tolist()
    for codes, planted in zip(table["scp_codes"], signs, strict=True):
        assert set(filter(None, planted.split("+"))) <= set(codes)
    assert len({*statement_table().index} & {code for codes in table["scp_codes"] for code in codes}) > 5


def test_kfold_reports_every_fold_once_with_class_names(done):
    folder, _ = done
    summary = pd.read_csv(folder / "results" / "ecgconvnet" / "fold_summary.csv")
    assert summary["fold"].tolist() == ["1", "2", "3", "mean", "SD"]
    folds = summary.iloc[:3]
    np.testing.assert_allclose(summary.loc[3, "macro_f1"], folds["macro_f1"].mean(), atol=1e-6)
    np.testing.assert_allclose(summary.loc[4, "macro_f1"], folds["macro_f1"].std(ddof=1), atol=1e-6)
    parts = []
    for path, run in zip(folds["report"], folds["run"], strict=True):
        report = pd.read_csv(folder / path)
        assert report.columns.tolist() == ["label", "precision", "recall", "f1-score", "support"]
        assert report["label"].tolist()[:5] == ["CD", "HYP", "MI", "NORM", "STTC"] and report.notna().all(
            axis=None
        )
        parts.append(pd.read_csv((folder / path).with_name("predictions.csv"))["ecg_id"].tolist())
        card = read_card(folder / "checkpoints" / run)
        assert card.model["feature_dropout"] == 0.1 and card.metrics["epoch"] == 1
        assert (folder / "logs" / run / "metrics.csv").exists()
    tested = [record for part in parts for record in part]
    assert len(tested) == len(set(tested)) >= 98  # records without a superclass are left out
    patients = read_database(folder / "data" / "sample")["patient_id"]
    groups = [set(patients.loc[part]) for part in parts]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    loaded = read_json(folder / "results" / "ecgconvnet" / "fold_summary.json")
    assert loaded["mean"]["macro_f1"] == summary.loc[3, "macro_f1"] and len(loaded["folds"]) == 3


def test_kfold_page_links_to_the_report_of_each_fold_and_is_rebuilt_from_json(done):
    folder, lines = done
    path = folder / "results" / "ecgconvnet" / "fold_summary.html"
    page = path.read_text()
    reports = [(path.parent / link).resolve() for link in re.findall(r'href="([^"]+)"', page)]
    assert [report.parents[2].name for report in reports] == [f"ecgconvnet_fold{n}" for n in (1, 2, 3)]
    for number, report in enumerate(reports, start=1):
        assert f"fold {number} of 3</h1>" in report.read_text()
    found = read_json(path.with_suffix(".json"))
    for bounds in found["by_class"]:
        value = f"{bounds['macro_roc_auc']['point']:.3f}"
        assert value in page and list(bounds["class_roc_auc"]) == ["CD", "HYP", "MI", "NORM", "STTC"]
    assert "ot a medical device" in page and not re.search(r"src=|https?://", page)
    assert lines[-3].out == "wrote results/ecgconvnet/fold_summary.html\n"
    path.write_text("")
    assert write_fold_page(path.parent).read_text() == page


def test_kfold_page_needs_a_whole_summary(tmp_path):
    (tmp_path / "fold_summary.json").write_text('{"run": "a", "folds": []}')
    with pytest.raises(DataError, match=r"is not a summary of folds .* train the folds again with --resume"):
        write_fold_page(tmp_path)


def test_evaluate_scores_the_held_out_fold_of_the_best_run(done):
    folder, lines = done
    runs = [f"ecgconvnet_fold{fold}" for fold in (1, 2, 3)]
    accuracy = [read_card(folder / "checkpoints" / run).metrics["val_mean_accuracy"] for run in runs]
    chosen = runs[int(np.argmax(accuracy))]
    assert f"checkpoints/{chosen}: " in lines[1].out and f"of fold {chosen[-1]} of 3, epoch 1" in lines[1].out
    leads = pd.read_csv(folder / "results" / chosen / "evaluation_test" / "lead_importance.csv")
    assert leads["lead"].tolist()[:4] == ["I", "II", "III", "aVR"] and leads["records"].between(2, 4).all()
    page = (folder / "results" / chosen / "evaluation_test" / "report" / "report.html").read_text()
    assert "ot a medical device" in page and "ROC" in page
    assert "of fold 2 of 3" in lines[2].out
    assert "threshold_sweep_MI.csv" in lines[2].out and "threshold_sweep_CD.csv" not in lines[2].out
    missed = pd.read_csv(
        folder / "results" / "ecgconvnet_fold2" / "evaluation_test" / "false_negatives_MI.csv"
    )
    assert missed.columns[0] == "ecg_id" and missed["margin"].is_monotonic_increasing
    assert not (folder / "log.csv").exists()  # synthetic records are not PTB-XL's fold 10


def test_single_run_trains_on_a_part_and_is_judged_on_the_rest(done):
    folder, lines = done
    card = read_card(folder / "checkpoints" / "single")
    assert card.config["subsample_frac"] == 0.5 and card.inputs.samples == 5000
    assert card.data.records["train"] < 50 and card.data.splits["train"].startswith("50 % of ")
    assert set(card.data.splits) == set(SPLITS) and not card.data.splits["test"].startswith("50 %")
    assert "note: n_folds 1 trains on the official split" in lines[3].out + lines[3].err
    report = read_json(folder / "results" / "single" / "evaluation_val" / "evaluation.json")
    assert report["records"] == card.data.records["val"] and not report["trained_on"]
    assert "scores flatter the model a little" in lines[4].out and len(report["notes"]) == 1
    assert "note: The model was trained on these records" in lines[5].out
    assert "threshold_sweep" not in lines[4].out
    assert "the model was trained on: no evaluation of it" in lines[5].out + lines[5].err
    assert "--subsample_frac was 0.5, is 0.2" in lines[6].err
    assert "run 'ecgconvnet_fold1' exists: --resume continues the folds" in lines[7].err
    assert lines[8].out.count("fold_summary.csv") == 1
    assert "nowhere" in lines[9].err  # and no other records are scored instead
    assert "has several values of model, lr: it is a grid, trained with twelvelead grid" in lines[10].err
    assert "--subsample_frac" in lines[-2].out and "--ovr_classes" in lines[-1].out


def test_sample_that_is_damaged_is_named(done):
    folder, _ = done
    path = folder / "data" / "sample" / "records100" / "00000" / "00007_lr.dat"
    kept = path.read_bytes()
    path.write_bytes(bytes(len(kept)))
    try:
        line = f"python -m twelvelead train --model ecgconvnet --sample-only {SMALL} --run damaged"
        (failed,) = run_lines([line], folder, check=False)
    finally:
        path.write_bytes(kept)
    assert failed.code == 1 and "00007_lr" in failed.err
