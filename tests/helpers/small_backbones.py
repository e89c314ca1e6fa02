"""Small networks of every family of backbones: the name of one and changes of its configuration."""

from models_torch.backbones.attention import list_attention

_TWO = {"num_blocks": [1, 1], "num_filters": [4, 6], "filter_lengths": [5, 3], "strides": [1, 2]}
_STAGES = {**_TWO, "building_block": ["basic", "bottleneck"], "block": [{}, {}]}
_NO_POOL = {"pool_size": 0}
_STEM = {"num_filters": [4], "filter_lengths": [3]}
_DENSE = {
    "init_num_filters": 4,
    "init_filter_length": 3,
    "num_layers": [2, 2],
    "growth_rate": 4,
    "filter_length": 3,
}
_HARD = {
    "init_num_filters": [4, 6], "init_filter_length": 3, "num_layers": [4, 3], "growth_rates": [2, 4],
    "num_filters": [6, 8], "down_sample": [True, False], "filter_length": 3,
}  # fmt: skip
SMALL = {
    "resnet": ("resnet_18", {**_STAGES, "stem": _STEM | _NO_POOL}),
    "resnet d": (
        "resnet_50_d",
        {**_STAGES, "stem": {"num_filters": [4, 4], "filter_lengths": [3, 3], "strides": [1, 1]} | _NO_POOL},
    ),
    "resnet vanilla": ("resnet_50_vanilla", {**_STAGES, "stem": _STEM | _NO_POOL}),
    "resnet stanford": ("resnet_stanford", {**_STAGES, "strides": [[2], [2]], "stem": _STEM}),
    "resnet nature": ("resnet_nature_comm", {**_STAGES, "strides": [4, 2], "stem": _STEM}),
    "tresnet": (
        "tresnetF",
        {**_STAGES, "stem": {"num_filters": [4]}, "block": [{"blur_size": 3, "conv_type": "anti_alias"}, {}]},
    ),
    "resnet leadwise": ("resnet_leadwise", {**_TWO, "building_block": ["basic"] * 2, "block": [{}, {}],
        "num_filters": [12, 24], "stem": {"num_filters": [12], "filter_lengths": [3], "pool_size": 0}}),
    **{
        f"resnet with {name}": (
            "resnet",
            {
                **_STAGES,
                "stem": _STEM | _NO_POOL,
                "block": [{"attn": {"name": name}}, {"attn": {"name": name}, "attn_position": 0}],
            },
        )
        for name in list_attention()
    },
    "vgg": ("vgg16", {"num_convs": [1, 2], "num_filters": [4, 6], "filter_length": 5, "pool_size": 2}),
    "densenet": ("densenet", _DENSE),
    "densenet bottleneck": ("densenet_bottleneck", _DENSE | {"dropout": 0.1}),
    "densenet leadwise": ("densenet_leadwise", _DENSE | {"init_num_filters": 12, "growth_rate": 12}),
    "xception": (
        "xception",
        {"init_num_filters": [4, 4], "entry_num_filters": [4, 6], "middle_blocks": 1,
         "exit_num_filters": [6, 8], "final_num_filters": [8], "init_filter_length": 5,
         "entry_filter_length": 3, "middle_filter_length": 3, "exit_filter_length": 3},
    ),
    "mobilenet_v1": (
        "mobilenet_v1",
        {"init_num_filters": 4, "init_filter_length": 5, "entry_num_filters": [4, 6], "entry_strides": [1, 2],
         "middle_num_filters": [6], "exit_num_filters": [8], "exit_strides": [2], "entry_filter_length": 3,
         "middle_filter_length": 3, "exit_filter_length": 3},
    ),
    "mobilenet_v3": (
        "mobilenet_v3",
        {"init_num_filters": 4, "init_filter_length": 5, "exit_num_filters": 8, "exit_filter_length": 3,
         "stages": [{"num_filters": 4, "filter_length": 3, "stride": 1}, {"num_filters": 8}]},
    ),
    "regnet": (
        "regnet",
        {"stem": _STEM | _NO_POOL, "w_0": 8, "w_a": 6.0, "w_m": 2.0, "total_blocks": 3, "group_widths": 4,
         "filter_lengths": 3},
    ),
    "darknet": ("darknet_53", {"init_num_filters": 4, "num_blocks": [1, 1], "num_filters": [4, 6]}),
    "darknet plain": ("darknet_19", {"init_num_filters": 4, "num_blocks": [1, 3], "num_filters": [4, 6]}),
    "efficientnet": (
        "efficientnet_b1",
        {"init_num_filters": 8, "exit_num_filters": 8,
         "stages": [{"num_filters": 8, "filter_length": 3, "expansion": 1}, {"num_blocks": 2, "stride": 2}]},
    ),
    "efficientnet_v2": (
        "efficientnet_v2_s",
        {"init_num_filters": 8, "exit_num_filters": 8,
         "stages": [{"num_blocks": 1}, {"num_blocks": 2, "num_filters": 8, "stride": 2}, {"num_blocks": 1}]},
    ),
    "hardnet": ("hardnet_68", _HARD),
    "hardnet depthwise": ("hardnet_39ds", _HARD),
    **{
        f"ho_resnet {scheme}": (
            "ho_resnet",
            {"scheme": scheme, "stem": _STEM | _NO_POOL, "num_steps": [1, 1], "num_filters": [4, 6],
             "filter_lengths": [3, 3], "strides": [1, 2], "dropout": 0.1},
        )
        for scheme in ("midpoint", "rk4", "rk8")
    },
    "multi_scopic": (
        "multi_scopic",
        {"num_filters": [4, 4], "filter_lengths": [5, 3], "subsample_lengths": [2, 2], "dropouts": [0.0, 0.1],
         "dilations": [[[1], [1, 1]], [[2], [2, 4]]]},
    ),
}  # fmt: skip
