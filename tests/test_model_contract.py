"""What holds for every registered model of both frameworks; the models bring their cases."""

import importlib
import json

import numpy as np
import pytest
import torch

from explain.engine.classifier import FeatureLayer
from tests.helpers.model_cases import MODELS, SUBJECTS, Subject, registered
from utils.errors import DataError
from utils.model_registry import ModelCase, ModelInfo

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize("info", MODELS)
def test_model_is_registered_with_what_tables_and_tests_need(info):
    assert info.cases, f"{info.name} has no ModelCase: give register_model one"
    assert info.title and info.doi.startswith("10.")
    assert len({case.name for case in info.cases}) == len(info.cases)
    assert {"num_classes", "samples", "leads"} <= info.options.keys()


@pytest.mark.parametrize("framework", ["torch", pytest.param("keras", marks=pytest.mark.tf)])
def test_model_properties_read_from_source_are_those_registered(framework):
    from_source = {info.name: info for info in registered(framework)}
    assert from_source
    for info in from_source.values():
        importlib.import_module(info.module)
    assert {info.name: info for info in registered(framework)} == from_source


@pytest.mark.parametrize("info", [p for p in MODELS if p.values[0].parameters])
def test_model_has_its_number_of_parameters(info):
    subject = Subject(info, ModelCase({}, 0))
    if info.framework == "torch":
        with torch.device("meta"):  # shapes without memory
            model = subject.package.create_model(info.name)
        assert sum(p.numel() for p in model.parameters()) == info.parameters
    else:
        assert subject.package.create_model(info.name).count_params() == info.parameters


@pytest.mark.parametrize("subject", SUBJECTS)
def test_model_outputs_do_not_depend_on_the_batch(subject):
    model, signals = subject.build(), subject.signals()
    together = subject.outputs(model, signals)
    apart = np.concatenate([subject.outputs(model, signals[i : i + 1]) for i in range(len(signals))])
    assert together.shape == subject.case.output_shape and np.isfinite(together).all()
    assert together.std(axis=0).max() > 0
    if subject.info.framework == "keras":
        assert ((together >= 0) & (together <= 1)).all()
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-5 * max(1, np.abs(together).max()))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_model_is_rebuilt_from_its_config_and_weights(subject, tmp_path):
    model, signals = subject.build(num_classes=2), subject.signals()
    config = json.loads(json.dumps(model.config))
    assert config["name"] == subject.info.name and config["num_classes"] == 2
    before, path = subject.outputs(model, signals), subject.save(model, tmp_path)
    again = Subject(subject.info, ModelCase({k: v for k, v in config.items() if k != "name"}, 0)).build(
        seed=1
    )
    assert again.config == model.config
    assert np.abs(subject.outputs(again, signals) - before).max() > 1e-4
    subject.load(again, path)
    np.testing.assert_array_equal(subject.outputs(again, signals), before)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_model_has_the_parameters_of_its_case(subject):
    model = subject.build()
    if subject.info.framework == "torch":
        assert sum(p.numel() for p in model.parameters()) == subject.case.parameters
    else:
        assert model.count_params() == subject.case.parameters


@pytest.mark.parametrize("subject", SUBJECTS)
def test_model_training_is_repeatable_and_its_gradients_are_finite(subject):
    def train():
        model, signals, losses = subject.build(), subject.signals(), []
        targets = np.ones(subject.case.output_shape, np.float32)
        if subject.info.framework == "keras":
            model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", run_eagerly=True)
            losses = [float(model.train_on_batch(signals, targets)) for _ in range(5)]
            return losses, subject.weights(model)
        model.train()
        torch.manual_seed(5)  # dropout
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=1e-2)
        for _ in range(4):
            logits = model(torch.from_numpy(signals))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(targets))
            optimizer.zero_grad()
            loss.backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
            assert all(p.grad.abs().max() > 0 for p in trained)
            optimizer.step()
            losses.append(loss.item())
        return losses, subject.weights(model)

    keras = pytest.importorskip("keras") if subject.info.framework == "keras" else None
    (losses, weights), (again, others) = train(), train()
    assert losses == again and min(losses) < losses[0]
    for first, second in zip(weights, others, strict=True):
        assert np.isfinite(first).all()
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("subject", [p for p in SUBJECTS if "dropout" in p.values[0].info.options])
def test_model_dropout_is_an_option(subject):
    def two_passes(dropout):
        model, signals = subject.build(dropout=dropout), subject.signals()
        if subject.info.framework == "torch":
            with torch.no_grad():
                return [model.train()(torch.from_numpy(signals)).numpy() for _ in range(2)]
        keras = pytest.importorskip("keras")
        return [keras.ops.convert_to_numpy(model(signals, training=True)) for _ in range(2)]

    steady, noisy = two_passes(0.0), two_passes(0.5)
    np.testing.assert_array_equal(*steady)
    assert np.abs(noisy[1] - noisy[0]).max() > 1e-6


@pytest.mark.parametrize("subject", SUBJECTS)
def test_model_head_is_found(subject):
    model = subject.build()
    if subject.info.framework == "keras":
        assert model.layers[-1].name == "head" and model.layers[-1].units == 5
        return
    if isinstance(model.head, torch.nn.Conv1d):  # of a model that answers for every sample
        assert model.head.out_channels == 5
        model.head = torch.nn.Conv1d(model.head.in_channels, 3, 1)
    else:
        assert isinstance(model.head, torch.nn.Linear) and model.head.out_features == 5
        model.head = torch.nn.Linear(model.head.in_features, 3)
    assert subject.outputs(model, subject.signals(1)).shape == (1, *subject.case.output_shape[1:-1], 3)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_model_takes_the_lengths_and_leads_that_it_names(subject):
    for samples in (*subject.case.samples, subject.samples):
        for leads in (*subject.case.leads, subject.leads):
            other = subject.with_options(samples=samples, leads=leads)
            shape = other.outputs(other.build(), other.signals(1)).shape
            assert (shape[0], shape[-1], len(shape)) == (1, 5, len(subject.case.output_shape)), (
                samples,
                leads,
            )


@pytest.mark.parametrize("subject", SUBJECTS)
def test_model_refuses_other_shapes(subject):
    model, (samples, leads) = subject.build(), (subject.samples, subject.leads)
    error, message = {
        "torch": (DataError, rf"was built for .*{samples} samples, {leads} leads.* but got \(1, "),
        "keras": (ValueError, rf"expected shape=\(None, {samples}, {leads}\)"),
    }[subject.info.framework]
    for shape in ((1, samples - 1, leads), (1, samples, leads + 1), (1, leads, samples)):
        with pytest.raises(error, match=message):
            subject.outputs(model, np.zeros(shape, np.float32))


WITHOUT_MAPS = {"minirocket"}  # no gradient reaches its convolutions


# ---- feature_info --------------------------------------------------------------------------------


def measured(subject: Subject, model) -> list[np.ndarray]:
    """Which samples reach a column: one map at a time, (samples, leads, H, windows, columns) bool.

    With positive weights, no biases and silent signals, a column rises above zero exactly where it sees the
    one sample that is not silent. The weights average over channels, so that nothing vanishes or explodes.
    """
    subject.change_weights(model, lambda shape: 1 / shape[1])
    signals = np.eye(subject.samples * subject.leads, dtype=np.float32)
    signals = signals.reshape(-1, subject.samples, subject.leads)
    reached = []
    for info, maps in zip(model.feature_info, subject.feature_maps(model, signals), strict=True):
        layer = FeatureLayer(info, subject.samples, subject.leads, subject.info.framework == "keras")
        arranged = layer.arrange(torch.from_numpy(np.array(maps))).numpy()
        assert arranged.shape[1] == info.channels
        reached.append(
            (arranged.max(axis=1) > 0).reshape(subject.samples, subject.leads, *arranged.shape[2:])
        )
    return reached


def described(subject: Subject, info, shape: tuple[int, ...]) -> np.ndarray:
    """The same as ``feature_info`` tells it."""
    samples, leads, height, windows, columns = shape
    sees = np.zeros(shape, bool)
    window = info.window or samples
    for row, place, column in np.ndindex(height, windows, columns):
        steps = np.zeros(samples, bool)
        steps[place * window : (place + 1) * window] = info.sees(column, window)
        if info.leads == "in turn":
            sees[:, :, row, place, column] = steps.repeat(leads).reshape(leads, samples).T
        else:
            sees[:, row if info.leads == "each" else slice(None), row, place, column] = (
                steps if info.leads == "each" else steps[:, None]
            )
    return sees


@pytest.mark.parametrize("subject", SUBJECTS)
def test_model_feature_info_is_true(subject):
    model = subject.build()
    infos = model.feature_info
    if subject.info.name in WITHOUT_MAPS:
        assert not infos
        return
    reached = measured(subject, model)
    assert infos and any(info.explained for info in infos)
    for info, sees in zip(infos, reached, strict=True):
        expected = described(subject, info, sees.shape)
        if expected.all():  # layer norm, for one, hides an impulse that is the same in all channels
            continue
        wrong = np.argwhere(expected != sees if info.exact else sees & ~expected)
        assert not len(wrong), (
            f"{info}: sample, lead, row, window, column {wrong[:5].tolist()} of {sees.shape}"
        )
        middles = np.concatenate(info.middles(sees.shape[-1]))
        assert len(middles) == sees.shape[-1]


@pytest.mark.torch
@pytest.mark.parametrize("subject", [p for p in SUBJECTS if p.values[0].info.framework == "torch"])
def test_model_features_are_the_last_map_of_feature_info(subject):
    if subject.info.name in WITHOUT_MAPS:
        return
    model, signals = subject.build(), torch.from_numpy(subject.signals())
    with torch.no_grad():
        features = model.features(signals)
    last = model.feature_info[-1]
    assert features.shape[:2] == (5, last.channels)
    height = {3: 1, 4: features.shape[2]}[features.ndim]
    assert height == (subject.leads if last.leads == "each" else 1)


def test_contract_notices_a_model_without_a_case_and_a_wrong_description():
    info = ModelInfo("toy", "torch", "models_torch.toy", {}, title="Toy", doi="10.1/1")
    with pytest.raises(AssertionError, match="toy has no ModelCase"):
        test_model_is_registered_with_what_tables_and_tests_need(info)
    subject = next(p.values[0] for p in SUBJECTS if str(p.values[0]) == "torch resnet18 short kernels")
    model = subject.build()
    last = model.feature_info[-1]
    for change in ({"stride": 16}, {"receptive_field": last.receptive_field - 2}, {"start": last.start + 1}):
        wrong = type(last)(**{**vars(last), **change})
        (sees,) = measured(subject, model)[-1:]
        assert (described(subject, wrong, sees.shape) != sees).any(), change
