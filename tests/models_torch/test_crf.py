"""The linear-chain CRF against the enumeration of all sequences."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import models_torch
from models_torch.crf import CrfHead
from utils.errors import UsageError

pytestmark = pytest.mark.torch
sizes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(2, 3), st.integers(0, 2**31))


def example(size) -> tuple[CrfHead, torch.Tensor, np.random.Generator]:
    """A CRF with large random weights, emissions (B, L, C)."""
    records, steps, classes, seed = size
    torch.manual_seed(seed)
    head = CrfHead(2, classes).double()
    with torch.no_grad():
        for parameter in (head.first, head.last, head.transitions):
            parameter.normal_(0, 2)
    return head, 2 * torch.randn(records, steps, classes).double(), np.random.default_rng(seed)


def weights(head: CrfHead, emissions: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Log weight of each sequence of one record, from its definition."""
    steps, classes = emissions.shape
    first, last, between = (p.detach().numpy() for p in (head.first, head.last, head.transitions))
    return {
        path: first[path[0]]
        + last[path[-1]]
        + sum(emissions[step, c].item() for step, c in enumerate(path))
        + sum(between[a, b] for a, b in itertools.pairwise(path))
        for path in itertools.product(range(classes), repeat=steps)
    }


def log_sum(values) -> float:
    return float(np.logaddexp.reduce(list(values)))


@given(sizes)
def test_crf_partition_viterbi_and_marginals_are_those_of_all_sequences(size):
    head, emissions, _ = example(size)
    with torch.no_grad():
        partition, path = head.log_partition(emissions), head.viterbi(emissions)
        marginals = head.log_marginals(emissions).exp()
    for row, record in enumerate(emissions):
        paths = weights(head, record)
        assert partition[row].item() == pytest.approx(log_sum(paths.values()), abs=1e-9)
        assert paths[tuple(path[row].tolist())] == pytest.approx(max(paths.values()), abs=1e-9)
        for step, cls in np.ndindex(*record.shape):
            share = log_sum(w for p, w in paths.items() if p[step] == cls) - log_sum(paths.values())
            assert marginals[row, step, cls].item() == pytest.approx(np.exp(share), abs=1e-9)


@given(sizes)
def test_crf_likelihood_sums_over_the_steps_without_a_target(size):
    head, emissions, rng = example(size)
    records, steps, classes = emissions.shape
    tags = rng.integers(-1, classes, (records, steps))  # -1: no target
    targets = torch.from_numpy((tags[..., None] == np.arange(classes)).astype(np.float64))
    expected = []
    for record, tag in zip(emissions, tags, strict=True):
        paths = weights(head, record)
        fitting = [w for p, w in paths.items() if all(t in (-1, c) for t, c in zip(tag, p, strict=True))]
        known = max(1, int((tag >= 0).sum()))
        expected.append((log_sum(paths.values()) - log_sum(fitting)) / known)
    loss = head.negative_log_likelihood(emissions, targets)
    assert loss.item() == pytest.approx(np.mean(expected), abs=1e-6)
    if (tags >= 0).any():
        loss.backward()
        learned = (head.first, head.last) if steps == 1 else (head.first, head.last, head.transitions)
        assert all(p.grad.isfinite().all() for p in learned)


def test_crf_is_refused_with_one_class():
    with pytest.raises(UsageError, match="at least two classes"):
        models_torch.create_model("rrlstm", num_classes=1)


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("rrlstm", {}, 366_060),
        ("rrlstm", {"attention": "none"}, 325_610),
        ("rrlstm", {"attention": "none", "crf": False, "pool": "max"}, 344_952),
        ("subtractunet", {}, 357_350 - 4 - 912),  # without biases before batch norms, and that of the logits
        ("unet", {"num_classes": 4}, 205_760 - 8 - 368),
    ],
)
def test_model_has_the_size_of_the_reference(name, options, parameters):
    model = models_torch.create_model(name, **{"num_classes": 2, **options})
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("options", [{"pool": "max"}, {"attention": "cbam"}, {"decode": "greedy"}])
def test_rr_lstm_refuses_options_that_do_not_go_together(options):
    with pytest.raises(UsageError, match="rrlstm: "):
        models_torch.create_model("rrlstm", num_classes=2, **options)


def test_rr_lstm_learns_by_its_likelihood_to_repeat_a_pattern():
    torch.manual_seed(0)
    model = models_torch.create_model("rrlstm", num_classes=2, samples=12, units=4, attention="none")
    rng = np.random.default_rng(0)
    tags = np.repeat(rng.integers(0, 2, (64, 3)), 4, axis=1)
    signals = torch.from_numpy((tags + rng.normal(0, 0.8, tags.shape)).astype(np.float32))[..., None]
    targets = torch.from_numpy((tags[..., None] == np.arange(2)).astype(np.float32))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        loss = model.sequence_loss(signals, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        path = model.eval()(signals)
    assert losses[-1] < 0.5 * losses[0]
    assert path.softmax(-1).amax(-1).min() > 0.999
    right = (path.argmax(-1).numpy() == tags).mean()
    threshold = (signals[..., 0].numpy() > 0.5) == tags
    assert right > threshold.mean() + 0.1


def test_rr_lstm_leaves_out_intervals_without_weight():
    torch.manual_seed(0)
    model = models_torch.create_model("rrlstm", num_classes=2, samples=6, units=4)
    signals, labels = torch.rand(3, 6, 1), torch.eye(2)[torch.randint(0, 2, (3, 6))]
    weights = (torch.arange(6) < 4).float()[None, :, None].expand(3, 6, 1)
    weighted = model.sequence_loss(signals, torch.cat([labels, weights], dim=-1))
    assert weighted.item() == pytest.approx(model.sequence_loss(signals, labels * weights).item())
    assert weighted.item() != pytest.approx(model.sequence_loss(signals, labels).item())
