"""Medians and quantiles of short signals."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from preprocessing.recordings.order import median, quantile

VALUES = arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(1, 40)),
    elements=st.floats(-1e3, 1e3, allow_subnormal=False),
)


@given(VALUES, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_medians_and_quantiles_are_those_of_numpy(values, first, second):
    before = values.copy()
    np.testing.assert_array_equal(median(values), np.median(values, axis=-1))
    for share, found in zip((first, second, 0.98), quantile(values, first, second, 0.98), strict=True):
        np.testing.assert_allclose(found, np.quantile(values, share, axis=-1), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(values, before)
