"""Sections about records: subgroups, importance of the leads, errors and labels in doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from explain.report import sections  # noqa: F401  (theirs come first on the page)
from explain.report.charts import FIRST, PALE, ecg
from explain.report.parts import PAGE, plain, section, table, with_interval
from utils.report.page import Images, fill, register_section

_LISTED_NOISE = 20


def _subgroups(facts: dict[str, Any], images: Images) -> Markup | str:
    if not facts["subgroups"]:
        return ""
    few = facts["classes"] if len(facts["classes"]) <= 8 else []
    rows = [
        [
            row["grouping"], row["group"], f"{row['records']:,}", f"{row['patients']:,}",
            with_interval(row["macro_roc_auc"]), str(row["classes"]),
            *(plain(v) for v in row["class_roc_auc"] if few),
        ]
        for row in facts["subgroups"]
    ]  # fmt: skip
    header = ["grouping", "group", "records", "patients", "macro ROC-AUC", "classes", *few]
    words = (
        "A class counts where at least five patients of the group have it and five lack it, so groups may be "
        "judged on different classes. Of many groups some differ by chance: a difference is a reason to "
        "look, not a finding."
    )
    made = table("ROC-AUC of subgroups, with 95 % intervals over patients", header, rows, texts=2)
    return section("subgroups", "Subgroups", [words], [made])


def _leads(facts: dict[str, Any], images: Images) -> Markup | str:
    found = facts["lead_importance"]
    if not found:
        return ""
    names = list(dict.fromkeys(row["class"] for row in found["rows"]))
    figures = []
    for name in names:
        rows = [row for row in found["rows"] if row["class"] == name]
        figures.append((_lead_bars(name, rows), f"{name}: {rows[0]['records']} records"))
    header = ["class", "lead", "mean", "standard error", "CV", "verdict"]
    cells = [
        [r["class"], r["lead"], plain(r["mean"]), plain(r["error"]), plain(r["cv"]), r["verdict"]]
        for r in found["rows"]
    ]
    words = (
        "Mean magnitude of the Shapley values of the leads, in logits of the class, over records whose class "
        "the model finds; a silenced lead lies flat. CV: standard error of the mean divided by the mean; "
        "STABLE below 0.25, OK below 0.5, else NOISY."
    )
    noisy = sum(row["verdict"] == "NOISY" for row in found["rows"])
    advice = f"{noisy} values are NOISY: --shap medium or thorough looks at more records."
    lines = [words, advice] if noisy and found["effort"] != "thorough" else [words]
    if not names:
        return section("leads", "Importance of the leads", [words, "The model finds no class twice."], [])
    shown = fill("explain.report/charts.html", figures=figures, title="Leads", folded=False)
    stability = table("Stability of the importance of leads", header, cells, texts=2)
    folded = fill("explain.report/folded.html", title="Table: stability", part=stability)
    return section("leads", "Importance of the leads", lines, [shown, folded])


def _lead_bars(name: str, rows: Sequence[Mapping[str, Any]]) -> Markup:
    top = max(row["mean"] + row["error"] for row in rows) or 1
    words = f"{name}: importance of " + ", ".join(f"{r['lead']} {plain(r['mean'], 2)}" for r in rows)
    bars = [
        {
            "lead": row["lead"],
            "y": 16 * number,
            "width": f"{190 * row['mean'] / top:.1f}",
            "low": f"{34 + 190 * max(row['mean'] - row['error'], 0) / top:.1f}",
            "high": f"{34 + 190 * (row['mean'] + row['error']) / top:.1f}",
            "value": plain(row["mean"], 2),
        }
        for number, row in enumerate(rows)
    ]
    return fill("explain.report/leads.html", bars=bars, words=words, color=FIRST, pale=PALE)


def _errors(facts: dict[str, Any], images: Images) -> Markup:
    header = ["class", "error", "ecg_id", "probability", "threshold", "margin"]
    parts = []
    for which in ("farthest", "nearest"):
        rows = [
            [
                entry["class"], entry["kind"], str(row["ecg_id"]), plain(row["probability"]),
                plain(row["threshold"]), f"{row['margin']:+.3f}",
            ]
            for entry in facts["examples"]
            for row in entry[which]
        ]  # fmt: skip
        caption = f"Errors {which} {'to' if which == 'nearest' else 'from'} the threshold"
        made = table(caption, header, rows, texts=3)
        parts.append(fill("explain.report/folded.html", title=f"Table: {caption.lower()}", part=made))
    pictures = [
        (ecg(shown, f"12-lead ECG of record {name}"), f"Record {name}. {_said(facts, name)}")
        for name, shown in facts["pictures"].items()
    ]
    total = len(facts["failures"])
    words = [f"{total:,} false negatives and false positives in all; failures.csv has every one of them."]
    shown = fill("explain.report/records.html", pictures=pictures)
    return section("errors", "Errors", words, [*parts, shown])


def _said(facts: Mapping[str, Any], name: str) -> str:
    rows = [row for row in facts["failures"] if str(row["ecg_id"]) == name]
    kinds = {1: "labeled, not found", 0: "found, not labeled"}
    words = [f"{r['class']} {kinds[r['label']]} (probability {plain(r['probability'])})" for r in rows]
    return "; ".join(words) + "."


def _noise(facts: dict[str, Any], images: Images) -> Markup:
    noise = facts["label_noise"]
    fold = any("fold" in row for row in noise["records"])
    header = ["ecg_id", "class", *(["fold"] if fold else []), "label", "probability"]
    rows = [
        [
            str(r["ecg_id"]), r["class"], *([str(r["fold"])] if fold else []), str(r["label"]),
            plain(r["probability"]),
        ]
        for r in noise["records"][:_LISTED_NOISE]
    ]  # fmt: skip
    words = [
        f"{noise['suspected_records']:,} of {facts['records']:,} records are as sure of the other answer as "
        "records that have it (confident learning, Northcutt et al. 2021). The label may be wrong, or the "
        "model: only a reader of the ECG can tell.",
        f"Macro ROC-AUC of all records {plain(noise['macro_roc_auc'], 4)}, without the suspected ones "
        f"{plain(noise['macro_roc_auc_without'], 4)}: the model chose what was left out, so the second "
        "number flatters it.",
    ]
    counts = [[c["class"], f"{c['maybe_missing']:,}", f"{c['maybe_wrong']:,}"] for c in noise["counts"]]
    counted = table("Suspected labels", ["class", "maybe missing", "maybe wrong"], counts)
    most = table("Strongest disagreement", header, rows, texts=2 + fold)
    folded = fill("explain.report/folded.html", title="Table: strongest disagreement", part=most)
    return section("labels", "Labels in doubt", words, [counted, folded])


for _name, _render in (
    ("subgroups", _subgroups),
    ("leads", _leads),
    ("errors", _errors),
    ("labels", _noise),
):
    register_section(PAGE, _name, _render)
