"""ProtoECGNet from raw records to an explained fusion, by the commands of its users, on a tiny database."""

import csv
import json
import shlex
import shutil

import numpy as np
import pytest
import torch

import torch_test
import torch_train
from benchmarks import render
from benchmarks.collect import collect_run
from preprocessing import Dataset, load_ptbxl
from tests.helpers.event_files import read_events
from tests.helpers.training_files import call, interrupt_at, same_arrays, small_database
from training import load_predictor
from training.checkpoint import load_state, read_card
from training.tasks import create_task
from utils.errors import DataError, UsageError
from utils.files import read_json, write_json

pytestmark = pytest.mark.torch

SMALL = {
    "--width": 2, "--proto_dim": 4, "--single_class_prototype_per_class": 2, "--epochs": 1,
    "--classifier_epochs": 2, "--batchsize": 16, "--threads": 1,
}  # fmt: skip
BRANCHES = ("rhythm", "morphology", "global")
STAGES = [(b, s) for b in BRANCHES for s in ("joint", "projection", "classifier")] + [("fusion",)]
# every branch has classes with and without positives in each split
CODES = [
    {"NORM": 100.0, "SR": 0.0},
    {"IMI": 100.0, "AFIB": 0.0},
    {"ASMI": 80.0, "ABQRS": 0.0, "SR": 0.0},
]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"), codes=CODES)


def words(database, out, *more):
    given = {"--model": "protoecgnet", "--data_dir": database, "--output_dir": out, **SMALL}
    return [str(word) for pair in given.items() for word in pair] + [str(word) for word in more]


def train(database, out, *more):
    return call(torch_train.main, "torch_train.py", *words(database, out, *more))


@pytest.fixture(scope="module")
def chain(database, tmp_path_factory):
    """The whole chain, once."""
    out = tmp_path_factory.mktemp("chain")
    train(database, out)
    return out


@pytest.fixture()
def copied(chain, tmp_path):
    shutil.copytree(chain, tmp_path / "out")
    return tmp_path / "out"


def folder(out, *parts):
    return out / "checkpoints" / "protoecgnet" / "/".join(parts)


def test_chain_leaves_every_stage(chain, database):
    for branch in BRANCHES:
        joint, projected, classified = (
            read_card(folder(chain, branch, stage)) for stage in ("joint", "projection", "classifier")
        )
        assert "prototypes" not in joint.extra
        assert projected.provenance.made_from == [joint.weights_sha256]
        assert classified.provenance.made_from == [projected.weights_sha256]
        assert classified.task == f"proto_{branch}"
        report = projected.extra["projection"]
        assert 0 < report["distinct_records"] <= report["projected"] < report["prototypes"]
        assert len(classified.extra["prototypes"]) == classified.extra["pruning"]["after"] > 0
    card = read_card(folder(chain, "fusion"))
    assert card.task == "all" and card.extra["stage"] == "fusion"
    assert [entry["index"] for entry in card.extra["prototypes"]] == list(
        range(len(card.extra["prototypes"]))
    )
    assert load_predictor("protoecgnet", chain).folder == folder(chain, "fusion")


def test_prototypes_are_pieces_of_training_records_and_nothing_moved_since(chain, database):
    predictor = load_predictor(folder(chain, "morphology", "classifier"))
    train = load_ptbxl(database, task="proto_morphology").split("train")
    rows = {ecg_id: row for row, ecg_id in enumerate(train.ecg_ids.tolist())}
    for index, entry in enumerate(predictor.card.extra["prototypes"]):
        row = rows[entry["ecg_id"]]  # a KeyError would mean a record of fold 9 or 10
        own = [name for name, label in zip(train.classes, train.labels[row], strict=True) if label]
        assert entry["true_labels"] == own and set(entry["classes"]) & set(own)
        assert 0 <= entry["start_ms"] < entry["end_ms"] <= 2000
        signals = torch.from_numpy(predictor.standardize(train.signals[row : row + 1]))
        with torch.inference_mode():
            scores, window = predictor.model.scores(signals)
        # the classifier stage left the network as it was: each prototype still is that window
        assert scores[0, index] == pytest.approx(1, abs=1e-4) and window[0, index] == entry["window"]


def test_projection_shows_prototypes_in_tensorboard(chain, database):
    prototypes = read_card(folder(chain, "morphology", "projection")).extra["prototypes"]
    (path,) = (chain / "logs" / "protoecgnet" / "morphology" / "projection").glob("events.out.tfevents.*")
    values = {value.tag: value for event in read_events(path) for value in event.summary.value}
    shown = [entry for entry in prototypes if entry["ecg_id"] is not None]
    assert shown
    for entry in shown:
        image = values[f"Prototypes/{'+'.join(entry['classes'])}/Prototype_{entry['index']}"].image
        assert image.encoded_image_string.startswith(b"\x89PNG") and min(image.width, image.height) > 100
        similarity = values[f"Similarity/Prototype_{entry['index']}"].simple_value
        assert similarity == pytest.approx(entry["similarity"], abs=1e-6)
    records = len(load_ptbxl(database, task="proto_morphology").split("val"))
    for name in dict.fromkeys(name for entry in shown for name in entry["classes"]):
        own = [entry for entry in prototypes if name in entry["classes"]]
        histogram = values[f"Activations/{name}"].histo
        assert histogram.num == sum(histogram.bucket) == records * len(own)
    assert sum(tag.startswith("Prototypes/") for tag in values) == len(shown)


def test_chain_is_repeatable_and_resumes_without_doing_anything_again(chain, copied, database, capsys):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("model.safetensors")}
    train(database, copied, "--resume")
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("model.safetensors")} == before
    assert capsys.readouterr().out.count("done before") == 3
    train(database, copied, "--overwrite")
    again = read_card(folder(copied, "fusion")).weights_sha256
    assert again == read_card(folder(chain, "fusion")).weights_sha256


def test_chain_that_was_interrupted_is_resumed(chain, database, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(patch, 0, 2)
        train(database, tmp_path)
    assert "--resume" in capsys.readouterr().out
    train(database, tmp_path, "--resume")
    for parts in (("rhythm", "joint"), ("fusion",)):
        states = [load_state(folder(out, *parts))[0] for out in (chain, tmp_path)]
        assert same_arrays(*states)


def test_stages_that_follow_a_new_stage_are_made_again(copied, database):
    before = {p: read_card(folder(copied, *p)).weights_sha256 for p in STAGES}
    with pytest.raises(UsageError, match=r"--lr was 0\.001, is 0\.01"):
        train(database, copied, "--resume", "--lr", 0.01)
    more = ("--branch", "global", "--training_stage", "joint", "--overwrite", "--init")
    train(database, copied, *more, folder(copied, "global", "projection"))  # a second round of the loop
    for branch, stage in (("global", "projection"), ("global", "classifier"), ("", "fusion")):
        words = ("--branch", branch) if branch else ()
        train(database, copied, *words, "--training_stage", stage, "--overwrite")
    changed = {p for p, sha in before.items() if read_card(folder(copied, *p)).weights_sha256 != sha}
    assert changed == {("global", "joint"), ("global", "projection"), ("global", "classifier"), ("fusion",)}


def test_separate_training_loads_the_feature_extractor(database, tmp_path, capsys):
    stage = ("--branch", "rhythm", "--training_stage")
    with pytest.raises(UsageError, match="--branch rhythm --training_stage feature_extractor"):
        train(database, tmp_path, *stage, "prototypes")
    train(database, tmp_path, *stage, "feature_extractor")
    train(database, tmp_path, *stage, "prototypes")
    text = capsys.readouterr().out
    assert "tensors loaded; the other" in text
    trunk, whole = (
        load_predictor(folder(tmp_path, "rhythm", s)).model.state_dict()
        for s in ("feature_extractor", "prototypes")
    )
    for key, tensor in trunk.items():
        if key.startswith("trunk."):  # statistics of batch norm, too
            assert torch.equal(whole[key], tensor), key
    train(database, tmp_path, *stage, "projection")
    assert "instead" not in capsys.readouterr().out
    train(database, tmp_path, *stage, "joint")
    train(database, tmp_path, *stage, "projection", "--overwrite")
    assert f"--training_stage projection --init {folder(tmp_path, 'rhythm', 'prototypes')} projects" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("stage", ["projection", "classifier", "fusion"])
def test_stage_that_is_missing_names_the_command_that_makes_it(database, tmp_path, stage):
    branch = () if stage == "fusion" else ("--branch", "global")
    earlier = {"projection": "joint", "classifier": "projection", "fusion": "classifier"}[stage]
    with pytest.raises(UsageError, match=f"python torch_train.py .* --training_stage {earlier}"):
        train(database, tmp_path, *branch, "--training_stage", stage)


def test_stage_is_made_by_the_named_command(database, tmp_path):
    stage = ("--branch", "global", "--training_stage", "projection", "--limit", 40, "--run", "a b")
    with pytest.raises(UsageError) as error:
        train(database, tmp_path, *stage)
    named = shlex.split(str(error.value).partition("python torch_train.py ")[2])
    call(torch_train.main, "torch_train.py", *named)
    train(database, tmp_path, *stage)  # same widths, same records: nothing is refused now
    assert (tmp_path / "checkpoints" / "a b" / "global" / "projection" / "card.json").exists()


def test_stages_refuse_other_branches_label_sets_and_records(copied, database):
    overwrite = ("--overwrite", "--training_stage")
    joint = folder(copied, "rhythm", "joint")
    with pytest.raises(DataError, match="is a rhythm branch, not the global branch"):
        train(database, copied, *overwrite, "projection", "--branch", "global", "--init", joint)
    with pytest.raises(DataError, match="was trained on task proto_rhythm"):
        train(database, copied, *overwrite, "projection", "--branch", "rhythm", "--task", "rhythm")
    with pytest.raises(DataError, match=r"does not fit.*--width"):
        train(database, copied, *overwrite, "joint", "--branch", "rhythm", "--width", 4, "--init", joint)
    with pytest.raises(DataError, match="other records or folds"):
        train(database, copied, *overwrite, "fusion", "--limit", 40)
    with pytest.raises(DataError, match="not in task superdiagnostic"):
        train(database, copied, *overwrite, "fusion", "--task", "superdiagnostic")
    with pytest.raises(DataError, match="another standardization"):
        train(database, copied, *overwrite, "fusion", "--highpass", 0.5)
    form = ("--task", "form", "--keep_unlabeled", "True")
    train(database, copied, "--overwrite", "--branch", "rhythm", *form)
    with pytest.raises(DataError, match=r"no branch knows .*\(rhythm: form, morphology: proto_morphology, "):
        train(database, copied, *overwrite, "fusion")
    with pytest.raises(UsageError, match="exists"):
        train(database, copied)


def test_branches_whose_label_sets_overlap_in_part_are_refused(copied, database):
    for stage in ("joint", "projection", "classifier"):
        train(
            database, copied, "--branch", "global", "--task", "all", "--overwrite", "--training_stage", stage
        )
    with pytest.raises(DataError, match=r"branch knows NDT.*\(rhythm: proto_rhythm.*global: all\)"):
        train(database, copied, "--training_stage", "fusion", "--overwrite")


def test_chain_from_given_weights_uses_what_it_trained(copied, database):
    words = ("--branch", "global", "--run", "second", "--init", folder(copied, "global", "projection"))
    train(database, copied, *words)
    joint, projected = (
        read_card(copied / "checkpoints" / "second" / "global" / stage) for stage in ("joint", "projection")
    )
    assert projected.provenance.made_from == [joint.weights_sha256]
    trunk = ("--branch", "global", "--training_stage", "feature_extractor")
    train(database, copied, *trunk)
    start = folder(copied, "global", "feature_extractor")
    train(database, copied, "--branch", "global", "--run", "third", "--init", start)
    assert (copied / "checkpoints/third/global/classifier/card.json").exists()
    with pytest.raises(UsageError, match="say which with --branch"):
        train(database, copied, "--run", "fourth", "--init", start)


def test_stages_refuse_other_data_and_options_than_earlier_ones(copied, database):
    stage = ("--overwrite", "--branch", "global", "--training_stage")
    with pytest.raises(DataError, match="use the same --highpass"):
        train(database, copied, *stage, "projection", "--highpass", 5)
    with pytest.raises(DataError, match="use the same --min_likelihood"):
        train(database, copied, *stage, "projection", "--branch", "morphology", "--min_likelihood", 90)
    with pytest.raises(UsageError, match="--pooling mean: the checkpoint was trained with max"):
        train(database, copied, *stage, "classifier", "--pooling", "mean")
    with pytest.raises(UsageError, match="takes neither --branch nor --init"):
        train(database, copied, *stage, "fusion")


def test_classifier_is_not_resumed_with_other_prototypes(copied, database, monkeypatch):
    stage = ("--branch", "global", "--training_stage")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(patch, 1, 2)
        train(database, copied, *stage, "classifier", "--overwrite")
    train(database, copied, *stage, "classifier", "--resume")
    train(database, copied, *stage, "joint", "--overwrite", "--lr", 0.02)
    train(database, copied, *stage, "projection", "--overwrite")
    with pytest.raises(DataError, match="other weights than its earlier stage"):
        train(database, copied, *stage, "classifier", "--resume")


def test_pruning_sees_the_weights_of_a_trained_layer(chain):
    reports = [read_card(folder(chain, branch, "classifier")).extra["pruning"] for branch in BRANCHES]
    assert all(set(r["dropped"]) == {"without_record", "low_weight", "duplicate", "unused"} for r in reports)
    assert all(r["before"] - sum(r["dropped"].values()) == r["after"] for r in reports)


def test_stages_take_any_label_set_and_500_hz(database, tmp_path):
    fast = small_database(tmp_path / "fast", sampling_rate=500, codes=CODES)
    more = ("--branch", "morphology", "--sampling_rate", 500, "--highpass", 0.5, "--task", "superdiagnostic")
    train(fast, tmp_path, *more)
    predictor = load_predictor(folder(tmp_path, "morphology", "classifier"))
    assert predictor.sampling_rate == 500 and predictor.model.trunk.stride == 160
    assert predictor.card.inputs.standardization["highpass"] == 0.5
    assert predictor.predict(np.zeros((1, 1000, 12), np.float32)).shape == (1, 5)


def test_scoring_and_explaining_the_test_fold(copied, database, capsys):
    test = ("--model", "protoecgnet", "--output_dir", copied, "--resamples", 10)
    call(torch_test.main, "torch_test.py", *test, "--explain", 3, "--pictures", 1)
    report = read_json(copied / "logs/protoecgnet/fusion/test.json")
    assert report["run"] == "protoecgnet/fusion" and report["records"] == 10
    results = copied / "results" / "protoecgnet" / "fusion"
    with open(next(results.rglob("*.csv")), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and json.loads(rows[0]["top_protos_by_class"])
    assert len(list(results.rglob("*.html"))) >= 1
    with open(copied / "logs/protoecgnet/fusion/predictions.csv", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    ids = load_ptbxl(database, task="all").split("test").ecg_ids.tolist()
    assert [int(row["ecg_id"]) for row in table] == ids
    assert list(table[0])[1:4] == ["Label_NDT", "Pred_NDT", "Prob_NDT"]
    call(torch_test.main, "torch_test.py", *test, "--branch", "rhythm")
    assert read_json(copied / "logs/protoecgnet/rhythm/classifier/test.json")["task"] == "proto_rhythm"
    assert "wrote" in capsys.readouterr().out


def test_gallery_alone_scores_nothing(copied, capsys):
    test = ("--model", "protoecgnet", "--output_dir", copied, "--gallery")
    call(torch_test.main, "torch_test.py", *test)
    assert (copied / "results" / "protoecgnet" / "fusion" / "prototypes.html").exists()
    assert "test records were not scored" in capsys.readouterr().out
    assert not (copied / "logs" / "protoecgnet" / "fusion" / "test.json").exists()
    call(torch_test.main, "torch_test.py", *test, "--explain", 1, "--pictures", 0, "--resamples", 10)
    assert (copied / "logs" / "protoecgnet" / "fusion" / "test.json").exists()


def test_references_fusion_can_be_had(copied, database):
    def fusion(*flags):
        train(database, copied, "--training_stage", "fusion", "--overwrite", "--classifier_lr", 1e-6, *flags)
        state = load_predictor("protoecgnet", copied).model.state_dict()
        card = read_card(folder(copied, "fusion"))
        own = [(card.classes.index(c), p["index"]) for p in card.extra["prototypes"] for c in p["classes"]]
        return state, torch.stack([state["head.weight"][at] for at in own])

    state, own = fusion()
    assert not torch.equal(state["spread"], torch.ones_like(state["spread"])) and (own >= 0).all()
    others = state["head.weight"].abs() < 1e-4  # the branches give no weight to other classes
    random, own = fusion("--fusion_start", "random")
    drawn = (random["head.weight"][others].abs() > 1e-4).float().mean()
    assert others.any() and drawn > 0.9 and (own >= 0).all()
    _, own = fusion("--fusion_start", "random", "--positive_own_weights", False)
    assert (own < 0).any()
    state, _ = fusion("--fusion_standardize", False)
    assert torch.equal(state["spread"], torch.ones_like(state["spread"])) and not state["center"].any()


def test_runs_become_tables(copied, tmp_path):
    test = ("--model", "protoecgnet", "--output_dir", copied, "--resamples", 10)
    for branch in ((), ("--branch", "rhythm"), ("--branch", "global")):
        call(torch_test.main, "torch_test.py", *test, *branch)
    data = tmp_path / "data"
    assert "No run has been collected yet" in render.documents(data)[render.DOCS / "protoecgnet.md"]
    collect_run("protoecgnet", "", copied, data)
    text = render.documents(data)[render.DOCS / "protoecgnet.md"]
    assert "| rhythm |" in text and "**fusion**" in text
    assert str(copied) not in text
    report = read_json(copied / "logs/protoecgnet/rhythm/classifier/test.json")
    report["checkpoint"]["weights_sha256"] = "0"
    write_json(copied / "logs/protoecgnet/rhythm/classifier/test.json", report)
    with pytest.raises(UsageError, match="other weights"):
        collect_run("protoecgnet", "", copied, data)


def test_intervals_over_the_frequent_classes():
    records, classes = 120, 20
    rng = np.random.default_rng(0)
    labels = (rng.random((records, classes)) < 0.3).astype(np.uint8)
    dataset = Dataset(
        np.zeros((records, 2, 12), np.float32), labels, [f"c{i}" for i in range(classes)],
        np.arange(records), np.arange(records) // 2, np.full(records, "test"), 100,
    )  # fmt: skip
    p = 0.3 * labels + 0.7 * rng.random((records, classes))
    task = create_task("multilabel", dataset.classes)
    assert "frequent" not in task.report(dataset, p, resamples=50)  # some resamples lose a class
    labels = dataset.targets
    labels[:, 3:] = 0
    labels[np.arange(4, 38, 2), np.arange(3, 20)] = 1  # seventeen classes of one patient each: nearly all do
    result = task.report(dataset, p, resamples=100)
    assert "impossible" in result["bootstrap"]
    assert result["frequent"]["classes"] == ["c0", "c1", "c2"]
    bounds = result["frequent"]["bootstrap"]["intervals"]["macro_roc_auc"]
    assert bounds["low"] < result["frequent"]["metrics"]["macro_roc_auc"] < bounds["high"]
