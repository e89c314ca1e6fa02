"""Attribution methods: how much each sample of each lead contributes to the logit of a class."""

from explain.methods import (  # noqa: F401  (the methods register themselves)
    deep_lift,
    gradcam,
    gradients,
    inherent,
    lrp,
    perturbation,
)
from explain.methods.completeness import completeness as completeness
from explain.methods.registry import CannotExplain, Settings, list_methods, register_method
from explain.methods.registry import explain as explain
from explain.methods.registry import get_method as get_method

__all__ = ["CannotExplain", "Settings", "list_methods", "register_method"]
