"""Where training numbers go: CSV, TensorBoard's event files, and wandb with and without an account."""

import csv
import logging
import os
import re
import socket
import struct
import subprocess
import sys

import numpy as np
import pytest

import torch_train
from tests.helpers.event_files import read_events
from tests.helpers.training_files import ROOT, call, flags, small_database
from utils.errors import UsageError
from utils.loggers import RunLogger, check_wandb
from utils.loggers.events import EventFile
from utils.loggers.text import NUMBERS


def row(epoch, **values):
    return {"epoch": epoch, "loss": 1 / epoch, "note": "text", **values}


def test_csv_and_events_hold_each_epoch_as_soon_as_it_ends(tmp_path):
    logger = RunLogger(tmp_path, "run", {})
    for epoch in (1, 2):
        logger.log(row(epoch))
        with open(tmp_path / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows == [{"epoch": str(e), "loss": str(1 / e), "note": "text"} for e in range(1, epoch + 1)]
        (path,) = tmp_path.glob("events.out.tfevents.*")
        first, *scalars = read_events(path)
        assert first.file_version == "brain.Event:2"
        assert [e.step for e in scalars] == list(range(1, epoch + 1))
        (value,) = scalars[-1].summary.value
        assert value.tag == "loss" and value.simple_value == pytest.approx(1 / epoch)
    logger.close()


def test_run_resumed_keeps_its_rows_and_takes_new_columns(tmp_path):
    RunLogger(tmp_path, "run", {}).log(row(1))
    RunLogger(tmp_path, "run", {}, history=[row(1)]).log(row(2, extra=5))
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == ["epoch,loss,note,extra", "1,1.0,text,", "2,0.5,text,5"]


def test_pytorch_training_logs_without_importing_tensorflow(tmp_path):
    code = (
        "import sys; from utils.loggers import RunLogger; "
        f"RunLogger({str(tmp_path)!r}, 'run', {{}}).log({{'epoch': 1, 'loss': 2.0}}); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    assert list(tmp_path.glob("events.*"))


def test_loggers_write_only_what_they_are_asked_for(tmp_path):
    code = (
        "import sys; from utils.loggers import RunLogger; "
        f"RunLogger({str(tmp_path)!r}, 'run', {{}}, ['text']).log({{'epoch': 1, 'loss': 2.0}}); "
        "sys.exit('tensorboard' in sys.modules or 'wandb' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]
    with pytest.raises(UsageError, match="unknown logger 'txt': did you mean 'text'"):
        RunLogger(tmp_path, "run", {}, ["txt"])


def test_text_log_holds_messages_and_numbers_and_no_epoch_twice(tmp_path):
    logger, said = RunLogger(tmp_path, "run", {}, ["text"]), logging.getLogger("training.loops")
    said.info("resumed\nnowhere")
    said.info("epoch 1 of 3", extra=NUMBERS)
    for epoch in (1, 2):
        logger.log(row(epoch))
    logger.close()
    said.info("after the end")
    path = tmp_path / "log.txt"
    path.write_text(path.read_text() + "2026-12-01T00:00:00Z epo")  # killed while writing
    again = RunLogger(tmp_path, "run", {}, ["text"], history=[row(1)])  # epoch 2 was not saved
    again.log(row(2, extra=5))
    again.close()
    lines = [line.partition("Z ")[2] for line in path.read_text().splitlines()]
    assert lines == ["resumed", "nowhere", "epoch 1: loss 1", "epoch 2: loss 0.5, extra 5"]


@pytest.mark.tf
def test_tensorboard_drops_the_epochs_that_a_killed_process_had_logged(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    killed = RunLogger(tmp_path, "run", {}, ["tensorboard"])
    for epoch in (1, 2, 3):
        killed.log(row(epoch))
    (path,) = tmp_path.glob("events.*")
    path.write_bytes(path.read_bytes()[:-9])  # in the middle of the third epoch
    path.rename(
        tmp_path / "events.out.tfevents.1000000000.000000.host.1"
    )  # two files of one second and process
    again = RunLogger(tmp_path, "run", {}, ["tensorboard"], history=[row(1)])
    for epoch in (2, 3):
        again.log(row(epoch, loss=epoch))
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert [(s.step, s.value) for s in read.Scalars("loss")] == [(1, 1), (2, 2), (3, 3)]


def test_logger_that_cannot_start_ends_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "banana")
    before = list(logging.getLogger("training").handlers)
    with pytest.raises(UsageError, match="banana"):
        RunLogger(tmp_path, "run", {}, ["text", "wandb"])
    assert logging.getLogger("training").handlers == before


def test_loggers_of_a_run_that_was_interrupted_and_resumed(tmp_path):
    database = small_database(tmp_path / "ptbxl", 60)
    words = ["--loggers", "csv,text,tensorboard", "--run", "r"]

    def train(*more):
        call(torch_train.main, "torch_train.py", *flags("ecgnet", database, tmp_path, *words, *more))

    train("--epochs", 1)
    train("--epochs", 2, "--resume")
    logs = tmp_path / "logs" / "r"
    text = (logs / "log.txt").read_text()
    assert re.findall(r"Z (epoch \d+): train_loss", text) == ["epoch 1", "epoch 2"]
    assert (
        "resumed at epoch 2" in text
        and "wrote" in text
        and text.count("metrics.csv, log.txt, TensorBoard") == 2
    )
    assert len((logs / "metrics.csv").read_text().splitlines()) == 3
    assert len(list(logs.glob("events.*"))) == 2


def test_wandb_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match="pip install wandb, or leave --loggr False") as caught:
        check_wandb()
    assert caught.value.exit_code == 2


@pytest.fixture
def nowhere(tmp_path):
    """An environment without account, and the server that every proxy and wandb's own address lead to."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    address = f"http://127.0.0.1:{server.getsockname()[1]}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB") and "proxy" not in k.lower()}
    home = {"HOME": str(tmp_path / "home"), "NETRC": str(tmp_path / "netrc"), "WANDB_BASE_URL": address}
    (tmp_path / "home").mkdir()
    yield kept | home | {"HTTP_PROXY": address, "HTTPS_PROXY": address, "ALL_PROXY": address}, server
    server.close()


def test_wandb_offline_needs_no_account_and_no_network(tmp_path, nowhere):
    environment, server = nowhere
    code = f"""
from utils.loggers import RunLogger
first = RunLogger({str(tmp_path)!r}, "run", {{"lr": 0.1}}, ("csv", "wandb"))
first.log({{"epoch": 1, "loss": 0.5}})
first.close()
again = RunLogger({str(tmp_path)!r}, "run", {{"lr": 0.1}}, ("csv", "wandb"), first.wandb_id, first.rows)
again.log({{"epoch": 2, "loss": 0.4}})
again.close()
print("same id", first.wandb_id is not None and first.wandb_id == again.wandb_id)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment | {"WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "same id True" in done.stdout
    assert len(list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))) == 2
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 3
    with pytest.raises(TimeoutError):
        server.accept()


def test_wandb_without_a_key_ends_before_anything_is_done(tmp_path, nowhere):
    environment, _ = nowhere
    kept = tmp_path / "checkpoints" / "ecgnet" / "card.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    words = flags("ecgnet", tmp_path / "absent", tmp_path, "--loggr", "True", "--overwrite")
    command = [sys.executable, "torch_train.py", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "run `wandb login`, or set WANDB_MODE=offline, or use --loggr False" in done.stderr
    assert "Traceback" not in done.stderr
    assert kept.read_text() == "{}" and not (tmp_path / "logs").exists()


def test_loggr_false_never_looks_for_wandb(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(Exception, match="absent"):
        words = flags("ecgnet", tmp_path / "absent", tmp_path, "--loggr", "False")
        call(torch_train.main, "torch_train.py", *words)


@pytest.mark.parametrize("mode", ["banana", "Online"])
def test_wandb_mode_that_is_unknown_is_named(monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(UsageError, match=f"WANDB_MODE={mode} is not known: .*offline"):
        check_wandb()


def test_event_file_holds_pictures_and_histograms(tmp_path):
    file = EventFile(tmp_path / "run")
    png = b"\x89PNG\r\n\x1a\n" + bytes(4) + b"IHDR" + struct.pack(">II", 30, 20)
    file.picture(3, "a/b", png)
    file.histogram(3, "values", np.arange(4.0).reshape(2, 2))
    file.histogram(3, "equal", np.ones(5))
    (path,) = (tmp_path / "run").glob("events.out.tfevents.*")
    _, picture, values, equal = (event.summary.value for event in read_events(path))
    assert (picture[0].image.width, picture[0].image.height) == (30, 20)
    histogram = values[0].histo
    assert (histogram.min, histogram.max, histogram.num, histogram.sum) == (0, 3, 4, 6)
    assert histogram.sum_squares == 14 and sum(histogram.bucket) == 4
    assert len(histogram.bucket) == len(histogram.bucket_limit) and list(histogram.bucket_limit)[-1] == 3
    assert sum(equal[0].histo.bucket) == 5
