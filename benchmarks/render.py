"""Every generated document: result pages in ``docs/results`` and the table of README.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.pages import (
    along_time,
    attribution,
    backbones,
    certified,
    explorer,
    export,
    grids,
    protoecgnet,
    ptbxl,
    quality,
    rpeaks,
    tasks,
)
from benchmarks.rows import DATA, read_rows
from training.checkpoint import ROOT
from utils.files import write_text

DOCS = ROOT / "docs" / "results"
README = ROOT / "README.md"
SPEED = ROOT / "benchmarks" / "speed"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def _ptbxl(data: Path) -> dict[str, str]:
    sets = read_rows(data / "ptbxl"), read_rows(data / "ptbxl_small")
    return {"ptbxl.md": ptbxl.page(*sets), "ptbxl.csv": ptbxl.to_csv(*sets)}


def _protoecgnet(folder: Path) -> str:
    return protoecgnet.page(protoecgnet.read_runs(folder), folder)


PAGES: dict[str, Callable[[Path], dict[str, str]]] = {
    "ptbxl": _ptbxl,
    "quality": lambda data: (
        {"quality.md": quality.page(data / "quality.json")} if (data / "quality.json").is_file() else {}
    ),
    "rpeaks": lambda data: (
        {"rpeaks.md": rpeaks.page(data / "rpeaks.json")} if (data / "rpeaks.json").is_file() else {}
    ),
    "backbones": lambda data: (
        {"backbones.md": backbones.page(data / "backbones.json", SPEED / "backbones.json")}
        if (data / "backbones.json").is_file()
        else {}
    ),
    "tasks": lambda data: {"tasks.md": tasks.page(data)} if (data / "tasks").is_dir() else {},
    "along_time": lambda data: (
        {"along_time.md": along_time.page(data / "along_time.json")}
        if (data / "along_time.json").is_file()
        else {}
    ),
    "certified": lambda data: (
        {"certified.md": certified.page(data / "certified")} if (data / "certified").is_dir() else {}
    ),
    "grids": lambda data: {"grids.md": grids.page(data / "grids")} if (data / "grids").is_dir() else {},
    "explorer": lambda data: (
        {"explorer.md": explorer.page(data / "explorer.json")} if (data / "explorer.json").is_file() else {}
    ),
    "export": lambda data: (
        {"export.md": export.page(data / "export.json")} if (data / "export.json").is_file() else {}
    ),
    "protoecgnet": lambda data: {"protoecgnet.md": _protoecgnet(data / "protoecgnet")},
    "attribution": lambda data: {
        "attribution.md": attribution.page(attribution.read_studies(data / "attribution"))
    },
}


def insert(text: str, content: str) -> str | None:
    """Text with new content between the two markers, None where they are absent or doubled."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        return None
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{content}\n{END}{rest.split(END)[1]}"


def documents(data: Path = DATA, docs: Path = DOCS, readme: Path = README) -> dict[Path, str | None]:
    """Text of every generated file; None for a README without the two markers."""
    texts: dict[Path, str | None] = {
        docs / name: text for page in PAGES.values() for name, text in page(data).items()
    }
    table = ptbxl.tables.short_table(read_rows(data / "ptbxl"), read_rows(data / "ptbxl_small")).strip()
    texts[readme] = insert(readme.read_text(encoding="utf-8") if readme.is_file() else "", table)
    return texts


def render(data: Path = DATA, docs: Path = DOCS, readme: Path = README) -> None:
    """Write every generated file."""
    for path, text in documents(data, docs, readme).items():
        if text is None:
            print(f"{path} is absent or does not have the lines {BEGIN} and {END} once: no table there")
            continue
        write_text(path, text)
        print(f"wrote {path}")


def outdated(data: Path = DATA, docs: Path = DOCS, readme: Path = README) -> list[Path]:
    """Generated files that are not what the data give."""
    return [
        path
        for path, text in documents(data, docs, readme).items()
        if text is None or not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
