"""Blind rating of maps: what a rater sees, and what the page keeps hidden until the CSV is downloaded."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
