"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("TWELVELEAD_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "ptbxl" / "ptbxl_database.csv").exists():
        pytest.skip(f"no real recordings at {folder} (set TWELVELEAD_DATA to their folder)")
    return folder
