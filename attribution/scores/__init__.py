"""Scores of attribution maps."""
