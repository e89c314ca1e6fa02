"""Targets: label sets, beats and regions as arrays."""

CLASS_KINDS = ("multilabel", "multiclass")  # targets of shape (N, C); those of other kinds may have any shape
