"""``python -m benchmarks.results``, ``.protoecgnet`` and ``.attribution`` of version 0.1, for one version."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import __main__ as commands
from benchmarks.collect import collect_chain, collect_report, collect_row
from benchmarks.rows import DATA, read_rows
from utils.errors import UsageError, run_cli
from utils.files import write_text
from utils.flags import Parser

FOLDERS = {"results": "ptbxl_small", "protoecgnet": "protoecgnet", "attribution": "attribution"}


def _page(name: str, folder: Path) -> str:
    from benchmarks.pages import attribution, protoecgnet, ptbxl

    if name == "results":
        return ptbxl.page([], read_rows(folder))
    if name == "protoecgnet":
        return protoecgnet.page(protoecgnet.read_runs(folder), folder)
    return attribution.page(attribution.read_studies(folder))


def _parser(name: str) -> argparse.ArgumentParser:
    parser = Parser(prog=f"python -m benchmarks.{name}", description="Now: python -m benchmarks --help")
    parser.add_argument("command", choices=["collect", "table", "ablate"])
    for flag in ("run", "row", "report", "config", "data_dir", "threads", "readme"):
        parser.add_argument(f"--{flag}")
    parser.add_argument("--output_dir", default=".")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--results", "--runs", "--studies", dest="folder", type=Path)
    return parser


def main(name: str, args: list[str]) -> int | None:
    """Run a former command under its present name; a folder of rows is read and written where it is."""
    options = _parser(name).parse_args(args)
    new = {"table": "check" if options.check else "render"}.get(options.command, options.command)
    print(
        f"note: `python -m benchmarks.{name} {options.command}` is now `python -m benchmarks {new}`",
        file=sys.stderr,
    )
    folder = options.folder or DATA / FOLDERS[name]
    if options.command == "ablate":
        flags = {"base": options.config, "data_dir": options.data_dir, "threads": options.threads}
        words = [word for flag, value in flags.items() if value for word in (f"--{flag}", value)]
        words += ["--only", *options.only] if options.only else []
        words += ["--data", str(folder.parent)] if options.folder and folder.name == "protoecgnet" else []
        return commands.main(["ablate", "--output_dir", options.output_dir, *words])
    if options.command == "collect":
        written = _collect(name, options, folder)
        for path in written:
            print(f"wrote {path}")
        return None
    if options.folder:
        write_text(folder / "README.md", _page(name, folder))
        print(f"wrote {folder / 'README.md'}")
        return None
    readme = ["--readme", options.readme] if options.readme else []
    return commands.main([new, *readme])


def _collect(name: str, options: argparse.Namespace, folder: Path) -> list[Path]:
    output_dir = Path(options.output_dir)
    if name == "attribution":
        if options.report is None:
            raise UsageError("collect needs --report FOLDER, the output folder of attribution.report")
        return collect_report(Path(options.report), folder)
    if name == "protoecgnet":
        return collect_chain(options.run or "protoecgnet", output_dir, folder)
    if options.run is None:
        raise UsageError("collect needs --run RUN")
    return collect_row(options.run, options.row or "", output_dir, options.folder)


if __name__ == "__main__":
    former = sys.modules["__main__"].__spec__
    run_cli(lambda: main(str(former and former.name).rpartition(".")[2], sys.argv[1:]))
