"""Losses by name, for PyTorch, Keras and NumPy; importing this package registers those that come with it."""

from training.tasks.losses import asymmetric, cross_entropy, focal  # noqa: F401  (register their losses)
from training.tasks.losses.registry import NamedLoss as NamedLoss
from training.tasks.losses.registry import choose_loss, list_losses, register_loss

__all__ = ["choose_loss", "list_losses", "register_loss"]
