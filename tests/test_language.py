"""The language of code, messages and documents: American spelling, and phrases to avoid."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = (
    "tests/goldens/",
    "benchmarks/data/",
    "docs/results/",
    "data/",
    "checkpoints/",
    "tests/test_language.py",
)

PHRASES = {
    r"(?<!there )\bis no\b|(?<!there )\b(?:are|was|were) no\b": "say 'is not a'",
    r"\bso many\b": "say 'N', or 'the number of'",
    r"\b(?:go|goes|going|went) on\b(?! (?:for|to|top))": "say resume, or continue",
    r"\banew\b": "say again",
    r"(?<!ground.)(?<!attribution\.)\btruths?\b(?!\.npz)": "say ground truth",
    r"\bof the house\b": "say of the repository",
}
# stems in British spelling
BRITISH = (
    "(?:analys|catalys)(?:e|ed|es|ing)\\b", "artefact", "behaviour", "cancell(?:ed|ing)", "catalogue",
    "centimetre", "centre", "colour", "defence", "favour", "fibre", "flavour", "grey", "haem", "ischaem",
    "labell(?:ed|ing)", "licence", "millimetre", "modell(?:ed|ing)", "neighbour", "oesoph", "signalled",
    "(?:binar|capital|categor|character|custom|digit|discret|equal|final|general|harmon|initial|local|maxim|"
    "memor|minim|normal|organ|optim|parametr|penal|prior|quant|random|recogn|regular|serial|special|stabil|"
    "standard|summar|synchron|token|util|vector|visual)is(?:e|ed|er|es|ing|ation)",
)  # fmt: skip
# names that must stay: of weights and keys in files, of former options, of a theme of the documentation
KEPT = re.compile(
    r"prefix}centre|[\"`]centre[\"`]|"
    r"fusion_standardise|['\"-]standardise\b|standardise: false|['\"` ]standardised`|"
    r"\blocalisation\b|\"centred\"|blue grey|[\"`]truths?[\"`]|--truth\b|load and standardise|"
    r"replace\('standardise'"
)


def offences(text: str) -> list[str]:
    """Phrases and spellings of a text that the repository avoids."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        said = KEPT.sub("", line)
        words = said.replace("_", " ")  # names, too
        for pattern, remedy in PHRASES.items():
            found += [
                f"line {number}: '{m[0]}': {remedy}" for m in re.finditer(pattern, words, re.IGNORECASE)
            ]
        for m in re.finditer("|".join(BRITISH), said, re.IGNORECASE):
            found.append(f"line {number}: '{m[0]}' is British spelling")
    return found


def test_language_of_code_messages_and_documents():
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    found, read = [], 0
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        endings = (
            ".py",
            ".md",
            ".yaml",
            ".yml",
            ".toml",
            ".jinja",
            ".js",
            ".css",
            ".html",
            ".txt",
            "Makefile",
        )
        if name.startswith(SKIPPED) or not name.endswith(endings) or not path.is_file():
            continue
        read += 1
        found += [f"{name}: {offence}" for offence in offences(path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)
    assert read > 300


@pytest.mark.parametrize(
    "text",
    [
        "an operation that is no layer",
        "rhythm marks are no beats",
        "stop after so many epochs",
        "--resume goes on with it",
        "the truth of a window",
        "truth = mask > 0",
        "truth_mask = beats",
        "def test_identity_is_no_calibrator():",
        "written anew",
        "standardise the signals",
        "def test_centres():",
        "COLOURS = {}",
        "labelled records",
        "analysing scores",
    ],
)
def test_language_check_finds_an_offence(text):
    assert len(offences(text)) == 1


def test_language_check_leaves_plain_english_alone():
    text = (
        "there is no file a.txt; there are no records; ground truth, ground-truth masks, ground_truth=mask\n"
        "truth.npz; optimistic; the analysis of size; standardized colors; a license; promise; precision\n"
    )
    assert offences(text) == []
