"""Wrong names, cards, plugins and folds are named with their remedy by every command that meets them."""

import re

import pytest

from preprocessing.windows import save_windows
from tests.helpers.command_lines import run_lines
from tests.helpers.training_files import OPTIONS, small_database, write_untrained
from tests.helpers.window_files import tiny_windows
from utils.files import read_json, write_json

pytestmark = pytest.mark.torch

# command: an option of it, misspelled
COMMANDS = {
    "python train.py": "--batchsiz",
    "python torch_train.py": "--epoch_",
    "python torch_train.py --model protoecgnet": "--proto_dimm",
    "python test.py": "--resample_",
    "python torch_test.py": "--resample_",
    "python inference.py": "--modle",
    "python -m attribution.build": "--datset",
    "python -m attribution.train": "--datset",
    "python -m attribution.compute": "--atr_method",
    "python -m attribution.evaluate": "--eval_metrics_",
    "python -m attribution.sanity": "--window",
    "python -m attribution.report": "--resample",
    "python -m benchmarks collect": "--rows",
    "python -m benchmarks render": "--reedme",
    "python -m databases.download": "--too",
    "python -m databases.synthetic": "--record_",
    "python -m preprocessing.summary": "--taks",
    "python -m training.experiments.tune --model ecgnet": "--n_trial_",
    "python -m training.publish": "--nam",
}
CARD_COMMANDS = (
    "python inference.py --model small --dir data/records100/00000/00001_lr",
    "python torch_test.py --model ecgnet --run small --data_dir data",
    "python torch_train.py --model ecgnet --data_dir data --init small --run next --epochs 1",
    "python -m training.publish --run small",
    "python -m benchmarks collect --run small --data rows",
    "python -m attribution.compute --dataset_path windows.npz --model_path small",
)
DATABASE = '''
from databases import Database, register_database

@register_database
class {name}(Database):
    """A database."""

    name = "{key}"
'''


def test_option_that_is_unknown_gets_the_nearest_in_every_command(tmp_path):
    done = run_lines([f"{command} {flag} x" for command, flag in COMMANDS.items()], tmp_path, check=False)
    for part, flag in zip(done, COMMANDS.values(), strict=True):
        assert part.code == 2 and f"'{flag}'" in part.err, part
        assert "did you mean '--" in part.err and "Traceback" not in part.err, part
    assert list(tmp_path.iterdir()) == []


def test_settings_file_with_an_unknown_key_gets_the_nearest_in_every_command(tmp_path):
    lines = []
    for number, (command, flag) in enumerate(COMMANDS.items()):
        (tmp_path / f"{number}.yaml").write_text(f"{flag[2:]}: x\n")
        lines.append(f"{command} --config {number}.yaml")
    for number, part in enumerate(run_lines(lines, tmp_path, check=False)):
        assert part.code == 2 and f"{number}.yaml" in part.err and "did you mean '" in part.err, part


@pytest.fixture
def folder(tmp_path):
    """A working folder with a database and an untrained checkpoint, ``small``."""
    small_database(tmp_path / "data")
    write_untrained(tmp_path / "checkpoints" / "small", "ecgnet")
    save_windows(tiny_windows(), tmp_path / "windows.npz")
    return tmp_path


def damage(card, how):
    if how == "version 3":
        write_json(card, read_json(card) | {"version": 3})
    elif how == "edited":
        content = read_json(card)
        content["inputs"]["standardization"]["mean"] = 1.0
        write_json(card, content)
    elif how == "truncated":
        card.write_bytes(card.read_bytes()[:200])
    else:
        card.unlink()


@pytest.mark.parametrize(
    ("how", "message", "remedy"),
    [
        ("version 3", "written by a newer version of TwelveLead", "update TwelveLead, or train again"),
        ("edited", "'digest' differs", "copy it again, or train again"),
        ("truncated", "card.json", "copy|train|download"),
        ("absent", "card.json|no trained model", "copy|train|valid|given"),
    ],
)
def test_card_that_cannot_be_used_is_refused_by_every_command(folder, how, message, remedy):
    damage(folder / "checkpoints" / "small" / "card.json", how)
    for part in run_lines(CARD_COMMANDS, folder, check=False):
        assert part.code in (1, 2) and re.search(message, part.err), part
        assert re.search(remedy, part.err, re.IGNORECASE) and "Traceback" not in part.err, part
    assert not (folder / "checkpoints" / "next").exists() and not (folder / "rows").exists()


def test_databases_of_one_name_are_refused_with_both_modules(tmp_path):
    for module, name, key in (("one", "One", "mine"), ("two", "Two", "mine"), ("three", "Three", "ptbxl")):
        (tmp_path / f"{module}.py").write_text(DATABASE.format(name=name, key=key))
    lines = [
        "python -m preprocessing.summary --data_dir data --plugins one.py,two.py",
        "python torch_train.py --data_dir data --plugins three.py",
    ]
    ours, shipped = run_lines(lines, tmp_path, check=False)
    assert ours.code == 2 and "database 'mine'" in ours.err and "one" in ours.err and "two" in ours.err
    assert shipped.code == 2 and "database 'ptbxl'" in shipped.err and "databases.ptbxl" in shipped.err


def test_kfold_of_more_folds_than_patients_is_refused(folder):
    kfold = "--data_dir data --split kfold --folds 51 --fold 1"
    lines = [
        f"python torch_train.py --model ecgnet {kfold}",
        f"python -m preprocessing.summary {kfold}",
        f"python -m attribution.build --dataset ptbxl {kfold} --to windows.npz",
        "python torch_train.py --model ecgnet --data_dir data --split kfold --folds 5 --fold 6",
    ]
    *too_many, beyond = run_lines(lines, folder, check=False)
    for part in too_many:
        assert part.code == 2 and re.search("51 folds|50 patients", part.err), part
    assert beyond.code == 2 and "--fold 6 is above --folds 5" in beyond.err


def test_model_that_cannot_give_the_targets_of_a_task_is_refused(folder):
    options = str(OPTIONS["ecgnet"]).replace("'", '"')
    line = f"python torch_train.py --model ecgnet --model_config '{options}' --data_dir data --epochs 1"
    wrong = line.replace("}", ', "num_classes": 3}')
    (done,) = run_lines([wrong], folder, check=False)
    assert done.code == 2 and re.search(r"gives \(3,\) for a record|num_classes", done.err), done
    assert not (folder / "checkpoints" / "ecgnet" / "card.json").exists()
