"""Scores of attribution maps: against a known place, and by disturbing the input."""
