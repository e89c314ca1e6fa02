"""The tables of results as text: Markdown for people, CSV for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.rows import PUBLISHED, PUBLISHED_RECORDS, PUBLISHED_TRAINING, Row, limits, recipe
from training.evaluate import CALIBRATION
from utils.bootstrap import paired_difference
from utils.calibration import Calibrator

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
BASELINE = "imle_net"  # other rows are compared with it, record by record
NAMES = {
    "imle_net": "IMLE-Net",
    "mousavi": "Mousavi",
    "rajpurkar": "Rajpurkar",
    "ecgnet": "ECGNet",
    "resnet101": "ResNet101",
}


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _interval(row: Row, metric: str, name: str | None = None) -> str:
    bounds = row.test["bootstrap"]["intervals"].get(metric)
    bounds = bounds.get(name) if bounds and name else bounds
    return f" [{bounds['low']:.3f}, {bounds['high']:.3f}]" if bounds else ""


def _change(d: dict[str, float]) -> str:
    return f"{d['difference']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]"


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Make a table whose first column is text and the others numbers."""
    rule = ["---" if i == 0 else "---:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines))


def _of_task(rows: Sequence[Row], task: str) -> list[Row]:
    return [row for row in rows if row.card["task"] == task]


def _records(row: Row) -> str:
    counts = row.card["data"]["records"]
    return f"{counts['train']:,} / {counts['val']:,} / {row.test['records']:,}"


def _start(row: Row) -> list[str]:
    """The columns that every table begins with."""
    mark = " *" if limits(row) else ""
    return [
        NAMES[row.card["model"]["name"]] + mark,
        f"`{recipe(row.card)}`",
        f"{row.parameters:,}",
        _records(row),
        f"{row.epochs} ({row.card['metrics']['epoch']})",
        _number(row.card["metrics"]["val_macro_roc_auc"]),
        f"**{_number(row.test['metrics']['macro_roc_auc'])}**{_interval(row, 'macro_roc_auc')}",
    ]


_START = ["model", "recipe", "parameters", "records train / val / test", "epochs (best)"]
_START += ["fold 9 ROC-AUC", "fold 10 ROC-AUC (95 % CI)"]


def _calibration(row: Row) -> str:
    return f"{_number(row.test['metrics']['ece'])} → {_number(row.test.get('ece_calibrated'))}"


def main_table(rows: Sequence[Row]) -> str:
    """Five superclasses, with the published numbers beside ours."""
    header = [
        *_START,
        "published",
        "accuracy %",
        "published",
        "max F1",
        "published",
        "macro F1",
        "ECE → calibrated",
    ]
    lines = []
    for row in rows:
        metrics, (auc, accuracy, f1) = row.test["metrics"], PUBLISHED[row.card["model"]["name"]]
        lines.append(
            [
                *_start(row),
                f"*{auc:.3f}*",
                _number(100 * metrics["mean_accuracy"], 1),
                f"*{accuracy:.1f}*",
                _number(metrics["max_f1_reference"]),
                f"*{f1:.3f}*",
                _number(metrics["macro_f1_at_thresholds"]),
                _calibration(row),
            ]
        )
    return markdown(header, lines)


def mi_table(rows: Sequence[Row]) -> str:
    """Second stage: ASMI, IMI or NORM."""
    header = [*_START, "accuracy of the most probable class %", "macro F1", "ECE → calibrated"]
    lines = [
        [
            *_start(row),
            _number(100 * row.test["metrics"]["top1_accuracy"], 1),
            _number(row.test["metrics"]["macro_f1_at_thresholds"]),
            _calibration(row),
        ]
        for row in rows
    ]
    return markdown(header, lines)


def class_table(rows: Sequence[Row]) -> str:
    """ROC-AUC of each class with its interval."""
    classes = rows[0].card["classes"]
    lines = [
        [f"`{row.name}`"]
        + [
            _number(row.test["metrics"]["class_roc_auc"][c]) + _interval(row, "class_roc_auc", c)
            for c in classes
        ]
        for row in rows
    ]
    return markdown(["row", *classes], lines)


def calibration_changes(row: Row) -> dict[str, Any]:
    """Scores of calibration, raw and calibrated, with their differences; {} for a row without calibrator."""
    if "calibrated" in row.test:
        return row.test["calibrated"].get("differences", {})
    if not row.card.get("calibration") or "impossible" in row.test["bootstrap"]:
        return {}
    saved, calibrator = row.predictions(), Calibrator.from_json(row.card["calibration"])
    if calibrator.is_identity:
        return {}
    raw = saved["probability"]
    return {
        name: paired_difference(saved["label"], calibrator(raw), raw, saved["patient_id"], name)
        for name in CALIBRATION
    }


def calibration_table(rows: Sequence[Row]) -> str:
    """Scores of calibration with the differences that the calibrator makes."""
    header = ["row"]
    for title in CALIBRATION.values():
        header += [f"{title} → calibrated", "difference (95 % CI)"]
    lines = []
    for row in rows:
        changes, line = calibration_changes(row), [f"`{row.name}`"]
        for name in CALIBRATION:
            change = changes.get(name)
            raw = change["b"] if change else row.test["metrics"].get(name)
            line.append(f"{_number(raw)} → {_number(change['a'] if change else None)}")
            line.append(_change(change) if change else "–")
        lines.append(line)
    head = (
        "Calibration on fold 10, means over classes; lower is better. A dash: no calibrator, because none "
        "lowered the log loss of the patients of fold 9 that it was not fitted on."
    )
    return f"{head}\n\n{markdown(header, lines)}"


def data_sentences(rows: Sequence[Row]) -> str:
    """Say how our data and the published data differ, and what the columns mean."""
    full = [row for row in rows if not limits(row)] or list(rows)
    ours = sorted({row.card["data"]["records"]["train"] for row in full})
    trained = " to ".join(f"{n:,}" for n in {ours[0]: 0, ours[-1]: 0})
    tested = " to ".join(f"{n:,}" for n in dict.fromkeys(sorted(row.test["records"] for row in full)))
    text = (
        "*Published* numbers are those of the IMLE-Net study (doi:10.1109/SMC52423.2021.9658706) on the "
        f"folds of all {PUBLISHED_RECORDS:,} records of PTB-XL, {PUBLISHED_TRAINING:,} of them for training; "
    )
    if ours[-1] < PUBLISHED_TRAINING:
        text += (
            f"our rows were trained on {trained} records, {PUBLISHED_TRAINING / ours[-1]:.1f} times fewer, "
            f"and tested on {tested} records of fold 10, so the two columns show the same model with "
            "different data, not one implementation against another."
        )
    else:
        text += f"our rows were trained on {trained} records and tested on {tested} of fold 10."
    notes = [f"`{row.name}`: {limits(row)}" for row in rows if limits(row)]
    return text + (f"\n\n\\* {'; '.join(notes)}." if notes else "")


_COLUMNS = (
    "Epoch, thresholds and calibration were chosen on fold 9; fold 10 decided nothing. Intervals come from "
    "bootstrap resamples of patients. *max F1* is the reference's (record-averaged, best of ten thresholds "
    "on fold 10 itself), *macro F1* ours, at the fold-9 thresholds. ECE: expected calibration error, before "
    "and after the calibration fitted on fold 9."
)


def block(rows: Sequence[Row]) -> str:
    """The block of the top README."""
    parts = []
    five, mi = _of_task(rows, "superdiagnostic"), _of_task(rows, "mi")
    if five:
        parts += [
            "Five diagnostic superclasses (CD, HYP, MI, NORM, STTC):",
            main_table(five),
            data_sentences(five),
        ]
    if mi:
        parts += [
            "Second stage, kind of infarction (ASMI, IMI or NORM; patients never cross folds):",
            mi_table(mi),
        ]
    parts += [
        _COLUMNS,
        "Commands, seeds, commits, per-class values and predictions of every row: "
        "[benchmarks/results](benchmarks/results/README.md).",
    ]
    return "\n\n".join(parts)


def differences(rows: Sequence[Row]) -> str:
    """Paired differences of macro ROC-AUC from the baseline row on the same records."""
    base = next((row for row in rows if row.name == BASELINE), None)
    others = [row for row in rows if row.name != BASELINE]
    if base is None or not others:
        return ""
    theirs, lines = base.predictions(), []
    for row in others:
        ours = row.predictions()
        if not np.array_equal(ours["ecg_id"], theirs["ecg_id"]):
            lines.append([f"`{row.name}`", "–", "scored on other records"])
            continue
        d = paired_difference(
            theirs["label"], ours["probability"], theirs["probability"], theirs["patient_id"]
        )
        sure = d["low"] > 0 or d["high"] < 0
        lines.append(
            [
                f"`{row.name}`",
                _change(d),
                "yes" if sure else "no",
            ]
        )
    head = (
        f"Difference of fold-10 macro ROC-AUC from `{BASELINE}`, both on the same 1000 resamples of patients:"
    )
    table = markdown(["row", "difference (95 % CI)", "interval excludes 0"], lines)
    return f"{head}\n\n{table}"


def page(rows: Sequence[Row]) -> str:
    """The README of the results folder."""
    five, mi = _of_task(rows, "superdiagnostic"), _of_task(rows, "mi")
    parts = [
        "# Results on PTB-XL",
        "Generated by `python -m benchmarks.results table`; do not edit. Not a medical device: for research "
        "and teaching only.",
    ]
    if five:
        parts += ["## Five superclasses", main_table(five), data_sentences(five), _COLUMNS, differences(five)]
        parts += [calibration_table(five), "ROC-AUC of each class on fold 10 (95 % CI):", class_table(five)]
    if mi:
        parts += ["## Second stage: ASMI, IMI or NORM", mi_table(mi)]
        parts += [calibration_table(mi), "ROC-AUC of each class on fold 10 (95 % CI):", class_table(mi)]
    parts.append("## How each row was made")
    parts.append(
        "`data/ptb` stands for the PTB-XL folder. Each row's folder holds its card, test report, fold-10 "
        "predictions and training history."
    )
    parts += [_provenance(row) for row in rows]
    return "\n\n".join(part for part in parts if part) + "\n"


def _commit(source: dict[str, Any]) -> str:
    commit, _, changed = (source.get("git_commit") or "unknown").partition("+")
    return f"`{commit[:12]}`" + (" with changes" if changed else "")


def _provenance(row: Row) -> str:
    tested, bootstrap = row.test.get("times_scored", 1), row.test["bootstrap"]
    packages = row.card.get("packages", {})
    framework = "tensorflow" if row.card["framework"] == "keras" else "torch"
    lines = [
        f"### {row.name}",
        "",
        "```",
        row.card["command"],
        row.test["command"],
        "```",
        "",
        f"Seed {row.card['seed']}; {bootstrap['resamples']} resamples with seed {bootstrap['seed']} "
        f"({bootstrap['rejected']} rejected); commit {_commit(row.card)} (training), "
        f"{_commit(row.test)} (test); "
        f"{framework} {packages.get(framework, '?')}, Python {packages.get('python', '?')}; "
        f"fold 10 was scored {tested} time{'s' if tested > 1 else ''}; "
        f"data fingerprint `{row.card['data']['fingerprint'][:12]}`"
        + ("" if row.test.get("trained_on_this_data") else ", tested on another copy of the data")
        + ".",
    ]
    return "\n".join(lines)


def insert(text: str, content: str, name: str = "results") -> str | None:
    """Put generated text between its two markers."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        return None
    before, rest = text.split(begin)
    return f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}"
