"""Layers of the backbones: goldens of the reference, attention modules, configurations."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models_torch.backbones import adjust_cnn_filter_lengths, backbone_config
from models_torch.backbones.attention import list_attention, make_attention
from models_torch.backbones.columns import Columns, walk
from models_torch.backbones.layers import BlurPool, SpaceToDepth, conv_unit, convolution, down_sample
from models_torch.backbones.resnet import BlockConfig, ResidualBlock, basic, bottleneck
from models_torch.crnn import AttentivePool, Perceptron, SelfAttention, StackedLSTM
from utils.errors import UsageError
from utils.feature_info import Grid

pytestmark = pytest.mark.torch

with np.load(Path(__file__).parents[1] / "goldens" / "backbone_goldens.npz") as _file:
    GOLDENS = {key: _file[key] for key in _file.files}

TIME_FIRST = ("self_attention_h4", "stacked_lstm_8_8_bi")  # maps of the reference are (columns, B, channels)
WITHOUT_WEIGHTS = ("filt",)  # what ours computes


def lstm_of(units):
    return StackedLSTM(16, units, bidirectional=True, dropout=0.1)


def block(design, filters, kernel, stride, **config):
    settings = BlockConfig(**config)
    return ResidualBlock(16, design(filters, kernel, stride, settings), settings, "relu", "batch")


LAYERS = {
    "se_r8": lambda: make_attention({"name": "se", "reduction": 8, "bias": False}, 16),
    "gc_mul_r4": lambda: make_attention({"name": "gc", "reduction": 4}, 16),
    "gc_add_r4": lambda: make_attention({"name": "gc", "reduction": 4, "fuse": ["add"]}, 16),
    "gc_avg_addmul_r4": lambda: make_attention({"name": "gc", "pooling": "avg", "fuse": ["add", "mul"]}, 16),
    "nl_sub2": lambda: make_attention({"name": "nl", "subsample": 2}, 16),
    "cbam_r4": lambda: make_attention({"name": "cbam", "reduction": 4}, 16),
    "attentive_pooling": lambda: AttentivePool(16, 1),
    "self_attention_h4": lambda: SelfAttention(16, heads=4),
    "blurpool_s2_f7": lambda: BlurPool(16, 2, 7),
    "blurpool_s2_f3": lambda: BlurPool(16, 2, 3),
    "antialias_k5_s2": lambda: convolution(16, 8, 5, 2, bias=True, conv_type="anti_alias"),
    "separable_k5_s2": lambda: convolution(16, 8, 5, 2, bias=True, conv_type="separable"),
    "space_to_depth4_eq": lambda: SpaceToDepth(4),
    "space_to_depth4_proj": lambda: nn.Sequential(
        SpaceToDepth(4), conv_unit(64, 32, 1, bias=True, activation="none")
    ),
    "stacked_lstm_8_8_bi": lambda: lstm_of((8, 8)),
    "mlp_32_4_mish": lambda: nn.Sequential(Perceptron(16, (32,), "mish", 0.2), nn.Linear(32, 4)),
    "conv_bn_relu_k5_s2_d1": lambda: conv_unit(16, 8, 5, 2, bias=True),
    **{
        f"downsample_{mode}_4": lambda mode=mode: down_sample(16, 24, 4, mode)
        for mode in ("max", "avg", "conv", "blur", "lp")
    },
    "resnet_basic_k5_s2_16to24_conv": lambda: block(basic, 24, 5, 2),
    "resnet_basic_k17_s4_16to24_max(nature)": lambda: block(basic, 24, 17, 4, subsample_mode="max"),
    "resnet_bottleneck_B_k5_s2_16_8x4": lambda: block(bottleneck, 8, 5, 2),
    "resnet_bottleneck_D_k5_s2_16_8x4": lambda: block(bottleneck, 8, 5, 2, subsample_mode="avg"),
}


def load(module: nn.Module, name: str) -> None:
    """Give a module the reference's weights, which are stored in the same order."""
    prefix = f"{name}/w/"
    stored = {k.removeprefix(prefix): v for k, v in GOLDENS.items() if k.startswith(prefix)}
    stored = {k: v for k, v in stored.items() if not k.endswith(WITHOUT_WEIGHTS)}
    if name == "nl_sub2":  # ours: value, query, key as there, where they are called g, theta, phi
        assert [k.split(".")[1] for k in stored][:6:2] == ["g", "theta", "phi"]
    ours = {k: v for k, v in module.state_dict().items() if "num_batches" not in k}
    assert len(ours) == len(stored), (list(ours), list(stored))
    weights = {
        key: torch.from_numpy(value).reshape(ours[key].shape)
        for key, value in zip(ours, stored.values(), strict=True)
    }
    module.load_state_dict(weights, strict=False)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_equals_the_reference(name):
    module = LAYERS[name]()
    load(module, name)
    x, expected = torch.from_numpy(GOLDENS[f"{name}/x"]), GOLDENS[f"{name}/y"]
    with torch.no_grad():
        if name not in TIME_FIRST:
            given = module.eval()(x)
        else:
            given = module.eval()(x.permute(1, 2, 0)).permute(2, 0, 1)
    assert given.shape == expected.shape
    np.testing.assert_allclose(given, expected, rtol=0, atol=2e-6 * max(1, np.abs(expected).max()))


def test_layers_of_the_reference_are_all_tested():
    assert set(LAYERS) == {key.split("/")[0] for key in GOLDENS}


# ---- attention -----------------------------------------------------------------------------------


def varied(module: nn.Module) -> nn.Module:
    """The module with no weight left at a value such as 0 or 1."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("name", list_attention())
@pytest.mark.parametrize("columns", [16, 37])
def test_attention_keeps_the_shape_and_learns(name, columns):
    torch.manual_seed(0)
    module = varied(make_attention({"name": name}, 24)).train()
    x = torch.randn(3, 24, columns, requires_grad=True)
    y = module(x)
    assert y.shape == x.shape
    (y**2).sum().backward()
    silent = [key for key, weight in module.named_parameters() if not weight.grad.abs().max() > 0]
    assert set(silent) <= {"mask.bias"}  # a softmax does not feel a constant
    assert x.grad.isfinite().all()
    if name not in ("sk", "nl", "gc"):  # gates: zero stays zero, and no value is turned over
        with torch.no_grad():
            gates = module.eval()(torch.ones(1, 24, columns))
        assert not module(torch.zeros(1, 24, columns)).any() and gates.min() > 0 and gates.max() < 2


def test_non_local_block_starts_as_the_identity():
    x = torch.randn(2, 8, 12)
    assert torch.equal(make_attention({"name": "nl"}, 8)(x), x)


def test_gather_excite_reads_its_neighborhood_alone():
    module = make_attention({"name": "ge", "extent": 4, "parameters": False}, 2)
    x = torch.randn(1, 2, 10)
    expected = torch.cat(
        [x[:, :, s : s + 4].mean(2, True).expand(-1, -1, min(4, 10 - s)) for s in (0, 4, 8)], 2
    )
    torch.testing.assert_close(module(x)[:, :, :1], x[:, :, :1] * torch.sigmoid(expected[:, :, :1]))
    whole = make_attention({"name": "ge", "extent": 0, "parameters": False}, 2)
    torch.testing.assert_close(whole(x), x * torch.sigmoid(x.mean(2, True)))


def test_selective_kernel_is_a_weighted_mean_of_its_branches():
    torch.manual_seed(0)
    module = make_attention({"name": "sk", "branches": 3, "groups": 4}, 8).eval()
    x = torch.randn(2, 8, 20)
    with torch.no_grad():
        maps = torch.stack([branch(x) for branch in module.branches])
        y = module(x)
    assert ((y >= maps.amin(0) - 1e-6) & (y <= maps.amax(0) + 1e-6)).all()
    assert walk(module, Columns(Grid(), 20)).grid == Grid(1, 7, -3)  # dilation 3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "see"}, "unknown attention module 'see': did you mean 'se'"),
        (
            {"name": "se", "reductoin": 4},
            "unknown option 'reductoin' of attention 'se': did you mean 'reduction'",
        ),
        ({"reduction": 4}, "has no 'name'"),
        ({"name": "cbam", "pools": ["mean"]}, "unknown pool 'mean'"),
        ({"name": "ge", "extent": 3}, "extent must be 0 or a power of 2"),
        ({"name": "gc", "fuse": []}, "fuse"),
        ({"name": "se", "reduction": 0}, "reduction must be 1 or more"),
    ],
)
def test_attention_refuses_wrong_settings(config, message):
    with pytest.raises(UsageError, match=message):
        make_attention(config, 16)


# ---- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [5, 16, 17, 18, 19])
@pytest.mark.parametrize("mode", ["max", "avg", "conv", "blur", "lp"])
def test_shortcut_has_as_many_columns_as_a_strided_convolution(mode, length):
    x = torch.randn(1, 4, length)
    shortcut, path = down_sample(4, 6, 4, mode), convolution(4, 6, 7, 4)
    columns = Columns(Grid(), length)
    assert shortcut(x).shape == path(x).shape == (1, 6, walk(path, columns).length)
    assert walk(shortcut, columns).length == walk(path, columns).length


def test_space_to_depth_fills_the_last_group_with_zeros():
    x = torch.arange(1.0, 7).reshape(1, 1, 6)
    np.testing.assert_array_equal(SpaceToDepth(4)(x)[0], [[1, 5], [2, 6], [3, 0], [4, 0]])


def test_unit_of_layers_refuses_an_impossible_order():
    for order in ("ba", "ccb", "cx"):
        with pytest.raises(UsageError, match=f"order '{order}'"):
            conv_unit(2, 2, 3, order=order)
    assert [type(layer).__name__ for layer in conv_unit(2, 4, 3, order="bac")] == [
        "BatchNorm1d",
        "ReLU",
        "Conv1d",
    ]


# ---- configurations ------------------------------------------------------------------------------


def test_filter_lengths_are_rescaled_as_the_reference_does():
    given = {
        "filter_lengths": [1, 3, 5, 11, 15, 17, 25],
        "sub": {"filter_length": 17, "filt_size": 7, "kernel": 9},
    }
    expected = {
        100: ([1, 1, 1, 3, 3, 3, 5], 3),
        200: ([1, 1, 3, 5, 7, 7, 11], 7),
        250: ([1, 3, 3, 7, 9, 9, 13], 9),
        360: ([1, 3, 5, 9, 11, 13, 19], 13),
        400: ([1, 3, 5, 9, 13, 15, 21], 15),
        1000: ([1, 7, 11, 23, 31, 35, 51], 35),
    }
    for fs, (lengths, inner) in expected.items():
        assert adjust_cnn_filter_lengths({"fs": 500, **given}, fs) == {
            "fs": fs, "filter_lengths": lengths, "sub": {"filter_length": inner, "filt_size": 7, "kernel": 9},
        }  # fmt: skip
    config = backbone_config("resnet_cpsc2018")
    scaled = adjust_cnn_filter_lengths(config, 250)
    assert (config.fs, scaled.fs) == (500, 250)
    assert scaled.filter_lengths[0] == [3, 3, 13] and scaled.stem.filter_lengths == [9]
    with pytest.raises(UsageError, match="no field 'fs'"):
        adjust_cnn_filter_lengths({"filter_length": 3}, 100)


def test_configuration_is_json_and_a_copy():
    config = backbone_config("tresnetP")
    config.building_block[1], config.block[1].conv_type = "bottleneck", "separable"
    again = type(config).from_json(json.loads(json.dumps(config.to_json())))
    assert again == config and again.block[1] is not config.block[1]
    assert backbone_config("tresnetP").block[1].conv_type == "anti_alias"
    changed = config.changed({"block": {"dropout": 0.5}, "stem": {"num_filters": [32]}})
    assert [b.dropout for b in changed.block] == [0.5] * 4 and changed.block[1].conv_type == "separable"
    assert changed.stem.kind == "space_to_depth" and config.block[0].dropout == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_block": [1]}, "resnet_18: unknown field 'num_block': did you mean 'num_blocks'"),
        ({"num_blocks": 3}, "resnet_18.num_blocks must be a list of a whole number, not 3"),
        ({"num_blocks": [1, True]}, r"num_blocks\[1\] must be a whole number, not True"),
        ({"filter_lengths": ["a"]}, r"filter_lengths\[0\] must be a whole number, not 'a'"),
        ({"building_block": ["basik"] * 4}, "unknown 'basik': did you mean 'basic'"),
        ({"stem": 3}, "resnet_18.stem must be"),
        ({"block": [{"conv_type": "seperable"}]}, "conv_type: unknown 'seperable': did you mean 'separable'"),
    ],
)
def test_configuration_refuses_what_it_cannot_mean(changes, message):
    with pytest.raises(UsageError, match=message):
        backbone_config("resnet_18", **changes)
