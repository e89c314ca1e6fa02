"""Collect runs of ProtoECGNet and generate their tables.

python -m benchmarks.protoecgnet collect --run protoecgnet   # after torch_test.py has scored its stages
python -m benchmarks.protoecgnet ablate --data_dir data/ptb  # trains, scores and collects every ablation
python -m benchmarks.protoecgnet table                       # writes the page and README.md's block
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.protoecgnet_ablation_tables import ablation_page, reference_sentence
from benchmarks.protoecgnet_ablations import BASE, PREFIX, ablate, choose, read_ablations
from benchmarks.tables import insert, markdown
from models_torch.protoecgnet import BRANCHES
from training.checkpoint import ROOT, read_card
from utils.errors import UsageError, run_cli
from utils.files import atomic_path, read_json, write_json, write_text
from utils.flags import Parser
from utils.provenance import machine_folders, portable

RUNS = ROOT / "benchmarks" / "protoecgnet"
MAIN, SMALL, BLACK_BOX = "protoecgnet", BASE, "protoecgnet_black_box"
_STAGES = ("feature_extractor", "joint", "projection", "classifier")
_CARD = ("task", "seed", "command", "git_commit", "projection", "pruning", "metrics", "made_from", "config")


def _stages(folder: Path) -> list[Path]:
    """Checkpoint folders of a run, in the order in which they were made."""
    found = [folder / branch / stage for branch in BRANCHES for stage in _STAGES]
    return [path for path in [*found, folder / "fusion"] if (path / "card.json").exists()]


def collect(run: str, output_dir: Path, runs: Path = RUNS) -> Path:
    """Copy what the stages of a run left into one file."""
    base = output_dir / "checkpoints" / run
    stages: dict[str, Any] = {}
    for folder in _stages(base):
        name = folder.relative_to(base).as_posix()
        card, logs = read_card(folder), output_dir / "logs" / run / name
        entry: dict[str, Any] = {key: card[key] for key in _CARD if key in card}
        entry["records"] = card["data"]["records"]
        entry["prototypes"] = len(card.get("prototypes", []))
        if (logs / "metrics.csv").exists():
            with open(logs / "metrics.csv", encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            entry["epochs"] = len(rows)
            entry["seconds_per_epoch"] = round(sum(float(row["seconds"]) for row in rows) / len(rows), 2)
        if (logs / "test.json").exists():
            test = read_json(logs / "test.json")
            if test["checkpoint"]["weights_sha256"] != card["weights_sha256"]:
                raise UsageError(f"{logs / 'test.json'} belongs to other weights: score {run}/{name} again")
            frequent = test.get("frequent") or {**test, "classes": None}
            interval = frequent["bootstrap"]["intervals"].get("macro_roc_auc")
            kept = ("macro_roc_auc", "macro_auprc", "fmax", "ece", "undefined_classes", "class_roc_auc")
            entry["test"] = {key: test["metrics"][key] for key in kept}
            entry["test"] |= {"records": test["records"], "times_scored": test["times_scored"]}
            entry["test"]["frequent"] = {
                "classes": frequent["classes"] or list(test["metrics"]["class_roc_auc"]),
                "macro_roc_auc": frequent["metrics"]["macro_roc_auc"],
                "macro_roc_auc_95": [interval["low"], interval["high"]] if interval else None,
            }
        stages[name] = entry
    if not stages:
        raise UsageError(f"there is no run '{run}' in {base.parent}: train it with torch_train.py")
    folders: dict[str, str] = {}
    for entry in stages.values():
        folders |= machine_folders(entry["config"], output_dir)
    path = runs / f"{run}.json"
    write_json(path, portable({"run": run, "stages": stages}, folders))
    predictions = output_dir / "logs" / run / "fusion" / "predictions.npz"
    if predictions.exists():
        with atomic_path(runs / f"{run}_predictions.npz") as temporary:
            shutil.copyfile(predictions, temporary)
    return path


def _score(entry: dict[str, Any] | None) -> str:
    if not entry or "test" not in entry:
        return "–"
    frequent = entry["test"]["frequent"]
    bounds = frequent["macro_roc_auc_95"]
    interval = f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else ""
    return f"**{frequent['macro_roc_auc']:.3f}**{interval}"


def _all_classes(entry: dict[str, Any] | None) -> str:
    return "–" if not entry or "test" not in entry else f"{entry['test']['macro_roc_auc']:.3f}"


def _scored(entry: dict[str, Any]) -> str:
    """Classes of the label set, those with both outcomes in fold 10, and the frequent ones."""
    if "test" not in entry:
        return "–"
    values = entry["test"]["class_roc_auc"].values()
    defined = sum(value is not None for value in values)
    return f"{len(values)} / {defined} / {len(entry['test']['frequent']['classes'])}"


def _fold9(entry: dict[str, Any] | None) -> str:
    return "–" if not entry else f"{entry['metrics']['val_macro_roc_auc']:.3f}"


def main_table(runs: dict[str, dict[str, Any]]) -> str:
    """Each branch and the fusion beside the trunk alone."""
    lines = []
    for run in (MAIN, SMALL):
        if run not in runs:
            continue
        stages = runs[run]["stages"]
        boxes = runs[MAIN]["stages"]
        for branch in BRANCHES:
            joint, projected, last = (stages.get(f"{branch}/{stage}") for stage in _STAGES[1:])
            if last is None:
                continue
            box = boxes.get(f"{branch}/feature_extractor") if run == MAIN else None
            sources = f"{projected['projection']['distinct_records']}" if projected else "–"
            cells = [branch if run == MAIN else f"{branch}, half the width", _scored(last), _score(box)]
            cells += [_score(last), _all_classes(box), _all_classes(last)]
            cells += [_fold9(entry) for entry in (box, joint, projected, last)]
            lines.append([*cells, f"{last['prototypes']}", sources])
        fusion = stages.get("fusion")
        if fusion:
            alone = runs.get(BLACK_BOX, {}).get("stages", {}).get("rhythm/feature_extractor")
            box = alone if run == MAIN else None
            name = "**fusion**" if run == MAIN else "**fusion**, half the width"
            cells = [name, _scored(fusion), _score(box), _score(fusion), _all_classes(box)]
            cells += [_all_classes(fusion), _fold9(box), "–", "–", _fold9(fusion)]
            lines.append([*cells, f"{fusion['prototypes']}", "–"])
    header = ["branch", "classes: all / scored / frequent", "black box, frequent", "prototypes, frequent"]
    header += ["black box, scored", "prototypes, scored", "black box, fold 9", "joint, fold 9", "projected"]
    return markdown([*header, "classifier", "prototypes", "training ECGs before pruning"], lines)


def read_runs(runs: Path = RUNS) -> dict[str, dict[str, Any]]:
    """Read all collected runs."""
    found = {path.stem: read_json(path) for path in sorted(runs.glob("*.json"))}
    if MAIN not in found:
        raise UsageError(f"no {MAIN}.json in {runs}: python -m benchmarks.protoecgnet collect --run {MAIN}")
    return found


def block(runs: dict[str, dict[str, Any]], folder: Path = RUNS) -> str:
    """Make the block of the README."""
    fusion = runs[MAIN]["stages"].get("fusion") or next(iter(runs[MAIN]["stages"].values()))
    counts = fusion["records"]
    test = fusion.get("test", {}).get("records", 0)
    return "\n\n".join(
        [
            main_table(runs),
            f"<sub>Macro ROC-AUC, 95 % intervals over patients; trained on {counts['train']:,} records of "
            f"PTB-XL, chosen on {counts['val']} of fold 9, tested on {test} of fold 10 (the paper: 17,418 / "
            "2,183 / 2,198; 0.8808 for its rhythm branch, about 0.906 for an independent fusion). *Scored*: "
            "classes with both outcomes in fold 10; *frequent*: those of them with 5 patients or more, for "
            "which resampling is possible. *Black box*: the same trunk with a linear layer, same data and "
            f"seed.{reference_sentence(runs, folder)} Every stage, the ablations and the commands: "
            "[benchmarks/protoecgnet](benchmarks/protoecgnet/README.md).</sub>",
        ]
    )


def page(runs: dict[str, dict[str, Any]], folder: Path = RUNS) -> str:
    """Make the page with everything."""
    parts = [
        "# ProtoECGNet, measured",
        "Generated by `python -m benchmarks.protoecgnet table` from the JSON files beside this page. Macro "
        "ROC-AUC; fold 9 made every choice, fold 10 was only scored. **Not a medical device.**",
        "## Branches and fusion",
        main_table(runs),
    ]
    parts += ablation_page(runs, folder)
    parts.append("## Commands")
    lines = []
    for name, run in sorted(runs.items()):
        if name.startswith(PREFIX):  # its stages' own commands are in its file
            short = name.removeprefix(PREFIX)
            command = f"`python -m benchmarks.protoecgnet ablate --only {short}`"
            commits = sorted({(entry["git_commit"] or "")[:12] for entry in run["stages"].values()})
            lines.append([f"{name}/*", command, ", ".join(commits)])
            continue
        for stage, entry in run["stages"].items():
            lines.append([f"{name}/{stage}", f"`{entry['command']}`", (entry["git_commit"] or "")[:12]])
    parts.append(markdown(["stage", "command", "commit"], lines))
    return "\n\n".join(parts) + "\n"


def main(args: Sequence[str] | None = None) -> None:
    """Read the flags, then ablate, collect or write."""
    parser = Parser(prog="python -m benchmarks.protoecgnet", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("collect", help="copy what the stages of a run left into one file")
    made.add_argument("--run", default=MAIN, help="run to collect (default: %(default)s)")
    every = commands.add_parser("ablate", help="train, score and collect the ablations")
    every.add_argument("--data_dir", default="data/ptb", help="PTB-XL (default: %(default)s)")
    small = ROOT / "configs" / "protoecgnet" / "small.yaml"
    every.add_argument("--config", type=Path, default=small, help="the base (default: %(default)s)")
    every.add_argument("--only", nargs="+", metavar="NAME", help="these alone (default: all of the list)")
    every.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    for command in (made, every):
        command.add_argument(
            "--output_dir",
            type=Path,
            default=Path("."),
            help="folder with checkpoints/ and logs/ (default: .)",
        )
    table = commands.add_parser("table", help="write the page and README.md's block")
    table.add_argument("--readme", type=Path, default=ROOT / "README.md", help="default: README.md")
    for command in (made, every, table):
        command.add_argument(
            "--runs", type=Path, default=RUNS, help="folder of the collected runs (default: %(default)s)"
        )
    options = parser.parse_args(args)
    if options.command == "ablate":
        listed = read_ablations()
        for run in choose(options.only, listed):
            ablate(run, listed[run], options.config, options.data_dir, options.output_dir, options.threads)
            print(f"wrote {collect(run, options.output_dir, options.runs)}")
        return
    if options.command == "collect":
        print(f"wrote {collect(options.run, options.output_dir, options.runs)}")
        return
    runs = read_runs(options.runs)
    write_text(options.runs / "README.md", page(runs, options.runs))
    text = insert(options.readme.read_text(encoding="utf-8"), block(runs, options.runs), "protoecgnet")
    if text is None:
        raise UsageError(
            f"{options.readme} has no lines <!-- protoecgnet:begin --> and <!-- protoecgnet:end -->"
        )
    write_text(options.readme, text)
    print(f"wrote {options.runs / 'README.md'} and the block in {options.readme}")


if __name__ == "__main__":
    run_cli(main)
