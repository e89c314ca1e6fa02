"""Scores of attribution maps: against a ground truth, and by perturbing the input."""
