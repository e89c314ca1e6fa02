"""An augmenter: turns whole records upside down."""

import numpy as np

from preprocessing.transforms import register_augmenter


@register_augmenter("toy_flip")
def toy_flip(signals, targets, rng, probability=0.5):
    """Negate each record with a probability."""
    sign = np.where(rng.random((len(signals), 1, 1)) < probability, -1, 1)
    return (signals * sign).astype(np.float32), targets
