"""Every scoring of test records is a line of the log; synthetic records are none."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from databases.synthetic import write_dataset
from preprocessing import load_ptbxl
from tests.helpers.training_files import ROOT, small_database, write_untrained
from training.checkpoint import read_card
from training.fold10_log import COLUMNS, append
from twelvelead.commands.test import main
from utils.errors import DataError


@pytest.fixture
def log(tmp_path, monkeypatch):
    path = tmp_path / "kept" / "log.csv"
    monkeypatch.setenv("TWELVELEAD_FOLD10_LOG", str(path))
    return path


def lines_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        assert tuple(reader.fieldnames) == COLUMNS
        return list(reader)


def line(**values) -> dict[str, str]:
    return dict.fromkeys(COLUMNS, "") | values


def score(monkeypatch, out, *words):
    words = ["--output_dir", str(out), "--resamples", "5", *map(str, words)]
    monkeypatch.setattr(sys, "argv", ["torch_test.py", *words])
    main("torch", "ecgnet", words)


def test_tests_do_not_write_to_the_committed_log(fold10_log):
    assert os.environ["TWELVELEAD_FOLD10_LOG"] == str(fold10_log)
    assert ROOT not in fold10_log.parents
    assert lines_of(ROOT / "benchmarks" / "fold10_log.csv") is not None


def test_log_has_a_line_for_each_scoring(tmp_path, log, monkeypatch):
    database, out = small_database(tmp_path / "ptb"), tmp_path / "elsewhere"
    write_untrained(out / "checkpoints" / "mine", "ecgnet")
    score(monkeypatch, out, "--run", "mine", "--data_dir", database)
    score(monkeypatch, out, "--run", "mine", "--data_dir", database, "--limit", 7)
    first, second = lines_of(log)
    assert first["time_utc"] <= second["time_utc"] and first["time_utc"].endswith("Z")
    assert (first["records"], second["records"]) == ("10", "7")
    assert first["release"] == "no official release (100 records)"
    digest = read_card(out / "checkpoints" / "mine").weights_sha256
    assert len(first["weights_sha256"]) >= 12 and digest.startswith(first["weights_sha256"])
    assert load_ptbxl(database).fingerprint.startswith(first["data_fingerprint"])
    assert first["command"] == (
        "python torch_test.py --output_dir . --resamples 5 --run mine --data_dir data/ptb"
    )
    assert str(tmp_path) not in log.read_text()
    for entry in (first, second):
        assert [entry[name] for name in ("run", "model", "task", "split")] == [
            *("mine", "ecgnet", "superdiagnostic", "fold 10")
        ]


def test_synthetic_and_refused_records_are_not_logged(tmp_path, log, monkeypatch):
    write_untrained(tmp_path / "checkpoints" / "ecgnet", "ecgnet", samples=1000)
    score(monkeypatch, tmp_path, "--data_dir", write_dataset(tmp_path / "synthetic", records=60, seed=1))
    assert not log.exists()
    with pytest.raises(DataError, match="do not fit"):
        score(monkeypatch, tmp_path, "--data_dir", small_database(tmp_path / "short"))
    assert not log.exists()


def test_log_takes_lines_of_processes_at_once(tmp_path):
    path = tmp_path / "log.csv"
    code = (
        "import sys; from pathlib import Path; from training.fold10_log import COLUMNS, append\n"
        "name, path = sys.argv[1], Path(sys.argv[2])\n"
        "for k in range(60): append(dict.fromkeys(COLUMNS, f'{name} {k} ' + 200 * 'x'), path)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, name, str(path)], cwd=ROOT) for name in ("a", "b", "c")
    ]
    assert [writer.wait(timeout=300) for writer in writers] == [0, 0, 0]
    found = [entry["run"].split()[:2] for entry in lines_of(path)]
    assert sorted(found) == sorted([name, str(k)] for name in "abc" for k in range(60))


def test_value_is_one_line_and_follows_a_line_that_was_cut_short(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(",".join(COLUMNS) + "\n2027-01-01T00:00:00Z,cut")
    append(line(run="a\nb", command='say "x, y"'), path)
    cut, whole = lines_of(path)
    assert cut["run"] == "cut" and (whole["run"], whole["command"]) == ("a b", 'say "x, y"')


def test_log_that_cannot_be_written_is_said(tmp_path, log, monkeypatch, capsys):
    (tmp_path / "kept").write_text("a file, not a folder")
    write_untrained(tmp_path / "checkpoints" / "ecgnet", "ecgnet")
    score(monkeypatch, tmp_path, "--data_dir", small_database(tmp_path / "ptb"))
    text = capsys.readouterr().out
    assert f"note: this scoring is not in {log}, which cannot be written" in text
    assert ",ecgnet,ecgnet,superdiagnostic,fold 10,10," in text and "macro ROC-AUC" in text


def test_log_is_not_a_change_of_the_code(tmp_path, monkeypatch):
    from utils import provenance

    def git(*words):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=n", "-c", "user.email=e", *words], check=True)

    for name in ("utils/provenance.py", provenance.SCORING_LOG):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "utils" / "provenance.py"))
    (tmp_path / provenance.SCORING_LOG).write_text("1\n2\n")
    assert "+changes" not in provenance.git_commit()
    (tmp_path / "utils" / "provenance.py").write_text("2\n")
    assert provenance.git_commit().endswith("+changes")
