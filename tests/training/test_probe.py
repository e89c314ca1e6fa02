"""twelvelead baselines: logistic regression on random and on trained weights."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models_torch import create_model
from preprocessing import load_ptbxl
from tests.helpers.training_files import flags, metrics_rows, small_database, write_untrained
from training import load_predictor
from training.checkpoint import read_card
from training.probe import STRENGTHS, _inputs, _logistic
from training.torch_io import read_weights
from twelvelead.commands.baselines import main
from utils.errors import UsageError
from utils.metrics import macro, roc_auc
from utils.seeds import seed_everything


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return small_database(tmp_path_factory.mktemp("ptbxl"))


def body(path):
    """Weights except the head's."""
    return {name: t for name, t in read_weights(path).items() if not name.startswith("head.")}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_random_weights_stay_and_the_head_is_logistic_regression(database, tmp_path):
    main(flags("ecgnet", database, tmp_path, "--seed", 3))
    folder = tmp_path / "checkpoints" / "ecgnet_random_init"
    card = read_card(folder)
    seed_everything(3)
    drawn = create_model(**card.model).eval()
    untouched = {name: t for name, t in drawn.state_dict().items() if not name.startswith("head.")}
    assert same(body(folder / "model.safetensors"), untouched)

    data = load_ptbxl(database)
    train, val = data.split("train"), data.split("val")
    predictor = load_predictor(folder)
    x, val_x = (
        _inputs(drawn, drawn.head, torch.from_numpy(predictor.standardize(part.signals[:]))).numpy()
        for part in (train, val)
    )
    scores = []
    for strength in STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        columns = [model.fit(x, y).predict_proba(val_x)[:, 1] for y in train.targets.T]
        scores.append(macro(roc_auc(val.targets, np.stack(columns, axis=1))))
        if strength == card.extra["C"]:
            expected = np.stack(columns, axis=1)
    np.testing.assert_allclose(predictor.predict(val.signals[:]), expected, atol=2e-3)
    assert [float(row["val_macro_roc_auc"]) for row in metrics_rows(tmp_path, "ecgnet_random_init")] == (
        pytest.approx(scores, abs=0.01)
    )
    assert card.extra["baseline"] == "random weights" and len(card.outputs.decision["thresholds"]) == 5


def test_probe_of_a_trained_model_on_another_label_set(database, tmp_path):
    trained = write_untrained(tmp_path / "checkpoints" / "before", "ecgnet")
    main(flags("ecgnet", database, tmp_path, "--init", "before", "--task", "mi"))
    folder = tmp_path / "checkpoints" / "ecgnet_linear_probe"
    card = read_card(folder)
    assert same(body(folder / "model.safetensors"), body(trained / "model.safetensors"))
    assert (card.kind, card.extra["baseline"]) == ("multiclass", "linear probe")
    assert card.provenance.made_from == [read_card(trained).weights_sha256]
    val = load_ptbxl(database, "mi").split("val")
    np.testing.assert_allclose(load_predictor(folder).predict(val.signals[:]).sum(axis=1), 1, atol=1e-5)


def test_probe_on_crops_averages_windows(database, tmp_path):
    main(flags("ecgnet", database, tmp_path, "--crop", 100, "--run", "crops"))
    predictor = load_predictor("crops", tmp_path)
    val = load_ptbxl(database).split("val")
    auc = macro(roc_auc(val.targets, predictor.predict(val.signals[:])))
    assert auc == pytest.approx(predictor.card.metrics["val_macro_roc_auc"], abs=1e-5)
    again = tmp_path / "again"
    main(flags("ecgnet", database, again, "--crop", 100, "--run", "crops"))
    weights = [out / "checkpoints" / "crops" / "model.safetensors" for out in (tmp_path, again)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_logistic_regression_of_classes_without_both_labels():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(50, 3)), np.zeros((50, 3))
    y[:, 1] = 1
    y[:, 2] = z[:, 0] > 0
    weight, bias = _logistic(z, y, 1.0, exclusive=False)
    assert (weight[:, :2] == 0).all() and bias[0] == pytest.approx(-bias[1]) and bias[0] < -4
    assert weight[0, 2] > 1
    for classes in (2, 3):  # exclusive ones, with and without one that no record has
        y = np.eye(3)[rng.integers(classes, size=50)]
        weight, bias = _logistic(z, y, 1.0, exclusive=True)
        usual = LogisticRegression(C=1.0, max_iter=1000).fit(z, y.argmax(axis=1))
        logits = z @ weight + bias
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(p[:, :classes], usual.predict_proba(z), atol=0.02)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "minirocket"], "plain PyTorch models, which 'minirocket' is not"),
        (["--model", "mousavi"], "mousavi"),
        (["--model", "ecgnet", "--resume"], "fitted in one piece"),
        (["--model", "ecgnet", "--noise", "0.1"], "leave out augmentation"),
        ([], "--model is missing"),
    ],
)
def test_baselines_refuse_what_they_cannot_do(words, message):
    with pytest.raises(UsageError, match=message):
        main(words)
