"""Sanity checks of attribution maps."""
