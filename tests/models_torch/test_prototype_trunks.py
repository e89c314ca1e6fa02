"""Prototypes on every registered model: its features are the trunk, and nothing else of it is."""

import json

import numpy as np
import pytest
import torch

from models_torch import create_model, model_info
from models_torch.protoecgnet import BACKBONES, list_trunks
from utils.errors import UsageError

CASES = {
    name: next(case for case in model_info(name).cases if not case.columns)
    for name in list_trunks()
    if name not in BACKBONES and any(not case.columns for case in model_info(name).cases)
}
CANNOT = {
    "ecgnet": "not one sequence over the record",
    "minirocket": "no feature map",
}


def build(name: str, **options):
    config = dict(CASES[name].options)
    sizes = {"samples": config.pop("samples"), "leads": config.pop("leads")}
    torch.manual_seed(0)
    network = create_model(
        "protoecgnet", num_classes=3, backbone=name, backbone_config=config, proto_dim=6, proto_time_len=1,
        single_class_prototype_per_class=2, **sizes, **options,
    )  # fmt: skip
    return network, torch.randn(4, *sizes.values())


@pytest.mark.parametrize("name", CASES)
def test_prototypes_work_on_every_model(name):
    if name in CANNOT:
        with pytest.raises(UsageError, match=CANNOT[name]):
            build(name)
        return
    network, signals = build(name)
    network.train()
    network(signals).square().sum().backward()
    trunk = [n for n, p in network.named_parameters() if n.startswith("trunk.")]
    assert trunk and all(network.get_parameter(n).grad is not None for n in trunk), "a part is not used"
    network.eval()
    with torch.no_grad():
        features = network.features(signals)
        scores, windows = network.scores(signals)
    assert features.shape == (4, 6, network.columns) and scores.shape == (4, 6)
    span = network.window_span(int(windows[0, 0]))
    low, high = network.window_receptive_field(int(windows[0, 0]))
    assert 0 <= low <= span[0] < span[1] <= high <= signals.shape[1]
    again = create_model(**json.loads(json.dumps(network.config))).eval()
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        np.testing.assert_array_equal(again(signals), network(signals))


def test_prototype_trunk_that_is_unknown_or_misconfigured_is_refused():
    with pytest.raises(UsageError, match="unknown backbone 'xresnet1d': did you mean 'xresnet1d101'"):
        create_model("protoecgnet", backbone="xresnet1d")
    with pytest.raises(UsageError, match="width: belong to the trunks"):
        create_model("protoecgnet", backbone="fcn_wang", width=8)
    with pytest.raises(UsageError, match="for registered models, not for 'resnet1d18'"):
        create_model("protoecgnet", backbone="resnet1d18", backbone_config={"width": 8})
