"""What the public API adds to the packages: models of both frameworks by name."""

from __future__ import annotations

from typing import Any

from utils.errors import UsageError, nearest


def list_models(framework: str | None = None) -> list[str]:
    """List the registered architectures.

    Parameters
    ----------
    framework : {"keras", "torch"}, optional
        Only those of one framework.

    Returns
    -------
    list of str
        Names for `create_model`.

    Raises
    ------
    UsageError
        No such framework.
    """
    names: list[str] = []
    if framework not in (None, "keras", "torch"):
        raise UsageError(f"unknown framework '{framework}': {nearest(str(framework), ['keras', 'torch'])}")
    if framework in (None, "keras"):
        import models_tf

        names += models_tf.list_models()
    if framework in (None, "torch"):
        import models_torch

        names += models_torch.list_models()
    return names


def create_model(name: str, **options: Any) -> Any:
    """Build an untrained model.

    Parameters
    ----------
    name : str
        One of `list_models`.
    **options : object
        Options of the architecture, such as ``num_classes``, ``samples`` and ``leads``.

    Returns
    -------
    keras.Model or torch.nn.Module
        Takes (B, T, leads); PyTorch models give logits, Keras models probabilities.
        ``model.config`` holds the options.

    Raises
    ------
    UsageError
        Unknown model or option; the nearest valid one is named.
    """
    import models_torch

    if name in models_torch.list_models():
        return models_torch.create_model(name, **options)
    import models_tf

    if name in models_tf.list_models():
        return models_tf.create_model(name, **options)
    raise UsageError(f"unknown model '{name}': {nearest(name, list_models())}")
