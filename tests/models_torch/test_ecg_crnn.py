"""Convolutional recurrent networks: sizes of the reference, parts, the published example, wrong settings."""

import numpy as np
import pytest
import torch

from models_torch import create_model
from models_torch.crnn import POOLS
from utils.errors import DataError, UsageError

pytestmark = pytest.mark.torch

SMALL = {
    "backbone": "resnet_18",
    "backbone_config": {
        "stem": {"num_filters": [4], "filter_lengths": [3]}, "num_blocks": [1, 1], "num_filters": [4, 16],
        "filter_lengths": [3, 3], "strides": [1, 2], "building_block": ["basic"] * 2, "block": [{}, {}],
    },
    "samples": 120, "leads": 2, "rnn_units": (6, 4), "head_units": (8,),
}  # fmt: skip


def parameters(name: str, **options) -> int:
    with torch.device("meta"):
        return create_model(name, **{"num_classes": 4, "samples": 5000, **options}).module_size


@pytest.mark.parametrize(
    ("rnn", "attention", "expected"),
    [
        ("none", "none", 7_060_676), ("none", "se", 7_086_636), ("none", "gc", 7_112_757),
        ("none", "nl", 7_266_916), ("none", "sa", 7_471_556), ("none", "transformer", 8_129_540),
        ("lstm", "none", 8_803_524), ("lstm", "se", 8_840_820), ("lstm", "gc", 8_878_309),
        ("lstm", "nl", 9_100_164), ("lstm", "sa", 9_394_884), ("lstm", "transformer", 10_184_260),
        ("linear", "none", 6_897_156), ("linear", "se", 6_898_252), ("linear", "gc", 6_899_381),
        ("linear", "nl", 6_905_636), ("linear", "sa", 6_913_796), ("linear", "transformer", 7_046_212),
    ],
)  # fmt: skip
def test_crnn_has_the_size_of_the_reference(rnn, attention, expected):
    units = {"rnn_units": (256, 64)} if rnn == "linear" else {}
    options = {"backbone": "resnet_nature_comm", "rnn": rnn, "attention": attention, **units}
    assert parameters("ecg_crnn", **options) == expected


def test_crnn_of_the_published_example_has_its_size():
    options = {"backbone": "resnet_nature_comm_bottle_neck_gc", "sampling_rate": 400, "samples": 4000}
    assert parameters("ecg_crnn", **options) == 10_892_264
    changes = {
        "building_block": ["basic", "bottleneck", "bottleneck", "bottleneck"],
        "block": {"conv_type": "separable"},
    }
    assert parameters("ecg_crnn", backbone="tresnetP", backbone_config=changes) == 6_795_747
    model = create_model("ecg_crnn", num_classes=4, channels_first=True, **options).eval()
    assert model.module_size_ == "41.6M"
    x = torch.rand(2, 12, 4000)
    with torch.no_grad():
        assert model(x).shape == (2, 4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_classes": 1, "leads": 1}, 2_900_385),
        ({"num_classes": 4}, 2_906_388),
        ({"num_classes": 1, "leads": 1, "rnn": "none", "attention": "none"}, 253_793),
    ],
)
def test_tagging_network_has_the_size_of_the_reference(options, expected):
    assert parameters("ecg_seq_lab", **options) == expected


def test_tagging_network_recovers_the_length():
    options = SMALL | {"samples": 121}
    torch.manual_seed(0)
    model = create_model("ecg_seq_lab", **options).eval()
    longer = create_model("ecg_seq_lab", **options, recover_length=True).eval()
    longer.load_state_dict(model.state_dict())
    with torch.no_grad():
        x = torch.randn(2, 121, 2)
        rows, samples = model(x), longer(x)
    assert rows.shape == (2, model.columns, 5) and samples.shape == (2, 121, 5)
    assert samples.min() >= rows.min() and samples.max() <= rows.max()
    assert samples[:, 0].equal(rows[:, 0]) and samples[:, -1].equal(rows[:, -1])


@pytest.mark.parametrize("pool", [*POOLS, "none"])
@pytest.mark.parametrize("rnn", ["none", "lstm", "linear"])
def test_crnn_parts_fit_each_other(pool, rnn):
    torch.manual_seed(0)
    attentions = ("none", "se", "gc", "nl", "cbam", "ge", "sk", "bam", "coordinate", "sa", "transformer")
    x = torch.randn(3, 120, 2)
    for attention in attentions:
        model = create_model("ecg_crnn", **SMALL, pool=pool, rnn=rnn, attention=attention)
        logits = model(x)
        assert logits.shape == ((3, 15, 5) if pool == "none" else (3, 5))
        logits.square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_pools_give_what_their_names_say():
    x = torch.randn(2, 3, 12)
    both = POOLS["concat"](3, 1)(x)
    torch.testing.assert_close(both, torch.cat([POOLS["max"](3, 1)(x), POOLS["avg"](3, 1)(x)], 1))
    torch.testing.assert_close(both, torch.cat([x.amax(2), x.mean(2)], 1))
    torch.testing.assert_close(POOLS["max"](3, 4)(x), x.unflatten(2, (4, 3)).amax(3).flatten(1))
    gem = POOLS["gem"](3, 1)
    torch.testing.assert_close(gem(x.abs()), (x.abs() ** 3).mean(2) ** (1 / 3))
    with torch.no_grad():
        gem.exponent.fill_(1.0)
    torch.testing.assert_close(gem(x.abs()), x.abs().mean(2))
    torch.testing.assert_close(POOLS["gem"](3, 3)(x.abs()).shape, torch.Size([2, 9]))


def test_lstm_alone_is_read_where_each_direction_ends():
    torch.manual_seed(0)
    model = create_model("ecg_crnn", **SMALL, rnn="lstm", last_step=True).eval()
    lstm = model.sequence.lstms[-1]
    with torch.no_grad():
        maps = model.sequence.lstms[0](model.features(torch.randn(2, 120, 2)).transpose(1, 2))[0]
        _, (hidden, _) = lstm(maps)
        ended = model.sequence.last(lstm(maps)[0].transpose(1, 2))
    torch.testing.assert_close(ended, torch.cat([hidden[0], hidden[1]], dim=1))
    assert isinstance(model.attention_module, torch.nn.Identity)


def test_config_writes_out_the_backbone():
    model = create_model("ecg_crnn", **SMALL, sampling_rate=250)
    written = model.config["backbone_config"]
    assert written["fs"] == 250 and written["num_filters"] == [4, 16] and written["activation"] == "relu"
    again = create_model(**model.config)
    assert again.config == model.config and again.backbone.config == model.backbone.config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet_19"}, "unknown backbone 'resnet_19': did you mean 'resnet_18'"),
        ({"rnn": "gru"}, "unknown rnn 'gru'"),
        ({"rnn": "lstm", "rnn_units": ()}, "rnn 'lstm' needs rnn_units"),
        ({"attention": "see"}, "unknown attention 'see': did you mean 'se'"),
        ({"attention": "sa", "attention_config": {"head": 2}}, "attention 'sa': options .* do not fit"),
        ({"pool": "mean"}, "unknown pool 'mean'"),
        ({"pool_size": 16}, "pool_size 16 must be 1 to 15"),
        ({"pool": "attentive", "pool_size": 2}, "'attentive' has pool_size 1"),
        ({"last_step": True}, "last_step is for rnn 'lstm'"),
        ({"samples": 8, "attention": "nl"}, "8 samples leave 1 columns behind the backbone, too few"),
        ({"backbone_config": {"num_filters": "4"}}, "num_filters must be a list"),
    ],
)
def test_crnn_refuses_impossible_settings(options, message):
    with pytest.raises(UsageError, match=message):
        create_model("ecg_crnn", **SMALL | options)


def test_crnn_says_which_lengths_and_leads_it_takes():
    with pytest.raises(DataError, match="4 samples are too few, it takes 5 or more"):
        create_model("ecg_crnn", **SMALL | {"samples": 4})
    model = create_model("ecg_crnn", **SMALL, channels_first=True)
    with pytest.raises(
        DataError,
        match=r"ecg_crnn was built for .* shape \(batch, 2 leads, 120 samples\) but got \(1, 120, 2\)",
    ):
        model(torch.zeros(1, 120, 2))
    assert np.isfinite(model(torch.zeros(2, 2, 120)).detach().numpy()).all()
