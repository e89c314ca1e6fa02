"""The maps that a report shows: of a few windows drawn at random."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from attribution.engine.selection import turns
from attribution.engine.workspace import Workspace
from attribution.report.analysis import Study
from attribution.report.map_figures import draw_methods, draw_twelve_leads
from explain.names import RANDOM, TITLES, method_title
from preprocessing.targets.regions import ground_truth_mask
from preprocessing.windows import Windows
from utils.ecg import LEADS, display_name
from utils.files import slug
from utils.plotting.ecg import png

HIDDEN = ("dataset", "model", "seed", "method", "sign", "record", "window", "target")


@dataclass(frozen=True)
class BlindMap:
    """One map to rate.

    ``picture``: PNG without the name of the method.
    ``words``: what the rater may know: the class that is explained.
    ``facts``: what goes into the CSV: the columns `HIDDEN`.
    """

    picture: bytes
    words: str
    facts: Mapping[str, Any]


def shuffled(maps: Sequence[BlindMap], seed: int) -> list[BlindMap]:
    """The maps in random order."""
    return [maps[i] for i in np.random.default_rng(seed).permutation(len(maps))]


def rating_facts(maps: Sequence[BlindMap]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Facts and images of the rating section.

    The hidden facts are encoded, so that a glance at the page's source does not unblind the rater.
    """
    secrets = {
        str(number): base64.b64encode(json.dumps(dict(item.facts)).encode()).decode()
        for number, item in enumerate(maps, 1)
    }
    key = hashlib.sha256("".join(secrets.values()).encode()).hexdigest()[:16]
    images = {f"rated map {number}": item.picture for number, item in enumerate(maps, 1)}
    facts = {
        "maps": [{"words": item.words, "image": image} for item, image in zip(maps, images, strict=True)],
        "ratings": {
            "key": f"attribution-ratings-{key}",
            "file": "map_ratings.csv",
            "card": "map",
            "columns": ["rater", "map", "rating", "comment", *HIDDEN],
            "cards": secrets,
        },
    }
    return facts, images


_RATING_DPI = 101.6  # 4 pixels a millimeter: every grid line falls on whole pixels


class Picture(NamedTuple):
    """A PNG with the stem of its file name and its caption."""

    stem: str
    png: bytes
    caption: str


def draw_windows(targets: np.ndarray, count: int, seed: int) -> list[int]:
    """Choose windows at random, the explained classes in turn; targets (n,)."""
    order = np.random.default_rng(seed).permutation(len(targets))
    return order[np.lexsort((targets[order], turns(targets[order])))][:count].tolist()


def method_order(names: list[str]) -> list[str]:
    """Sort methods as tables show them."""
    known = list(TITLES)
    return sorted(names, key=lambda n: (n == RANDOM, known.index(n) if n in known else len(known), n))


def map_pictures(study: Study, result: Workspace, positions: list[int]) -> Iterator[Picture]:
    """Draw windows with the maps of all methods; 12-lead windows also with that of the best-ranked method."""
    windows, methods = result.windows, method_order(result.methods())
    all_maps = {name: result.maps(name)[positions] for name in methods}
    for place, position in enumerate(positions):
        row, target = int(result.rows[position]), int(result.targets[position])
        start = _start(windows, row)
        ground_truth = windows.ground_truths[0] if windows.ground_truths else ""
        mask = ground_truth_mask(windows, row, target, ground_truth) if ground_truth else None
        maps = {name: values[place] for name, values in all_maps.items()}
        lead = _lead(maps, mask)
        class_name = windows.classes[target]
        name = f"{windows.name} record {windows.records[row]}"
        prediction = f"{study.model}: {class_name}, probability {result.probability[position]:.2f}."
        ground_truth_name = _ground_truth_name(ground_truth, class_name)
        in_lead = mask is None or mask[:, lead].any()
        note = "" if in_lead else " The ground truth is in other leads."
        figure = draw_methods(
            windows.signals[row][:, lead],
            windows.sampling_rate,
            {method_title(n): values[:, lead] for n, values in maps.items()},
            f"{name}, lead {display_name(windows.leads[lead])}",
            f"{prediction} Signed maps of its logit.{note}",
            None if mask is None else mask[:, lead],
            ground_truth_name,
            _notes(study, result.seed, row, class_name, ground_truth),
            start,
        )
        stem = f"maps_{windows.records[row]}_{start}_{class_name}"
        words = f"{name}: the maps of {len(methods)} methods for {class_name}"
        yield Picture(slug(stem), png(figure), words)
        if tuple(windows.leads) == LEADS:
            best = _best_method(study, methods)
            figure = draw_twelve_leads(
                windows.signals[row],
                windows.sampling_rate,
                maps[best],
                f"{name}: {method_title(best)}",
                prediction,
                mask,
                ground_truth_name,
                start,
            )
            words = f"{name}: 12 leads with the map of {method_title(best)} for {class_name}"
            yield Picture(slug(f"{stem}_{best}"), png(figure), words)


def blind_maps(study: Study, result: Workspace, positions: list[int]) -> list[BlindMap]:
    """Draw maps without method names and ground truth, for rating."""
    windows, blind = result.windows, []
    all_maps = {name: result.maps(name)[positions] for name in method_order(result.methods())}
    for place, position in enumerate(positions):
        row, target = int(result.rows[position]), int(result.targets[position])
        class_name, start = windows.classes[target], _start(windows, row)
        words = f"explains {class_name}, probability {result.probability[position]:.2f}"
        maps = {name: values[place] for name, values in all_maps.items()}
        lead = _lead(maps, None)
        for name, values in maps.items():
            signal, rate, title = windows.signals[row], windows.sampling_rate, f"The map {words}"
            if tuple(windows.leads) == LEADS:
                figure = draw_twelve_leads(signal, rate, values, title, start=start)
            else:
                figure = draw_methods(signal[:, lead], rate, {"map": values[:, lead]}, title, start=start)
            facts = {
                "dataset": study.dataset,
                "model": study.model,
                "seed": result.seed,
                "method": name,
                "sign": "absolute" if tuple(windows.leads) == LEADS else "signed",
                "record": str(windows.records[row]),
                "window": row,
                "target": class_name,
            }
            picture = png(figure, _RATING_DPI, 256, Image.Quantize.MAXCOVERAGE)
            blind.append(BlindMap(picture, words, facts))
    return blind


def _start(windows: Windows, row: int) -> int:
    """First sample of a window in its record."""
    return 0 if windows.starts is None else int(windows.starts[row])


def _lead(maps: dict[str, np.ndarray], mask: np.ndarray | None) -> int:
    """The lead with most of the ground truth; among equals, or without one, that with most attribution."""
    shares = sum(np.abs(m).sum(axis=0) / (np.abs(m).sum() or 1) for n, m in maps.items() if n != RANDOM)
    shares = np.broadcast_to(shares, next(iter(maps.values())).shape[1])
    covered = np.zeros(len(shares)) if mask is None else mask.sum(axis=0)
    return max(range(len(shares)), key=lambda lead: (covered[lead], shares[lead]))


def _ground_truth_name(ground_truth: str, class_name: str) -> str:
    named = {
        "beats": f"beats of {class_name}",
        "planted": f"synthetic finding of {class_name}",
        "QRS": "QRS complex",
    }
    return named.get(ground_truth, f"{ground_truth} wave" if ground_truth else "")


def _notes(study: Study, seed: int, row: int, class_name: str, ground_truth: str) -> dict[str, str]:
    where = {"seed": seed, "window": row, "target": class_name, "ground_truth": ground_truth}
    where |= {"metric": "auc", "sign": "signed"}
    lines = study.scores[study.scores[list(where)].eq(pd.Series(where)).all(axis=1)].dropna(subset=["score"])
    scores = zip(lines["method"], lines["score"], strict=True)
    return {method_title(name): f"AUC {score:.2f}" for name, score in scores}


def _best_method(study: Study, methods: list[str]) -> str:
    for ranking in study.rankings:
        for row in ranking["ranking"]["rows"]:
            if row["method"] in methods:
                return str(row["method"])
    return methods[0]
