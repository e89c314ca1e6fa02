"""Certified thresholds of a run: collected, and their page."""

import pytest

from benchmarks.__main__ import main
from benchmarks.pages import certified as certified_page
from benchmarks.rows import DATA
from tests.helpers.benchmark_files import MACHINE_DIR, leave_run
from training.certification import certify, check_on_test
from training.checkpoint import ROOT
from training.predictions import scored_predictions
from utils.errors import UsageError
from utils.files import read_json, write_json


def leave_certified(out, run, **changes):
    """What the commands leave; made-up predictions stand for those of the validation records."""
    leave_run(out, run, skill=2.0)
    scored = scored_predictions(run, str(out))
    result = certify(scored, 0.3, 0.4, labels=["MI", "HYP", "CD"], miss_rates={"HYP": 0.01})
    result["test"] = check_on_test(result, scored)
    words = f"twelvelead certify {run} --data_dir {MACHINE_DIR} --output_dir {out}"
    more = {"command": words, "settings": {"data_dir": MACHINE_DIR}, **changes}
    write_json(out / "logs" / run / "certified.json", {**result, **more})


def test_certified_thresholds_become_a_page(tmp_path):
    leave_certified(tmp_path, "run")
    words = ["collect", "--certified", "run", "--output_dir", tmp_path, "--data", tmp_path / "data"]
    main([str(word) for word in words])
    collected = (tmp_path / "data" / "certified" / "run.json").read_text()
    assert MACHINE_DIR not in collected and str(tmp_path) not in collected
    page = certified_page.page(tmp_path / "data" / "certified")
    assert "Not a medical device" in page and "## run: superdiagnostic" in page
    assert "twelvelead certify run --data_dir data/ptb --output_dir ." in page
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| ")}
    assert "| 30 % | can be promised |" in rows["MI"] and "| 1 % | cannot be promised |" in rows["HYP"]
    assert "2 of 3 labels can be promised" in page and "60 % confidence (Bonferroni over 3 labels)" in page


def test_certified_thresholds_of_other_weights_are_refused(tmp_path):
    leave_certified(tmp_path, "run", weights_sha256="0" * 64)
    words = ["collect", "--certified", "run", "--output_dir", str(tmp_path), "--data", str(tmp_path / "data")]
    with pytest.raises(UsageError, match="belongs to other weights"):
        main(words)
    (tmp_path / "logs" / "run" / "certified.json").unlink()
    with pytest.raises(UsageError, match="run twelvelead certify run first"):
        main(words)


def test_committed_page_has_what_the_shipped_weights_promise():
    found = read_json(DATA / "certified" / "resnet1d_wang.json")
    card = read_json(ROOT / "checkpoints" / "pretrained" / "resnet1d_wang" / "card.json")
    assert found["weights_sha256"] == card["weights_sha256"] and found["split"] == "fold 9"
    again = check_on_test(found, scored_predictions("resnet1d_wang"))  # from the committed predictions
    assert again == found["test"]
