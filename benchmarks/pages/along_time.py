"""The page of the models that answer along time: R-peaks and waves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.tasks.waves import TOLERANCES_MS
from utils.ecg import NOT_A_DEVICE
from utils.files import read_json
from utils.report.markdown import markdown

_PEAKS = (
    "records",
    "tolerance, ms",
    "F1 (95 % CI)",
    "sensitivity",
    "PPV",
    "false",
    "missed",
    "median error, ms",
)
_WAVES = ("boundary", "tolerance, ms", "F1 (95 % CI)", "found", "false", "missed", "mean error, ms", "SD, ms")


def _peak_rows(name: str, scores: dict[str, Any]) -> list[list[str]]:
    return [
        [
            name,
            tolerance,
            f"**{row['f1']:.4f}** [{row['f1_low']:.4f}, {row['f1_high']:.4f}]",
            f"{row['sensitivity']:.4f}",
            f"{row['ppv']:.4f}",
            f"{row['fp']:,}",
            f"{row['fn']:,}",
            f"{row['median_error_ms']:.1f}",
        ]
        for tolerance, row in scores.items()
    ]


def _how(entry: dict[str, Any]) -> str:
    times = entry["times_scored"]
    return (
        f"Model `{entry['model']}`, {entry['parameters']:,} parameters, chosen on {entry['chosen_on']}; "
        f"these weights were scored here {times} time{'s' * (times > 1)}.\n\n"
        f"```bash\n{entry['command']}\n```"
    )


def _mitdb(entry: dict[str, Any]) -> str:
    rows = _peak_rows("DS2", entry["scores"]) + _peak_rows("DS2 without 202", entry["without_202"])
    worst = sorted(entry["by_record"].items(), key=lambda item: item[1]["f1"])[:5]
    listed = ", ".join(
        f"{name} ({row['f1']:.4f}: {row['fp']} false, {row['fn']} missed)" for name, row in worst
    )
    return (
        f"## R-peaks: {entry['title']}\n\n{entry['records']} records of DS2, {entry['beats']:,} beats, the "
        "first lead of whole records. 202 is of the patient of 201, which is in DS1.\n\n"
        f"{markdown(list(_PEAKS), rows)}\n\nLowest F1 within 100 ms: {listed}.\n\n{_how(entry)}"
    )


def _cpsc2019(entry: dict[str, Any]) -> str:
    score = entry["cpsc2019_score"]
    return (
        f"## R-peaks: {entry['title']}\n\nRuns on {entry['records']} records ({entry['beats']:,} beats) of "
        "the 2,000 of the training set, none of which was learned from or chosen on; not comparable with "
        "scores on the challenge's hidden set.\n\n"
        f"{markdown(list(_PEAKS), _peak_rows('all', entry['scores']))}\n\nQRS score of the challenge: "
        f"**{score['mean']:.3f}** [{score['low']:.3f}, {score['high']:.3f}]; "
        "[R-peaks](rpeaks.md) has that of the published detectors on the same records."
    )


def _day(entry: dict[str, Any]) -> str:
    difference = entry["largest_difference_of_an_hour_s"]
    same = "another number of peaks" if difference is None else f"the same peaks within {difference:.1g} s"
    return (
        f"## A day\n\n{entry['hours']:g} hours of {entry['leads']} leads (records of MIT-BIH, again and "
        f"again) through the detector of R-peaks, piece by piece: {entry['cpu_minutes']:.1f} minutes of CPU "
        f"time, {entry['peak_memory_mb']:.0f} MB at most, of which an hour needed "
        f"{entry['memory_of_an_hour_mb']:.0f} MB already. Windows one by one instead of 64 at a "
        f"time give, in an hour, {same}."
    )


def _wave_rows(report: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, row in report["metrics"]["boundaries"].items():
        interval = report["bootstrap"]["intervals"][name]
        rows.append(
            [
                name,
                str(TOLERANCES_MS.get(name, 50)),
                _with_interval(row["f1"], interval),
                *(f"{row[key]:,}" for key in ("tp", "fp", "fn")),
                *("" if row[key] is None else f"{row[key]:.1f}" for key in ("mean_error_ms", "sd_error_ms")),
            ]
        )
    macro = _with_interval(report["metrics"]["macro_f1"], report["bootstrap"]["intervals"]["macro_f1"])
    return [*rows, ["macro", "", f"**{macro}**", "", "", "", "", ""]]


def _with_interval(value: float | None, interval: dict[str, float] | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" + (f" [{interval['low']:.4f}, {interval['high']:.4f}]" if interval else "")


def _ludb(entry: dict[str, Any]) -> str:
    whole = entry["all"]
    rhythms = [
        [
            name,
            str(report["records"]),
            _with_interval(report["metrics"]["macro_f1"], report["bootstrap"]["intervals"]["macro_f1"]),
            *(
                f"{report['metrics']['boundaries'][kind][key]:,}"
                for kind, key in (("P onset", "tp"), ("P onset", "fp"), ("P onset", "fn"))
            ),
        ]
        for name, report in sorted(entry["by_rhythm"].items(), key=lambda item: -item[1]["records"])
    ]
    header = ["rhythm", "records", "macro F1 (95 % CI)", "P found", "P false", "P missed"]
    return (
        f"## Waves: {entry['title']}\n\nRecords 71-100, {whole['leads']} leads of {whole['records']} "
        "records, each lead by itself; predictions outside of a lead's annotated part do not count. "
        f"Records 101-200 are kept back.\n\n{markdown(list(_WAVES), _wave_rows(whole))}\n\n"
        f"By rhythm, with the onsets of P waves:\n\n{markdown(header, rhythms)}\n\n{_how(entry)}"
    )


def page(path: Path) -> str:
    """Write the page from the file that ``benchmarks along_time`` makes."""
    results = read_json(path)
    sections = {"mitdb": _mitdb, "cpsc2019": _cpsc2019, "day": _day, "ludb": _ludb}
    text = "\n\n".join(write(results[name]) for name, write in sections.items() if name in results)
    return f"""# R-peaks and waves by the shipped models

Generated by `python -m benchmarks render`; do not edit. {NOT_A_DEVICE}

Measured by `python -m benchmarks along_time`. Reference and found positions are paired one to one within the
tolerance. Intervals: bootstrap over patients. Everything was chosen on validation records; `rpeaks` learned
from DS1 of MIT-BIH and records 1-60 of LUDB, `waves` from records 1-60 of LUDB.

The decisions of both were fitted again after a first scoring of the same weights and test records, on the
validation records alone: the threshold of R-peaks by what is found within 75 ms (0.6; it was 0.8, by a mean
that includes 25 ms), and P waves only where 60 % of the beats around have one. Before: F1 within 100 ms
0.9986 on DS2, QRS score 0.644 on CPSC 2019, macro F1 0.9596 with 293 false onsets of P on LUDB, 212 of
them in atrial fibrillation.

{text}
"""
