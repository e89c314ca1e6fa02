"""Storages of studies beyond one machine: a proxy in front of a database, and what is said without one."""

import socket
import subprocess
import sys
from functools import partial

import optuna
import pytest

from tests.helpers.tune_files import SPACE, by_rate, pretend_training, rows, run, words
from training.experiments import storages
from training.experiments.storages import open_storage
from utils.errors import TwelveLeadError, UsageError

SERVER = """
import sys, warnings
warnings.simplefilter("ignore")
from optuna.storages import RDBStorage, run_grpc_proxy_server
run_grpc_proxy_server(RDBStorage(sys.argv[1]), host="localhost", port=int(sys.argv[2]))
"""


@pytest.fixture
def proxy(tmp_path):
    """Optuna's own server over an SQLite file, and its address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    database = f"sqlite:///{tmp_path}/study.db"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, database, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"grpc://localhost:{port}", database
    server.kill()
    server.wait()


def test_study_on_a_proxy_is_that_of_the_database_behind_it(tmp_path, proxy, monkeypatch):
    url, database = proxy
    monkeypatch.setattr(storages, "_PATIENCE", 120.0)  # for the server to start
    pretend_training(monkeypatch, partial(by_rate))
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    for count in ("2", "3"):  # two workers, one after the other
        run(*words("data", tmp_path, space, "--storage", url, "--n_trials", count))
    table = rows(tmp_path)
    assert [row["state"] for row in table] == ["complete"] * 3
    study = optuna.load_study(study_name="s", storage=database)
    assert [f"{trial.value:.6f}" for trial in study.trials] == [
        f"{float(row['val_score']):.6f}" for row in table
    ]
    assert not (tmp_path / "tuning" / "s" / "journal.log").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://me@host/db", "driver is not installed: pip install 'psycopg"),
        ("mysql://me@host/db", "driver is not installed: pip install pymysql"),
        ("postgresql://me:secret@host/db", "password would be written"),
        ("grpc://", "grpc://HOST:PORT"),
        ("grpc://host:port", "grpc://HOST:PORT"),
        ("sqlite:///", "give sqlite:///FILE"),
        ("study.db", "give sqlite:///FILE"),
    ],
)
def test_storages_with_mistakes_are_refused(tmp_path, url, message):
    with pytest.raises(UsageError, match=message):
        open_storage(url, tmp_path / "journal.log", "s")


def test_server_that_does_not_answer_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(storages, "_PATIENCE", 0.1)
    with pytest.raises(TwelveLeadError, match="no proxy answers there"):
        open_storage("grpc://localhost:1", tmp_path / "journal.log", "s")

    def refuse(*_, **__):
        raise RuntimeError("connection refused")

    monkeypatch.setattr(storages, "RDBStorage", refuse)
    with pytest.raises(TwelveLeadError, match=r"cannot be opened \(.*connection refused.*check host"):
        open_storage("postgresql://me@host/db", tmp_path / "journal.log", "s")
