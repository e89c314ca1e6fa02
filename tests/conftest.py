"""Fixtures that several test files share."""

import os
import signal
from pathlib import Path

# Before any framework is imported, and for every subprocess: quiet, on the CPU, one thread a worker.
for _name, _value in {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "MPLBACKEND": "Agg",
}.items():
    os.environ.setdefault(_name, _value)

import pytest  # noqa: E402  (after the environment is set)
from hypothesis import settings  # noqa: E402

# A busy machine makes single examples slow; no test is about time. The suite draws the same examples each
# time; `pytest -m hypothesis --hypothesis-profile search` draws others, and many where a test sets no number.
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("fixed")

# A suite started in the background inherits an ignored Ctrl-C; the tests of interruption need the usual one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("TWELVELEAD_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "ptbxl" / "ptbxl_database.csv").exists():
        pytest.skip(f"no real recordings at {folder} (set TWELVELEAD_DATA to their folder)")
    return folder
