"""Folders of a run: what a kill leaves is in nobody's way."""

import dataclasses

import pytest

from training.config import TrainConfig
from training.run import Run, check_same_settings
from utils.errors import UsageError


def config(tmp_path, **changes):
    return dataclasses.replace(TrainConfig(), run="a", output_dir=str(tmp_path), **changes)


@pytest.mark.parametrize(
    "left", ["last/.partial-probe", ".partial-x-model.safetensors", "last/.partial-x-state"]
)
def test_run_killed_before_its_first_state_starts_again_without_overwrite(tmp_path, left):
    path = tmp_path / "checkpoints" / "a" / left
    path.parent.mkdir(parents=True)
    path.write_text("")
    with Run.claim(config(tmp_path)) as run:
        run.clear()
        assert not path.exists()


def test_run_killed_while_it_tried_the_folder_starts_again(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    with pytest.raises(Killed), Run.claim(config(tmp_path)) as run, monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", kill)
        run.clear()
    with Run.claim(config(tmp_path)) as run:
        run.clear()


def test_run_that_exists_needs_a_word(tmp_path):
    path = tmp_path / "checkpoints" / "a" / "card.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(UsageError, match="--overwrite replaces it"):
        Run.claim(config(tmp_path))
    with Run.claim(config(tmp_path, overwrite=True)) as run:
        assert path.exists()
        run.clear()
        assert not path.exists()


def test_run_is_resumed_with_the_part_of_the_data_that_it_was_started_on(tmp_path):
    before = config(tmp_path, sampling_rate=100, subsample_frac=0.5)
    check_same_settings(before, before.to_json())
    with pytest.raises(UsageError, match=r"--subsample_frac was 0.5, is 0.25"):
        check_same_settings(dataclasses.replace(before, subsample_frac=0.25), before.to_json())
    older = {name: value for name, value in before.to_json().items() if name != "subsample_frac"}
    check_same_settings(dataclasses.replace(before, subsample_frac=1.0), older)
