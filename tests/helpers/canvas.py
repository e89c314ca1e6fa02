"""What is painted on the explorer's canvas, by places on the paper in millimeters."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from explorer.paper import Paper

_PIXELS_PER_MM = 96 / 25.4


@dataclass(frozen=True)
class Painted:
    """Pixels of the whole page of paper, (rows, columns, 3), and how many of them are a millimeter."""

    pixels: np.ndarray
    scale: float

    def at(self, x: float, y: float, reach: float = 0.0) -> np.ndarray:
        """Pixels within a square around a place, (n, 3); `reach` in mm."""
        step = max(round(reach * self.scale), 0)
        column, row = int(x * self.scale), int(y * self.scale)
        part = self.pixels[max(row - step, 0) : row + step + 1, max(column - step, 0) : column + step + 1]
        return part.reshape(-1, 3)


def painted(page: Any, paper: Paper) -> Painted:
    """Read the canvas of a page that shows the whole width of a paper."""
    address = page.locator(".ecg canvas").first.evaluate("(canvas) => canvas.toDataURL()")
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")
    pixels = np.asarray(picture).astype(int)
    return Painted(pixels, min(pixels.shape[1] / paper.width, _PIXELS_PER_MM))


def redness(pixels: np.ndarray) -> np.ndarray:
    """How much more red than green, a value for each pixel."""
    return pixels[:, 0] - pixels[:, 1]
