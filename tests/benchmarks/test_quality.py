"""Rates of the checks of signal quality."""

import json

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.pages import quality as quality_page
from benchmarks.quality import PLANTED, RATES_READ, fit_electrodes, measure_columns, measure_planted, plant
from benchmarks.rows import DATA
from preprocessing.recordings.electrodes import EXCHANGES
from preprocessing.recordings.quality import KINDS
from tests.helpers.ecg_files import make_signals
from utils.ecg import LEADS


def ecgs(count=4):
    rng = np.random.default_rng(0)
    return [make_signals(100) + rng.normal(0, 0.006, (1000, 12)) for _ in range(count)]


@pytest.mark.parametrize("name", PLANTED)
def test_planted_fault_changes_the_record_in_the_lead_it_names(name):
    signals = ecgs(1)[0]
    changed, lead = plant(signals, name, np.random.default_rng(0))
    different = ~np.isclose(changed, signals).all(axis=0)
    assert different[LEADS.index(lead)]
    assert different.all() if "zeros" in name else different.sum() == 1


def test_planted_faults_are_found_in_clean_records():
    rates = measure_planted(ecgs(), np.array([1, 2, 10, 10]), 1)
    for name, rate in rates.items():
        assert rate["records"] == [2, 2]
        assert rate["fold_10"] == 1.0 or name in ("noise instead of a lead", "3 % of each side clipped"), name


def test_exchanged_columns_are_contradicted():
    rates = measure_columns(ecgs(), np.array([1, 2, 10, 10]))
    assert rates["as recorded"]["fold_10"] == 0
    assert rates["two limb leads exchanged"]["fold_10"] > 0.9
    assert rates["a limb and a chest lead exchanged"]["fold_10"] > 0.9


def test_fit_separates_what_differs():
    rng = np.random.default_rng(1)
    beats = rng.normal(0, 0.05, (60, 75, 8)) + np.arange(8) * np.sin(np.arange(75) / 9)[None, :, None]
    stored = fit_electrodes(beats, np.repeat([1, 10], 30))
    assert list(stored["exchanges"]) == list(EXCHANGES) and len(stored["mean"]) == 240
    assert all(len(row["weights"]) == 240 for row in stored["exchanges"].values())


def test_fit_keeps_the_exchanges_that_are_not_asked_for():
    beats = np.random.default_rng(1).normal(0, 0.05, (40, 75, 8))
    known = {"exchanges": dict.fromkeys(EXCHANGES, "as before")}
    stored = fit_electrodes(beats, np.repeat([1, 10], 20), ["-V3"], known)["exchanges"]
    assert [name for name, row in stored.items() if row != "as before"] == ["-V3"]


def test_quality_command_measures_a_database(shared_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TWELVELEAD_CACHE", str(tmp_path / "cache"))
    words = ["quality", "--data_dir", str(shared_data / "ptbxl"), "--limit", "12", "--planted", "12"]
    main([*words, "--data", str(tmp_path)])
    assert "quality.json" in capsys.readouterr().out
    facts = json.loads((tmp_path / "quality.json").read_text())
    assert facts["records"] == 12 and set(facts["faults"]) == {"any", *KINDS}
    assert set(facts["planted"]) == set(PLANTED) and set(facts["electrodes"]) == {"any", *EXCHANGES}
    assert set(facts["rates"]) == set(RATES_READ)
    page = quality_page.page(tmp_path / "quality.json")
    assert "Not a medical device" in page and "| RA/LA: the right and left arm electrodes |" in page


def test_committed_rates_keep_what_they_promise():
    facts = json.loads((DATA / "quality.json").read_text())
    assert facts["records"] == 21_799
    for fold in ("folds_1_to_9", "fold_10"):
        assert facts["faults"]["any"]["none"][fold] < 0.04
        assert facts["electrodes"]["any"]["alarms"][fold] < 0.04
        assert facts["columns"]["two limb leads exchanged"][fold] > 0.99
        for name in (
            "3 s on the rail (5 mV)",
            "3 s of one-LSB noise",
            "3 s missing (NaN)",
            "3 s of mains, 0.1 mV",
        ):
            assert facts["planted"][name][fold] > 0.98, name
        assert facts["electrodes"]["RA/LA"]["suspected"][fold] > 0.99
