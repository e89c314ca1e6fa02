"""The one style of all pictures, whatever a user's matplotlibrc says."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import matplotlib

# a style with LaTeX or another font would end a run or change the picture; the backend is chosen elsewhere
_DEFAULTS = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}


@contextlib.contextmanager
def plain_style() -> Iterator[None]:
    """Matplotlib's own style; characters that its font lacks are drawn as boxes. Also a decorator."""
    with matplotlib.rc_context(_DEFAULTS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield
