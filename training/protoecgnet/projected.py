"""The projected prototypes of a trained model, as its card lists them."""

from __future__ import annotations

from typing import Any

from models_torch.protoecgnet import ProtoECGNet, ProtoECGNet_Fusion
from training.predictor import Predictor
from utils.errors import DataError, UsageError


def is_protoecgnet(predictor: Predictor) -> bool:
    """Whether a model decides by prototypes."""
    return predictor.card.name in ("protoecgnet", "protoecgnet_fusion")


def prototype_list(predictor: Predictor) -> list[dict[str, Any]]:
    """The card's list of prototypes, checked against the model."""
    if not is_protoecgnet(predictor):
        raise UsageError(f"{predictor.folder} holds '{predictor.card.name}', which has no prototypes")
    if predictor.crop:
        raise UsageError(f"{predictor.folder} reads crops of a record; only whole records can be explained")
    prototypes = predictor.card.extra.get("prototypes")
    if not prototypes:
        branch = predictor.card.model.get("branch", "BRANCH")
        raise UsageError(
            f"{predictor.folder} has no projected prototypes, so there is no training ECG to compare with: "
            "run first python torch_train.py --model protoecgnet "
            f"--branch {branch} --training_stage projection"
        )
    count = sum(len(network.prototype_vectors) for network in branches_of(predictor.model))
    if len(prototypes) != count:
        raise DataError(
            f"{predictor.folder}: the card lists {len(prototypes)} prototypes, the model has {count}: "
            "they do not belong together; project again"
        )
    return prototypes


def branches_of(model: ProtoECGNet | ProtoECGNet_Fusion) -> list[ProtoECGNet]:
    """Branches of a model, in the order of their prototypes."""
    return list(model.branch_models) if isinstance(model, ProtoECGNet_Fusion) else [model]


def labels_of(source: dict[str, Any]) -> list[str]:
    """Labels of the training ECG that a prototype comes from."""
    return source.get("all_labels", source["true_labels"])
