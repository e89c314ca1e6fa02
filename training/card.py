"""The card of a trained model: what it reads, what it answers, and where it comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from preprocessing.transforms.standardize import Standardizer
from training.tasks import create_task
from utils.ecg import LEADS
from utils.errors import DataError, UsageError
from utils.files import jsonable
from utils.flags import type_of
from utils.text import short_reason

VERSION = 2
TITLES = {"keras": "Keras", "torch": "PyTorch"}
WEIGHTS = {"keras": "model.weights.h5", "torch": "model.safetensors"}
NOTICE = "Not a medical device. For research and teaching; never for diagnosis or treatment."


@dataclass(frozen=True)
class Inputs:
    """What a model reads."""

    leads: tuple[str, ...]
    sampling_rate: int
    samples: int
    standardization: dict[str, Any]
    unit: str
    crop: int = 0


@dataclass(frozen=True)
class Outputs:
    """What a model answers.

    ``decision``: what its task fitted on the validation records (thresholds, calibration, ...).
    ``chosen_on``: the records that checkpoint and decision were chosen on, in words.
    """

    classes: tuple[str, ...]
    decision: dict[str, Any] | None = None
    chosen_on: str = ""


@dataclass(frozen=True)
class DataSource:
    """What a model was trained on.

    ``splits``: what each split is, in words.
    ``records``: records of each split.
    """

    fingerprint: str = ""
    splits: dict[str, str] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """How a model came about.

    ``made_from``: SHA-256 of the weights of earlier stages.
    ``plugins``: modules that the run imported besides this package.
    """

    command: str = ""
    git_commit: str | None = None
    packages: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    written: str = ""
    made_from: list[str] | None = None
    plugins: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Card:
    """The card of a trained model, version 2; `from_json` reads version 1 as well.

    ``model``: ``name`` and every option, as `create_model` takes them.
    ``task``: name of the target set; ``kind``: how it was learned, see `training.tasks`.
    ``metrics``: scores of the validation records at the kept epoch; ``test`` once it is published.
    ``extra``: what a family of models adds, such as its prototypes.
    """

    framework: str
    model: dict[str, Any]
    task: str
    kind: str
    inputs: Inputs
    outputs: Outputs
    metrics: dict[str, Any] = field(default_factory=dict)
    data: DataSource = field(default_factory=DataSource)
    provenance: Provenance = field(default_factory=Provenance)
    extra: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    weights_sha256: str = ""

    @property
    def name(self) -> str:
        """Name of the architecture."""
        return self.model["name"]

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(self.outputs.classes)

    @property
    def config(self) -> dict[str, Any]:
        """Settings of the run."""
        return self.provenance.config

    @property
    def multilabel(self) -> bool:
        """False where a record has exactly one class."""
        return self.kind != "multiclass"

    def to_json(self) -> dict[str, Any]:
        """The card as JSON values, version 2."""
        values = jsonable(asdict(self))
        values["task"] = {"name": self.task, "kind": values.pop("kind")}
        return {"version": VERSION, **values, "digest": self.digest(), "notice": NOTICE}

    def digest(self) -> str:
        """SHA-256 over everything that decides a prediction."""
        parts = [self.framework, self.model, self.task, self.kind, asdict(self.inputs), asdict(self.outputs)]
        text = json.dumps(jsonable([*parts, self.weights_sha256]), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def from_json(cls, value: Any, where: str | Path = "card.json") -> Card:
        """Read a card of version 1 or 2; ``where`` is the file for messages.

        Raises
        ------
        DataError
            A newer version, missing or impossible values; each is named.
        """
        if not isinstance(value, dict):
            raise DataError(f"{where} is not a valid model card: it must be a JSON object")
        version = value.get("version", 1)
        if type(version) is int and version > VERSION:
            raise DataError(
                f"{where} was written by a newer version of TwelveLead (card version {version}; this one "
                f"reads 1 to {VERSION}): update TwelveLead, or train again"
            )
        if version not in (1, VERSION) or type(version) is not int:
            raise DataError(f"{where}: 'version' must be 1 or {VERSION}, not {version!r}")
        card = _read(_from_version_1(value) if version == 1 else value, where)
        if version > 1 and value.get("digest") != card.digest():
            raise DataError(
                f"{where}: model, task, inputs or outputs are not those of the training ('digest' differs): "
                "it is damaged; copy it again, or train again with --overwrite"
            )
        return card


def build(create: Callable[..., Any], card: Card, weights: Path) -> Any:
    """Build the model of a card; whatever a framework says of impossible options, the card is named."""
    where = weights.with_name("card.json")
    try:
        return create(**card.model)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    except Exception as error:
        reason = short_reason(error)
        raise DataError(
            f"{where}: no '{card.name}' can be built from its options ({reason}): the card is damaged, or "
            "belongs to another version of the model"
        ) from error


_KEYS_1 = {
    "inputs": ("leads", "unit", "sampling_rate", "samples", "crop", "standardization"),
    "provenance": ("command", "git_commit", "packages", "seed", "config", "written", "made_from"),
    "": ("framework", "model", "metrics", "data", "weights", "weights_sha256"),
}
_REQUIRED_1 = (
    "framework", "model", "task", "classes", "leads", "unit", "sampling_rate", "samples", "standardization",
)  # fmt: skip


def _from_version_1(old: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the keys of version 1 to the layout of version 2; values are checked later."""
    missing = [key for key in _REQUIRED_1 if key not in old]
    if missing:
        return {"lacks": missing}
    new = {key: old[key] for key in _KEYS_1[""] if key in old}
    for part in ("inputs", "provenance"):
        new[part] = {key: old[key] for key in _KEYS_1[part] if key in old}
    decision = {key: old[key] for key in ("thresholds", "calibration") if old.get(key) is not None}
    chosen_on = str(old.get("chosen_on", "")).rpartition(": ")[2]
    new["outputs"] = {"classes": old["classes"], "decision": decision or None, "chosen_on": chosen_on}
    new["task"] = {"name": old["task"], "kind": "multilabel" if old.get("multilabel", True) else "multiclass"}
    known = {key for keys in _KEYS_1.values() for key in keys}
    known |= {"task", "classes", "multilabel", "thresholds", "calibration", "chosen_on", "notice", "version"}
    new["extra"] = {key: value for key, value in old.items() if key not in known}
    return new


@dataclass(frozen=True)
class _TaskOfCard:
    name: str
    kind: str


Part = TypeVar("Part")
_WORDS = {int: "a whole number above 0", list: "a list", dict: "a JSON object", str: "text"}


def _read(value: Mapping[str, Any], where: str | Path) -> Card:
    """Build and check a card from the layout of version 2."""
    required = ("framework", "model", "task", "inputs", "outputs")
    _refuse_missing(value.get("lacks") or [key for key in required if key not in value], where)
    task = _read_part(_TaskOfCard, value, "task", where)
    card = Card(
        framework=value["framework"],
        model=value["model"],
        task=task.name,
        kind=task.kind,
        inputs=_read_part(Inputs, value, "inputs", where),
        outputs=_read_part(Outputs, value, "outputs", where),
        data=_read_part(DataSource, value, "data", where),
        provenance=_read_part(Provenance, value, "provenance", where),
        metrics=_of_type(dict, value.get("metrics", {}), "metrics", where),
        extra=_of_type(dict, value.get("extra", {}), "extra", where),
        weights=str(value.get("weights", "")),
        weights_sha256=str(value.get("weights_sha256", "")),
    )
    _check(card, where)
    return card


def _read_part(kind: type[Part], card: Mapping[str, Any], name: str, where: str | Path) -> Part:
    """A part of a card, whose fields say which keys it needs and of which types."""
    content, hints = _of_type(dict, card.get(name, {}), name, where), get_type_hints(kind)
    declared = fields(kind)  # type: ignore[arg-type]
    required = [f.name for f in declared if f.default is MISSING and f.default_factory is MISSING]
    _refuse_missing([f"{name}.{key}" for key in required if key not in content], where)
    values = {}
    for key, hint in hints.items():
        if key in required or content.get(key) is not None:
            type_ = type_of(hint)
            entry = _of_type(list if type_.many else type_.item, content[key], key, where)
            values[key] = type_.many(entry) if type_.many else entry
    return kind(**values)


def _refuse_missing(keys: list[str], where: str | Path) -> None:
    if keys:
        raise DataError(f"{where} lacks {', '.join(keys)}: it is not a valid model card")


def _of_type(kind: type, value: Any, name: str, where: str | Path) -> Any:
    if type(value) is not kind:
        raise DataError(f"{where}: '{name}' must be {_WORDS[kind]}, not {value!r:.60}")
    return value


def _check(card: Card, where: str | Path) -> None:
    if card.framework not in WEIGHTS:
        raise DataError(f"{where}: unknown framework '{card.framework}' (keras or torch)")
    if not isinstance(card.model, dict) or not isinstance(card.model.get("name"), str):
        raise DataError(f"{where}: 'model' must hold the model's name and options")
    count = card.model.get("num_classes", len(card.classes))
    texts = all(isinstance(name, str) for name in card.classes)
    if len(card.classes) != count or not texts or len(set(card.classes)) < len(card.classes):
        raise DataError(f"{where}: 'classes' must be a list with one entry for each of {count} classes")
    _check_inputs(card.inputs, card.model, where)
    try:
        task = create_task(card.kind, card.classes)
    except UsageError as error:
        plugins = f" (it was trained with --plugins {','.join(card.provenance.plugins)})"
        hint = plugins if card.provenance.plugins else ""
        raise DataError(f"{where}: {error}{hint}") from error
    task.check_decision(card.outputs.decision, where)


def _check_inputs(inputs: Inputs, model: Mapping[str, Any], where: str | Path) -> None:
    try:
        Standardizer.from_json(inputs.standardization)
    except DataError as error:
        raise DataError(f"{where}: {error}"[:1000]) from error
    for name in ("samples", "sampling_rate"):
        if getattr(inputs, name) < 1:
            raise DataError(f"{where}: '{name}' must be a whole number above 0, not {getattr(inputs, name)}")
    reads = inputs.crop or inputs.samples
    if inputs.crop < 0 or model.get("samples", reads) != reads:
        raise DataError(f"{where}: 'crop', 'samples' and the model's samples contradict each other")
    if inputs.unit != "mV":
        raise DataError(f"{where}: 'unit' must be mV, not {inputs.unit!r}: no model here reads others")
    count, leads = model.get("leads", len(inputs.leads)), inputs.leads
    if len(leads) != count or not all(isinstance(name, str) and name for name in leads):
        raise DataError(f"{where}: 'leads' must be a list of {count} names")
    # the twelve standard leads have one order; a card with another one would be read wrongly
    if len(set(leads)) < len(leads) or (set(leads) == set(LEADS) and leads != LEADS):
        raise DataError(f"{where}: 'leads' must be in the order {' '.join(LEADS)}, not {' '.join(leads)}")
