"""Attribution methods: how much each sample of each lead contributes to the logit of a class."""

from explain.methods import attention as _attention  # noqa: F401  (the methods register themselves)
from explain.methods import baselines as _baselines  # noqa: F401
from explain.methods import deep_lift as _deep_lift  # noqa: F401
from explain.methods import gradcam as _gradcam  # noqa: F401
from explain.methods import gradients as _gradients  # noqa: F401
from explain.methods import lrp as _lrp  # noqa: F401
from explain.methods import perturbation as _perturbation  # noqa: F401
from explain.methods import prototypes as _prototypes  # noqa: F401
from explain.methods.completeness import Completeness, completeness
from explain.methods.registry import (
    Attribution,
    CannotExplain,
    Method,
    Settings,
    explain,
    get_method,
    list_methods,
    register_method,
)

__all__ = [
    "Attribution", "CannotExplain", "Completeness", "Method", "Settings", "completeness", "explain",
    "get_method", "list_methods", "register_method",
]  # fmt: skip
