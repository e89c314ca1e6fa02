"""ProtoECGNet's losses: the reference's numbers and gradients, and what the corrected ones promise."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_torch.protoecgnet import losses
from models_torch.protoecgnet.losses import (
    LossWeights,
    PrototypeLoss,
    class_weights,
    cluster_loss,
    cosine_matrix,
    full_l1,
    label_cooccurrence,
    off_class_l1,
    separation_loss,
    sparsity_loss,
)
from utils.errors import DataError, UsageError

pytestmark = pytest.mark.torch

with np.load(Path(__file__).parents[1] / "goldens" / "proto_goldens.npz") as _file:
    GOLDENS = {name: torch.from_numpy(_file[name]) for name in _file.files}
CASES = ["1d", "2d", "2d_possims", "1d_joint"]
# Order of the numbers in "losses"
TERMS = ["bce", "bce_weighted", "clst", "sep", "spars", "div", "cnrst", "total", "total_without_contrast"]
COOCCURRENCE = GOLDENS["jaccard"]


def golden(case, name):
    """A golden array; one that does not depend on the sign of the similarities is stored for 2d alone."""
    return GOLDENS.get(f"{case}/{name}", GOLDENS.get(f"2d/{name}")).clone()


def expected(case):
    return dict(zip(TERMS, GOLDENS[f"{case}/losses"].tolist(), strict=True))


def diversity_loss(prototypes):
    return losses.diversity_loss(cosine_matrix(prototypes))


def contrastive_loss(prototypes, identity, cooccurrence, reference=False):
    pull = losses.pull_of_pairs(identity, cooccurrence, reference)
    return losses.contrastive_loss(cosine_matrix(prototypes), pull)


def reference_terms(case, scores, prototypes):
    identity, labels = golden(case, "identity"), GOLDENS["loss_y"]
    return {
        "clst": lambda: cluster_loss(scores, labels, identity, reference=True),
        "sep": lambda: separation_loss(scores, labels, identity, reference=True),
        "spars": lambda: sparsity_loss(scores),
        "div": lambda: diversity_loss(prototypes),
        "cnrst": lambda: contrastive_loss(prototypes, identity, COOCCURRENCE, reference=True),
    }


# ---------------------------------------------------------------- the reference


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("term", ["clst", "sep", "spars", "div", "cnrst"])
def test_loss_terms_and_gradients_equal_the_reference(case, term):
    scores, prototypes = golden(case, "scores").requires_grad_(), golden(case, "prototypes").requires_grad_()
    value = reference_terms(case, scores, prototypes)[term]()
    assert value.item() == pytest.approx(expected(case)[term], rel=2e-5)
    value.backward()
    source = prototypes if term in ("div", "cnrst") else scores
    gradient = golden(case, f"grad_{term}")
    torch.testing.assert_close(source.grad, gradient, rtol=2e-5, atol=2e-5 * gradient.abs().max().item())


@pytest.mark.parametrize("case", CASES)
def test_loss_totals_equal_the_reference(case):
    labels, logits = GOLDENS["loss_y"], GOLDENS["loss_logits"]
    scores, prototypes, identity = (golden(case, name) for name in ("scores", "prototypes", "identity"))
    numbers = expected(case)
    for pos_weight, weights, total, bce in [
        (GOLDENS["class_weights"], LossWeights.reference(), "total", "bce_weighted"),
        (GOLDENS["class_weights"], LossWeights(cnrst=0), "total_without_contrast", "bce_weighted"),
        (None, LossWeights(0, 0, 0, 0, 0), "bce", "bce"),
    ]:
        loss = PrototypeLoss(identity, COOCCURRENCE, pos_weight, weights, reference=True)
        value, parts = loss(logits, scores, prototypes, labels)
        assert value.item() == pytest.approx(numbers[total], rel=2e-5)
        assert parts["bce"].item() == pytest.approx(numbers[bce], rel=2e-5)


def test_loss_weights_of_the_reference():
    assert LossWeights.reference() == LossWeights(clst=0.004, sep=0.0004, spars=0, div=250, cnrst=300)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, lambda y: np.asarray(y, dtype=np.uint8)])
def test_label_statistics_equal_the_reference(kind):
    labels = kind(GOLDENS["Ybig"])
    for ours, golden_name in [
        (label_cooccurrence(labels), "jaccard"),
        (class_weights(labels, "reference"), "class_weights"),
    ]:
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, GOLDENS[golden_name], rtol=1e-6, atol=0)


def test_l1_terms_equal_the_reference():
    weight, identity = GOLDENS["cls_W"], golden("1d", "identity")
    assert off_class_l1(weight, identity).item() == pytest.approx(47.08424758911133, rel=1e-6)
    assert off_class_l1(weight, identity.bool()) == off_class_l1(weight, identity.float())
    assert full_l1(weight).item() == pytest.approx(60.70130157470703, rel=1e-6)


# ---------------------------------------------------------------- label statistics


def test_class_weights_by_records():
    labels = np.zeros((10, 5))
    labels[:4, 0] = labels[0, 1] = labels[:, 3] = labels[:5, 4] = 1  # class 2 never, class 3 always
    np.testing.assert_allclose(class_weights(labels), [1.5, 9, 1, 1, 1])
    np.testing.assert_allclose(class_weights(labels, limit=5), [1.5, 5, 1, 1, 1])
    np.testing.assert_allclose(class_weights(labels, "reference", limit=5), [4, 19, 1, 1, 3])
    rare = np.eye(1000, 2)
    np.testing.assert_allclose(class_weights(rare), 100)
    np.testing.assert_allclose(class_weights(rare, limit=None), 999)


def test_cooccurrence_of_a_class_that_never_occurs():
    labels = np.array([[1, 0, 0], [1, 0, 1]])
    np.testing.assert_array_equal(label_cooccurrence(labels), [[1, 0, 0.5], [0, 0, 0], [0.5, 0, 1]])


def test_label_statistics_of_wrong_labels_raise():
    with pytest.raises(UsageError, match="did you mean 'records'"):
        class_weights(np.ones((2, 2)), "record")
    for limit in (0, -1, float("nan")):
        with pytest.raises(UsageError, match="above 0"):
            class_weights(np.ones((2, 2)), limit=limit)
    for labels in (np.ones(3), np.ones((0, 3))):
        for function in (class_weights, label_cooccurrence):
            with pytest.raises(DataError, match="labels of shape"):
                function(labels)


# ---------------------------------------------------------------- corrected definitions


def identity_of(classes, singles, joints):
    """Single prototypes of each class, then joint ones of each pair, as the model orders them."""
    single = torch.eye(classes).repeat_interleave(singles, dim=0)
    pairs = torch.combinations(torch.arange(classes))
    joint = torch.zeros(len(pairs), classes).scatter(1, pairs, 1.0).repeat_interleave(joints, dim=0)
    return torch.cat([single, joint]).bool()


@st.composite
def batches(draw):
    """Distinct scores, labels and an identity, some classes without prototype, joint prototypes or not."""
    classes, records = draw(st.integers(2, 5)), draw(st.integers(1, 6))
    identity = identity_of(classes, draw(st.integers(1, 3)), draw(st.integers(0, 2)))
    identity = identity[~identity[:, draw(st.integers(0, classes - 1))]] if draw(st.booleans()) else identity
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scores = torch.randn(records, len(identity), generator=random)
    share = draw(st.sampled_from([0.0, 0.3, 0.7, 1.0]))
    labels = (torch.rand(records, classes, generator=random) < share).float()
    return scores, labels, identity


def plain_loops(scores, labels, identity):
    """Clustering and separation by their definition."""
    pulled, pushed = [], []
    for record in range(len(scores)):
        for c in range(identity.shape[1]):
            mine = [p for p in range(len(identity)) if identity[p, c]]
            if labels[record, c]:
                pulled += [max(scores[record, p].item() for p in mine)] if mine else []
                continue
            wrong = [
                p
                for p in mine
                if not any(labels[record, k] and identity[p, k] for k in range(len(labels[0])))
            ]
            pushed += [max(scores[record, p].item() for p in wrong)] if wrong else []
    return -np.mean(pulled) if pulled else 0.0, np.mean(pushed) if pushed else 0.0


@given(batches())
def test_loss_terms_equal_their_definition(batch):
    clustering, separation = plain_loops(*batch)
    assert cluster_loss(*batch).item() == pytest.approx(clustering, rel=1e-5, abs=1e-6)
    assert separation_loss(*batch).item() == pytest.approx(separation, rel=1e-5, abs=1e-6)


def gradient(term, scores, labels, identity):
    scores = scores.clone().requires_grad_()
    term(scores, labels, identity).backward()
    return scores.grad


@given(batches())
def test_loss_clustering_and_separation_move_the_right_prototypes(batch):
    _, labels, identity = batch
    right = labels @ identity.float().T > 0
    pull, push = gradient(cluster_loss, *batch), gradient(separation_loss, *batch)
    assert (pull[~right] == 0).all() and (pull <= 0).all()
    assert (push[right] == 0).all() and (push >= 0).all()
    # every present class with a prototype is pulled, every absent one with a wrong prototype is pushed
    wrong_of_class = (~right).float() @ identity.float() > 0
    pulled, pushed = (
        (pull != 0).float() @ identity.float() > 0,
        (push != 0).float() @ identity.float() > 0,
    )
    assert (pulled >= ((labels > 0) & identity.any(0))).all()
    assert (pushed >= ((labels == 0) & wrong_of_class)).all()
    # the weights of a mean add up to one
    assert pull.sum().item() == pytest.approx(-1.0 * bool((labels.bool() & identity.any(0)).any()), abs=1e-5)
    assert push.sum().item() == pytest.approx(1.0 * bool((~labels.bool() & wrong_of_class).any()), abs=1e-5)


def test_loss_of_the_reference_pushes_right_prototypes():
    """The defect that the corrected separation does away with: 4 classes, 1 label."""
    labels, identity = torch.eye(4), identity_of(4, 2, 0)
    scores = torch.rand(4, 8) + labels @ identity.float().T * 2  # a good model: right prototypes are near
    push = gradient(lambda *b: separation_loss(*b, reference=True), scores, labels, identity)
    right = (labels @ identity.float().T).bool()
    assert (push[right].sum() / push.sum()).item() == pytest.approx(0.75)
    assert gradient(separation_loss, scores, labels, identity)[right].abs().max() == 0


@settings(max_examples=50)
@given(batches(), st.booleans(), st.randoms(use_true_random=False))
def test_loss_does_not_depend_on_the_order_of_records(batch, reference, random):
    scores, labels, identity = batch
    order = list(range(len(scores)))
    random.shuffle(order)
    for term in (cluster_loss, separation_loss):
        before, after = (
            term(scores[rows], labels[rows], identity, reference) for rows in (slice(None), order)
        )
        torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fill", [0.0, 1.0])
@pytest.mark.parametrize("joints", [0, 1])
@pytest.mark.parametrize("reference", [False, True])
def test_loss_of_no_label_and_of_every_label(fill, joints, reference):
    identity = identity_of(4, 2, joints)
    inputs = [
        torch.randn(shape).requires_grad_() for shape in ((3, 4), (3, len(identity)), (len(identity), 6, 2))
    ]
    labels = torch.full((3, 4), fill)
    weights = LossWeights(1, 1, 1, 1, 1)
    loss = PrototypeLoss(identity, label_cooccurrence(labels), class_weights(labels), weights, reference)
    total, parts = loss(*inputs, labels)
    total.backward()
    assert total.isfinite() and all(x.grad.isfinite().all() for x in inputs)
    if not reference:
        assert (parts["sep"] if fill else parts["clst"]) == 0


def test_loss_of_nan_scores_is_nan():
    labels, identity = torch.eye(2), identity_of(2, 1, 0)
    scores = torch.full((2, 2), float("nan"))
    assert (
        cluster_loss(scores, labels, identity).isnan() and separation_loss(scores, labels, identity).isnan()
    )


def test_contrast_of_joint_prototypes_is_limited():
    identity = identity_of(3, 0, 1)
    alike = torch.full((3, 3), 0.8).fill_diagonal_(1)  # any two joint prototypes share more than 1 in sum
    prototypes = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = contrastive_loss(prototypes, identity, alike)
    cosines = torch.nn.functional.cosine_similarity(prototypes[:, None], prototypes[None], dim=2)
    assert loss.item() == pytest.approx(
        -cosines.sum().item() / 9 / 3**0.5, rel=1e-4
    )  # all pairs attract alike
    reference = contrastive_loss(prototypes, identity, alike, reference=True)
    assert abs(reference.item() - loss.item()) > 1e-3


def test_contrast_of_single_prototypes_equals_the_reference():
    arguments = golden("1d", "prototypes"), golden("1d", "identity"), COOCCURRENCE
    assert contrastive_loss(*arguments) == contrastive_loss(*arguments, reference=True)


def test_contrast_attracts_classes_that_occur_together():
    identity, cooccurrence = torch.eye(3), torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    prototypes = torch.eye(3, requires_grad=True)
    (step,) = torch.autograd.grad(-contrastive_loss(prototypes, identity, cooccurrence), prototypes)
    cosines = torch.nn.functional.normalize(prototypes + 0.1 * step, dim=1)
    cosines = cosines @ cosines.T
    assert cosines[0, 1] > 0.01 and cosines[0, 2] < -0.01


def test_loss_of_a_zero_prototype_is_finite():
    prototypes = torch.cat([torch.zeros(1, 4), torch.eye(4)]).requires_grad_()
    identity = identity_of(5, 1, 0)
    (diversity_loss(prototypes) + contrastive_loss(prototypes, identity, torch.eye(5))).backward()
    assert prototypes.grad.abs().max() < 10


@pytest.mark.parametrize("shape", [(10, 24), (10, 8, 3), (10, 8, 1, 3)])
def test_loss_does_not_depend_on_shape_and_length_of_prototypes(shape):
    flat = torch.randn(10, 24, generator=torch.Generator().manual_seed(1))
    identity = identity_of(5, 2, 0)
    for term in (diversity_loss, lambda p: contrastive_loss(p, identity, COOCCURRENCE)):
        torch.testing.assert_close(term(flat.reshape(shape) * 3), term(flat))


# ---------------------------------------------------------------- the sum


def test_loss_computes_only_terms_with_a_weight(monkeypatch):
    from models_torch.protoecgnet import losses

    def never(*_):
        raise AssertionError("computed a term of weight 0")

    for name in ("cluster_loss", "separation_loss", "sparsity_loss", "cosine_matrix"):
        monkeypatch.setattr(losses, name, never)
    identity = identity_of(5, 2, 0)
    loss = PrototypeLoss(identity, COOCCURRENCE, weights=LossWeights(0, 0, 0, 0, 0))
    total, parts = loss(torch.zeros(3, 5), torch.zeros(3, 10), torch.ones(10, 4), torch.ones(3, 5))
    assert parts.keys() == {"bce"} and total == parts["bce"]
    assert total.item() == pytest.approx(np.log(2))
    loss = PrototypeLoss(identity, COOCCURRENCE, weights=LossWeights(0, 0, 1, 0, 0))
    with pytest.raises(AssertionError, match="weight 0"):
        loss(torch.zeros(3, 5), torch.zeros(3, 10), torch.ones(10, 4), torch.ones(3, 5))


def test_loss_total_is_the_weighted_sum_of_its_terms():
    identity, labels = identity_of(5, 2, 1), GOLDENS["loss_y"]
    weights = LossWeights(0.5, 0.25, 0.125, 2, 3)
    scores, prototypes = torch.randn(8, 20), torch.randn(20, 6, requires_grad=True)
    loss = PrototypeLoss(identity, COOCCURRENCE, GOLDENS["class_weights"], weights)
    total, parts = loss(GOLDENS["loss_logits"], scores, prototypes, labels)
    by_hand = (
        parts["bce"]
        + 0.5 * cluster_loss(scores, labels, identity)
        + 0.25 * separation_loss(scores, labels, identity)
        + 0.125 * sparsity_loss(scores)
        + 2 * diversity_loss(prototypes)
        + 3 * contrastive_loss(prototypes, identity, COOCCURRENCE)
    )
    torch.testing.assert_close(total, by_hand)
    assert list(parts) == ["bce", "clst", "sep", "spars", "div", "cnrst"]
    assert total.requires_grad and not any(part.requires_grad for part in parts.values())
    assert loss.state_dict() == {}  # nothing of it belongs into a checkpoint


@pytest.mark.parametrize(("cooccurring", "weighted"), [(71, 5), (5, 71), (71, None)])
def test_loss_statistics_of_another_label_set_raise(cooccurring, weighted):
    pos_weight = torch.ones(weighted) if weighted else None
    with pytest.raises(UsageError, match="5 classes"):
        PrototypeLoss(identity_of(5, 2, 0), torch.eye(cooccurring), pos_weight)
