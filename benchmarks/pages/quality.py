"""The page of the checks of signal quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preprocessing.recordings.electrodes import EXCHANGES
from preprocessing.recordings.quality import KINDS
from utils.ecg import NOT_A_DEVICE
from utils.files import read_json
from utils.report.markdown import markdown

_FOLDS = ("folds_1_to_9", "fold_10")
_GROUPS = {
    "none": "no note",
    "baseline_drift": "`baseline_drift`",
    "static_noise": "`static_noise`",
    "burst_noise": "`burst_noise`",
    "electrodes_problems": "`electrodes_problems`",
}


def _percent(rate: dict[str, Any], fold: str) -> str:
    value = rate[fold]
    return "-" if value is None else f"{100 * value:.2f}"


def _pair(rate: dict[str, Any]) -> list[str]:
    return [_percent(rate, fold) for fold in _FOLDS]


def _faults(faults: dict[str, Any]) -> str:
    counts = [f"{name} ({sum(faults['any'][group]['records']):,})" for group, name in _GROUPS.items()]
    rows = []
    for kind, groups in faults.items():
        name = "any of them" if kind == "any" else f"`{kind}`: {KINDS[kind].partition(':')[0]}"
        cells = [" / ".join(_pair(groups[group])) for group in _GROUPS]
        rows.append([name, *cells])
    return markdown(["warning", *counts], rows)


def _planted(planted: dict[str, Any]) -> str:
    rows = [[name, *_pair(rate)] for name, rate in planted.items()]
    return markdown(["planted", "found, folds 1 to 9", "found, fold 10"], rows)


def _rates(rates: dict[str, Any]) -> str:
    rows = [[name, *_pair(rate)] for name, rate in rates.items()]
    return markdown(["records", "doubted, folds 1 to 9", "doubted, fold 10"], rows)


def _electrodes(rates: dict[str, Any]) -> str:
    rows = []
    for name, rate in rates.items():
        if name == "any":
            rows.append(["any of them", *_pair(rate["alarms"]), "", "", ""])
        else:
            cells = [*_pair(rate["alarms"]), *_pair(rate["suspected"]), _percent(rate["named"], "fold_10")]
            text = EXCHANGES[name].text.replace(" may be exchanged", "").replace(" may be", "")
            rows.append([f"{name}: {text}", *cells])
    header = ["exchange", "alarms, 1-9", "alarms, 10", "suspected, 1-9", "suspected, 10", "named, 10"]
    return markdown(header, rows)


def page(path: Path) -> str:
    """Markdown of ``quality.json``."""
    facts = read_json(path)
    every = facts["settings"]["planted_every"]
    usual, alike = (f"{100 * share:g} %" for share in facts["settings"]["alarms"])
    columns = [
        ["records as they are (alarms)" if name == "as recorded" else name, *_pair(rate)]
        for name, rate in facts["columns"].items()
    ]
    return f"""# Signal quality

{NOT_A_DEVICE}

Generated from `benchmarks/data/quality.json` by `python -m benchmarks render`; measured by
`python -m benchmarks quality --data_dir data/ptb`.

What `inference.py` says of the signal of a recording ([your own ECG](../tutorials/own_ecg.md)), measured
on all {facts["records"]:,} records of PTB-XL at 100 Hz. All numbers are % of records. Levels and classifiers
were chosen on folds 1 to 9; fold 10 is reported beside them.

## Lost and distorted leads

How often each warning is given, in records without a note on quality (the false alarms, as far as the
notes are complete; many of these records do have the fault), and in records with each note of PTB-XL:
folds 1 to 9 / fold 10. The notes also name disturbances that are small: the warnings are for those that
are large. PTB-XL at 100 Hz was low-pass filtered, so that mains are hardly left in it; mains are judged
at the rate of the file.

{_faults(facts["faults"])}

The same with faults planted at a random second of a random chest lead (or limb lead), in every {every}th
record; found means a warning of the right kind in the right lead.

{_planted(facts["planted"])}

## Exchanged columns

The limb leads have to satisfy Einthoven's and Goldberger's identities. A recording that does not is
refused, or warned of where it does so in a part of the time.

{markdown(["columns", "folds 1 to 9", "fold 10"], columns)}

## Exchanged electrodes

An exchange of electrodes satisfies the identities; a linear classifier of the average beat suspects it.
Alarms: of records as they are; some of them may be right, and some hearts (dextrocardia) look so.
Suspected: of the same records with the exchange, by exact algebra (with the right leg: taking both legs
for one potential), any exchange named. Named: this one named. Thresholds: {usual} of
alarms each on folds 1 to 9; {alike} for LA/LL and neighbors in the chest, which look alike and are found
less often. Other devices and populations can differ.

{_electrodes(facts["electrodes"])}
{_rate_section(facts["rates"]) if "rates" in facts else ""}"""


def _rate_section(rates: dict[str, Any]) -> str:
    return f"""
## Sampling rate

A file that states another rate than that of its samples plays the heart too slowly or too fast. Then the
heart rate and the steepness of the QRS complexes change together, which a warning doubts. Read at
half the rate, a record was stretched to 20 s, of which the first 10 s were judged; read at twice the rate
it lasts 5 s.

{_rates(rates)}
"""
