"""`twelvelead databases`: what is known, and what is on this disk."""

import subprocess
import sys

from databases import list_databases
from tests.helpers.database_files import WRITERS
from twelvelead.commands.databases import on_disk


def test_databases_command_lists_every_database_and_counts_records(tmp_path):
    WRITERS["afdb"](tmp_path / "afdb")
    command = [sys.executable, "-m", "twelvelead", "databases", "--data_dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert set(list_databases()) <= set(lines)
    assert lines["afdb"].split()[1:5] == ["23", "2", "250", "2"]
    assert lines["ptbxl"].split()[1:6] == ["21,799", "12", "100,", "500", "-"]


def test_folder_that_is_another_database_is_called_unreadable(tmp_path):
    WRITERS["afdb"](tmp_path)
    assert on_disk("ludb", tmp_path) == "unreadable"
