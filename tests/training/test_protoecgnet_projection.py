"""Projection of ProtoECGNet: goldens of the reference, what prototypes become, one-to-one, refusals."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_torch import create_model
from preprocessing import Dataset, Standardizer
from training.protoecgnet.matching import Matches, assign, best_windows
from training.protoecgnet.projection import project
from utils.errors import DataError
from utils.files import jsonable

pytestmark = pytest.mark.torch

SAMPLES, LEADS = 256, ("I", "II")
PLAIN = Standardizer(0.0, 1.0)


@pytest.fixture(scope="module")
def goldens():
    """Features, activations and labels of 30 records and what the reference's projection made of them."""
    with np.load(Path(__file__).parents[1] / "goldens" / "proto_push_goldens.npz") as file:
        return dict(file)


def network(branch="morphology", classes=3, **options):
    torch.manual_seed(5)
    options = {"single_class_prototype_per_class": 2, "proto_dim": 6, **options}
    model = create_model(
        "protoecgnet",
        classes,
        samples=SAMPLES,
        leads=2,
        branch=branch,
        backbone="resnet1d18",
        width=2,
        **options,
    ).eval()
    with torch.no_grad():  # features so large that the cosine's small constant does not matter
        model.add_on[2].weight.mul_(1000)
    return model


def dataset(labels, seed=0, **changes):
    labels = np.asarray(labels, np.uint8)
    count = len(labels)
    fields = {
        "signals": np.random.default_rng(seed).standard_normal((count, SAMPLES, 2)).astype(np.float32),
        "targets": labels,
        "classes": [f"C{c}" for c in range(labels.shape[1])],
        "ids": 1000 + np.arange(count),
        "patients": np.arange(count),
        "splits": ["train"] * count,
        "sampling_rate": 100,
        "leads": LEADS,
    }
    return Dataset(**{**fields, **changes})


def random_labels(records=24, classes=3, seed=1):
    labels = np.random.default_rng(seed).random((records, classes)) < 0.4
    labels[:classes] |= np.eye(classes, dtype=bool)
    return labels


@pytest.mark.parametrize("kind", ["1d", "2d"])
@pytest.mark.parametrize("batch", [1, 7, 30])
def test_search_finds_what_the_reference_finds(goldens, kind, batch):
    features = torch.from_numpy(goldens[f"{kind}/features"])
    activations = torch.from_numpy(goldens[f"{kind}/activations"])
    unknown = torch.rand(30, 3, activations.shape[2])  # three prototypes of class 4, which no record has
    activations = torch.cat([activations, unknown], dim=1)
    labels = torch.from_numpy(goldens["labels"]).float()
    admissible = labels[:, torch.arange(5).repeat_interleave(3)] > 0
    before = torch.randn(15, features.shape[1], features.shape[2] - activations.shape[2] + 1)
    found = Matches(before)
    for part in torch.arange(30).split(batch):
        best = best_windows(activations[part], admissible[part])
        found.add(part, features[part], *best)
    assert found.record[:12].tolist() == goldens[f"{kind}/records"].tolist()
    np.testing.assert_allclose(found.similarity[:12], goldens[f"{kind}/similarity"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found.vectors[:12], goldens[f"{kind}/vectors"])
    assert torch.equal(found.vectors[12:], before[12:])
    assert found.record[12:].tolist() == [-1] * 3 and (found.similarity[12:] == -torch.inf).all()


@pytest.mark.parametrize(
    ("branch", "options"),
    [
        ("rhythm", {}),
        ("global", {}),
        ("morphology", {"pooling": "mean"}),
        ("morphology", {"joint_prototypes_per_border": 1}),
        ("morphology", {"latent_space_type": "l2", "prototype_activation_function": "linear"}),
    ],
)
def test_prototype_becomes_the_best_window_of_a_record_of_its_class(branch, options):
    model, records = network(branch, **options), dataset(random_labels())
    projection = project(model, records, PLAIN, batch_size=5)
    with torch.no_grad():
        features = model.features(torch.from_numpy(records.signals))
        activations = model.activations(features)
    length = model.prototype_vectors.shape[2]
    for index, own in enumerate(model.identity.numpy() > 0):
        rows = np.flatnonzero(records.labels[:, own].any(axis=1))
        row, window = divmod(int(activations[rows, index].argmax()), model.windows)
        entry = projection.prototypes[index]
        assert (entry["ecg_id"], entry["window"]) == (records.ecg_ids[rows[row]], window)
        assert entry["similarity"] == pytest.approx(float(activations[rows[row], index, window]), rel=1e-5)
        cut = features[rows[row], :, window : window + length]
        largest = float(cut.abs().max())  # what the rounding of a sum is to be measured by
        torch.testing.assert_close(projection.vectors[index], cut, rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.parametrize("one_to_one", [False, True])
@pytest.mark.parametrize("branch", ["rhythm", "morphology", "global"])
def test_prototype_projected_is_as_similar_as_can_be_to_its_source(branch, one_to_one):
    model, records = network(branch), dataset(random_labels())
    projection = project(model, records, PLAIN, one_to_one)
    projection.apply(model)
    rows = [entry["ecg_id"] - 1000 for entry in projection.prototypes]
    with torch.no_grad():
        scores, windows = model.scores(torch.from_numpy(records.signals[rows]))
    np.testing.assert_allclose(scores.diagonal(), 1, rtol=0, atol=1e-5)
    assert windows.diagonal().tolist() == [entry["window"] for entry in projection.prototypes]


def test_projection_takes_the_first_of_equally_good_records():
    model, records = network(), dataset([[1, 0, 0]] * 3 + [[0, 1, 1]])
    records.signals[1:3] = records.signals[0]
    for size in (1, 2, 64):
        entries = project(model, records, PLAIN, batch_size=size).prototypes
        assert [entry["ecg_id"] for entry in entries[:2]] == [1000, 1000]


def test_projection_refuses_records_of_other_splits():
    labels = random_labels()
    for name in ("val", "test"):
        splits = ["train"] * len(labels)
        splits[4] = name
        with pytest.raises(DataError, match=rf"record 1004 is in the split '{name}' \(1 such records\)"):
            project(network(), dataset(labels, splits=splits), PLAIN)


@pytest.mark.parametrize("one_to_one", [False, True])
def test_class_without_records_is_reported_and_its_prototypes_stay(one_to_one):
    model, records = network(), dataset(random_labels() * np.array([1, 0, 1]))
    before = model.prototype_vectors.detach().clone()
    projection = project(model, records, PLAIN, one_to_one)
    nothing = [entry for entry in projection.prototypes if entry["ecg_id"] is None]
    assert [entry["classes"] for entry in nothing] == [["C1"], ["C1"]]
    unknown = {"window", "start_ms", "end_ms", "receptive_field_ms", "similarity"}
    assert all(entry[key] is None for entry in nothing for key in unknown)
    assert torch.equal(projection.vectors[2:4], before[2:4])
    assert not (projection.vectors[[0, 1, 4, 5]] == before[[0, 1, 4, 5]]).all()
    report = projection.report
    assert report["classes_without_record"] == ["C1"]
    assert (report["prototypes"], report["projected"]) == (6, 4)
    assert report["classes"]["C1"] == {"records": 0, "prototypes": 2, "distinct_records": 0}


def test_projection_leaves_the_model_as_it_was():
    model, records = network(dropout=0.5), dataset(random_labels())
    model.freeze("add_on")
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    projection = project(model, records, PLAIN)
    assert model.training and model.trunk.training and not model.add_on.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    evaluated = project(model.eval(), records, PLAIN)
    assert torch.equal(projection.vectors, evaluated.vectors)
    projection.apply(model)
    assert torch.equal(model.prototype_vectors, projection.vectors)
    model.head(model.scores(torch.from_numpy(records.signals[:2]))[0]).sum().backward()
    assert model.prototype_vectors.grad is not None


def test_projected_vectors_are_refused_by_another_model():
    projection = project(network("rhythm"), dataset(random_labels()), PLAIN)
    with pytest.raises(DataError, match="do not fit"):
        projection.apply(network("rhythm", single_class_prototype_per_class=1))


def test_prototype_is_described_with_its_source():
    model = network()
    records = replace(dataset(random_labels()), sampling_rate=200)
    projection = project(model, records, PLAIN)
    entries = projection.prototypes
    assert entries == json.loads(json.dumps(entries))
    assert projection.report == jsonable(projection.report)
    for index, entry in enumerate(entries):
        start, stop = model.window_span(entry["window"])
        assert (entry["start_ms"], entry["end_ms"]) == (start * 5, stop * 5)
        assert entry["receptive_field_ms"] == [s * 5 for s in model.window_receptive_field(entry["window"])]
        assert entry["start_ms"] >= entry["receptive_field_ms"][0]
        labels = records.labels[entry["ecg_id"] - 1000]
        assert entry["true_labels"] == [f"C{c}" for c in np.flatnonzero(labels)]
        assert set(entry["classes"]) <= set(entry["true_labels"])
        assert (entry["index"], entry["kind"], entry["branch"]) == (index, "single", "morphology")
        assert entry["leads"] == list(LEADS)
    joint = project(network("rhythm", joint_prototypes_per_border=1), records, PLAIN).prototypes[-1]
    assert (joint["kind"], joint["classes"]) == ("joint", ["C1", "C2"])


def test_report_counts_sources_and_duplicates():
    records = dataset([[1, 0], [1, 0], [0, 1]])
    model = network("rhythm", classes=2, single_class_prototype_per_class=3)
    with torch.no_grad():
        model.prototype_vectors[3:] = model.prototype_vectors[0]
    report = project(model, records, PLAIN).report
    sources = {entry["ecg_id"] for entry in project(model, records, PLAIN).prototypes}
    assert report["distinct_records"] == len(sources)
    assert report["duplicate_records"] == report["duplicate_windows"] == 6 - len(sources)
    assert report["classes"]["C1"] == {"records": 1, "prototypes": 3, "distinct_records": 1}
    assert -1 <= report["cosine_old_new"]["min"] <= report["cosine_old_new"]["mean"] <= 1


def test_vectors_that_are_windows_already_do_not_move():
    model, records = network(), dataset(random_labels())
    project(model, records, PLAIN).apply(model)
    report = project(model, records, PLAIN).report
    assert report["cosine_old_new"]["min"] == pytest.approx(1, abs=1e-5)


def test_records_that_are_not_candidates_are_not_read():
    labels = random_labels()
    labels[10] = False
    records = dataset(labels)
    records.signals[10] = np.nan
    assert project(network(), records, PLAIN).report["projected"] == 6
    records.signals[11] = np.nan
    records.labels[11] = 1
    with pytest.raises(DataError, match="record 1011: NaN"):
        project(network(), records, PLAIN)


def test_projection_refuses_impossible_input():
    with pytest.raises(DataError, match=r"2 classes .* the model 3"):
        project(network(), dataset(random_labels(classes=2)), PLAIN)
    with pytest.raises(DataError, match="none of the 5 training records"):
        project(network(), dataset(np.zeros((5, 3))), PLAIN)
    with pytest.raises(DataError, match="shape"):
        project(network(), dataset(random_labels(), signals=np.zeros((24, 100, 2), np.float32)), PLAIN)
    model = network()
    with torch.no_grad():
        model.prototype_vectors[1, 0, 0] = torch.nan
    with pytest.raises(DataError, match="prototypes hold NaN"):
        project(model, dataset(random_labels()), PLAIN)


def test_projection_one_to_one_takes_no_record_twice_while_there_are_enough():
    model = network(single_class_prototype_per_class=4)
    records = dataset(random_labels(40))
    with torch.no_grad():  # collapsed: all want the same record
        model.prototype_vectors[:] = model.prototype_vectors[0] + 0.01 * model.prototype_vectors
    plain, own = (project(model, records, PLAIN, flag, batch_size=7) for flag in (False, True))
    assert plain.report["distinct_records"] < 12
    assert own.report["distinct_records"] == own.report["projected"] == 12
    assert own.report["duplicate_windows"] == own.report["duplicate_records"] == 0
    for entry in own.prototypes:
        assert set(entry["classes"]) <= set(entry["true_labels"])


def test_projection_one_to_one_shares_records_by_window_where_a_class_has_too_few():
    labels = np.zeros((20, 3))
    labels[:18, 0] = labels[18, 1] = labels[19, 1] = 1  # class 1 has two records, which class 2 shares
    labels[19, 2] = 1
    model = network(single_class_prototype_per_class=5)
    report = project(model, dataset(labels), PLAIN, one_to_one=True).report
    assert report["projected"] == 15
    assert report["distinct_records"] == 7
    assert report["duplicate_windows"] == 0  # two records have 12 windows for 10 prototypes
    assert [c["distinct_records"] for c in report["classes"].values()] == [5, 2, 1]


def test_projection_one_to_one_repeats_windows_only_when_all_are_taken():
    model = network(classes=1, single_class_prototype_per_class=15)
    report = project(model, dataset([[1], [1]]), PLAIN, one_to_one=True).report
    assert (model.windows, report["projected"], report["distinct_records"]) == (6, 15, 2)
    assert report["duplicate_windows"] == 15 - 12
    whole = network("rhythm", classes=1, single_class_prototype_per_class=4)
    with torch.no_grad():  # all alike: what is repeated is the record that they prefer
        whole.prototype_vectors[:] = whole.prototype_vectors[0]
    records = dataset([[1], [1]])
    for _ in range(2):
        (preferred,) = {entry["ecg_id"] for entry in project(whole, records, PLAIN).prototypes}
        projection = project(whole, records, PLAIN, one_to_one=True)
        assert projection.report["duplicate_windows"] == 2
        assert [entry["ecg_id"] for entry in projection.prototypes].count(preferred) == 3
        records.signals[:] = records.signals[::-1].copy()


matrices = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: st.lists(
        st.lists(st.none() | st.integers(-20, 20), min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)


@settings(max_examples=60)
@given(matrices)
def test_assignment_is_the_largest_and_then_the_best(rows):
    similarity = np.array([[-np.inf if v is None else v for v in row] for row in rows], np.float32)
    chosen = assign(similarity.copy())
    given_rows = chosen[chosen >= 0]
    assert len(set(given_rows.tolist())) == len(given_rows)
    values = similarity[given_rows, np.flatnonzero(chosen >= 0)]
    assert np.isfinite(values).all()
    records, prototypes = similarity.shape
    best = (0, 0.0)
    places = [None] * prototypes + list(range(records))
    for choice in set(itertools.permutations(places, prototypes)):
        pairs = [(row, column) for column, row in enumerate(choice) if row is not None]
        total = sum(similarity[pair] for pair in pairs)
        if np.isfinite(total):
            best = max(best, (len(pairs), total))
    assert (len(values), values.sum()) == best


@settings(max_examples=15)
@given(st.integers(1, 30), st.booleans(), st.integers(0, 50))
def test_size_of_batches_does_not_matter(batch, one_to_one, seed):
    model, records = network("rhythm", bounded=True), dataset(random_labels(12, seed=seed), seed=seed)
    whole, parts = (project(model, records, PLAIN, one_to_one, batch_size=size) for size in (64, batch))
    torch.testing.assert_close(whole.vectors, parts.vectors, rtol=1e-4, atol=1e-4)
    sources = [[entry["ecg_id"] for entry in found.prototypes] for found in (whole, parts)]
    assert sources[0] == sources[1]
