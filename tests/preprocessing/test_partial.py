"""A partial download: refused with the flag that takes it, and taken with it, in training and in testing."""

import pytest

from tests.helpers.training_files import small_database, write_untrained
from training.config import parse_config
from training.run import check_same_settings
from training.setup import load_training_data
from twelvelead.commands.test import main
from utils.errors import DataError, UsageError
from utils.files import read_json

REFUSED = r"(?s)2 of 100 records .*missing.*use --partial \(Python: on_missing='drop'\)"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Record 1 (fold 1) has no files, record 19 (fold 10) no samples."""
    folder = small_database(tmp_path_factory.mktemp("partial") / "ptb")
    for name in ("00001_lr.hea", "00001_lr.dat", "00019_lr.dat"):
        (folder / "records100/00000" / name).unlink()
    return folder


def parse(*words):
    return parse_config("text", ["ecgnet"], "ecgnet", list(map(str, words)))


def test_training_on_a_partial_download(database, caplog):
    caplog.set_level("INFO")
    with pytest.raises(DataError, match=REFUSED):
        load_training_data(parse("--data_dir", database))
    data = load_training_data(parse("--data_dir", database, "--partial"))
    assert data.counts() == {"train": 79, "val": 10}
    assert "2 of 100 records listed are not in" in caplog.text


def test_run_from_before_the_flag_is_resumed():
    config = parse()
    before = config.to_json()
    del before["partial"]
    check_same_settings(config, before)


def test_resume_of_a_run_from_before_keep_unlabeled_keeps_what_it_did():
    before = parse("--task", "form").to_json()
    del before["keep_unlabeled"]
    check_same_settings(parse("--task", "form", "--keep_unlabeled"), before)
    with pytest.raises(UsageError, match="--keep_unlabeled was True, is False"):
        check_same_settings(parse("--task", "form"), before)
    all_of_them = parse().to_json()
    del all_of_them["keep_unlabeled"]
    check_same_settings(parse(), all_of_them)


@pytest.mark.torch
def test_testing_on_a_partial_download(database, tmp_path):
    def score(run, *words):
        options = ["--data_dir", database, "--output_dir", tmp_path, "--run", run, "--resamples", 2, *words]
        main("torch", "ecgnet", list(map(str, options)))
        return read_json(tmp_path / "logs" / run / "test.json")["records"]

    write_untrained(tmp_path / "checkpoints" / "whole", "ecgnet")
    with pytest.raises(DataError, match=REFUSED):
        score("whole")
    assert score("whole", "--partial") == 9
    write_untrained(tmp_path / "checkpoints" / "part", "ecgnet", config={"partial": True})
    assert score("part") == 9  # as it was trained
    with pytest.raises(DataError, match=REFUSED):
        score("part", "--partial", "False")
