"""Damaged files for every reader: `python -m tests.fuzz` (`make fuzz`), and a short run in the test suite.

An input is one file, or several joined by `targets.SEPARATOR`. What must hold for each is in `execute`: an
answer or one of our errors that names the file, no wrong lead, bounded memory, no file read elsewhere.
"""

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def seeds(target: str) -> list[bytes]:
    """Committed inputs of a target, in order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]
