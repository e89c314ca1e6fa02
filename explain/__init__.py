"""Everything that gives a reason for one prediction: attribution maps, attention, prototypes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from explain.api import explain

if TYPE_CHECKING:
    from explain.methods import CannotExplain, Settings, list_methods, register_method

__all__ = ["CannotExplain", "Settings", "explain", "list_methods", "register_method"]


def __getattr__(name: str) -> Any:
    """Import the methods, and PyTorch with them, when one of their names is first used."""
    if name in __all__:
        return getattr(importlib.import_module("explain.methods"), name)
    raise AttributeError(f"module 'explain' has no attribute '{name}'")
