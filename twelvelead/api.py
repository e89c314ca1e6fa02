"""What the public API adds to the packages: models of both frameworks by name."""

from __future__ import annotations

from typing import Any

from training.model_info import PACKAGES, package_of
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
    if framework not in (None, *PACKAGES):
        raise UsageError(f"unknown framework '{framework}': {nearest(str(framework), PACKAGES)}")
    return [n for key in PACKAGES if framework in (None, key) for n in PACKAGES[key].list_models()]


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
    return package_of(name).create_model(name, **options)
