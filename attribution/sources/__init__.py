"""Builders of windows, one module a family of datasets."""
