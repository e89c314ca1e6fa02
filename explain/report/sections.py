"""Sections of the page of a run; a plugin adds one with ``register_section("run", NAME, render)``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from explain.report.charts import FIRST, PALE, PLAIN, SECOND, Bars, Dots, Line, chart
from explain.report.numbers import HISTOGRAM_BINS, SWEEP
from explain.report.parts import PAGE, STYLES, charts, plain, section, table, with_interval
from utils.report.page import Images, fill, register_section

_DIAGONAL = Line([0, 1], [0, 1], PLAIN, "3 3")


def _summary(facts: dict[str, Any], images: Images) -> Markup:
    rows = [(row["name"], with_interval(row, 4)) for row in facts["scores"]]
    resampled = facts["bootstrap"]
    note = f"In brackets: 95 % intervals from {resampled['resamples']} resamples of the patients. " + (
        f"No intervals: {resampled['note']}" if resampled["note"] else ""
    )
    scores = table("Scores over all classes", ["score", "value"], rows, note=note)
    tiles = [row for row in facts["scores"] if row["key"] in ("macro_roc_auc", "macro_auprc", "brier", "ece")]
    links = [(anchor, title) for anchor, title, shown in _CONTENTS if shown(facts)]
    return fill(
        "explain.report/summary.html", facts=facts, tiles=tiles, scores=scores, links=links,
        facts_table=table("Model, data and training", ["", ""], _about(facts), texts=2),
    )  # fmt: skip


def _about(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    inputs, trained = facts["inputs"], facts["trained_on"]
    crop = f", in crops of {inputs['crop']} samples" if inputs["crop"] else ""
    records = ", ".join(
        f"{trained['splits'].get(name, name)}: {count:,} records"
        for name, count in trained["records"].items()
    )
    rows = [
        ("model", f"{facts['model']} ({facts['framework']})"),
        ("task", f"{facts['task']} ({facts['kind']}): {', '.join(facts['classes'])}"),
        ("reads", f"{inputs['leads']} leads, {inputs['seconds']:g} s at {inputs['sampling_rate']} Hz{crop}"),
        ("records here", f"{facts['records']:,} of {facts['patients']:,} patients, {facts['split_name']}"),
        ("trained with", records or "not recorded"),
        ("chosen on", facts["chosen_on"] or "not recorded"),
        ("recipe", ", ".join(f"{k} {_short(v)}" for k, v in facts["recipe"].items()) or "not recorded"),
        ("kept epoch", str(facts["epoch"] or "not recorded")),
        ("command", facts["command"] or "not recorded"),
        ("code", facts["git_commit"] or "not recorded"),
        ("packages", ", ".join(f"{k} {v}" for k, v in facts["packages"].items()) or "not recorded"),
        ("weights", f"SHA-256 {facts['weights_sha256']}"),
        ("predictions", facts["source"]),
    ]
    return rows


def _short(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _training(facts: dict[str, Any], images: Images) -> Markup | str:
    curves = facts["training"]
    if not curves:
        return section("training", "Training", ["There is no metrics.csv of this run."], [])
    epochs = curves["epoch"]
    single = len(epochs) == 1  # which makes no line
    span = (epochs[0] - 1, epochs[0] + 1) if single else (epochs[0], epochs[-1])
    figures = []
    losses = [name for name in ("train_loss", "val_loss") if name in curves]
    others = [
        name for name in curves if name not in (*losses, "epoch", "seconds") and name.startswith("val_")
    ]
    for names in [losses, *([name] for name in others)]:
        values = [v for name in names for v in curves[name] if v is not None]
        if not values:
            continue
        lines: list[Line | Dots] = []
        for name, (color, dash) in zip(names, ((FIRST, ""), (SECOND, "5 3")), strict=False):
            value = curves[name]
            lines.append(
                Dots(epochs, value, value, value, color) if single else Line(epochs, value, color, dash)
            )
        edge = 0.05 * ((max(values) - min(values)) or 1)
        limits = (min(values) - edge, max(values) + edge)
        words = f"{' and '.join(names)} over {len(epochs)} epoch{'' if single else 's'}"
        how = "violet, training; orange, validation" if single else "solid, training; dashed, validation"
        caption = words if len(names) == 1 else f"Loss: {how}"
        svg = chart(lines, words, "epoch", "", span, limits, (330, 210), whole=True)
        figures.append((svg, caption))
    kept = f"The kept epoch is {facts['epoch']}." if facts["epoch"] else ""
    part = fill("explain.report/charts.html", figures=figures, title="Curves", folded=False)
    return section("training", "Training", [kept] if kept else [], [part])


def _classes(facts: dict[str, Any], images: Images) -> Markup:
    keys = ("roc_auc", "auprc", "sensitivity", "specificity", "ppv", "f1")
    header = [
        "class", "records", "threshold", "ROC-AUC", "AUPRC", "sensitivity", "specificity",
        "precision (PPV)", "F1",
    ]  # fmt: skip
    rows = [
        [
            row["class"],
            f"{row['positives']:,} ({100 * row['prevalence']:.1f} %)",
            plain(row["threshold"]),
            *(with_interval(row[key]) for key in keys),
        ]
        for row in facts["per_class"]
    ]
    answer = "at the threshold of the class" if facts["thresholds"] else "for the most probable class"
    first = table(f"Scores of each class, {answer}", header, rows)
    counts = ["class", "true positive", "false positive", "false negative", "true negative"]
    cells = [[r["class"], *(f"{r[k]:,}" for k in ("tp", "fp", "fn", "tn"))] for r in facts["per_class"]]
    second = table(f"Confusion of each class, {answer}", counts, cells)
    return section("classes", "Each class", [], [first, second, _matrix(facts)])


def _matrix(facts: Mapping[str, Any]) -> Markup:
    most = facts["most_probable"]
    if not most["records"]:
        return Markup("")
    return fill("explain.report/matrix.html", classes=facts["classes"], **most)


def _curves(facts: dict[str, Any], images: Images) -> Markup:
    rocs, prs = [], []
    for name, row, roc, pr in zip(
        facts["classes"], facts["per_class"], facts["roc"], facts["pr"], strict=True
    ):
        dots = [(1 - row["specificity"]["point"], row["sensitivity"]["point"])] if _defined(row) else []
        at = _points(dots)
        words = f"{name}: ROC-AUC {with_interval(row['roc_auc'])}"
        svg = chart([_DIAGONAL, Line(roc["x"], roc["y"]), at], words, "1 − specificity", "sensitivity")
        rocs.append((svg, words))
        dots = [(row["sensitivity"]["point"], row["ppv"]["point"])] if _defined(row, "ppv") else []
        base = Line([0, 1], [row["prevalence"]] * 2, PLAIN, "3 3")
        words = f"{name}: AUPRC {with_interval(row['auprc'])}"
        svg = chart([base, Line(pr["x"], pr["y"]), _points(dots)], words, "recall", "precision")
        prs.append((svg, words))
    words = (
        "Dot: where the model decides. Dashed: chance; for precision and recall the share of records with "
        "the class."
    )
    parts = [charts(facts, rocs, "ROC curves"), charts(facts, prs, "Precision-recall curves")]
    return section("curves", "ROC and precision-recall", [words], parts)


def _defined(row: Mapping[str, Any], *names: str) -> bool:
    keys = ("sensitivity", "specificity", *names)
    return all(row[key]["point"] is not None for key in keys)


def _points(places: Sequence[tuple[float, float]]) -> Dots:
    x, y = [p[0] for p in places], [p[1] for p in places]
    return Dots(x, y, y, y, SECOND)


def _sweep(facts: dict[str, Any], images: Images) -> Markup:
    figures = []
    for name, sweep, row in zip(facts["classes"], facts["sweep"], facts["per_class"], strict=True):
        lines = [Line(SWEEP.tolist(), sweep[key], color, dash) for key, (_, color, dash) in _SWEPT.items()]
        if row["threshold"] is not None:
            lines.append(Line([row["threshold"]] * 2, [0, 1], PLAIN, "2 3"))
        words = f"{name}: precision, recall, specificity and F1 at each threshold"
        caption = name if row["threshold"] is None else f"{name}: threshold {plain(row['threshold'])}"
        figures.append((chart(lines, words, "threshold", ""), caption))
    words = "Steps of 0.01; the numbers are in threshold_sweep.csv. Dotted upright: the chosen threshold."
    keys = [(title, color, bool(dash)) for title, color, dash in _SWEPT.values()]
    legend = fill("explain.report/legend.html", keys=keys)
    return section("sweep", "Thresholds", [words], [legend, charts(facts, figures, "Thresholds")])


_SWEPT = {
    "precision": ("precision", FIRST, ""),
    "recall": ("recall", SECOND, ""),
    "specificity": ("specificity", PLAIN, ""),
    "f1": ("F1", "#111111", "5 3"),
}


def _calibration(facts: dict[str, Any], images: Images) -> Markup:
    parts = facts["calibration"]
    shown = [(key, color) for key, color in (("before", FIRST), ("after", SECOND)) if parts[key]]
    figures = []
    for number, name in enumerate(facts["classes"]):
        drawn: list[Any] = [_DIAGONAL]
        for key, color in shown:
            bins = parts[key]["bins"][number]
            observed = [b["observed"] for b in bins]
            share, low, high = ([o[k] for o in observed] for k in ("point", "low", "high"))
            drawn.append(Dots([b["mean"] for b in bins], share, low, high, color))
        row = facts["per_class"][number]
        words = f"{name}: ECE {plain(row['ece'])}, Brier {plain(row['brier'])}"
        figures.append((chart(drawn, f"Reliability of {words}", "probability", "observed share"), words))
    titles = {"before": "as the model gives them", "after": "calibrated"}
    rows = [
        [titles[key], *(plain(parts[key]["scores"][s], 4) for s in ("ece", "brier", "log_loss"))]
        for key, _ in shown
    ]
    scores = table("Calibration over all classes", ["probabilities", "ECE", "Brier score", "log loss"], rows)
    words = (
        "Records in bins of their probability; bars: 95 % intervals over patients. On the diagonal a "
        "probability means what it says."
    )
    legend = fill("explain.report/legend.html", keys=[(titles[k], color, False) for k, color in shown])
    return section(
        "calibration", "Calibration", [words], [scores, legend, charts(facts, figures, "Reliability")]
    )


def _histograms(facts: dict[str, Any], images: Images) -> Markup:
    figures = []
    for name, counts in zip(facts["classes"], facts["histograms"], strict=True):
        right, wrong = counts["right"], counts["wrong"]
        top = max(a + b for a, b in zip(right, wrong, strict=True)) or 1
        # the root makes bins of few records visible beside those of a thousand
        roots = [((a + b) / top) ** 0.5 for a, b in zip(right, wrong, strict=True)]
        bad = [r * b / (a + b) if a + b else 0 for r, a, b in zip(roots, right, wrong, strict=True)]
        good = [r - b for r, b in zip(roots, bad, strict=True)]
        parts = [Bars(bad, [0] * HISTOGRAM_BINS, SECOND), Bars(good, bad, PALE)]
        words = f"{name}: {sum(right):,} right, {sum(wrong):,} wrong answers"
        svg = chart(parts, f"Probabilities of {words}", "probability", f"of {top:,} (root)")
        figures.append((svg, words))
    legend = fill(
        "explain.report/legend.html", keys=[("wrong answer", SECOND, False), ("right answer", PALE, False)]
    )
    words = "How sure the model is where it is right and where it is wrong; heights on a square-root scale."
    return section(
        "confidence", "Confidence", [words], [legend, charts(facts, figures, "Confidence histograms")]
    )


_CONTENTS = (
    ("training", "Training", lambda facts: True),
    ("classes", "Each class", lambda facts: True),
    ("curves", "ROC and precision-recall", lambda facts: True),
    ("sweep", "Thresholds", lambda facts: True),
    ("calibration", "Calibration", lambda facts: True),
    ("confidence", "Confidence", lambda facts: True),
    ("subgroups", "Subgroups", lambda facts: facts["subgroups"]),
    ("leads", "Importance of the leads", lambda facts: facts["lead_importance"]),
    ("errors", "Errors", lambda facts: True),
    ("labels", "Labels in doubt", lambda facts: True),
)

register_section(PAGE, "summary", _summary, STYLES)
for _name, _render in (
    ("training", _training),
    ("classes", _classes),
    ("curves", _curves),
    ("sweep", _sweep),
    ("calibration", _calibration),
    ("confidence", _histograms),
):
    register_section(PAGE, _name, _render)
