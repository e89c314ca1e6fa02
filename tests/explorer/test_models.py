"""Which models the explorer offers, what they answer, and the importance of leads."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from explain.leads import explain_leads
from explorer.marks import WAVES, rpeaks_of, waves_of
from explorer.models import ask, find_models, usual_models
from explorer.reasons import color_strength, find_reason, methods_for, stretch, what_is_known
from explorer.sources import read_sample
from training import load_predictor
from training.checkpoint import ROOT
from training.export import export_onnx
from training.export.hub import write_hub
from utils.errors import UsageError

PRETRAINED = ROOT / "checkpoints" / "pretrained"


@pytest.fixture(scope="module")
def ecgnet():
    """A shipped model that needs no Keras."""
    return load_predictor("ecgnet")


@pytest.fixture(scope="module")
def mi():
    """The sample of an infarction."""
    return read_sample("sample_ecg_mi.csv")


@pytest.fixture
def runs(tmp_path):
    """Three runs of a user: best by score, best by loss, and the newest."""
    for name, score, loss, age in (("a", 0.9, 0.5, 3), ("b", 0.8, 0.2, 2), ("c", 0.7, 0.9, 1)):
        folder = tmp_path / "checkpoints" / name
        shutil.copytree(PRETRAINED / "ecgnet", folder)
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        card["metrics"] |= {"val_macro_roc_auc": score, "val_loss": loss}
        (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")

        os.utime(folder / "card.json", (10**9 - age, 10**9 - age))
    return tmp_path


def test_models_come_best_first_and_say_why(runs):
    models, warnings = find_models(runs, {})
    assert warnings == []
    assert [(m.name, m.roles) for m in models[:3]] == [
        ("a", ("best score",)), ("b", ("best loss",)), ("c", ("newest",)),
    ]  # fmt: skip
    shipped = {path.name for path in PRETRAINED.iterdir() if path.is_dir()}
    assert {m.name for m in models[3:]} == shipped - {"rpeaks", "waves"}  # classifiers alone
    assert all(m.roles == ("shipped",) for m in models[3:])
    assert models[0].label == "a (best score)" and "macro ROC-AUC" in str(models[0].facts)


def test_model_to_use_is_first(runs):
    models, _ = find_models(runs, {"MODEL_TO_USE": "c"})
    assert models[0].name == "c" and models[0].roles == ("MODEL_TO_USE", "newest")
    models, _ = find_models(runs, {"MODEL_TO_USE": str(runs / "checkpoints" / "b")})
    assert models[0].name == "b"
    models, warnings = find_models(runs, {"MODEL_TO_USE": "d"})
    assert models[0].name == "a" and "MODEL_TO_USE=d is not used" in warnings[0]


def test_usual_model_is_the_users_own_or_one_for_the_superclasses(runs, tmp_path_factory):
    assert [m.name for m in usual_models(find_models(runs, {})[0])] == ["a"]
    shipped = usual_models(find_models(tmp_path_factory.mktemp("empty"), {})[0])
    assert [m.card.task for m in shipped] == ["superdiagnostic"]
    wanted = usual_models(find_models(runs, {"MODEL_TO_USE": "protoecgnet_rhythm"})[0])
    assert [m.name for m in wanted] == ["protoecgnet_rhythm"]
    models, warnings = find_models(runs, {"MODEL_TO_USE": "rpeaks"})
    assert models[0].name == "a" and "the explorer shows classifiers" in warnings[0]


def test_exported_file_is_listed_and_answers_like_its_checkpoint(tmp_path, ecgnet, mi):
    path = tmp_path / "checkpoints" / "mine" / "model.onnx"
    path.parent.mkdir(parents=True)
    export_onnx("ecgnet", path)
    models, warnings = find_models(tmp_path, {})
    assert (
        warnings == []
        and models[-1].roles == ("exported",)
        and models[-1].label.startswith("mine/model.onnx")
    )
    assert "exported" in models[-1].facts["model"] and models[-1].card.classes == ecgnet.classes
    exported = load_predictor(models[-1].folder)
    rows = {row["class"]: row for row in ask(exported, mi.recording).rows}
    for row in ask(ecgnet, mi.recording).rows:
        assert rows[row["class"]]["probability"] == pytest.approx(row["probability"], abs=2e-4)
    assert set(methods_for(exported)) == {"lime", "kernel_shap"}
    for name in (str(path), "mine/model.onnx"):
        assert find_models(tmp_path, {"MODEL_TO_USE": name})[0][0].folder == path
    path.write_bytes(path.read_bytes()[:1000])
    models, warnings = find_models(tmp_path, {})
    assert models[-1].roles == ("shipped",) and "model.onnx is left out" in warnings[0]


def test_folder_for_the_hub_is_listed(tmp_path, ecgnet):
    write_hub(PRETRAINED / "ecgnet", tmp_path / "checkpoints" / "hub")
    models, warnings = find_models(tmp_path, {})
    assert warnings == [] and models[0].name == "hub" and models[0].changed > 0


def test_checkpoint_that_is_damaged_is_a_warning(runs):
    (runs / "checkpoints" / "a" / "model.safetensors").write_bytes(b"damaged")
    models, warnings = find_models(runs, {})
    assert models[0].name == "b" and "is left out" in warnings[0] and "SHA-256" in warnings[0]


def test_answer_is_what_the_predictor_says(ecgnet, mi):
    answer = ask(ecgnet, mi.recording, mi.labels)
    expected = ecgnet.predict(mi.recording.signal[None])[0]
    for row in answer.rows:
        column = ecgnet.classes.index(row["class"])
        assert row["probability"] == round(float(expected[column]), 4)
        assert row["answer"] == ("yes" if expected[column] >= ecgnet.thresholds[column] else "no")
        assert row["true label"] == ("yes" if row["class"] == "MI" else "")
    assert [row["probability"] for row in answer.rows] == sorted(
        (row["probability"] for row in answer.rows), reverse=True
    )
    assert "true label" not in ask(ecgnet, mi.recording).rows[0]


def test_reason_lies_on_the_samples_that_are_shown(ecgnet, mi):
    reason = find_reason(ecgnet, mi.recording, "saliency", "MI")
    assert reason.heat.shape == (1000, 12) and sum(reason.shares.values()) == pytest.approx(1)
    faster = replace(mi.recording, signal=np.repeat(mi.recording.signal, 5, axis=0), sampling_rate=500.0)
    heat = np.arange(12_000, dtype=np.float32).reshape(1000, 12)
    np.testing.assert_array_equal(stretch(heat, ecgnet, faster)[::5], heat)
    longer = replace(mi.recording, signal=np.zeros((1500, 12), np.float32))
    assert not stretch(heat, ecgnet, longer)[1000:].any()


def test_methods_say_what_is_known_of_them(ecgnet):
    assert "integrated_gradients" in methods_for(ecgnet) and "attention" not in methods_for(ecgnet)
    known = what_is_known("ecgnet", "integrated_gradients")
    assert "On this model and PTB-XL" in known and "MIT-BIH" in known
    assert what_is_known("my_run", "integrated_gradients").startswith("Not studied on this model.")


def test_lead_importance_sums_to_what_the_leads_change(ecgnet, mi):
    result = explain_leads(ecgnet, mi.recording.signal, "MI")
    assert result.values.sum() == pytest.approx(result.full - result.base, abs=1e-6)
    again = explain_leads(ecgnet, mi.recording.signal, "MI", batch_size=7)
    np.testing.assert_allclose(again.values, result.values, atol=1e-4)
    assert (result.error >= 0).all() and -1 <= result.rank_correlation <= 1
    flat = mi.recording.signal.copy()
    flat[:, 4] = np.median(flat[:, 4])
    assert explain_leads(ecgnet, flat, "MI").values[4] == 0
    with pytest.raises(UsageError, match="did you mean 'MI'"):
        explain_leads(ecgnet, flat, "mi")
    with pytest.raises(UsageError, match="effort"):
        explain_leads(ecgnet, flat, "MI", "quick")


def test_lead_importance_of_an_additive_model_is_exact():
    class Additive:
        """Logit = sum over leads of weight times peak-to-peak."""

        classes, leads = ["x"], [f"L{number}" for number in range(12)]
        weights = np.linspace(-1, 1, 12)

        def predict(self, signals, batch_size=32):
            return 1 / (1 + np.exp(-(np.ptp(signals, axis=1) @ self.weights)))[:, None]

    signal = np.random.default_rng(0).normal(0, 0.2, (50, 12)).astype(np.float32)
    result = explain_leads(Additive(), signal, "x")
    np.testing.assert_allclose(result.values, np.ptp(signal, axis=0) * Additive.weights, atol=1e-4)
    np.testing.assert_allclose(result.error, 0, atol=1e-4)
    assert result.rank_correlation == pytest.approx(1)


def test_waves_of_the_shipped_model_lie_round_the_rpeaks(mi):
    peaks, rr = rpeaks_of(mi.recording)
    spans = waves_of(load_predictor(WAVES), mi.recording)
    assert rr is not None and 500 < rr < 1500 and len(peaks) > 5
    complexes = [span for span in spans if span["lead"] == "II" and span["kind"] == "QRS"]
    inside = [p for p in peaks if any(s["start"] - 3 <= p <= s["stop"] + 3 for s in complexes)]
    assert len(inside) >= len(peaks) - 1
    slower = replace(
        mi.recording, signal=np.repeat(mi.recording.signal, 5, axis=0), sampling_rate=500.0, faults=[]
    )
    faster = waves_of(load_predictor(WAVES), slower)
    assert {span["kind"] for span in faster} >= {"QRS", "T"} and max(s["stop"] for s in faster) <= 5000


def test_color_strength_shows_more_than_the_largest_sample():
    heat = np.zeros((1000, 12), np.float32)
    heat[:200, 1] = np.linspace(-1, 1, 200)
    heat[500, 0] = 50
    strength = color_strength(heat)
    assert strength.max() == 1 and strength[0, 1] < -0.9 and (np.abs(strength[:200, 1]) > 0.3).mean() > 0.6
    alone = np.zeros((1000, 12), np.float32)
    alone[3, 4] = -2
    assert color_strength(alone)[3, 4] == -1 and not color_strength(0 * alone).any()
