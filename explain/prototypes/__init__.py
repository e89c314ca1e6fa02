"""Explanations by prototypes."""
