"""Beat annotations: the class of each symbol, and the span of a window that each beat owns.

The symbols are PhysioNet's (https://archive.physionet.org/physiobank/annotations.shtml), the classes AAMI's
(ANSI/AAMI EC57): N normal and bundle branch block, SVEB supraventricular ectopic, VEB ventricular ectopic,
F fusion, and Q for paced and unclassifiable beats, which are not classified.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

AAMI_CLASSES = ("N", "SVEB", "VEB", "F")
OTHER = len(AAMI_CLASSES)  # AAMI's Q: such a beat limits its neighbors' spans and owns none itself

# Beats only: rhythm changes (+), noise (~, |), blocked P waves (x) and flutter waves (!) are not. AAMI's
# recommendation leaves e and j with N; the attribution study counts escape beats as supraventricular, and so
# does this table, which puts n (supraventricular escape) beside them.
# B is a bundle branch block beat of unstated side (with L and R), r an R-on-T premature ventricular beat.
AAMI_SYMBOLS = {
    **dict.fromkeys("NLRB", 0),
    **dict.fromkeys("AaJSejn", 1),
    **dict.fromkeys("VEr", 2),
    "F": 3,
    **dict.fromkeys("/fQ?", OTHER),
}

# The reference's table; every other symbol, beat or not, counts as N there.
REFERENCE_SYMBOLS = {
    **dict.fromkeys("NLR", 0),
    **dict.fromkeys("AaJSej", 1),
    **dict.fromkeys("VE", 2),
    "F": 3,
    **dict.fromkeys("P/fu", OTHER),
}

FLUTTER_SYMBOLS = "![]"  # ventricular flutter or fibrillation: its waves are not beats


def classify(
    symbols: Sequence[str], table: Mapping[str, int], default: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Class of each annotation; annotations without one are left out; kept (M,), classes (M,)."""
    classes_of = [(place, table.get(symbol, default)) for place, symbol in enumerate(symbols)]
    beats = [(place, index) for place, index in classes_of if index is not None]
    kept, classes = np.array(beats, dtype=np.int64).reshape(-1, 2).T
    return kept, classes


def window_label(classes: np.ndarray) -> int:
    """Class of a window: the most frequent one of its beats that is not 0; a tie goes to the lower index.

    Shapes: classes (M,).
    """
    counts = np.bincount(np.asarray(classes, dtype=np.int64), minlength=1)
    counts[0] = 0
    return int(counts.argmax())


def beat_spans(
    samples: Sequence[int] | np.ndarray, classes: Sequence[int] | np.ndarray, length: int
) -> list[tuple[int, int, int]]:
    """Divide a window among its beats, halfway between neighbors; samples (M,), classes (M,)."""
    # sorted by position, then by class, so that a dict keeps the highest class of each position
    owners = dict(sorted(zip(map(int, samples), map(int, classes), strict=True)))
    positions = list(owners)
    middles = [(left + right) // 2 for left, right in itertools.pairwise(positions)]
    edges = [0, *middles, length]
    return [(edges[i], edges[i + 1], owners[position]) for i, position in enumerate(positions)]
