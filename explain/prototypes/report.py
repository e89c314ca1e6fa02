"""One explained record as an HTML page that needs nothing else, and as PNGs."""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from explain.prototypes.contributions import ClassExplanation, Evidence, Explanation
from explain.prototypes.pictures import CLASS_COLOURS, Mark, draw_record, draw_window, seconds
from explain.prototypes.source_records import ReadSource
from training.checkpoint import run_name
from training.predictor import Predictor
from training.protoecgnet.projected import branches_of, labels_of
from utils.ecg import NOT_A_DEVICE
from utils.files import atomic_path, write_text

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #111; max-width: 1420px; margin: 1.5em auto;
  padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: .2em; } h3 { font-size: 1.05em; margin: 1.6em 0 .3em; }
h2 { font-size: 1.25em; border-top: 2px solid #4a2fc9; padding-top: .6em; }
table { border-collapse: collapse; } tr.sum td { border-top: 1px solid #111; font-weight: bold; }
td, th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.pair { display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-start; }
figure { margin: 0; flex: 1 1 480px; max-width: 700px; } figure.whole { max-width: 1200px; }
img { max-width: 100%; height: auto; border: 1px solid #ddd; } figcaption { margin: .3em 0; }
.note { background: #f4f2fc; border-left: 4px solid #4a2fc9; padding: .5em .8em; } .device { color: #555; }
"""


def write_report(
    predictor: Predictor,
    explanation: Explanation,
    signals_mv: np.ndarray,
    folder: Path,
    name: str,
    read_source: ReadSource | None = None,
    true_labels: Sequence[str] | None = None,
) -> list[Path]:
    """Write ``explanation.html``, ``ecg.png`` and the folder ``pictures`` with the PNGs of the evidence.

    Shapes: signals_mv (T, 12).
    """
    rate = predictor.sampling_rate
    pictures = {"ecg.png": _draw_overview(explanation, signals_mv, rate, name)}
    cards = []
    for number, part in enumerate(explanation.classes, 1):
        evidence = []
        for item in part.evidence:
            start, end = (round(t) for t in (item.start_ms, item.end_ms))
            here = f"pictures/here_{start:05d}-{end:05d}ms.png"
            if here not in pictures:
                title = f"This ECG, {_where(item.start_ms, item.end_ms, signals_mv, rate)}"
                span = (item.start_ms, item.end_ms)
                words = _bracket_words(span, item.receptive_field_ms, signals_mv, rate)
                pictures[here] = draw_window(signals_mv, rate, span, item.receptive_field_ms, title, words)
            there, reason = _source_picture(item, rate, read_source)
            if there is not None:
                pictures[f"pictures/prototype_{item.prototype:04d}.png"] = there
            whole = _whole(item.start_ms, item.end_ms, signals_mv, rate)
            evidence.append(_evidence_html(item, part, pictures[here], there, reason, whole))
        cards.append(_class_html(number, part, evidence, predictor))
    page = _page(predictor, explanation, name, true_labels, pictures["ecg.png"], cards)
    for file, content in pictures.items():
        with atomic_path(folder / file) as temporary:
            temporary.write_bytes(content)
    write_text(folder / "explanation.html", page)
    return [folder / "explanation.html", folder / "ecg.png", folder / "pictures"]


def image(png: bytes, text: str) -> str:
    """Give an HTML image that carries its own content."""
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _whole(start_ms: float, end_ms: float, signals: np.ndarray, rate: float) -> bool:
    return end_ms - start_ms >= len(signals) / rate * 1000


def _where(start_ms: float, end_ms: float, signals: np.ndarray, rate: float) -> str:
    return "the whole record" if _whole(start_ms, end_ms, signals, rate) else seconds(start_ms, end_ms)


def _bracket_words(
    span: tuple[float, float], field: tuple[float, float], signals: np.ndarray, rate: float
) -> str:
    if _whole(*span, signals, rate):
        return "Compared as a whole: no part of it is singled out."
    return f"Shaded: the window. Bracket: receptive field, {seconds(*field)}."


def _draw_overview(explanation: Explanation, signals: np.ndarray, rate: float, name: str) -> bytes:
    """The record with the window of the strongest prototype of each explained class."""
    marks: list[Mark] = []
    legend = []
    for number, part in enumerate(explanation.classes, 1):
        best = part.evidence[0]
        where = _where(best.start_ms, best.end_ms, signals, rate)
        legend.append(f"{number} {part.name} {part.probability:.2f} ({where})")
        if not _whole(best.start_ms, best.end_ms, signals, rate):
            colour = CLASS_COLOURS[len(marks) % len(CLASS_COLOURS)]
            marks.append(Mark(best.start_ms, best.end_ms, str(number), colour))
    first = "Most contributing window of each predicted class: "
    if not explanation.predicted:
        first = "No class reaches its threshold; most contributing window of the most probable: "
    return draw_record(signals, rate, marks, f"ECG {name}", first + ", ".join(legend))


def _source_picture(item: Evidence, rate: float, read_source: ReadSource | None) -> tuple[bytes | None, str]:
    """Picture of the prototype's training record, or None and the reason in words."""
    source = item.source
    if source["ecg_id"] is None:
        return None, "This prototype has no training ECG."
    if read_source is None:
        return None, "To see it, give the folder of PTB-XL: --data_dir FOLDER."
    span, field = (source["start_ms"], source["end_ms"]), tuple(source["receptive_field_ms"])
    drawn = _draw_source(read_source, item.prototype, item.classes, source["ecg_id"], span, field, rate)
    return drawn, "" if drawn else "This copy of PTB-XL lacks the record."


@functools.lru_cache(maxsize=256)  # the same prototypes return in record after record; 15 MB at most
def _draw_source(
    read_source: ReadSource,
    prototype: int,
    classes: tuple[str, ...],
    ecg_id: int,
    span: tuple[float, float],
    field: tuple[float, float],
    rate: float,
) -> bytes | None:
    signals = read_source(ecg_id)
    if signals is None:
        return None
    title = f"Prototype {prototype}: training ECG {ecg_id}, {_where(*span, signals, rate)}"
    words = f"{' and '.join(classes)}. {_bracket_words(span, field, signals, rate)}"
    return draw_window(signals, rate, span, field, title, words)


def _evidence_html(
    item: Evidence, part: ClassExplanation, here: bytes, there: bytes | None, reason: str, whole: bool
) -> str:
    source = item.source
    labels = escape(", ".join(labels_of(source)) or "none")
    classes = escape(" and ".join(item.classes))
    read_as = ""
    if item.standardised != item.similarity:
        read_as = f", which is {item.standardised:+.3f} spreads from its mean over the training ECGs"
    place, found, here_words = "no training ECG", "", "here"
    span, field = seconds(item.start_ms, item.end_ms), seconds(*item.receptive_field_ms)
    where = f"Window in this ECG {span}; signal that can influence it (receptive field): {field}."
    if source["ecg_id"] is not None:
        place = f"training ECG {source['ecg_id']}"
        span = seconds(source["start_ms"], source["end_ms"])
        field = seconds(*source["receptive_field_ms"])
        found = f"<br>Window in the prototype's ECG {span}; receptive field: {field}."
    if whole:
        where, found, here_words = "Compared as whole records; no part is singled out.", "", "as a whole"
    second = f'<p class="note">{escape(reason)}</p>'
    if there is not None:
        second = image(there, f"Prototype {item.prototype} of {' and '.join(item.classes)}: {place}")
    return f"""<h3>Prototype {item.prototype} of {classes} ({escape(item.branch)} branch):
contribution {item.contribution:+.3f}</h3>
<p>Similarity {item.similarity:.3f}{read_as}; times weight {item.weight:+.4f} = {item.contribution:+.4f}
for {escape(part.name)}{_sense(item)}.<br>
{where}{found}</p>
<div class="pair">
<figure>{image(here, f"This ECG, {here_words}")}<figcaption>This ECG, {here_words}.</figcaption></figure>
<figure>{second}<figcaption>Prototype: {place}, {here_words}.
Its true labels: {labels}.</figcaption></figure>
</div>"""


def _sense(item: Evidence) -> str:
    """What a contribution means where its sign is not the plain one of "it looks like this"."""
    likeness = "less" if item.standardised < 0 else "more"
    if item.standardised != item.similarity and likeness == "less":
        pulls = "for" if item.contribution > 0 else "against"
        return f" (it speaks {pulls} the class because this ECG looks less like it than others do)"
    if item.weight < 0:
        pulls = "for" if item.contribution > 0 else "against"
        return f" (its weight is negative: being {likeness} like it speaks {pulls} the class)"
    return ""


def _bar(value: float, largest: float) -> str:
    """A small bar from the middle line to the right (for the class) or to the left (against it)."""
    length = 120 * abs(value) / largest if largest else 0
    left, colour = (120, "#4a2fc9") if value >= 0 else (120 - length, "#d55e00")
    return (
        '<svg width="240" height="14" aria-hidden="true">'
        f'<rect x="{left:.1f}" y="1" width="{length:.1f}" height="12" fill="{colour}"/>'
        '<line x1="120" x2="120" y1="0" y2="14" stroke="#111"/></svg>'
    )


def _class_html(number: int, part: ClassExplanation, evidence: Sequence[str], predictor: Predictor) -> str:
    others = len(part.contributions) - len(part.evidence)
    terms = [("bias", part.bias)]
    terms += [
        (f"prototype {e.prototype} ({' and '.join(e.classes)}, {e.branch})", e.contribution)
        for e in part.evidence
    ]
    terms += [(f"all {others} other prototypes together", part.rest)] if others else []
    largest = max([abs(value) for _, value in terms] + [abs(part.logit)])
    terms.append((f"sum = logit of {part.name}", part.logit))
    rows = [
        f'<tr><td>{escape(label)}</td><td class="number">{value:+.4f}</td>'
        f"<td>{_bar(value, largest)}</td></tr>"
        for label, value in terms
    ]
    rows[-1] = rows[-1].replace("<tr>", '<tr class="sum">')
    answer = "predicted" if part.predicted else "not predicted: its threshold is not reached"
    notes = []
    if any(b.pooling != "max" and b.windows > 1 for b in branches_of(predictor.model)):
        notes.append(
            "This model scores a prototype by several windows of the record; the pictures show the most "
            "similar one."
        )
    if predictor.standardizer.highpass:
        notes.append(
            "The receptive field is that of the network; the baseline filter before it reads the whole "
            "record."
        )
    said = "".join(f'<p class="note">{note}</p>' for note in notes)
    return f"""<section>
<h2 id="class{number}">{escape(part.name)}: probability {part.probability:.3f}, {answer}</h2>
<p>Threshold {part.threshold:.3f}. The largest contributions first:</p>
<table>{"".join(rows)}</table>{said}
{"".join(evidence)}</section>"""


def _page(
    predictor: Predictor,
    explanation: Explanation,
    name: str,
    true_labels: Sequence[str] | None,
    overview: bytes,
    cards: Sequence[str],
) -> str:
    anchors = {part.name: n for n, part in enumerate(explanation.classes, 1)}
    order = np.argsort(-explanation.probabilities, kind="stable")
    shown = [c for k, c in enumerate(order) if k < 10 or predictor.classes[c] in anchors]
    rows = []
    for c in shown:
        label, probability = escape(predictor.classes[c]), explanation.probabilities[c]
        if predictor.classes[c] in anchors:
            label = f'<a href="#class{anchors[predictor.classes[c]]}">{label}</a>'
        answer = "yes" if predictor.classes[c] in explanation.predicted else "no"
        rows.append(
            f'<tr><td>{label}</td><td class="number">{probability:.3f}</td>'
            f'<td class="number">{predictor.thresholds[c]:.3f}</td><td>{answer}</td></tr>'
        )
    truth = ""
    if true_labels is not None:
        truth = f"<p>True labels of this ECG: {escape(', '.join(true_labels) or 'none')}.</p>"
    none = ""
    if not explanation.predicted:
        none = '<p class="note">No class reaches its threshold; the most probable one is explained.</p>'
    heading = f"ECG {name}: what the answer of {run_name(predictor.folder)} rests on"
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(heading)}</title>
<style>{STYLE}</style></head>
<body>
<h1>{escape(heading)}</h1>
<p class="device"><strong>{NOT_A_DEVICE}</strong></p>
<p>ProtoECGNet compares this ECG with prototypes, pieces of training ECGs. Each contribution is a weight
times a similarity; with the bias they add up to the logit, and the logit alone decides the probability.</p>
{truth}{none}
<table><tr><th>class</th><th>probability</th><th>threshold</th><th>predicted</th></tr>{"".join(rows)}</table>
<p>The {len(shown)} most probable of {len(predictor.classes)} classes.</p>
<figure class="whole">{image(overview, f"12-lead ECG {name} with its windows")}</figure>
{"".join(cards)}
<p class="device">{NOT_A_DEVICE}</p>
</body>
</html>
"""
