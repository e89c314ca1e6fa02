"""IMLE-Net's attention levels, brought to the samples."""

import numpy as np
import pytest

from models_tf.imle_net import attention_heatmap
from utils.errors import DataError

pytestmark = pytest.mark.tf


def softmaxes(seed=0):
    rng = np.random.default_rng(seed)
    beat, rhythm, channel = (np.exp(rng.normal(size=s)) for s in ((12, 20, 13), (12, 20), (12,)))
    return (level / level.sum(axis=-1, keepdims=True) for level in (beat, rhythm, channel))


def test_attention_heatmap_keeps_the_mass_of_every_window():
    beat, rhythm, channel = softmaxes(1)
    heat = attention_heatmap(beat, rhythm, channel, 1000)
    assert heat.shape == (1000, 12) and (heat > 0).all()
    assert heat.sum() == pytest.approx(1, abs=1e-12)
    windows = heat.T.reshape(12, 20, 50).sum(axis=2)
    np.testing.assert_allclose(windows, rhythm * channel[:, None], atol=1e-15)
    np.testing.assert_allclose(heat.sum(axis=0), channel, atol=1e-15)


def test_attention_heatmap_puts_positions_on_their_samples():
    _, rhythm, channel = softmaxes()
    for position in (0, 5, 12):
        beat = np.zeros((12, 20, 13))
        beat[..., position] = 1
        window = attention_heatmap(beat, rhythm, channel, 1000)[100:150, 2]
        owned = range(4 * position, min(4 * position + 4, 50))
        assert int(window.argmax()) in owned
        assert window[[i for i in range(50) if abs(i - (4 * position + 1.5)) > 4]].max() == 0
    uniform = attention_heatmap(
        np.full((12, 20, 13), 1 / 13), np.full((12, 20), 1 / 20), np.full(12, 1 / 12), 1000
    )
    np.testing.assert_allclose(uniform * uniform.size, 1, atol=1e-12)


def test_attention_heatmap_wrong_levels_raise():
    beat, rhythm, channel = softmaxes()
    with pytest.raises(DataError, match="rhythm attention"):
        attention_heatmap(beat, rhythm * 2, channel, 1000)
    with pytest.raises(DataError, match="do not fit"):
        attention_heatmap(beat, rhythm[:, :-1], channel, 1000)
    with pytest.raises(DataError, match="20 equal windows"):
        attention_heatmap(beat, rhythm, channel, 1001)
