"""The networks of ProtoECGNet: reference outputs, sizes, receptive fields, freezing, fusion."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from models_torch import create_model
from models_torch.protoecgnet import BACKBONES, BRANCHES, ResNet
from models_torch.protoecgnet.network import window_cosines, window_distances
from models_torch.protoecgnet.prototype_classifier import list_prototypes
from utils.errors import DataError, UsageError

pytestmark = pytest.mark.torch

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "proto_network_goldens.npz")
# how the reference's network differs from the default here
REFERENCE = {
    "sigmoid": True,
    "pooling": "mean",
    "similarity_scale": "reference",
    "last_layer_connection_weight": 1.0,
    "off_class_weight": -0.5,
    "bias": False,
}
CASES = {  # branch: name in the goldens, classes, parameters
    "rhythm": ("1d", 16, 4_457_344),
    "morphology": ("2dpartial", 52, 15_134_856),
    "global": ("2dglobal", 3, 12_898_983),
}
CLASSIFIERS = {  # spec of the reference: parameters as a plain classifier
    "resnet1d18": 3_857_040, "resnet1d34": 7_231_376, "resnet1d50": 15_991_952, "resnet1d101": 28_299_408,
    "resnet1d152": 38_438_032, "resnet18": 12_537_500, "resnet34": 22_645_660, "resnet50": 28_960_924,
    "resnet101": 47_953_052, "resnet152": 63_596_700,
}  # fmt: skip
SMALL = {"samples": 320, "leads": 3, "width": 4, "proto_dim": 8, "single_class_prototype_per_class": 2}


def small_branch(branch="morphology", **options):
    torch.manual_seed(3)
    return create_model("protoecgnet", num_classes=3, branch=branch, **(SMALL | options)).eval()


def small_signals(records=4, samples=320):
    return torch.from_numpy(np.random.RandomState(0).standard_normal((records, samples, 3)).astype("float32"))


def reference_tensors(model):
    """The recipe's weights, drawn in the order in which the reference holds its tensors."""
    state = model.state_dict()

    def norm(name):
        return [f"{name}.{key}" for key in ("weight", "bias", "running_mean", "running_var")]

    order = ["prototype_vectors", "trunk.conv1.weight", *norm("trunk.bn1")]
    for stage in range(4):
        for block in range(2):
            base = f"trunk.stages.{stage}.{block}"
            for index in range(2):
                order += [f"{base}.convs.{index}.weight", *norm(f"{base}.norms.{index}")]
            if f"{base}.downsample.0.weight" in state:
                order += [f"{base}.downsample.0.weight", *norm(f"{base}.downsample.1")]
    order += [f"trunk.fc.{key}" for key in ("weight", "bias") if f"trunk.fc.{key}" in state]
    return [*order, "add_on.0.weight", "add_on.0.bias", "add_on.2.weight", "add_on.2.bias"]


def set_reference_weights(model):
    draw, state = np.random.RandomState(2024), model.state_dict()
    for name in reference_tensors(model):
        tensor = state[name]
        z = draw.standard_normal(tuple(tensor.shape))
        if name == "prototype_vectors":
            value = z
        elif name.endswith("running_var"):
            value = 1 + 0.1 * np.abs(z)
        elif tensor.ndim == 1:
            value = 0.1 * z + (1 if name.endswith("weight") else 0)
        else:
            value = z * np.sqrt(2 / np.prod(tensor.shape[1:]))
        tensor.copy_(torch.from_numpy(value))


@pytest.mark.parametrize("branch", CASES)
def test_protoecgnet_equals_the_reference(branch):
    name, classes, parameters = CASES[branch]
    options = {"num_classes": classes, "branch": branch, **REFERENCE}
    model = create_model("protoecgnet", reference_layers=True, **options).eval()
    assert sum(p.numel() for p in model.parameters()) == parameters
    set_reference_weights(model)
    noise = np.random.RandomState(77).standard_normal((3, 12, 1000)).astype("float32")
    signals = torch.from_numpy(np.ascontiguousarray(noise.transpose(0, 2, 1)))

    def check(network):
        with torch.inference_mode():
            trunk = network.trunk(signals.transpose(1, 2))
            logits, scores = network(signals, details=True)
        trunk = (trunk.mean(2, keepdim=True) if network.averaged else trunk)[:, ::37, ::5]
        for found, key in ((trunk, "backbone"), (scores, "sim"), (logits, "logits")):
            expected = GOLDENS[f"{name}_{key}"]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())

    check(model)
    # the layers used by default are the same function of the weights that are alive
    flat = create_model("protoecgnet", **options).eval()
    state = {}
    for key, tensor in model.state_dict().items():
        if key == "ones" or key.startswith("trunk.fc."):
            continue
        if tensor.ndim == 4:  # all leads at once, or a row between two of padding
            tensor = tensor[:, 0] if key == "trunk.conv1.weight" else tensor[:, :, tensor.shape[2] // 2]
        state[key] = tensor
    flat.load_state_dict(state)
    check(flat)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_trunk_sizes_equal_the_reference(backbone):
    flat = backbone.startswith("resnet1d")
    with torch.device("meta"):
        model = create_model(
            "protoecgnet_trunk", num_classes=16 if flat else 52, backbone=backbone, reference_layers=not flat
        )
    assert sum(p.numel() for p in model.parameters()) == CLASSIFIERS[backbone]


def test_fusion_has_the_references_prototypes():
    with torch.device("meta"):
        configs = [
            create_model(
                "protoecgnet", num_classes=CASES[b][1], branch=b, reference_layers=True, **REFERENCE
            ).config
            for b in BRANCHES
        ]
        model = create_model("protoecgnet_fusion", num_classes=71, branches=configs)
    assert model.prototypes == [80, 936, 21]
    assert sum(p.numel() for p in model.head.parameters()) == 73_698
    assert sum(p.numel() for p in model.parameters()) == 32_564_881


def test_similarities_equal_the_reference():
    def tensor(key):
        return torch.from_numpy(GOLDENS[key])

    x, prototypes = tensor("cos1d_x")[..., None], tensor("proto1d")[..., None]
    torch.testing.assert_close(
        window_cosines(x, prototypes)[..., 0], tensor("cos1d_out"), rtol=2e-5, atol=1e-6
    )
    distances = window_distances(x, prototypes)[..., 0]
    torch.testing.assert_close(distances, tensor("l2_1d_dist"), rtol=2e-5, atol=1e-6)
    logs = ((distances + 1) / (distances + 1e-4)).log()
    torch.testing.assert_close(logs, tensor("l2_1d_log"), rtol=2e-5, atol=1e-6)

    x = tensor("cos2d_x")[:, :, 0]
    for key, windows in (("proto2d", "cos2d_partial_act"), ("proto2d_global", "cos2d_global_act")):
        vectors = tensor(key)[:, :, 0]
        scale = int((16 * vectors.shape[2]) ** 0.5) / vectors.shape[2]
        found = window_cosines(x, vectors) * scale
        torch.testing.assert_close(found, tensor(windows), rtol=2e-5, atol=1e-6)
    distances = window_distances(x, tensor("proto2d")[:, :, 0])
    torch.testing.assert_close(distances, tensor("l2_2d_dist"), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "latent", "activation", "key"),
    [
        ("mean", "arc", "log", "cos2d_partial_sim_mean"),
        ("max", "arc", "log", "cos2d_partial_sim_max"),
        ("top", "l2", "log", "l2_2d_log_top5"),
        ("top", "l2", "linear", "l2_2d_linear_top5"),
    ],
)
def test_pooled_scores_equal_the_reference(pooling, latent, activation, key):
    vectors = torch.from_numpy(GOLDENS["proto2d"])[:, :, 0]
    model = create_model(
        "protoecgnet", num_classes=5, samples=320, width=2, proto_dim=16, single_class_prototype_per_class=3,
        pooling=pooling, latent_space_type=latent, prototype_activation_function=activation,
        similarity_scale="reference",
    )  # fmt: skip
    assert model.prototype_vectors.shape == vectors.shape
    with torch.no_grad():
        model.prototype_vectors.copy_(vectors)
        scores, _ = model.pool(model.activations(torch.from_numpy(GOLDENS["cos2d_x"])[:, :, 0]))
    np.testing.assert_allclose(scores, GOLDENS[key], rtol=2e-5, atol=1e-6)


def influence(trunk, samples, column):
    """Samples whose change changes a column, found by gradients; batch norm is the identity."""
    signals = torch.randn(1, 2, samples, requires_grad=True)
    trunk.eval()(signals)[0, :, column].sum().backward()
    reached = signals.grad[0].abs().sum(0).nonzero()[:, 0]
    return int(reached.min()), int(reached.max()) + 1


def test_distance_of_a_window_to_an_equal_prototype_is_zero():
    torch.manual_seed(0)
    features = 3 * torch.randn(2, 512, 32)  # large numbers, whose float32 squares would not cancel
    prototypes = torch.stack([features[0, :, 4:7], features[1, :, 20:23]])
    distances = window_distances(features, prototypes)
    assert distances[0, 0, 4] < 1e-4 and distances[1, 1, 20] < 1e-4 and distances[0, 1].min() > 1


@pytest.mark.parametrize(("bounded", "field"), [(False, 435), (True, 75)])
def test_trunk_receptive_field_equals_the_gradients(bounded, field):
    torch.manual_seed(0)
    trunk = ResNet("resnet18", leads=2, width=16, bounded=bounded)
    info = trunk.feature_info[-1]
    assert info.receptive_field == field and trunk.stride == info.stride == 32
    column = 16
    start, stop = influence(trunk, 1000, column)
    expected = column * 32 + info.start
    # the outermost samples may count for nothing by chance (max-pooling, ReLU), never others for something
    assert expected <= start <= expected + 8 and expected + field - 8 <= stop <= expected + field


def test_window_span_and_receptive_field():
    model = create_model("protoecgnet", num_classes=2, width=2, proto_dim=4)
    assert (model.windows, model.columns) == (30, 32)
    assert model.window_span(0) == (0, 80) and model.window_span(29) == (912, 1000)
    for window in range(2, 27):  # what is drawn lies in the middle of what is seen
        span, field = model.window_span(window), model.window_receptive_field(window)
        if field[0] > 0 and field[1] < 1000:
            assert abs(sum(span) - sum(field)) <= 2
    start, stop = model.window_receptive_field(15)
    assert stop - start == 435 + 64  # 4.99 s, as the gradients of the reference say
    assert model.window_receptive_field(0)[0] == 0 and model.window_receptive_field(29)[1] == 1000
    whole = create_model("protoecgnet", num_classes=2, branch="global", width=2, proto_dim=4)
    assert whole.window_span(0) == whole.window_receptive_field(0) == (0, 1000)


def test_decimation_gives_windows_of_equal_duration():
    at_100, at_500 = (
        create_model("protoecgnet", num_classes=2, samples=s, decimation=d, width=2, proto_dim=4)
        for s, d in ((1000, 1), (5000, 5))
    )
    assert at_100.columns == at_500.columns and at_100.windows == at_500.windows
    assert at_500.window_span(3) == tuple(5 * s for s in at_100.window_span(3))
    assert at_500(torch.randn(1, 5000, 12)).shape == (1, 2)


@pytest.mark.parametrize("branch", BRANCHES)
def test_freeze_keeps_weights_and_statistics(branch):
    model = small_branch(branch, dropout=0.5)
    model.freeze("trunk", "add_on", "prototypes")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        logits, scores = model(small_signals(), details=True)
        functional.binary_cross_entropy_with_logits(logits, torch.ones(4, 3)).backward()
        optimizer.step()
    changed = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    assert changed == {"head.weight", "head.bias"}
    again = model(small_signals(), details=True)[1]
    assert torch.equal(scores, again)  # no dropout, no moving batch norm
    model.freeze("head")
    model.train()
    model(small_signals())
    assert not torch.equal(model.trunk.bn1.running_mean, before["trunk.bn1.running_mean"])


@given(seed=st.integers(0, 1000), branch=st.sampled_from(list(BRANCHES)))
@settings(max_examples=15, deadline=None)
def test_protoecgnet_contributions_add_up_to_the_logits(seed, branch):
    model = small_branch(branch)
    torch.manual_seed(seed)
    signals = torch.randn(2, 320, 3)
    with torch.no_grad():
        activations = model.activations(model.features(signals))
        scores, window = model.scores(signals)
        torch.nn.init.normal_(model.head.weight)
        torch.nn.init.normal_(model.head.bias)
        assert torch.equal(scores, activations.gather(2, window[..., None])[..., 0])
        assert scores.abs().max() <= 1 + 1e-5
        total = model.contributions(scores).sum(2) + model.head.bias
        torch.testing.assert_close(total, model(signals), rtol=1e-4, atol=1e-5)


def test_similarity_of_an_equal_window_is_one():
    model, signals = small_branch(), small_signals()
    with torch.no_grad():
        features = model.features(signals)
        model.prototype_vectors[1] = features[2, :, 4:7]
        scores, window = model.scores(signals)
    assert scores[2, 1] == pytest.approx(1, abs=1e-4) and window[2, 1] == 4


def test_fusion_contributions_add_up_and_branches_stay_frozen():
    branches = [small_branch(b) for b in BRANCHES]
    model = create_model(
        "protoecgnet_fusion", num_classes=4, samples=320, leads=3, branches=[b.config for b in branches]
    )
    for own, branch in zip(model.branch_models, branches, strict=True):
        own.load_state_dict(branch.state_dict())
    torch.manual_seed(5)
    model.center.copy_(torch.randn(len(model.center)))
    model.spread.copy_(torch.rand(len(model.spread)) + 0.5)
    model.train()
    assert not model.branch_models[0].trunk.training and model.head.training
    with torch.no_grad():
        scores, window = model.scores(small_signals())
        parts = torch.cat([b.scores(small_signals())[0] for b in branches], dim=1)
        torch.testing.assert_close(scores, parts)
        total = model.contributions(scores).sum(2) + model.head.bias
        torch.testing.assert_close(total, model(small_signals()), rtol=1e-4, atol=1e-5)
    assert window.shape == scores.shape == (4, 18)
    assert all(not p.requires_grad for p in model.branch_models.parameters())
    of_version_0_1 = {name.replace("center", "centre"): tensor for name, tensor in model.state_dict().items()}
    again = create_model(**model.config)
    again.load_state_dict(of_version_0_1)
    assert torch.equal(again.center, model.center)


def test_list_prototypes():
    assert list_prototypes(3, 2, 1) == [[0], [0], [1], [1], [2], [2], [0, 1], [0, 2], [1, 2]]
    model = small_branch(joint_prototypes_per_border=1)
    assert model.identity.sum(1).tolist() == [1] * 6 + [2] * 3
    kept = small_branch(prototype_classes=[[0], [2], [0, 1]])
    assert kept.prototype_vectors.shape[0] == 3 and kept.identity.tolist()[2] == [1, 1, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"branch": "rythm"}, "rhythm"),
        ({"backbone": "resnet1d19"}, "resnet1d18"),
        ({"pooling": "mxa"}, "max"),
        ({"latent_space_type": "cos"}, "arc"),
        ({"proto_time_len": 11}, "11 columns do not fit"),
        ({"bounded": True, "reference_layers": True}, "exclude each other"),
    ],
)
def test_protoecgnet_wrong_options_raise(options, message):
    with pytest.raises(UsageError, match=message):
        small_branch(**options)


def test_fusion_branches_of_other_records_raise():
    with pytest.raises(UsageError, match="must list"):
        create_model("protoecgnet_fusion")
    with pytest.raises(UsageError, match="another shape"):
        create_model("protoecgnet_fusion", samples=640, leads=3, branches=[small_branch().config])
    with pytest.raises(DataError, match="320 samples"):
        small_branch()(torch.zeros(1, 319, 3))
