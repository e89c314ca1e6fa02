"""An explanation method: the magnitude of the input itself."""

import numpy as np

from explain.methods import register_method


@register_method("toy_magnitude", signed=False)
def toy_magnitude(classifier, x, targets, settings):
    """The same map for every class."""
    return np.abs(x)
