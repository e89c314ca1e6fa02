"""Places on ECG paper that Python and the canvas must agree on.

    python -m tests.goldens.paper_geometry     # writes paper_geometry.json from explicit arithmetic

The numbers come from the definitions (mm/s, mm/mV), not from the functions under test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_suffix(".json")


def cases() -> list[dict[str, Any]]:
    """Papers with one segment each, and points on them: sample, mV, and mm from the left and the top."""
    made = []
    for speed in (25.0, 50.0):
        for gain in (5.0, 10.0, 20.0):
            for rate in (100.0, 360.0, 500.0):
                for sign, start, level in ((1, 0, 0.0), (1, 250, 0.12), (-1, 0, -0.4)):
                    x = 20 + start / rate * speed
                    segment = {
                        "lead": "AVR", "label": "aVR", "sign": sign, "start": start, "stop": start + 5000,
                        "x": x, "y": 40.0, "level": level,
                    }  # fmt: skip
                    points = []
                    for sample, millivolts in ((start, level), (start + 1, 0.0), (start + 333, 1.234)):
                        right = 20 + sample / rate * speed
                        points.append([sample, millivolts, right, 40 - sign * gain * (millivolts - level)])
                    paper = {"speed": speed, "gain": gain, "sampling_rate": rate}
                    made.append({"paper": paper, "segment": segment, "points": points})
    return made


def readings() -> list[dict[str, float]]:
    """Calipers and what they read; QTc worked out with square and cube roots that come out even."""
    table = (  # first and second sample, Hz, ms, beats a minute, RR in ms, Bazett, Fridericia
        (100, 200, 100.0, 1000.0, 60.0, 1000.0, 1000.0, 1000.0),
        (36, 180, 360.0, 400.0, 150.0, 640.0, 500.0, 464.1588833612779),
        (512, 312, 500.0, 400.0, 150.0, 512.0, 559.0169943749474, 500.0),
    )
    names = ("a", "b", "rate", "ms", "bpm", "rr", "Bazett", "Fridericia")
    return [dict(zip(names, row, strict=True)) for row in table]


def main() -> None:
    """Write the table."""
    PATH.write_text(
        json.dumps({"places": cases(), "readings": readings()}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
