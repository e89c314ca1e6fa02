"""Losses: goldens, one formula in three frameworks, weights and masks, and runs with a chosen loss."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torch_train
import train
from preprocessing import Standardizer
from preprocessing.batches import Batches, Weighted, pack
from preprocessing.targets import IGNORED
from preprocessing.transforms.augmentation import Augmentation
from tests.helpers.training_files import call, flags, last_state, metrics_rows, same_arrays, small_database
from training.checkpoint import read_card
from training.tasks import Task, create_task, list_losses
from training.tasks.losses import choose_loss
from training.tasks.losses.formula import Setting
from utils.errors import DataError, UsageError

GOLDENS = Path(__file__).parents[1] / "goldens" / "loss_goldens.npz"
WORDS = {  # golden: --loss
    "bce_class_weight": "bce:class_weights=[1,2,3,4,5]",
    "weighted_bce_on_sigmoid": "bce:positive_weight=[1,2,3,4,5]",
    "masked_bce": "bce",
    "focal_default": "focal",
    "focal_class_weight_cw": "focal:class_weights=[1,2,3,4,5]",
    "asymmetric_default": "asymmetric",
    "asymmetric_gp0_gn0_2_deep_psp": "asymmetric:gamma_positive=0:gamma_negative=0.2:shifted=false",
}
SIGMOID = [
    *WORDS.values(),
    "bce:positive_weight=dynamic",
    "focal:gamma=0.5:alpha=0.25",
    "asymmetric:margin=0",
]
SOFTMAX = ["ce", "ce:class_weights=[1,2,3,4,5]", "focal", "focal:gamma=0.5:alpha=0.25"]
CASES = [*(("sigmoid", word) for word in SIGMOID), *(("softmax", word) for word in SOFTMAX)]


def loss_of(word, activation="sigmoid", classes="abcde", counts=None):
    return choose_loss(word, Setting(activation, list(classes), counts, "these"))


def activated(logits, activation):
    logits = torch.as_tensor(logits)
    return (torch.softmax(logits, -1) if activation == "softmax" else torch.sigmoid(logits)).numpy()


def with_torch(word, logits, target, activation="sigmoid"):
    tensors = torch.as_tensor(logits), torch.as_tensor(target)
    return float(loss_of(word, activation).build("torch")(*tensors)[0])


def with_numpy(word, logits, target, activation="sigmoid"):
    return loss_of(word, activation).of(target, activated(np.asarray(logits, np.float64), activation))


def batch(activation="sigmoid", shape=(7, 4, 5), seed=0):
    """Logits and hard targets."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, shape).astype(np.float32)
    if activation == "softmax":
        return logits, np.eye(5, dtype=np.float32)[rng.integers(0, 5, shape[:-1])]
    return logits, (rng.random(shape) < 0.4).astype(np.float32)


# --- formulas ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORDS)
def test_loss_equals_the_golden(name):
    with np.load(GOLDENS) as golden:
        logits, targets, expected = golden["logits"], golden["targets"], float(golden[name])
    if name == "masked_bce":
        targets = pack(Weighted(targets, targets + 1))
    assert with_torch(WORDS[name], logits, targets) == pytest.approx(expected, rel=1e-6)
    assert with_numpy(WORDS[name], logits, targets) == pytest.approx(expected, rel=1e-6)


@pytest.mark.tf
@pytest.mark.parametrize(("activation", "word"), CASES)
@pytest.mark.parametrize("columns", [0, 1, 5])
def test_loss_is_the_same_in_all_frameworks(activation, word, columns):
    import keras

    logits, target = batch(activation)
    if columns:
        target = pack(Weighted(target, np.random.default_rng(1).random((7, 4, columns)).astype(np.float32)))
    expected = with_numpy(word, logits, target, activation)
    assert with_torch(word, logits, target, activation) == pytest.approx(expected, rel=2e-6)
    function = loss_of(word, activation).build("keras")
    outputs = keras.ops.convert_to_tensor(activated(logits, activation))
    assert float(function(outputs, keras.ops.convert_to_tensor(target))[0]) == pytest.approx(
        expected, rel=2e-6
    )


@pytest.mark.parametrize(("activation", "word"), CASES)
def test_loss_and_gradient_are_finite_for_extreme_logits_and_right_otherwise(activation, word):
    extreme = torch.tensor([[1e4, -1e4, 90.0, -90.0, 0.0]], requires_grad=True)
    for column in range(5):
        target = torch.eye(5)[[column]]
        value = loss_of(word, activation).build("torch")(extreme, target)[0]
        (gradient,) = torch.autograd.grad(value, extreme)
        assert torch.isfinite(value) and torch.isfinite(gradient).all()
    logits, target = batch(activation, (3, 5))
    precise = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    wanted = torch.as_tensor(target, dtype=torch.float64)
    function = loss_of(word, activation).build("torch")
    assert torch.autograd.gradcheck(lambda x: function(x, wanted)[0], precise)


@pytest.mark.tf
@pytest.mark.parametrize(("activation", "word"), CASES)
def test_loss_in_keras_has_a_gradient_where_the_output_is_saturated_and_wrong(activation, word):
    import keras
    import tensorflow as tf

    function = loss_of(word, activation).build("keras")

    if keras.backend.backend() != "tensorflow":
        pytest.skip("the other backends clip outputs at 1e-7, as Keras' own losses do")

    @tf.function
    def gradient(logits, target):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            output = tf.nn.softmax(logits) if activation == "softmax" else tf.sigmoid(logits)
            value = function(output, target)[0]
        return value, tape.gradient(value, logits)

    logits, target = [[-20.0, 20, 0, 0, 0], [0.0] * 5], [[1.0, 0, 0, 0, 0], [0.0] * 5]
    value, slope = gradient(tf.constant(logits), tf.constant(target))
    assert np.isfinite(value) and np.isfinite(slope).all()
    assert slope[0, 0] < 0
    assert slope[0, 1] > 0 or "asymmetric" in word  # whose margin bounds the loss of a wrong negative


@given(st.integers(0, 10**6))
def test_loss_without_its_exponents_is_cross_entropy(seed):
    logits, target = batch(seed=seed)
    plain = with_numpy("bce", logits, target)
    for word in (
        "focal:gamma=0", "asymmetric:gamma_positive=0:gamma_negative=0:margin=0", "bce:positive_weight=1",
        "bce:class_weights=[1,1,1,1,1]",
    ):  # fmt: skip
        assert with_numpy(word, logits, target) == pytest.approx(plain, rel=1e-12)
    logits, target = batch("softmax", seed=seed)
    plain = with_numpy("ce", logits, target, "softmax")
    assert with_numpy("focal:gamma=0", logits, target, "softmax") == pytest.approx(plain, rel=1e-12)


@given(st.integers(0, 10**6), st.sampled_from(CASES))
def test_loss_ignores_what_has_the_weight_zero_and_is_linear_in_weights(seed, case):
    activation, word = case
    if "dynamic" in word:  # whose weight depends on the whole batch
        return
    rng = np.random.default_rng(seed)
    logits, target = batch(activation, seed=seed)
    weights = rng.integers(0, 2, (7, 4, 1)).astype(np.float32)
    others = np.where(weights, logits, rng.normal(0, 3, logits.shape))
    value = with_numpy(word, logits, pack(Weighted(target, weights)), activation)
    assert with_numpy(word, others, pack(Weighted(target, weights)), activation) == value
    rest = with_numpy(word, logits, pack(Weighted(target, 1 - weights)), activation)
    assert value + rest == pytest.approx(with_numpy(word, logits, target, activation), rel=1e-9)


def test_loss_dynamic_weight_balances_the_batch():
    target = np.array([[1.0, 0], [0, 0], [0, 0], [0, 0]])
    loss = choose_loss("bce:positive_weight=dynamic", Setting("sigmoid", ["a", "b"]))
    # log 2 each; the class without positives keeps the weight 1
    assert loss.of(target, np.full((4, 2), 0.5)) == pytest.approx(np.log(2) * (3 + 3 + 4) / 8)


# --- weights from targets ---------------------------------------------------------------------------------


def test_loss_weights_follow_from_the_training_targets():
    task = create_task("multilabel", ["a", "b"])
    task.choose_loss("bce:positive_weight=balanced:class_weights=balanced", np.eye(2)[[0, 0, 0, 1]])
    options = task.named_loss.options
    assert options["positive_weight"] == pytest.approx([1 / 3, 3])
    assert options["class_weights"] == pytest.approx([4 / (2 * 3), 4 / (2 * 1)])
    task = create_task("segmentation", ["none", "a"])
    task.choose_loss("focal:class_weights=balanced", np.array([[0, 0, 0, 1, IGNORED, IGNORED]]))
    assert task.named_loss.options["class_weights"] == pytest.approx([4 / (2 * 3), 2])
    with pytest.raises(DataError, match="training targets have no b"):
        create_task("multilabel", ["a", "b"]).choose_loss("focal:class_weights=balanced", np.eye(2)[[0]])


@pytest.mark.parametrize(
    ("kind", "word", "message"),
    [
        ("multilabel", "focul", "unknown loss 'focul': did you mean 'focal'"),
        ("multilabel", "focal:gama=1", "unknown option 'gama': did you mean 'gamma'"),
        ("multilabel", "focal:gamma=-1", "gamma must be a number at least 0, not -1"),
        ("multilabel", "focal:gamma", "must be OPTION=VALUE"),
        ("multilabel", "asymmetric:shifted=2", "shifted must be true or false"),
        ("multilabel", "bce:positive_weight=[1,-2]", "positive_weight must be numbers"),
        ("multilabel", "bce:positive_weight=rare", "positive_weight 'rare'"),
        ("multilabel", "bce:positive_weight=[1,2,3]", "must be 2 numbers, one for each of a, b, not 3"),
        ("multilabel", "ce", "loss 'ce' is for softmax outputs, and multilabel targets have sigmoid"),
        ("multiclass", "asymmetric", "multiclass targets have softmax"),
        ("multiclass", "focal:class_weights=[1]", "must be 2 numbers"),
    ],
)
def test_loss_that_is_wrong_is_refused_by_name(kind, word, message):
    with pytest.raises(UsageError, match=message.replace("[", r"\[")):
        create_task(kind, ["a", "b"]).choose_loss(word, np.eye(2))


def test_task_with_a_loss_of_its_own_takes_no_other():
    class Own(Task):
        kind, select_on = "own", "score"

        def loss(self, framework):
            return lambda output, target: (output.sum(), {})

        def score(self, targets, predictions, decision=None):
            return {"score": 0.0}

    task = Own(["a"])
    assert task.validation_loss(np.ones((1, 1)), np.ones((1, 1))) is None
    with pytest.raises(UsageError, match="have a loss of their own"):
        task.choose_loss("focal", np.ones((1, 1)))


# --- weights on their way to the loss ---------------------------------------------------------------------


def test_loss_weights_are_cropped_with_their_samples_and_not_smoothed():
    values = np.tile(np.arange(40.0)[None, :, None], (3, 1, 1))
    augmentation = Augmentation(crop=8, augment=("label_smooth:smoothing=0.5:prob=1:toward=0",))
    targets = pack(Weighted(values, 100 + values))
    signals, cut = augmentation(values, targets, np.random.default_rng(0), aligned=True, weights=1)
    np.testing.assert_allclose(cut[..., 0], signals[..., 0] / 2)
    np.testing.assert_allclose(cut[..., 1], 100 + signals[..., 0])


def test_batches_pack_weights_and_refuse_those_that_do_not_fit():
    class Records:
        signals = np.zeros((4, 6, 1), np.float32)
        targets = np.zeros((4, 6), np.int64)
        sampling_rate = 100

    Records.targets[2, 3:] = IGNORED
    encode = create_task("segmentation", ["none", "a"]).encode
    batches = Batches(Records(), Standardizer(0, 1), 2, encode=encode)
    (_, first), (_, second) = batches.epoch(0)
    assert first.shape == (2, 6, 2)  # nothing is ignored: no weights
    np.testing.assert_array_equal(second[..., 2], [[1, 1, 1, 0, 0, 0], [1] * 6])
    with pytest.raises(DataError, match=r"weights of shape \(2, 3\) do not fit labels of shape \(2, 2\)"):
        pack(Weighted(np.zeros((2, 2)), np.zeros((2, 3))))


@pytest.mark.parametrize("kind", ["segmentation", "multilabel_segmentation"])
def test_segmentation_neither_learns_nor_judges_ignored_samples(kind):
    rng = np.random.default_rng(0)
    task = create_task(kind, ["none", "a"])
    many = kind.startswith("multi")
    targets = rng.integers(0, 2, (3, 20, 2) if many else (3, 20))
    p = rng.dirichlet([1, 1], (3, 20)).astype(np.float32)
    cut = targets.copy()
    cut[:, 15:] = IGNORED
    whole, part = task.score(targets[:, :15], p[:, :15]), task.score(cut, p)
    assert part == whole
    assert task.validation_loss(cut, p) == pytest.approx(
        task.validation_loss(targets[:, :15], p[:, :15]) * 15 / 20
    )
    assert task.score(np.full_like(targets, IGNORED), p)["sample_accuracy"] is None


# --- runs -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"))


@pytest.mark.parametrize(
    ("main", "script", "model"),
    [
        pytest.param(torch_train.main, "torch_train.py", "ecgnet", marks=pytest.mark.torch),
        pytest.param(train.main, "train.py", "mousavi", marks=pytest.mark.tf),
    ],
)
def test_run_with_a_chosen_loss_says_so_and_resumes_bit_for_bit(
    database, tmp_path, capsys, main, script, model
):
    def run(*more):
        return call(main, script, *flags(model, database, tmp_path, *more))

    run("--loss", "focal:gamma=1:class_weights=balanced", "--epochs", 2, "--run", "focal")
    assert "loss focal, class_weights" in capsys.readouterr().out
    folder = tmp_path / "checkpoints" / "focal"
    loss = read_card(folder).extra["loss"]
    assert loss["name"] == "focal" and loss["options"]["gamma"] == 1
    assert len(loss["options"]["class_weights"]) == 5
    run("--loss", "focal:gamma=1:class_weights=balanced", "--epochs", 1, "--run", "two")
    run("--loss", "focal:gamma=1:class_weights=balanced", "--epochs", 2, "--run", "two", "--resume")
    assert same_arrays(last_state(tmp_path, "focal"), last_state(tmp_path, "two"))
    with pytest.raises(UsageError, match="loss"):
        run("--loss", "bce", "--epochs", 3, "--run", "two", "--resume")
    if model == "mousavi":  # how a default is read does not depend on the framework
        return
    run("--loss", "bce", "--epochs", 1, "--run", "named")
    run("--epochs", 1, "--run", "plain")
    assert same_arrays(last_state(tmp_path, "plain"), last_state(tmp_path, "named"))
    assert metrics_rows(tmp_path, "plain") == metrics_rows(tmp_path, "named")
    assert (
        metrics_rows(tmp_path, "plain")[0]["train_loss"] != metrics_rows(tmp_path, "focal")[0]["train_loss"]
    )
    assert "loss" not in read_card(tmp_path / "checkpoints" / "plain").extra


def test_losses_are_listed():
    assert {"asymmetric", "bce", "ce", "focal"} <= set(list_losses())
