"""The page of the tasks on other databases than PTB-XL: one configuration and one command each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from databases.registry import database_class
from training.card import Card
from training.checkpoint import ROOT
from utils.ecg import NOT_A_DEVICE
from utils.files import read_json
from utils.report.markdown import markdown
from utils.text import listed
from utils.yaml_files import read_mapping

CONFIGS = ROOT / "configs" / "tasks"
TITLES = {
    "macro_f1": "macro F1 over steps",
    "macro_dice": "macro F1",
    "sample_accuracy": "accuracy",
    "mean_f1": "mean F1 within 150, 75, 25 ms",
    "macro_roc_auc": "macro ROC-AUC",
    "macro_auprc": "macro AUPRC",
    "macro_f1_at_thresholds": "macro F1, chosen thresholds",
}
# What the literature reports between patients; its records differ from ours as the note says.
PUBLISHED = {
    "mitdb_beats": "Published between patients (DS1 and DS2): F1 of N 0.99 and of VEB 0.93, with record "
    "202 in DS2. Here 202 is learned from, because its patient is that of 201 in DS1."
}


def _interval(value: float | None, bounds: dict[str, Any] | None, digits: int = 3) -> str:
    if value is None:
        return "undefined"
    limits = [None if bounds is None else bounds.get(name) for name in ("low", "high")]
    shown = [f"{limit:.{digits}f}" for limit in limits if limit is not None]
    return f"{value:.{digits}f}" + (f" [{', '.join(shown)}]" if len(shown) == 2 else "")


def score_rows(test: dict[str, Any], row: dict[str, Any]) -> list[list[str]]:
    """Names and values, with their intervals, of a row's scores; the challenge's first."""
    rows = []
    if "challenge" in row:
        rows.append(["score of the challenge", _interval(row["challenge"]["score"], row["challenge"])])
    scored = row.get("scored", {})
    names = ", ".join(name for name in scored if name != "mean")
    for name in (["mean"] if scored else []) + [name for name in scored if name != "mean"]:
        title = f"mean F1 of {names}" if name == "mean" else f"F1 {name}"
        rows.append([title, _interval(scored[name]["value"], scored[name])])
    metrics, intervals = test["metrics"], test.get("bootstrap", {}).get("intervals", {})
    for name, title in TITLES.items():
        if name in metrics:
            rows.append([title, _interval(metrics[name], intervals.get(name))])
    return rows


def _headline(test: dict[str, Any], row: dict[str, Any]) -> str:
    name, value = score_rows(test, row)[0]
    return f"{name} {value}"


def _confusion(row: dict[str, Any], classes: list[str]) -> str:
    header = ["reference", *classes, "sensitivity", "PPV"]
    lines = []
    for number, (name, counts) in enumerate(zip(classes, row["confusion"], strict=True)):
        answered = sum(line[number] for line in row["confusion"])
        shares = (counts[number] / whole if whole else None for whole in (sum(counts), answered))
        lines.append(
            [name, *(f"{count:,}" for count in counts), *("" if s is None else f"{s:.3f}" for s in shares)]
        )
    return f"Answers, the most probable class, by column:\n\n{markdown(header, lines)}"


def _extent(row: dict[str, Any]) -> str:
    if row["records"] < row["of"]:
        return (
            f"Runs on {row['records']:,} records of {row['of']:,} ({row['patients']} patients): this shows "
            "that the command works; no published score can be compared with it."
        )
    return f"Runs on all {row['records']:,} records ({row['patients']} patients)."


def _commands(name: str, config: dict[str, Any], test: str = "") -> str:
    database, folder = config["database"], config["data_dir"]
    lines = [
        f"twelvelead download {database} --to {folder}   # the full set",
        f"python torch_train.py --config configs/tasks/{name}.yaml",
        test or f"python torch_test.py --model {config['model']} --run {name}",
        f"python -m benchmarks collect --run {name}",
    ]
    return "```bash\n" + "\n".join(lines) + "\n```"


def _part(name: str, config: dict[str, Any], folder: Path) -> str:
    kind = database_class(config["database"])
    head = f"## {name}\n\n{kind.title} (doi:{kind.doi}), task `{config['task']}`, model `{config['model']}`."
    if not (folder / "row.json").is_file():
        return (
            f"{head}\n\nRuns on 0 records: none of the {kind.size:,} was at hand, so nothing was trained or "
            f"scored. For the full set:\n\n{_commands(name, config)}"
        )
    row, test = read_json(folder / "row.json"), read_json(folder / "test.json")
    card = Card.from_json(read_json(folder / "card.json"), folder / "card.json")
    counts, splits = card.data.records, card.data.splits
    parts = [f"{head} {_extent(row)}"]
    if name in PUBLISHED:
        parts.append(PUBLISHED[name])
    parts.append(
        f"{counts['train']:,} records or windows learned ({splits['train']}), {counts['val']:,} to choose on "
        f"({splits['val']}), {test['records']:,} tested ({splits['test']}), scored {test['times_scored']} "
        f"time{'s' * (test['times_scored'] > 1)}."
    )
    absent = [class_name for class_name, count in row["tested"].items() if not count]
    if absent:
        parts.append(f"No test record has {listed(absent)}: scores of such classes say nothing.")
    parts.append(markdown(["score", "value (95 % CI over patients)"], score_rows(test, row)))
    if "confusion" in row:
        parts.append(_confusion(row, card.classes))
    parts.append(
        f"{row['parameters']:,} parameters, {row['epochs']} epochs in {row['seconds'] / 60:.1f} minutes, "
        f"seed {card.provenance.seed}, commit `{(card.provenance.git_commit or 'unknown')[:12]}`, test at "
        f"`{(test['git_commit'] or 'unknown')[:12]}`; predictions: "
        f"`benchmarks/data/tasks/{folder.name}/predictions.npz`."
    )
    return "\n\n".join([*parts, _commands(name, config, test["command"])])


def _overview(configs: dict[str, dict[str, Any]], data: Path) -> str:
    rows = []
    for name, config in configs.items():
        folder = data / "tasks" / name
        extent, score = f"0 of {database_class(config['database']).size:,}", ""
        if (folder / "row.json").is_file():
            row, test = read_json(folder / "row.json"), read_json(folder / "test.json")
            extent, score = f"{row['records']:,} of {row['of']:,}", _headline(test, row)
        rows.append([f"[{name}](#{name})", f"`{config['database']}`", f"`{config['task']}`", extent, score])
    if (data / "along_time.json").is_file():
        rows += _along_time(read_json(data / "along_time.json"))
    return markdown(["configuration", "database", "task", "records", "score (95 % CI)"], rows)


def _along_time(measured: dict[str, Any]) -> list[list[str]]:
    """Rows of the two shipped models along time, whose page has their scores in full."""
    rows, link = [], "(along_time.md)"
    if "mitdb" in measured:
        best, records = measured["mitdb"]["scores"]["100"], measured["mitdb"]["records"]
        value = _interval(best["f1"], {"low": best["f1_low"], "high": best["f1_high"]}, 4)
        cells = ["`mitdb`, `ludb`", "`qrs_by_lead`", f"DS2: {records}", f"F1 within 100 ms {value}"]
        rows.append([f"[rpeaks]{link}", *cells])
    if "ludb" in measured:
        whole = measured["ludb"]["all"]
        value = _interval(whole["metrics"]["macro_f1"], whole["bootstrap"]["intervals"]["macro_f1"], 4)
        cells = [
            "`ludb`",
            "`waves_by_lead`",
            f"71-100: {whole['records']}",
            f"macro F1 of boundaries {value}",
        ]
        rows.append([f"[ludb_waves]{link}", *cells])
    return rows


def page(data: Path) -> str:
    """Write the page from the configurations and the rows that ``collect --run`` made of their runs."""
    configs = {path.stem: read_mapping(path) for path in sorted(CONFIGS.glob("*.yaml"))}
    parts = "\n\n".join(_part(name, config, data / "tasks" / name) for name, config in configs.items())
    return f"""# Tasks on other databases

Generated by `python -m benchmarks render`; do not edit. {NOT_A_DEVICE}

One configuration and one command for each database and task beside [PTB-XL](ptbxl.md). Validation records
choose epoch and thresholds; test records are only scored. Intervals: bootstrap over patients.
R-peaks and waves by the shipped models have [a page of their own](along_time.md). Times are those of a
machine on which other jobs ran.

{_overview(configs, data)}

{parts}
"""
