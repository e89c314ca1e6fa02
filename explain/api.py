"""Attribution maps of any trained model by one call."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.errors import UsageError, nearest

if TYPE_CHECKING:
    from explain.methods import Settings
    from training.predictor import Predictor


def explain(
    predictor: Predictor | str | os.PathLike,
    signals_mv: np.ndarray,
    method: str = "integrated_gradients",
    classes: str | int | Sequence[str | int] | None = None,
    **settings: Any,
) -> np.ndarray:
    """Explain predictions: how much each sample of each lead contributes to the logit of a class.

    Parameters
    ----------
    predictor : Predictor or path-like
        Trained model of either framework, from `training.load_predictor`, or its name or checkpoint folder.
        An exported file has no gradients: `lime` and `kernel_shap` explain it.
        The model is set to evaluation mode, and its weights no longer get gradients.
    signals_mv : array_like, shape (N, T, leads)
        Records in mV, as ``predictor.predict`` takes them.
    method : str
        One of `list_methods()`. ``attention`` shows where IMLE-Net looks, ``prototypes`` what each prototype
        of ProtoECGNet adds to the logit; other models have neither.
    classes : str, int or sequence, optional
        Class to explain, by name or number: one for all records or one for each. By default the most
        probable class of each record.
    **settings : object
        Options of the methods, see `Settings`: seed, batch_size, ig_steps, n_samples, ... ``baselines`` are
        records in mV.

    Returns
    -------
    ndarray of float32, shape (N, T, leads)
        Maps; positive values raise the logit of the class, negative ones lower it.

    Raises
    ------
    CannotExplain
        The method does not apply to this model; the message names others.
    UsageError
        Unknown method, class or setting (the message names the nearest valid one), or no such checkpoint.
    DataError
        Signals of another shape than the model reads, or values that are not finite.

    Notes
    -----
    Keras models are explained on Keras' PyTorch backend. Where Keras already runs on another one, a process
    with that backend does the work, which takes some seconds more; ``KERAS_BACKEND=torch`` avoids it.
    """
    from explain.methods import CannotExplain, get_method
    from training.export.onnx_predictor import OnnxPredictor
    from training.predictor import load_predictor

    known = get_method(method)
    if isinstance(predictor, str | os.PathLike):
        predictor = load_predictor(predictor)
    onnx = isinstance(predictor, OnnxPredictor)
    if onnx and "n_samples" not in known.uses:
        raise CannotExplain(
            f"an exported model has no gradients: '{method}' needs the checkpoint itself; lime and "
            "kernel_shap do not"
        )
    options = _settings(predictor, settings)
    x = predictor.standardize(signals_mv)
    targets = _targets(predictor, signals_mv, classes)
    if predictor.card.framework == "keras" and not onnx and not known.native and not _keras_on_torch():
        from explain.engine.worker import explain_in_process

        return explain_in_process(predictor, method, x, targets, options)
    from explain.engine.classifier import Classifier
    from explain.engine.fast import speed_up
    from explain.methods import explain as compute_maps

    classifier = Classifier(predictor, predictor.folder.name)
    if "n_samples" in known.uses and not onnx:
        speed_up(classifier)
    return compute_maps(classifier, method, x, targets, options)


def _keras_on_torch() -> bool:
    return sys.modules["keras"].backend.backend() == "torch"


def _settings(predictor: Predictor, settings: dict[str, Any]) -> Settings:
    from explain.methods import Settings

    known = [field.name for field in fields(Settings)]
    for name in settings:
        if name not in known:
            raise UsageError(f"unknown setting '{name}' of attribution methods: {nearest(name, known)}")
    if settings.get("baselines") is not None:
        settings = {**settings, "baselines": predictor.standardize(settings["baselines"])}
    return Settings(**settings)


def _targets(
    predictor: Predictor, signals_mv: np.ndarray, classes: str | int | Sequence[str | int] | None
) -> np.ndarray:
    """Number of the explained class of each record, (N,)."""
    if classes is None:
        return predictor.predict(signals_mv).argmax(axis=1)
    each = [classes] * len(signals_mv) if isinstance(classes, str | int | np.integer) else list(classes)
    if len(each) != len(signals_mv):
        raise UsageError(
            f"classes must be one class, or one for each of {len(signals_mv)} records, not {len(each)}"
        )
    names = predictor.classes
    for name in each:
        valid = name in names if isinstance(name, str) else 0 <= name < len(names)
        if not valid:
            raise UsageError(f"unknown class '{name}': {nearest(str(name), names)}")
    return np.array([names.index(c) if isinstance(c, str) else int(c) for c in each], dtype=np.int64)
