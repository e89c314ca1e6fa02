"""Explanations by prototypes."""

from training.protoecgnet.projected import prototype_list as prototype_list
