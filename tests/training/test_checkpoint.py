"""Checkpoint folders: whole after any kill, and refused in words when anything in them is wrong."""

import errno
import json
import os
import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.helpers.training_files import SAMPLES, card_of
from training.checkpoint import (
    check_kept,
    find_checkpoint,
    load_state,
    read_card,
    save_state,
    write_checkpoint,
)
from utils.ecg import LEADS
from utils.errors import DataError, TwelveLeadError, UsageError

MODEL = {"name": "ecgnet", "num_classes": 5, "samples": SAMPLES, "leads": 12}


def save(folder, version, size=8, framework="torch"):
    weights = {"w": np.full(size, version, np.float32)}
    card = card_of(MODEL, framework, seed=version)
    write_checkpoint(folder, card, lambda path: save_file(weights, path))


def loaded_version(folder):
    """The version of card and weights; they must be of one piece."""
    card = read_card(find_checkpoint(folder))
    weights = load_file(folder / card.weights)["w"]
    assert set(weights) == {card.provenance.seed}
    return card.provenance.seed


def test_card_round_trip_and_required_keys(tmp_path):
    save(tmp_path / "run", 1)
    assert loaded_version(tmp_path / "run") == 1
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["weights"] == "model.safetensors" and len(card["weights_sha256"]) == 64
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["card.json", "model.safetensors"]


def test_state_keeps_every_bit_and_shape(tmp_path):
    arrays = {
        "scalar": np.array(3, np.int64),
        "empty": np.zeros((0, 2), np.float32),
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "bytes": np.arange(256, dtype=np.uint8),
        "nan": np.array([np.nan, np.inf, -0.0], np.float32),
    }
    progress = {"epoch": 2, "best": 0.1 + 0.2, "history": [{"epoch": 1, "loss": 1 / 3}], "nan": float("nan")}
    save_state(tmp_path, arrays, progress)
    back, told = load_state(tmp_path)
    assert back.keys() == arrays.keys()
    for key, array in arrays.items():
        assert back[key].dtype == array.dtype and back[key].shape == array.shape
        np.testing.assert_array_equal(back[key], array)
    assert told == {**progress, "nan": None}


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs, no clean-up either."""


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_kill_at_any_rename_leaves_best_or_last(tmp_path, monkeypatch, before, moment):
    folder, rename, count = tmp_path / "run", os.replace, 0
    if before:
        save(folder, 1)
        save_state(folder, {"w": np.ones(3)}, {"epoch": 1})

    def replace(a, b):
        nonlocal count
        count += 1
        if count == moment:
            monkeypatch.setattr(Path, "unlink", lambda *a, **k: (_ for _ in ()).throw(Killed()))
            raise Killed
        rename(a, b)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(Killed):
        save(folder, 2)
        save_state(folder, {"w": np.full(3, 2.0)}, {"epoch": 2})
        save(folder, 3)
    monkeypatch.undo()
    if before or moment > 2:  # before the first weights are in place there is nothing to load
        assert loaded_version(folder) == (2 if moment > 2 else 1)
    else:
        with pytest.raises(TwelveLeadError):
            loaded_version(folder)
    if before:
        assert load_state(folder)[1]["epoch"] == 1
    save(folder, 4)  # whatever was left behind is in nobody's way
    assert loaded_version(folder) == 4


@pytest.fixture
def no_room():
    """Files above 4 kB cannot be written: what a full disk is like, without being root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_checkpoint_survives_a_full_disk(tmp_path, no_room):
    save(tmp_path, 1)
    with pytest.raises(TwelveLeadError, match=r"cannot write .*model\.safetensors: File too large"):
        save(tmp_path, 2, size=5000)
    assert loaded_version(tmp_path) == 1
    assert not list(tmp_path.glob(".partial-*"))


def test_state_survives_a_full_disk(tmp_path, no_room):
    save_state(tmp_path, {"w": np.ones(3)}, {"epoch": 1})
    with pytest.raises(TwelveLeadError, match=r"cannot write .*state\.safetensors.*Nothing was overwritten"):
        save_state(tmp_path, {"w": np.ones(5000)}, {"epoch": 2})
    assert load_state(tmp_path)[1] == {"epoch": 1}


def test_checkpoint_survives_a_small_disk_that_is_full(tmp_path):
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], capture_output=True)
    if mount.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        save(tmp_path, 1)
        with pytest.raises(TwelveLeadError, match="the disk is full: free some space"):
            save(tmp_path, 2, size=100_000)
        assert loaded_version(tmp_path) == 1
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_folder_that_cannot_be_written_to(tmp_path, monkeypatch, code):
    save(tmp_path, 1)

    def refuse(*_args, **_options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(TwelveLeadError, match="choose another output folder"):
        save(tmp_path, 2)
    assert loaded_version(tmp_path) == 1


def test_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(TwelveLeadError, match="choose another output folder"):
        save(tmp_path / "checkpoints" / "run", 1)


def edit_card(folder, changes, version=2):
    """Change values of a card, named like inputs.samples; None removes one."""
    card = json.loads((folder / "card.json").read_text())
    card = version_1(card) if version == 1 else card
    for path, value in changes.items():
        *parents, key = path.split(".")
        part = card
        for parent in parents:
            part = part[parent]
        if value is None:
            del part[key]
        else:
            part[key] = value
    (folder / "card.json").write_text(json.dumps(card))


def version_1(card):
    """The same card as version 1 had it."""
    flat = {key: card[key] for key in ("framework", "model", "weights", "weights_sha256")}
    flat |= {"task": card["task"]["name"], "multilabel": card["task"]["kind"] == "multilabel"}
    flat |= card["inputs"] | card["outputs"]["decision"] | card["provenance"] | card["extra"]
    flat.pop("plugins")
    return flat | {"classes": card["outputs"]["classes"], "chosen_on": "checkpoint: fold 9"}


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: flip_byte(f / "model.safetensors"), "SHA-256 differs"),
        (lambda f: os.truncate(f / "model.safetensors", 20), "SHA-256 differs"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "card.json").write_text("[1]"), "not a valid model card"),
        (lambda f: (f / "card.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "card.json").write_bytes(b"\xff\xfe\x00"), "not valid JSON"),
    ],
)
def test_checkpoint_that_is_damaged_is_named(tmp_path, damage, message):
    save(tmp_path, 1)
    damage(tmp_path)
    with pytest.raises(DataError) as caught:
        read_card(tmp_path)
    assert message in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("outputs.classes", None, "lacks {}: it is not a valid model card"),
        ("inputs.unit", None, "lacks {}: it is not a valid model card"),
        ("framework", "jax", "unknown framework 'jax'"),
        ("model", "ecgnet", "'model' must hold"),
        ("outputs.classes", ["A"], "'classes' must be a list with one entry for each of 5"),
        (
            "outputs.classes",
            ["A", "A", "B", "C", "D"],
            "'classes' must be a list with one entry for each of 5",
        ),
        ("outputs.decision.thresholds", [0.5], "'thresholds' must be a list"),
        ("outputs.decision.thresholds", [0.5, 0.5, 2, 0.5, 0.5], "'thresholds' must be probabilities"),
        ("outputs.decision.calibration", {"method": "platt"}, "'calibration': not a calibrator"),
        ("inputs.samples", "1000", "'samples' must be a whole number"),
        ("inputs.sampling_rate", 0, "'sampling_rate' must be a whole number"),
        ("inputs.crop", 100, "contradict each other"),
        ("inputs.leads", ["I"], "'leads' must be a list of 12 names"),
        ("inputs.leads", [*LEADS[1::-1], *LEADS[2:]], "'leads' must be in the order I II III"),
        ("inputs.unit", "uV", "'unit' must be mV, not 'uV'"),
        ("inputs.standardization", [], "'standardization' must be a JSON object"),
        ("inputs.standardization", {"mean": 0.0, "std": float("nan")}, "standardization"),
        ("inputs.standardization", {"mean": "x" * 9000, "std": 1.0}, "standardization"),
    ],
)
def test_card_with_impossible_values_names_them(tmp_path, version, path, value, message):
    save(tmp_path, 1)
    flat = path if path in ("framework", "model") else path.rpartition(".")[2]
    edit_card(tmp_path, {path if version == 2 else flat: value}, version)
    with pytest.raises(DataError) as caught:
        read_card(tmp_path)
    assert message.format(path if version == 2 else flat) in str(caught.value)
    assert str(tmp_path / "card.json") in str(caught.value)


def test_card_of_version_1_reads_like_the_new_one(tmp_path):
    save(tmp_path, 1)
    card = read_card(tmp_path)
    edit_card(tmp_path, {"prototypes": [1]}, version=1)
    old = read_card(tmp_path)
    assert old.inputs == card.inputs and old.outputs.decision == card.outputs.decision
    assert (old.task, old.kind, old.config) == (card.task, card.kind, card.config)
    assert old.outputs.chosen_on == "fold 9" and old.extra == {"prototypes": [1]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 3}, "written by a newer version of TwelveLead (card version 3; this one reads 1 to 2)"),
        ({"version": "2"}, "'version' must be 1 or 2, not '2'"),
        ({"version": True}, "'version' must be 1 or 2"),
        ({"task.kind": "multilable"}, "unknown kind of task 'multilable': did you mean 'multilabel'"),
        ({"task.kind": "multiclass"}, "'digest' differs"),
        ({"inputs.standardization.mean": 0.02}, "'digest' differs"),
        ({"outputs.decision.thresholds": [0.4] * 5}, "'digest' differs"),
        ({"outputs.classes": ["HYP", "CD", "MI", "NORM", "STTC"]}, "'digest' differs"),
        ({"model.filters": 3}, "'digest' differs"),
        ({"digest": None}, "'digest' differs"),
    ],
)
def test_card_that_was_changed_is_refused(tmp_path, changes, message):
    save(tmp_path, 1)
    edit_card(tmp_path, changes)
    with pytest.raises(DataError) as caught:
        read_card(tmp_path)
    assert message in str(caught.value)


def test_card_names_the_plugins_of_an_unknown_kind(tmp_path):
    save(tmp_path, 1)
    edit_card(tmp_path, {"task.kind": "toy", "provenance.plugins": ["toy.py"]})
    with pytest.raises(DataError, match=r"unknown kind of task 'toy'.*--plugins toy\.py"):
        read_card(tmp_path)


def test_card_of_another_model(tmp_path):
    save(tmp_path / "a", 1)
    save(tmp_path / "b", 2)
    os.replace(tmp_path / "a" / "card.json", tmp_path / "b" / "card.json")
    with pytest.raises(DataError, match="belongs to another model"):
        read_card(tmp_path / "b")


def test_checkpoint_unknown_is_answered_with_the_nearest(tmp_path):
    save(tmp_path / "checkpoints" / "ecgnet_long", 1)
    assert find_checkpoint("ecgnet_long", tmp_path) == tmp_path / "checkpoints" / "ecgnet_long"
    with pytest.raises(UsageError, match="did you mean 'ecgnet_long'"):
        find_checkpoint("ecgnet_lang", tmp_path)
    with pytest.raises(UsageError, match="no trained model 'x'"):
        find_checkpoint("x", tmp_path / "empty")


def test_checkpoint_without_a_card_is_told_from_an_unknown_one(tmp_path):
    run = tmp_path / "checkpoints" / "run"
    save_state(run, {"w": np.ones(3)}, {"epoch": 0})
    with pytest.raises(UsageError, match="stopped before it kept an epoch: continue it with --resume"):
        find_checkpoint("run", tmp_path)
    save(run, 1)
    (run / "card.json").unlink()
    for name in ("run", run):
        with pytest.raises(UsageError, match=r"has weights, but no card\.json"):
            find_checkpoint(name, tmp_path)


def test_resume_needs_the_whole_best_epoch(tmp_path):
    check_kept(tmp_path, {"best": None})
    save(tmp_path, 1)
    check_kept(tmp_path, {"best": 0.5})
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(DataError, match="SHA-256 differs"):
        check_kept(tmp_path, {"best": 0.5})
    (tmp_path / "card.json").unlink()
    with pytest.raises(DataError, match="has lost the card of its best epoch"):
        check_kept(tmp_path, {"best": 0.5})


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64, b"\x08" + b"\0" * 7 + b'{"a": 1}'])
def test_state_that_is_damaged_is_named(tmp_path, content):
    path = tmp_path / "last" / "state.safetensors"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"state\.safetensors is damaged"):
        load_state(tmp_path)


def test_state_that_is_truncated_is_named(tmp_path):
    save_state(tmp_path, {"w": np.ones(100)}, {"epoch": 1})
    path = tmp_path / "last" / "state.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(DataError, match="again with --overwrite"):
        load_state(tmp_path)


def test_resume_without_a_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="nothing to resume"):
        load_state(tmp_path)


def test_state_with_any_flipped_byte_is_refused(tmp_path):
    save_state(tmp_path, {"w": np.ones(5, np.float32), "b": np.zeros(2, np.int64)}, {"epoch": 1, "best": 0.5})
    path = tmp_path / "last" / "state.safetensors"
    content = path.read_bytes()
    text = content.rstrip(b" ")
    for at in range(8, len(text)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(DataError, match="is damaged"):
            load_state(tmp_path)
    path.write_bytes(content)
    assert load_state(tmp_path)[1] == {"epoch": 1, "best": 0.5}


def test_state_without_a_digest_loads(tmp_path):
    """As runs wrote it before states had one."""
    path = tmp_path / "last" / "state.safetensors"
    path.parent.mkdir()
    save_file({"w": np.ones(3)}, path, metadata={"progress": '{"epoch": 4}'})
    arrays, progress = load_state(tmp_path)
    assert progress == {"epoch": 4} and arrays["w"].tolist() == [1, 1, 1]
