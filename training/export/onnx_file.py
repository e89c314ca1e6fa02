"""ONNX files with a card in their metadata: written, and read as files that anybody may have made.

Nothing in a file runs code: operators of other libraries, functions, loops and data in other files are
refused. The checksum finds damage and changes; it says nothing about who made the file.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preprocessing.transforms.standardize import Standardizer
from training.card import NOTICE, Card
from training.export.inside import left_to_caller
from training.tasks import create_task
from training.tasks.classification import thresholds_of
from utils.errors import DataError, UsageError
from utils.files import check_depth, read_regular, write_bytes
from utils.text import short_reason

INPUT, OUTPUTS = "signals_mv", ("logits", "probabilities")
PREFIX = "twelvelead."
_VERSION = 1  # of the metadata
_LARGEST = 2**31 - 1  # bytes; one protocol buffer holds no more
_MOST_NODES = 100_000
_MICROSOFT = {"DynamicQuantizeLSTM"}  # what int8 adds to the operators of ONNX itself
_REFUSED = {
    "Loop",
    "Scan",
    "If",
    "SequenceMap",
    "Optional",
}  # no model here has one, and a loop may never end
_REMEDY = "export the model again with `twelvelead export`"


def packages() -> tuple[Any, Any]:
    """The packages onnx and onnxruntime."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            "ONNX files need the packages onnx and onnxruntime: pip install 'twelvelead[onnx]'"
        ) from error
    return onnx, onnxruntime


def metadata_of(card: Card, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the file says about its model besides the card, for programs that do not know cards."""
    standardizer = Standardizer.from_json(card.inputs.standardization)
    task = create_task(card.kind, card.classes)
    thresholds = (
        thresholds_of(card.outputs.decision, len(card.classes)).tolist()
        if card.kind in ("multilabel", "multiclass")
        else None
    )
    return {
        "version": _VERSION,
        "classes": card.classes,
        "thresholds": thresholds,
        "activation": task.activation,
        "leads": list(card.inputs.leads),
        "sampling_rate_hz": card.inputs.sampling_rate,
        "samples": card.inputs.samples,
        "unit": card.inputs.unit,
        "before_the_network": left_to_caller(standardizer),
        "weights_sha256": card.weights_sha256,
        "license": "Apache-2.0 (code and weights); the training data have licenses of their own",
        "notice": NOTICE,
        "card": card.to_json(),
        **(more or {}),
    }


def write_onnx(path: Path, content: bytes, card: Card, more: dict[str, Any] | None = None) -> None:
    """Write a traced network with its metadata, and check it as a reader does."""
    onnx, _ = packages()
    model = onnx.load_model_from_string(content)
    del model.metadata_props[:]
    for function in ("doc_string", "producer_version"):
        model.ClearField(function)
    values = metadata_of(card, more)
    texts = {PREFIX + name: json.dumps(value, allow_nan=False) for name, value in values.items()}
    texts[PREFIX + "network_sha256"] = json.dumps(_digest(model))
    onnx.helper.set_model_props(model, texts)
    check_model(model, card, path)
    write_bytes(path, model.SerializeToString(deterministic=True))


def _digest(model: Any) -> str:
    """SHA-256 of the network without the metadata."""
    plain = type(model)()
    plain.CopyFrom(model)
    del plain.metadata_props[:]
    return hashlib.sha256(plain.SerializeToString(deterministic=True)).hexdigest()


def read_onnx(path: Path) -> tuple[bytes, Card, dict[str, Any]]:
    """Network, card and the other metadata of a file that `write_onnx` wrote.

    Raises
    ------
    DataError
        A damaged file, one that is not an export, or a network that does not fit its card or may do more than
        compute.
    """
    onnx, _ = packages()
    try:
        content = read_regular(path, _LARGEST)
    except FileNotFoundError as error:
        raise UsageError(f"no ONNX file {path}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {short_reason(error)}") from error
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # the parser is protobuf's, its error class an internal one
        raise DataError(f"{path} is not a readable ONNX file ({short_reason(error)}): {_REMEDY}") from error
    values = _metadata(model, path)
    card = Card.from_json(values.pop("card", None), f"card in {path}")
    if values.pop("network_sha256", None) != _digest(model):
        raise DataError(f"{path}: the network is not the one that was exported (SHA-256 differs): {_REMEDY}")
    expected = metadata_of(card)
    expected.pop("card")
    for name, value in expected.items():
        if values.get(name) != value and name != "license":
            raise DataError(f"{path}: '{name}' in the metadata is not that of the card: {_REMEDY}")
    check_model(model, card, path)
    return content, card, {name: value for name, value in values.items() if name not in expected}


def _metadata(model: Any, path: Path) -> dict[str, Any]:
    values = {}
    for entry in model.metadata_props:
        if entry.key.startswith(PREFIX):
            try:
                values[entry.key.removeprefix(PREFIX)] = value = json.loads(entry.value)
                check_depth(value)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}: '{entry.key}' is not JSON ({short_reason(error)})") from error
    if "card" not in values:
        raise DataError(f"{path} has no card of TwelveLead in its metadata: {_REMEDY}")
    if values.get("version") != _VERSION:
        raise DataError(
            f"{path} has metadata of version {values.get('version')!r}, this TwelveLead reads {_VERSION}: "
            f"update TwelveLead, or {_REMEDY}"
        )
    return values


def check_model(model: Any, card: Card, path: Path) -> None:
    """Refuse a network that does more than compute, or does not fit the card."""
    if len(model.functions):
        raise DataError(f"{path} defines functions of its own, which no export does: {_REMEDY}")
    for count, (node, tensors) in enumerate(_parts(model.graph)):
        if count > _MOST_NODES:
            raise DataError(f"{path} has more than {_MOST_NODES} operators: {_REMEDY}")
        if node is not None:
            _check_operator(node, path)
        for tensor in tensors:
            _check_tensor(tensor, path)
    _check_shapes(model.graph, card, path)


def _parts(graph: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Every operator with the tensors in its attributes, after the tensors of the graph."""
    sparse = [part for tensor in graph.sparse_initializer for part in (tensor.values, tensor.indices)]
    yield None, [*graph.initializer, *sparse]
    for node in graph.node:
        tensors = []
        for attribute in node.attribute:
            tensors += [*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])]
            for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                yield from _parts(inner)
        yield node, tensors


def _check_operator(node: Any, path: Path) -> None:
    known = node.domain in ("", "ai.onnx") or (node.domain == "com.microsoft" and node.op_type in _MICROSOFT)
    if not known or node.op_type in _REFUSED:
        where = f" of {node.domain}" if node.domain else ""
        raise DataError(
            f"{path} uses the operator {node.op_type[:80]}{where[:80]}, which no export has: {_REMEDY}"
        )


def _check_tensor(tensor: Any, path: Path) -> None:
    if tensor.data_location or len(tensor.external_data):
        raise DataError(f"{path} keeps '{tensor.name[:80]}' in another file, which is not read: {_REMEDY}")
    if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) > _LARGEST:
        raise DataError(f"{path}: '{tensor.name[:80]}' has an impossible shape: it is damaged; {_REMEDY}")


def _check_shapes(graph: Any, card: Card, path: Path) -> None:
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    names = tuple(value.name for value in graph.output)
    if [value.name for value in inputs] != [INPUT] or names != OUTPUTS:
        raise DataError(f"{path} must have the input {INPUT} and the outputs {', '.join(OUTPUTS)}: {_REMEDY}")
    reads, answers = _shape(inputs[0]), [_shape(value) for value in graph.output]
    if len(reads) != 3 or reads[1:] != [card.inputs.samples, len(card.inputs.leads)]:
        raise DataError(
            f"{path} reads {reads}, its card says {card.inputs.samples} samples of {len(card.inputs.leads)} "
            f"leads: the card belongs to another model; {_REMEDY}"
        )
    for shape in answers:
        if shape[-1:] not in ([len(card.classes)], [0]):  # 0: not known before it is computed
            raise DataError(
                f"{path} answers {shape}, its card has {len(card.classes)} classes: the card belongs to "
                f"another model; {_REMEDY}"
            )


def _shape(value: Any) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
