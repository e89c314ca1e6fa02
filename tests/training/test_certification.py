"""twelvelead certify: which labels can be promised, on which records, and where the promise shows."""

import dataclasses
import shutil

import numpy as np
import pytest
from scipy import stats

from explorer.models import ask
from explorer.sources import read_sample
from tests.helpers.training_files import CLASSES, small_database, write_untrained
from training import load_predictor
from training.certification import certify, check_on_test, decision_with
from training.checkpoint import ROOT, read_card
from training.predictions import Predictions
from training.tasks import create_task
from twelvelead.commands.certify import main
from twelvelead.commands.test import main as score_run
from utils.errors import DataError, UsageError
from utils.files import read_json
from utils.report.certified import certified_summary, certified_table


def predictions(records=4000, seed=0, rates=(0.5, 0.05, 0.005)):
    """Labels of three frequencies; positives score 0.3 higher on average; two records a patient."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((records, len(rates))) < rates).astype(np.uint8)
    scores = np.clip(rng.normal(0.35, 0.12, labels.shape) + 0.3 * labels, 0, 1)
    ids = np.arange(records)
    return Predictions("run", ids, ids // 2, labels, scores, ("OFTEN", "SOME", "RARE"), f"part {seed}")


def test_labels_with_enough_positives_are_certified():
    validation = predictions()
    result = certify(validation, 0.05, 0.1)
    assert result["delta_of_a_label"] == pytest.approx(0.1 / 3)
    often, some, rare = result["labels"].values()
    assert often["certified"] and some["certified"] and not rare["certified"]
    assert rare["needed"] == 67 > rare["positives"] and rare["threshold"] is None
    patients = len(np.unique(validation.patients[validation.labels[:, 0] > 0]))
    assert often["positives"] == patients < often["positive_records"]
    for entry in (often, some):  # misses are rejected, one more would not be
        n, k = entry["positives"], entry["misses"]
        assert stats.binom.cdf(k, n, 0.05) <= 0.1 / 3 < stats.binom.cdf(k + 1, n, 0.05)
    assert some["flagged"] == pytest.approx((validation.probabilities[:, 1] >= some["threshold"]).mean())


def test_options_of_certification():
    validation = predictions()
    usual = certify(validation)["labels"]
    each = certify(validation, per_label=True)
    assert (
        each["delta_of_a_label"] == 0.1 and each["labels"]["SOME"]["threshold"] > usual["SOME"]["threshold"]
    )
    assert "not all of them at once" in certified_summary(each)
    alone = certify(validation, labels=["SOME"])["labels"]
    assert list(alone) == ["SOME"] and alone["SOME"]["threshold"] == each["labels"]["SOME"]["threshold"]
    careful = certify(validation, miss_rates={"OFTEN": 0.01})["labels"]["OFTEN"]
    assert careful["threshold"] < usual["OFTEN"]["threshold"] and careful["miss_rate"] == 0.01
    assert certify(validation, seed=1)["labels"] != certify(validation, seed=0)["labels"]
    with pytest.raises(UsageError, match="unknown label 'SOMETIMES'"):
        certify(validation, labels=["SOMETIMES"])
    with pytest.raises(UsageError, match="not among the labels"):
        certify(validation, miss_rates={"OFTEN": 0.01}, labels=["SOME"])


def test_promises_hold_on_other_records():
    broken = []
    for seed in range(40):
        result = certify(predictions(seed=2 * seed), 0.05, 0.1, labels=["OFTEN", "SOME"])
        test = check_on_test(result, predictions(50_000, seed=2 * seed + 1))
        broken.append(bool(test["above"]))
    assert np.mean(broken) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 40)


def test_misses_on_test_records_are_means_over_patients():
    result = certify(predictions())
    t = result["labels"]["OFTEN"]["threshold"]
    test = predictions(6)
    labels = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]], np.uint8)
    scores = np.array([t - 0.01, t + 0.01, t + 0.01, 0, 0, 0])[:, None] * np.ones(3)
    found = check_on_test(result, dataclasses.replace(test, labels=labels, probabilities=scores))
    often = found["labels"]["OFTEN"]
    assert (often["positives"], often["miss_rate"]) == (2, 0.25) and often["flagged"] == pytest.approx(1 / 3)
    assert often["p"] in (1, pytest.approx(1 - 0.95**2))  # none or one miss, by the record that is drawn
    assert found["labels"]["SOME"]["miss_rate"] == 1 and found["labels"]["SOME"]["p"] == pytest.approx(0.05)
    assert found["above"] == ["OFTEN", "SOME"] and found["broken"] == []
    table = certified_table({**result, "test": found}).splitlines()
    assert "cannot be promised" in table[-1] and "25.0 % (more, within chance)" in table[2]
    many = {"labels": np.tile(labels, (4, 1)), "probabilities": np.tile(scores, (4, 1))}
    ids = {"ids": np.arange(24), "patients": np.arange(24)}
    found = check_on_test(result, dataclasses.replace(test, **many, **ids))
    assert found["broken"] == ["OFTEN", "SOME"]
    assert found["labels"]["OFTEN"]["p"] == pytest.approx(stats.binom.sf(3, 12, 0.05))


def test_card_with_promises_is_read_and_shown():
    result = certify(predictions(), labels=["OFTEN", "RARE"])
    task = create_task("multilabel", ["OFTEN", "SOME", "RARE"])
    decision = decision_with({"thresholds": [0.5] * 3}, result)
    task.check_decision(decision, "card.json")
    described = task.describe(np.array([0.9, 0.9, 0.9]), decision, 100)
    entries = [entry["certified"] for entry in described["classes"]]
    assert entries[0]["flagged"] is True and entries[1:] == [None, None]
    lines = task.lines(described)
    assert lines[0].endswith("(misses <= 5 %): flagged") and lines[1].endswith("yes")
    assert any("90 % confidence, for patients like those of part 0" in r for r in task.remarks(decision))
    assert "certified" not in task.describe(np.full(3, 0.9), {"thresholds": [0.5] * 3}, 100)["classes"][0]
    for wrong in ({"classes": {}}, [], {**decision["certified"], "classes": {"OTHER": entries[0]}}):
        with pytest.raises(DataError, match="'certified' must hold"):
            task.check_decision({"certified": wrong}, "card.json")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"), records=300)


def test_certify_command(database, tmp_path, capsys):
    folder = write_untrained(tmp_path / "checkpoints" / "run", "ecgnet")
    words = ["run", "--data_dir", database, "--output_dir", tmp_path, "--miss_rate", 0.5, "--delta", 0.5]
    words = [str(word) for word in words]
    with pytest.raises(UsageError, match="was not scored: twelvelead test"):
        main([*words, "--score"])
    score_run("torch", "ecgnet", ["--run", "run", *words[1:5], "--resamples", "20"])
    capsys.readouterr()
    main([*words, "--score"])
    printed = capsys.readouterr().out
    report = read_json(tmp_path / "logs" / "run" / "certified.json")
    assert (report["split"], report["records"], report["test"]["split"]) == ("fold 9", 30, "fold 10")
    certified = [name for name, entry in report["labels"].items() if entry["certified"]]
    assert certified and "can be promised" in printed and "Not a medical device" in printed
    predictor = load_predictor("run", tmp_path)  # whose card is whole
    assert list(predictor.decision["certified"]["classes"]) == certified
    assert read_card(folder).weights_sha256 == report["weights_sha256"]
    described = predictor.task.describe(np.full(5, 1.0), predictor.decision, 100)
    shown = {c["class"] for c in described["classes"] if c["certified"]}
    assert shown == set(certified) <= set(CLASSES)
    before = (folder / "card.json").read_bytes()
    main([*words, "--seed", "1", "--card", "False"])
    assert (folder / "card.json").read_bytes() == before


def test_certify_refuses_what_does_not_classify(capsys):
    with pytest.raises(UsageError, match="only classifiers"):
        main(["rpeaks"])


def test_explorer_shows_promises(tmp_path):
    shutil.copytree(ROOT / "checkpoints" / "pretrained" / "ecgnet", tmp_path / "checkpoints" / "mine")
    predictor = load_predictor("mine", tmp_path)
    shown = read_sample("sample_ecg_mi.csv").recording
    assert "certified" not in ask(predictor, shown).rows[0]
    entry = {"certified": True, "threshold": 0.0, "miss_rate": 0.05}
    result = {"labels": {"MI": entry}, "delta": 0.1, "correction": "none", "split": "fold 9"}
    predictor.decision = decision_with(predictor.decision, result)
    answer = ask(predictor, shown)
    said = {row["class"]: row.get("certified") for row in answer.rows}
    assert said["MI"] == "threshold 0.000 (misses <= 5 %): flagged" and said["NORM"] is None
    assert "each alone with 90 % confidence" in answer.notes[-1]
