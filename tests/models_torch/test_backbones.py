"""Every backbone: parameters and shapes of the reference, receptive fields, lengths, wrong settings."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from models_torch.backbones import (
    Backbone,
    adjust_cnn_filter_lengths,
    backbone_config,
    create_backbone,
    layout,
    list_backbones,
    register_backbone,
)
from models_torch.backbones.base import _PRESETS
from models_torch.backbones.hardnet import links
from models_torch.backbones.ho_resnet import SCHEMES, Step
from models_torch.backbones.layers import BlurPool
from models_torch.backbones.regnet import quantized_stages
from models_torch.layers import recorded
from tests.helpers.small_backbones import SMALL
from utils.errors import DataError, UsageError

pytestmark = pytest.mark.torch

REFERENCE = {  # torch_ecg 0.0.33, 12 leads: parameters, shape of the map of 5000 samples
    "resnet_18": (18_510_016, (512, 157)),
    "resnet_34": (35_352_000, (512, 157)),
    "resnet_50_torch_ecg": (48_765_983, (2048, 157)),
    "resnet_101_torch_ecg": (73_519_458, (2048, 157)),
    "resnet_152_torch_ecg": (101_245_517, (2048, 157)),
    "resnet_wide_50_2_torch_ecg": (161_794_577, (2048, 157)),
    "resnet_wide_101_2_torch_ecg": (236_869_497, (2048, 157)),
    "resnext_50_32x4d_torch_ecg": (30_322_976, (2048, 157)),
    "resnext_101_32x8d_torch_ecg": (121_937_632, (2048, 157)),
    "resnetN": (4_555_200, (512, 157)),
    "resnetNB": (7_771_840, (2048, 157)),
    "resnetNS": (736_256, (512, 157)),
    "resnetNBS": (5_250_048, (2048, 157)),
    "resnet_nature_comm": (6_727_872, (320, 20)),
    "resnet_nature_comm_se": (6_784_176, (320, 20)),
    "resnet_nature_comm_gc": (6_840_932, (320, 20)),
    "resnet_nature_comm_nl": (7_174_272, (320, 20)),
    "resnet_nature_comm_bottle_neck": (7_829_952, (1280, 20)),
    "resnet_nature_comm_bottle_neck_se": (8_718_720, (1280, 20)),
    "resnet_nature_comm_bottle_neck_gc": (9_609_284, (1280, 20)),
    "resnet_nature_comm_bottle_neck_nl": (14_923_968, (1280, 20)),
    "resnet_stanford_torch_ecg": (26_510_760, (576, 79)),
    "resnet_cpsc2018": (21_619_152, (384, 157)),
    "resnet_leadwise": (7_242_144, (768, 157)),
    "tresnetF": (1_202_732, (1024, 157)),
    "tresnetP": (8_056_741, (1792, 157)),
    "tresnetN": (13_960_002, (1792, 157)),
    "tresnetS": (22_838_445, (1792, 157)),
    "tresnetM": (34_725_208, (2048, 157)),
    "tresnetL": (56_745_151, (2432, 157)),
    "tresnetXL": (83_027_173, (2688, 157)),
    "tresnetM_V2": (35_468_704, (2048, 157)),
    "vgg16": (13_807_584, (384, 155)),
    "vgg16_mish": (13_807_584, (384, 155)),
    "vgg16_swish": (13_807_584, (384, 155)),
    "vgg16_leadwise": (18_426_816, (1536, 155)),
    "regnet_16_8": (3_693_387, (440, 79)),
    "regnet_S": (2_900_640, (1024, 79)),
    "densenet_vanilla": (768_352, (188, 312)),
    "densenet_leadwise": (51_792, (144, 312)),
    "xception_vanilla": (20_740_440, (2048, 157)),
    "xception_leadwise_torch_ecg": (184_324_872, (6144, 157)),
    "mobilenet_v1": (4_103_532, (1152, 157)),
    "mobilenet_v2": (17_453_520, (1536, 79)),
    "mobilenet_v3": (17_559_336, (1536, 79)),
    "multi_scopic": (6_737_760, (1152, 625)),
    "multi_scopic_leadwise": (2_254_464, (2304, 625)),
}


def shapes_only(name: str, leads: int = 12, **config) -> Backbone:
    """A backbone without memory for its weights."""
    with torch.device("meta"):
        return create_backbone(name, leads, config).eval()


@pytest.mark.parametrize("name", REFERENCE)
def test_backbone_has_the_size_of_the_reference(name):
    parameters, shape = REFERENCE[name]
    backbone = shapes_only(name)
    assert (backbone.module_size, backbone.output_shape(5000)) == (parameters, shape)


def test_backbone_of_paper_is_the_default_where_the_reference_differs():
    neck = shapes_only("resnet_50").get_submodule("stage1.0.main.1.0")
    assert (neck.in_channels, neck.out_channels) == (64, 64)
    assert shapes_only("resnext_50_32x4d").get_submodule("stage1.0.main.1.0").out_channels == 128
    stanford = shapes_only("resnet_stanford")
    blocks = [m for m in stanford.modules() if type(m).__name__ == "ResidualBlock"]
    assert len(blocks) == 16 and stanford.output_shape(2**14) == (256, 2**6)
    assert sum(isinstance(m, nn.Dropout) for m in stanford.modules()) == 16
    assert not any("stage1.0.main.0" in key and "weight" in key and v.ndim == 1
                   for key, v in stanford.named_parameters())  # fmt: skip


def test_blocks_are_swapped_as_the_published_example_does():
    config = backbone_config("tresnetP")
    config.building_block[1] = "bottleneck"
    counts = {}
    for kind in ("anti_alias", None, "separable"):
        for block in config.block:
            block.conv_type = kind
        with torch.device("meta"):
            backbone = create_backbone("tresnetP", config=config)
        counts[kind] = backbone.module_size
        blurred = sum(isinstance(m, BlurPool) and m.reach == 1 for m in backbone.modules())
        assert blurred == (3 if kind == "anti_alias" else 0)
    assert counts == {"anti_alias": 8_450_687, None: 8_450_687, "separable": 4_150_783}
    config.block[1].conv_type = "none"
    with pytest.raises(UsageError, match=r"tresnetP.block\[1\].conv_type: unknown 'none'"):
        create_backbone("tresnetP", config=config)


def test_sampling_rate_rescales_the_filter_lengths():
    backbone = create_backbone("resnet_nature_comm_bottle_neck_gc", fs=400)
    assert backbone.config.fs == 400 and backbone.config.filter_lengths == [15] * 4
    assert backbone.module_size == 9_165_380 and backbone.module_size_ == "35.0M"
    assert backbone.config == adjust_cnn_filter_lengths(
        backbone_config("resnet_nature_comm_bottle_neck_gc"), 400
    )
    assert create_backbone("resnetNS", fs=500).config.fs == 500


PAPERS = {  # parameters of the features that the papers' networks have, for images of three channels
    "efficientnet_b0": 4_007_548,
    "efficientnet_b1": 6_513_184,
    "efficientnet_b7": 63_786_960,
    "efficientnet_v2_s": 20_177_488,
    "efficientnet_v2_m": 52_858_356,
    "efficientnet_v2_l": 117_234_272,
    "darknet_53": 40_584_928,
    "hardnet_68": 16_540_348,
    "hardnet_39ds": 2_463_228,
    "hardnet_85": 35_389_212,
}


@pytest.mark.parametrize("name", PAPERS)
def test_backbone_has_the_size_of_its_paper(name):
    assert shapes_only(name, leads=3).module_size == PAPERS[name]


# ---- small networks of every family --------------------------------------------------------------

SAMPLES, LEADS = 130, 3


def small(case: str, **options) -> Backbone:
    name, config = SMALL[case]
    leads = 12 if "leadwise" in case else LEADS
    return create_backbone(name, leads, config, **options)


def test_families_are_all_tested():
    assert {_PRESETS.get(name).family for name in list_backbones()} == {
        _PRESETS.get(name).family for name, _ in SMALL.values()
    }


def reached(backbone: Backbone) -> dict[str, np.ndarray]:
    """Which samples have an effect on a column of each map, by its gradient; (columns, samples)."""
    names = [info.name for info in backbone.feature_info]
    for module in backbone.modules():
        if isinstance(module, nn.Conv1d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    longest = max(SAMPLES // info.stride for info in backbone.feature_info)
    x = (0.5 + torch.rand(longest + 1, SAMPLES, backbone.leads)).requires_grad_()
    found = {}
    with recorded(backbone, names) as maps:
        backbone(x)
    for name in names:  # record i of the batch shows column i
        count = maps[name].shape[2]
        chosen = maps[name][range(count), :, range(count)].sum()
        gradient = torch.autograd.grad(chosen, x, retain_graph=True)[0]
        found[name] = gradient[:count].any(dim=2).numpy()
    return found


def mean_instead(pool: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Pooling that passes the gradient to all that it reads."""
    padding = getattr(pool, "padding", 0)
    return nn.functional.avg_pool1d(x, pool.kernel_size, pool.stride, padding, pool.ceil_mode)


@pytest.mark.parametrize("case", SMALL)
def test_receptive_fields_are_those_of_the_gradient(case, monkeypatch):
    """Gates are held, and pooling passes on to all it reads: what is left is what a column reads."""
    torch.manual_seed(0)
    for pool in (nn.MaxPool1d, nn.LPPool1d, layout._MaxPool1d):
        monkeypatch.setattr(pool, "forward", mean_instead)
    sigmoid, softmax = torch.sigmoid, torch.softmax
    monkeypatch.setattr(torch, "sigmoid", lambda x: sigmoid(x).detach())
    monkeypatch.setattr(torch, "softmax", lambda x, dim: softmax(x, dim).detach())
    monkeypatch.setattr(nn.Sigmoid, "forward", lambda self, x: sigmoid(x).detach())
    backbone = small(case).eval()
    sees = reached(backbone)
    for info in backbone.feature_info:
        for column, samples in enumerate(sees[info.name]):
            expected = info.sees(column, SAMPLES)
            assert np.array_equal(samples, expected), (info, column, np.flatnonzero(samples != expected))


@pytest.mark.parametrize("case", SMALL)
def test_small_backbone_trains_and_is_built_again_from_json(case):
    torch.manual_seed(0)
    backbone = small(case).train()
    x = torch.randn(4, SAMPLES, backbone.leads)
    optimizer = torch.optim.SGD(backbone.parameters(), lr=1e-3)
    (backbone(x) ** 2).mean().backward()
    optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())
    name, _ = SMALL[case]
    config = json.loads(json.dumps(backbone.config.to_json()))
    again = create_backbone(name, backbone.leads, config, channels_first=True)
    again.load_state_dict(backbone.state_dict())
    assert again.config == backbone.config and again.feature_info == backbone.feature_info
    with torch.no_grad():
        y = backbone.eval()(x)
        assert torch.equal(again.eval()(x.transpose(1, 2)), y)
    assert y.shape[1:] == backbone.output_shape(SAMPLES) and y.shape[1] == backbone.channels
    explained = [info for info in backbone.feature_info if info.explained]
    assert len(explained) == 1 and backbone.feature_info[-1].channels == backbone.channels


@pytest.mark.parametrize("case", SMALL)
def test_small_backbone_takes_every_length_from_its_least_on(case):
    backbone = small(case).eval()
    least = backbone.minimum_samples
    for samples in {least, least + 1, least + 7, 101}:
        with torch.no_grad():
            assert backbone(torch.randn(1, samples, backbone.leads)).shape[1:] == backbone.output_shape(
                samples
            )
    if least > 1:
        with pytest.raises(DataError, match=f"{least - 1} samples are too few, it takes {least} or more"):
            backbone(torch.randn(1, least - 1, backbone.leads))
    with pytest.raises(DataError, match=f"was built for {backbone.leads} leads, .*but got"):
        backbone(torch.randn(1, SAMPLES, backbone.leads + 1))


@pytest.mark.parametrize(("scheme", "order"), [("midpoint", 2), ("rk4", 4), ("rk8", 8)])
def test_runge_kutta_step_has_its_order(scheme, order):
    """The error of x' = x (1 - x) at time 2 falls with the power of the step."""

    class Slope(nn.Module):
        def __init__(self, step):
            super().__init__()
            self.step = step

        def forward(self, x):
            return self.step * x * (1 - x)

    def error(steps):
        tableau = SCHEMES[scheme]
        one = Step([Slope(2 / steps) for _ in tableau.b], tableau)
        x = torch.tensor([0.1], dtype=torch.float64)
        for _ in range(steps):
            x = one(x)
        return abs(x.item() - 1 / (1 + 9 * np.exp(-2)))

    assert order - 0.4 < np.log2(error(2) / error(4)) < order + 1.5
    assert np.log2(error(4) / error(8)) > order - 0.4


def test_leadwise_networks_keep_the_leads_apart():
    """Half of the leads changed: the channels of the others are the same, in every lead-wise network."""
    names = [name for name in list_backbones() if name.endswith("leadwise")]
    assert len(names) == 5
    for name in names:
        torch.manual_seed(0)
        config = {"stem": {"groups": 12}} if name == "resnet_leadwise" else {}
        if name == "xception_leadwise":  # its depth is not the question
            config = {"middle_blocks": 1, "entry_num_filters": [24], "exit_num_filters": [24, 24],
                      "final_num_filters": [24], "init_num_filters": [24, 24]}  # fmt: skip
        backbone = create_backbone(name, 12, config).eval()
        x = torch.randn(1, 200, 12)
        other = torch.cat([x[..., :6], torch.randn(1, 200, 6)], dim=2)
        with torch.no_grad():
            first, second = backbone(x)[0], backbone(other)[0]
        same = (first == second).all(dim=1)
        parts = 3 if name.startswith("multi_scopic") else 1  # its branches are joined
        for part in same.chunk(parts):
            assert part[: len(part) // 2].all() and not part[len(part) // 2 :].all(), name


def test_harmonic_links_are_those_of_the_paper():
    assert [links(layer) for layer in (1, 2, 3, 4, 6, 8)] == [
        [0],
        [1, 0],
        [2],
        [3, 2, 0],
        [5, 4],
        [7, 6, 4, 0],
    ]


def test_regnet_widths_are_those_of_the_paper():
    assert quantized_stages(48, 27.89, 2.09, 16, 8) == ([1, 3, 6, 6], [48, 104, 208, 440])
    assert quantized_stages(320, 69.86, 2.0, 23, 168) == ([2, 7, 13, 1], [336, 672, 1344, 2520])


@pytest.mark.parametrize("case", ["mobilenet_v3", "xception", "hardnet depthwise", "resnet with ge"])
def test_channels_innermost_give_the_same_map_and_gradients(case):
    """Beside the same weights in layers that PyTorch lays out itself."""
    torch.manual_seed(0)
    kept = small(case).double().train()
    plain = copy.deepcopy(kept)
    plain._innermost = False
    usual = {kind: base for base, kind in layout._SAME.items()}
    changed = [module for module in plain.modules() if type(module) in usual]
    assert changed
    for module in changed:
        module.__class__ = usual[type(module)]
    x = torch.randn(4, SAMPLES, LEADS, dtype=torch.float64)
    for backbone in (kept, plain):
        torch.manual_seed(1)  # stochastic depth
        backbone(x).square().mean().backward()
    for name, weight in kept.named_parameters():
        torch.testing.assert_close(weight.grad, plain.get_parameter(name).grad, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(kept.eval()(x), plain.eval()(x), rtol=1e-10, atol=1e-10)


def test_maps_of_inner_layers_are_given_by_name():
    backbone = small("resnet").eval()
    x = torch.randn(1, SAMPLES, LEADS)
    stem, last = backbone.maps(x, ("stem", "stage2"))
    assert stem.shape[1] == backbone.feature("stem").channels == 4 and torch.equal(last, backbone(x))
    with pytest.raises(
        UsageError, match="backbone resnet has no feature layer 'stage3': did you mean 'stage"
    ):
        backbone.feature("stage3")


# ---- wrong settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("resnet18", {}, "unknown backbone 'resnet18': did you mean 'resnet_18'"),
        ("resnet_18", {"num_filters": [4]}, "num_filters has 1 entries, num_blocks 4: one a stage"),
        ("resnet_18", {"filter_lengths": [4] * 4}, "filter length 4: kernels are odd"),
        (
            "resnet_18",
            {"filter_lengths": [[3], 3, 3, 3]},
            r"filter_lengths\[0\] has 1 entries, the stage 2 blocks",
        ),
        ("resnet_18", {"activation": "rellu"}, "unknown activation 'rellu': did you mean 'relu'"),
        ("resnet_18", {"norm": "bach"}, "unknown normalization 'bach': did you mean 'batch'"),
        ("resnet_18", {"block": {"groups": 7}}, "cannot be divided into 7 groups"),
        (
            "resnet_18",
            {"block": {"attn": {"name": "sse"}}},
            "unknown attention module 'sse': did you mean 'se'",
        ),
        ("resnet_50", {"block": {"stride_at": 2}}, "stride_at 2 must be 0 or 1"),
        ("resnet_18", {"stem": {"strides": [1, 2]}}, "of the stem differ in length"),
        ("resnet_18", {"block": {"zero_channels": True}}, "shortcut with zero channels has no convolution"),
        ("vgg16", {"num_convs": [1]}, "num_convs and num_filters differ"),
        ("xception", {"init_strides": [1]}, "init_num_filters and init_strides differ"),
        ("mobilenet_v1", {"exit_strides": [1]}, "exit_num_filters and exit_strides differ"),
        ("regnet", {"num_blocks": [1]}, "num_blocks and num_filters are given together"),
        ("regnet", {"group_widths": [8, 8]}, "group_widths is one number"),
        ("regnet", {"w_m": 1.0}, "w_m is above 1"),
        ("regnet_S", {"strides": [2]}, "strides has 1 entries for 4 stages"),
        ("regnet_S", {"group_widths": 7}, "32 filters cannot be divided into groups of 7"),
        ("darknet", {"num_blocks": [1]}, "num_blocks and num_filters differ"),
        ("darknet_19", {"num_blocks": [1, 2, 3, 5, 5]}, "a plain stage has an odd number"),
        ("hardnet", {"growth_rates": [1]}, "growth_rates and num_layers differ"),
        ("hardnet", {"init_num_filters": [8]}, "init_num_filters has two entries"),
        ("ho_resnet", {"strides": [1]}, "strides and num_steps differ"),
        ("ho_resnet", {"scheme": "rk5"}, "scheme: unknown 'rk5': did you mean 'rk"),
        ("multi_scopic", {"dropouts": [0.1]}, "dropouts and num_filters differ in length"),
        ("multi_scopic", {"dilations": [[[1]]]}, "each branch of dilations has 3 blocks"),
    ],
)
def test_backbone_refuses_impossible_settings(name, config, message):
    with pytest.raises(UsageError, match=message):
        create_backbone(name, 12, config)


def test_backbone_takes_the_configuration_of_its_family_alone():
    with pytest.raises(
        UsageError, match="backbone 'multi_scopic' takes a MultiScopicConfig, not a ResNetConfig"
    ):
        create_backbone("multi_scopic", config=backbone_config("resnet_18"))


def test_registry_lists_a_family_and_takes_one_of_a_plugin():
    assert set(list_backbones("multi_scopic")) == {
        "multi_scopic",
        "multi_scopic_small",
        "multi_scopic_leadwise",
    }

    @register_backbone("my_net", {"my_wide_net": {"fs": 250}})
    class MyNet(Backbone):
        def build(self, config):
            self.add("conv", nn.Conv1d(self.leads, 7, 3, padding=1), 7)

    try:
        assert create_backbone("my_wide_net").output_shape(50) == (7, 50)
        assert backbone_config("my_wide_net").fs == 250
    finally:
        _PRESETS.remove("my_net")
        _PRESETS.remove("my_wide_net")
