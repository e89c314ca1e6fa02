"""How fast the explorer is in a browser: first paint, answers, changes of class and layout.

python -m benchmarks explorer     # runs it and keeps the result
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from explorer.drive import PAINTED, choose, chromium, open_page, serving, settle
from explorer.sources import read_sample, sample_names
from preprocessing.transforms.resample import resample
from utils.config import Options, option, parse
from utils.ecg import DISPLAY_NAMES
from utils.errors import run_cli
from utils.files import write_json, write_text

RATE, SECONDS = 500, 10
MODEL, METHOD = "imle_net", "saliency"
CLASSES = ("MI", "NORM", "CD", "HYP", "STTC")
LAYOUTS = ("12x1", "6x2", "3x4", "3x4+1")
# Keeps when the user clicked last and what was painted since; reading a pixel waits for the painting.
_WATCH = """(canvas) => {
    window.clicked = 0;
    window.paints = [];
    const clicked = () => { window.clicked = performance.now(); window.paints = []; };
    document.addEventListener("click", clicked, true);
    new MutationObserver(() => {
        const begun = performance.now();
        canvas.getContext("2d").getImageData(0, 0, 1, 1);
        const drawn = Number(canvas.dataset.paintMs) + performance.now() - begun;
        window.paints.push([performance.now() - window.clicked, drawn]);
    }).observe(canvas, { attributes: true, attributeFilter: ["data-paint-ms"] });
}"""


@dataclass
class TimingOptions(Options):
    """How often each step is measured, and where the times go."""

    rounds: int = option(5, "times of each measurement", min=1)
    to: Path = option(Path("timing.json"), "JSON file to write", scope="machine")


def _write_long(path: Path, sample: str) -> None:
    """A sample at 500 Hz: twelve leads of 5000 samples."""
    signal = resample(np.asarray(read_sample(sample).recording.signal), 100, RATE)[: RATE * SECONDS]
    lines = [",".join(["time", *DISPLAY_NAMES])]
    lines += [",".join(f"{x:.4f}" for x in (i / RATE, *row)) for i, row in enumerate(signal)]
    write_text(path, "\n".join(lines) + "\n")


def _watch(page: Any) -> None:
    page.wait_for_selector(PAINTED)
    settle(page)
    page.locator(".ecg canvas").first.evaluate(_WATCH)


def _repainted(page: Any, label: str, value: str) -> tuple[float, float]:
    """Seconds from a choice to the new picture, and those of the drawing alone."""
    choose(page, label, value)
    page.wait_for_function("() => window.paints.length > 0")
    since, drawn = page.evaluate("() => window.paints.at(-1)")
    return since / 1000, drawn / 1000


def _changes(page: Any, label: str, values: Sequence[str], rounds: int) -> list[tuple[float, float]]:
    """Times of choosing the values in turn."""
    wanted = cycle(values)
    return [_repainted(page, label, next(wanted)) for _ in range(rounds)]


def _first_paint(page: Any, folder: Path, rounds: int) -> list[float]:
    """Seconds of drawing a recording of 500 Hz that the canvas has not shown before."""
    files = []
    for number in range(rounds + 1):
        files.append(folder / f"recording_{number}.csv")
        _write_long(files[-1], "sample_ecg_mi.csv" if number % 2 else "sample_ecg_norm.csv")
    page.get_by_text("Upload", exact=True).click()
    page.set_input_files("input[type=file]", list(map(str, files)))
    _watch(page)
    return [_repainted(page, "Recording of the upload", path.name)[1] for path in files[1:]]


def measure(browser: Any, url: str, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, a value for each round."""
    open_page(browser, url).context.close()  # loads the model
    times: dict[str, list[float]] = {"page": []}
    for _ in range(rounds):
        page = browser.new_context().new_page()
        begun = time.perf_counter()
        page.goto(url)
        page.wait_for_selector(PAINTED, timeout=240_000)
        times["page"].append(time.perf_counter() - begun)
        page.context.close()
    page = open_page(browser, url)
    _watch(page)
    titles = [facts["title"] for facts in sample_names().values()]
    times["record"] = [t for t, _ in _changes(page, "Sample", titles, len(titles))][:-1]
    choose(page, "by", METHOD)
    classes = [t for t, _ in _changes(page, "for the class", CLASSES, 2 * len(CLASSES) + rounds)]
    times["class, computed"], times["class, kept"] = classes[1 : len(CLASSES)], classes[len(CLASSES) :]
    times["layout"] = [t for t, _ in _changes(page, "Layout", LAYOUTS, 4 * rounds)]
    times["first paint"] = _first_paint(page, folder, rounds)
    page.context.close()
    return times


def main() -> None:
    """Start the explorer, measure, write seconds of each step and what they were measured with."""
    options = parse(TimingOptions, description=__doc__)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), os.environ | {"MODEL_TO_USE": MODEL}) as url,
        chromium() as browser,
    ):
        times = measure(browser, url, Path(folder), options.rounds)
        facts = {"browser": f"Chromium {browser.version}", "model": MODEL}
    write_json(options.to, facts | {"seconds": times})


if __name__ == "__main__":
    run_cli(main)
