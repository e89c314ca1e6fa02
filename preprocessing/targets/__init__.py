"""Targets: label sets, beats and regions as arrays."""
