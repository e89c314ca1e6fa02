"""The study of a folder: whose trials are alive, and storages that are shared, cut or damaged."""

import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.helpers.tune_files import SPACE, by_rate, pretend_training, rows, run, words
from training.experiments.study import is_alive, open_study, this_worker, trials_of
from utils.errors import DataError, TwelveLeadError, UsageError


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def pretend(monkeypatch):
    return partial(pretend_training, monkeypatch)


def test_worker_alive():
    me = this_worker()
    assert me["pid"] == os.getpid() and is_alive(me)
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert not is_alive({**me, "pid": done.pid})
    assert not is_alive({**me, "started": -1})  # a later process with the same number
    assert is_alive({**me, "pid": done.pid, "host": "elsewhere"})
    assert not is_alive(None)
    zombie = subprocess.Popen(["sleep", "60"])
    started = int(Path(f"/proc/{zombie.pid}/stat").read_text().split()[21])
    assert is_alive({**me, "pid": zombie.pid, "started": started})
    zombie.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive({**me, "pid": zombie.pid, "started": started})
    zombie.wait()


def test_trials_of_other_hosts_count_until_alone(tmp_path, space, pretend, capsys):
    pretend(by_rate)
    args = words("data", tmp_path, space, "--n_trials", 2)
    (tmp_path / "tuning" / "s").mkdir(parents=True)
    study = open_study(tmp_path / "tuning" / "s", "s", "", 1)
    study.ask().set_user_attr("worker", {"host": "elsewhere pid:[1]", "pid": 7, "started": 1})
    run(*args)
    assert [row["state"] for row in rows(tmp_path)] == ["running", "complete"]
    assert "trial 0 runs in process 7 on elsewhere" in capsys.readouterr().out
    run(*args, "--alone")
    assert [row["state"] for row in rows(tmp_path)] == ["unfinished", "complete", "complete"]
    assert "left unfinished by process 7 on elsewhere" in capsys.readouterr().out


def test_trial_taken_over_by_another_worker(tmp_path, space, pretend):
    def score(config, epoch):
        open_study(tmp_path / "tuning" / "s", "s", "", 1).tell(0, state=TrialState.FAIL)
        return 0.8

    pretend(score)
    with pytest.raises(TwelveLeadError, match="trial 0 was taken over by another worker: use --alone"):
        run(*words("data", tmp_path, space, "--n_trials", 1))


def test_journal_cut_or_damaged(tmp_path, space, pretend):
    pretend(by_rate)
    run(*words("data", tmp_path, space, "--n_trials", 1))
    journal = tmp_path / "tuning" / "s" / "journal.log"
    with open(journal, "a") as file:
        file.write('{"op_code": 4, "wor')  # the disk was full
    run(*words("data", tmp_path, space, "--n_trials", 2))
    assert [row["state"] for row in rows(tmp_path)] == ["complete", "complete"]
    lines = journal.read_bytes().splitlines(keepends=True)
    trials = [(t.state, t.values, t.user_attrs) for t in open_study(journal.parent, "s", "", 1).get_trials()]
    for number in range(len(lines)):  # also those that create the study and the trials
        for damaged in (b"\n", b"\0\xff\n", lines[number][: len(lines[number]) // 2]):
            journal.write_bytes(b"".join([*lines[:number], damaged, *lines[number + 1 :]]))
            found = [
                (t.state, t.values, t.user_attrs) for t in open_study(journal.parent, "s", "", 1).get_trials()
            ]
            same = sum(a == b for a, b in zip(found, trials, strict=True))
            assert same >= len(trials) - 1
    run(*words("data", tmp_path, space, "--n_trials", 3))
    assert len(rows(tmp_path)) == 3


def test_trials_of_two_workers_survive_the_loss_of_a_line(tmp_path):
    """Numbers of trials follow the lines that create them: a lost one must not shift those after it."""
    study = open_study(tmp_path, "s", "", 1)
    for _ in range(2):
        trials = [study.ask() for _ in range(3)]
        for trial in reversed(trials):
            trial.set_user_attr("number", trial.number)
            study.tell(trial, trial.number / 10)
    journal = tmp_path / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    for number in range(len(lines)):
        journal.write_bytes(b"".join([*lines[:number], b"\n", *lines[number + 1 :]]))
        again = open_study(tmp_path, "s", "", 1)
        agree = [
            t.user_attrs.get("number", t.number) == t.number and t.values in (None, [t.number / 10])
            for t in again.trials
        ]
        assert len(agree) == 6 and all(agree)
        assert len(trials_of(again, "complete")) >= 5


def test_journal_with_a_blank_line_keeps_its_trials(shared_data, tmp_path):
    case = shared_data.parent / "cases" / "14_journal" / "journal.log"
    if not case.exists():
        pytest.skip(f"no {case}")
    shutil.copy(case, tmp_path)
    trials = open_study(tmp_path, "st 1", "", 1).get_trials()
    assert [(t.state, t.values, len(t.params)) for t in trials] == [
        (TrialState.COMPLETE, [0.4922435897435896], 9)
    ]


def test_storage_is_sqlite_or_the_journal(tmp_path, space, pretend):
    pretend(by_rate)
    args = words("data", tmp_path, space, "--storage", f"sqlite:///{tmp_path}/study.db", "--n_trials")
    run(*args, "1")
    run(*args, "2")
    assert len(rows(tmp_path)) == 2 and not (tmp_path / "tuning" / "s" / "journal.log").exists()
    (tmp_path / "study.db").write_text("no database at all")
    with pytest.raises(DataError, match="is not an SQLite database"):
        run(*args, "2")
    with pytest.raises(UsageError, match="give sqlite:///FILE"):
        run(*words("data", tmp_path, space, "--storage", "oracle://host/db"))
