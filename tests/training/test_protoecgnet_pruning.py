"""Pruning of ProtoECGNet: the smaller network, the criteria, and that no class is lost."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_torch import create_model
from training.protoecgnet.pruning import (
    CRITERIA,
    choose,
    duplicates,
    low_weight,
    prune,
    unused,
    without_record,
)
from utils.errors import UsageError

pytestmark = pytest.mark.torch

CLASSES = 3


def network(**options):
    torch.manual_seed(2)
    model = create_model(
        "protoecgnet",
        CLASSES,
        **{
            **{"samples": 200, "leads": 2, "backbone": "resnet1d18", "width": 2, "proto_dim": 4},
            **{"single_class_prototype_per_class": 3, "off_class_weight": -0.1, **options},
        },
    ).eval()
    with torch.no_grad():
        model.head.weight.add_(0.3 * torch.rand_like(model.head.weight))
        model.head.bias.copy_(torch.tensor([0.5, -0.25, 1.0]))
    return model


def card_entries(model):
    """A card's list in which every prototype has a record of its own."""
    return [
        {
            "index": i,
            "classes": [f"C{c}" for c in row.nonzero().flatten().tolist()],
            "ecg_id": 10 + i,
            "window": i,
        }
        for i, row in enumerate(model.identity)
    ]


def signals(records=4):
    return torch.from_numpy(np.random.RandomState(0).standard_normal((records, 200, 2)).astype("float32"))


def rebuilt(config, state):
    model = create_model(**config)
    model.load_state_dict(state)
    return model.eval()


@settings(max_examples=15)
@given(st.sets(st.integers(0, 11), min_size=1).map(list))
def test_pruned_network_scores_as_the_larger_one_did(keep):
    model = network(joint_prototypes_per_border=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    entries = card_entries(model)
    config, state, kept = prune(model, entries, keep)
    small = rebuilt(config, state)
    keep = sorted(keep)
    assert torch.equal(small.identity, model.identity[keep])
    assert [entry["ecg_id"] for entry in kept] == [10 + place for place in keep]
    assert [entry["index"] for entry in kept] == list(range(len(keep)))
    with torch.no_grad():
        whole, part = model.scores(signals())[0], small.scores(signals())[0]
        torch.testing.assert_close(part, whole[:, keep], rtol=1e-5, atol=1e-6)
        expected = model.contributions(whole)[:, :, keep].sum(dim=2) + model.head.bias
        torch.testing.assert_close(small(signals()), expected, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert entries == card_entries(model)


def test_class_that_loses_all_its_prototypes_keeps_its_bias():
    model = network(off_class_weight=0.0)
    with torch.no_grad():
        model.head.weight.mul_(model.identity.T)
    config, state, _ = prune(model, card_entries(model), [0, 1, 2, 6])
    logits = rebuilt(config, state)(signals())
    assert logits[:, 1].tolist() == [-0.25] * 4
    assert (logits[:, 2] != 1.0).all()


def test_network_can_be_pruned_again():
    model = network()
    config, state, kept = prune(model, card_entries(model), [1, 2, 4, 5, 8])
    config, state, kept = prune(rebuilt(config, state), kept, [0, 2, 4])
    assert config["prototype_classes"] == [[0], [1], [2]]
    assert [entry["ecg_id"] for entry in kept] == [11, 14, 18]
    assert torch.equal(state["prototype_vectors"], model.prototype_vectors[[1, 4, 8]])


def test_dead_weights_of_the_reference_follow():
    model = network(backbone="resnet18", reference_layers=True)
    config, state, _ = prune(model, card_entries(model), [0, 4])
    assert rebuilt(config, state).ones.shape == (2, 4, 3)


def test_duplicate_prototype_leaves_its_weights_behind():
    model = network()
    with torch.no_grad():
        model.prototype_vectors[2] = model.prototype_vectors[0]
        model.prototype_vectors[8] = model.prototype_vectors[0]  # another class: not the same prototype
    with torch.no_grad():
        before = model(signals())
        same = rebuilt(*prune(model, card_entries(model), [0, 1, 3, 4, 5, 6, 7, 8])[:2])(signals())
    torch.testing.assert_close(same, before, rtol=1e-5, atol=1e-5)
    _, state, _ = prune(model, card_entries(model), [0, 1, 2, 3, 4, 5, 6, 7])
    assert torch.equal(state["head.weight"], model.head.weight[:, :8])


@pytest.mark.parametrize("keep", [[], [0, 0], [-1], [9], list(range(10))])
def test_pruning_refuses_impossible_choices(keep):
    model = network()
    with pytest.raises(UsageError, match="9 prototypes"):
        prune(model, card_entries(model), keep)
    with pytest.raises(UsageError, match="list of 8"):
        prune(model, card_entries(model)[:8], [0])


def test_prototypes_without_a_record():
    entries = [{"ecg_id": 4}, {"ecg_id": None}, {"ecg_id": 0}]
    assert without_record(entries) == [1]


def test_low_weights_are_a_share_of_the_largest_of_the_class():
    identity = torch.tensor([[1, 0], [1, 0], [1, 0], [0, 1], [1, 1], [1, 1]])
    weight = torch.tensor([[2.0, -0.3, 0.1, 9.0, 0.1, 0.1], [9.0, 9.0, 9.0, 0.2, 0.01, 0.1]])
    assert low_weight(weight, identity, below=0.1) == [2, 4]
    assert low_weight(torch.zeros(2, 6), identity, below=0.1) == []


def test_duplicates_are_the_same_window_or_the_same_direction_in_a_class():
    vectors = torch.eye(8)[:, :, None].clone()
    entries = [{"classes": ["A"], "ecg_id": i, "window": 0} for i in range(8)]
    assert duplicates(vectors, entries) == []
    entries[3] |= {"ecg_id": 1}  # the window of prototype 1
    entries[4] |= {"ecg_id": 2, "window": 1}  # another window of the same record
    entries[5] |= {"ecg_id": 0, "classes": ["B"]}  # of another class
    vectors[6] = 2 * vectors[0] + 0.01 * vectors[1]  # the direction of prototype 0
    vectors[7] = vectors[5]  # of another class
    assert duplicates(vectors, entries) == [3, 6]
    nothing = [{"classes": ["A"], "ecg_id": None, "window": None}] * 8
    assert duplicates(torch.eye(8)[:, :, None], nothing) == []


def test_unused_prototypes_are_never_among_the_best_reasons():
    identity = torch.tensor([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]])
    weight = torch.tensor([[1.0, 1.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 1.0]])
    scores = np.array([[0.9, 0.5, 0.2, 0.0, 0.0], [0.1, 0.3, 0.2, -0.5, 0.1], [0.9, 0.9, 0.1, 0.9, 0.9]])
    labels = np.array([[1, 0], [0, 1], [0, 0]])
    assert unused(scores, labels, identity, weight, among=1) == [1, 2, 3]
    assert unused(scores, labels, identity, weight, among=2) == [1, 3]  # 3 speaks against its class
    assert unused(scores, labels, identity, weight, among=9) == [3]
    # the best reason may be a prototype of another class: those of the own class are not used then
    weight[0, 3] = 10
    scores[0, 3] = 1
    assert unused(scores, labels, identity, weight, among=1) == [0, 1, 2, 3]


def test_pruning_criteria_see_what_those_before_left():
    model = network()
    entries = card_entries(model)
    entries[1] |= {"ecg_id": 10, "window": 0}  # a duplicate of 0, but 0 hardly counts
    entries[4] |= {"ecg_id": None}
    with torch.no_grad():
        model.head.weight[0, 0] = 0.001
    scores = np.ones((6, 9), np.float32)
    labels = np.tile(np.eye(3, dtype=np.uint8), (2, 1))
    reasons = choose(model, entries, scores, labels)
    assert reasons == {"without_record": [4], "low_weight": [0], "duplicate": [], "unused": []}
    assert choose(model, entries, scores, labels, ("duplicate",)) == {"duplicate": [1]}
    assert choose(model, entries, scores, labels, ()) == {}
    with pytest.raises(UsageError, match="did you mean 'unused'"):
        choose(model, entries, scores, labels, ("unusd",))


def test_pruning_keeps_the_heaviest_prototype_that_has_a_record():
    model = network()
    entries = card_entries(model)
    entries[0]["ecg_id"] = None
    with torch.no_grad():
        model.head.weight[0, :3] = torch.tensor([3.0, 1.0, 2.0])
    scores = -np.ones((3, 9), np.float32)  # all are unused
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    dropped = choose(model, entries, scores, labels, ("unused",))["unused"]
    assert [place for place in (0, 1, 2) if place not in dropped] == [2]
    assert len(dropped) == 7 and set(dropped) >= {6, 7, 8}  # no record has the third class


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.permutations(CRITERIA))
def test_class_with_a_training_record_keeps_a_prototype(seed, criteria):
    random = np.random.default_rng(seed)
    model = network(joint_prototypes_per_border=1)
    entries = card_entries(model)
    for entry in entries:
        entry["ecg_id"] = None if random.random() < 0.5 else int(random.integers(3))
        entry["window"] = 0
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(random.standard_normal((3, 12)) ** 5))
    labels = random.random((8, 3)) < random.random(3)
    labels[0, 0] = True
    scores = random.standard_normal((8, 12)).astype(np.float32)
    reasons = choose(model, entries, scores, labels, criteria)
    dropped = [place for places in reasons.values() for place in places]
    assert list(reasons) == list(criteria) and len(set(dropped)) == len(dropped)
    keep = [place for place in range(12) if place not in dropped]
    _, _, kept = prune(model, entries, keep)
    left = {name for entry in kept for name in entry["classes"]}
    assert {f"C{c}" for c in np.flatnonzero(labels.any(axis=0))} <= left
