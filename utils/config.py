"""Options of a command: one dataclass gives its flags, the keys of ``--config`` and its settings on disk."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import operator
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from utils import plugins
from utils.errors import UsageError, nearest
from utils.files import jsonable, write_text
from utils.flags import FieldType, Parser, first_words, read_word, short, type_of
from utils.provenance import command, program
from utils.yaml_files import read_mapping

SCOPES = {
    "result": "changes the result and must match on resume",
    "stop": "decides when training ends or which epoch is kept; may change on resume",
    "machine": "may change on resume without changing the result (threads, folders)",
    "run": "names or controls a run (its name, resume, overwrite)",
}
_LARGEST = 2**63 - 1
_LIMITS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "min": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "max": ("at most", operator.le),
    "below": ("below", operator.lt),
}


_PLACEHOLDERS = {bool: "True|False", int: "N", float: "X", dict: "JSON", Path: "PATH"}


def option(
    default: Any,
    help: str = "",
    *,
    choices: Sequence[Any] | Callable[[], Sequence[Any]] | None = None,
    group: str | None = None,
    scope: str = "result",
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    below: float | None = None,
    searchable: bool | None = None,
    search: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] | None = None,
    stage: str = "",
    alias: Sequence[str] = (),
    old: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
    required: bool = False,
    positional: bool = False,
    metavar: str | None = None,
) -> Any:
    """Declare a field of an `Options` class: a flag and a key of ``--config`` files.

    ``choices``: valid values (of each item of a list), or a function that gives them.
    ``group``: heading in ``--help``, where it is not that of the class.
    ``scope``: what the field changes, see `SCOPES`.
    ``min, max, above, below``: range of a number; ``min`` and ``max`` belong to it.
    ``searchable``: whether a study may search the field; by default where it changes the result.
    ``search``: what a study searches by default: low, high and log, or choices; may depend on the options.
    ``stage``: first training stage that reads the field; empty for the first of all.
    ``alias``: further names, as in published code.
    ``old``: former names, accepted with a note for one version.
    ``values``: other spellings of values, as in published code.
    ``positional``: given without its name.
    """
    metadata = {name: value for name, value in locals().items() if name != "default"}
    if scope not in SCOPES:
        raise ValueError(f"unknown scope '{scope}': {nearest(scope, SCOPES)}")
    metadata |= {"alias": tuple(alias), "old": tuple(old), "values": dict(values or {})}
    metadata["searchable"] = scope in ("result", "stop") if searchable is None else searchable
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass
class Options:
    """Base of the options of a command; fields are declared with `option`.

    ``class DataOptions(Options, group="data")`` names the heading of its fields in ``--help``.
    """

    ignored: ClassVar[Mapping[str, str]] = {}  # flags of published code without a meaning here, and why

    def __init_subclass__(cls, group: str = "run") -> None:
        for f in vars(cls).values():
            if isinstance(f, Field) and f.metadata.get("group", group) is None:
                f.metadata = types.MappingProxyType({**f.metadata, "group": group})

    def to_json(self, scope: str | Collection[str] | None = None) -> dict[str, Any]:
        """The fields, or those of a scope, as JSON values."""
        values = jsonable(dataclasses.asdict(self))
        return values if scope is None else {f.name: values[f.name] for f in fields_of(self, scope)}


def option_like(kind: Any, name: str, default: Any, help: str = "", **changes: Any) -> Any:
    """Declare a field again with another default, and with other properties where given."""
    field = next(f for f in fields_of(kind) if f.name == name)
    return option(default, **{**field.metadata, **({"help": help} if help else {}), **changes})


Kind = TypeVar("Kind", bound=Options)
Translate = Callable[[Mapping[Any, Any], str | Path, Any], dict[str, Any]]


def fields_of(
    kind: Any,
    scope: str | Collection[str] | None = None,
    searchable: bool | None = None,
    stage: str | None = None,
) -> list[Field]:
    """Fields that a dataclass declares with `option`: all, or those of a scope, of a stage, or searchable."""
    scopes = {scope} if isinstance(scope, str) else scope
    return [
        f
        for f in dataclasses.fields(kind)
        if "scope" in f.metadata
        and (scopes is None or f.metadata["scope"] in scopes)
        and (searchable is None or f.metadata["searchable"] == searchable)
        and (stage is None or f.metadata["stage"] == stage)
    ]


def names_of(kind: type[Options] | Options, scope: str | Collection[str] | None = None) -> set[str]:
    """Names of the fields of a scope."""
    return {f.name for f in fields_of(kind, scope)}


def stored_settings(kind: type[Options], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that an earlier run has stored, under the present names; newer options have defaults."""
    former = {name: f.name for f in fields_of(kind) for name in f.metadata["old"]}
    return kind().to_json() | {former.get(name, name): value for name, value in stored.items()}


def _types(kind: type[Options]) -> dict[str, FieldType]:
    hints = typing.get_type_hints(kind)
    return {f.name: type_of(hints[f.name]) for f in fields_of(kind)}


def _choices(f: Field, given: Mapping[str, Any] | None) -> Sequence[Any] | None:
    """Valid values of a field, None where its type alone decides."""
    choices = (given or {}).get(f.name, f.metadata["choices"])
    return choices() if callable(choices) else choices


def add_options(
    parser: argparse.ArgumentParser,
    kind: type[Options],
    choices: Mapping[str, Any] | None = None,
) -> None:
    """Add one flag for each field, grouped; ``--config`` and ``--plugins`` come first."""
    parser.add_argument("--config", metavar="FILE", help="YAML file with defaults for these flags; flags win")
    parser.add_argument(
        "--plugins", metavar="FILE[,..]", help="Python files (or modules) to import first, e.g. with a model"
    )
    named = dict.fromkeys(f.metadata["group"] for f in fields_of(kind))
    order = [name for name in named if name != "run"] + ["run"] * ("run" in named)
    groups = {name: parser.add_argument_group(name) for name in order}
    field_types = _types(kind)
    for f in fields_of(kind):
        _add_flag(groups[f.metadata["group"]], f, field_types[f.name], _choices(f, choices))


def _add_flag(group: Any, f: Field, type_: FieldType, choices: Sequence[Any] | None) -> None:
    meta, default, metavar = f.metadata, _default(f), _metavar(f, type_, choices)
    text = meta["help"]
    if choices and not metavar:
        text += f": {', '.join(map(str, choices))}"
    if default not in ("", None, [], (), {}):
        words = ",".join(map(str, default)) if isinstance(default, list | tuple) else default
        text += f" (default: {words})"
    flag: dict[str, Any] = {"default": default, "help": text.replace("%", "%%"), "metavar": metavar}
    flag["type"] = functools.partial(read_word, type_, meta["values"])
    if type_.item is bool:  # `--resume` alone means True; `--loggr False` is read as written
        flag |= {"nargs": "?", "const": True}
    if type_.many:
        flag["nargs"] = "+"
    if meta["positional"]:
        flag["nargs"] = "*" if type_.many else "?"  # a file may give it
        group.add_argument(f.name, **flag)
        return
    group.add_argument(f"--{f.name}", **flag)
    hidden = flag | {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS, "dest": f.name}
    for name in (*meta["alias"], *meta["old"]):
        group.add_argument(f"--{name}", **hidden)


def _metavar(f: Field, type_: FieldType, choices: Sequence[Any] | None) -> str | None:
    """Placeholder of the value in ``--help``; None for the name of the field."""
    listed = "{" + ",".join(map(str, choices or ())) + "}"
    if f.metadata["metavar"] or (choices and len(listed) <= 40):
        return f.metadata["metavar"] or listed
    return None if choices or f.metadata["positional"] else _PLACEHOLDERS.get(type_.item, "TEXT")


def _default(f: Field) -> Any:
    return f.default if f.default_factory is dataclasses.MISSING else f.default_factory()


def read_config(
    path: str | Path,
    kind: type[Options],
    also: Mapping[type[Options], Collection[str]] | None = None,
    translate: Translate | None = None,
) -> dict[str, Any]:
    """Read a configuration file and check its keys and the type of each value.

    ``also``: classes of other commands whose files are understood, and what is taken from such a file.
    ``translate``: gives the values of a published file our names.
    """
    where = f"--config {path}"
    values = read_mapping(path, where)
    plugins.require(values.pop("plugins", []), where)
    values = translate(values, path, kind) if translate else values
    for other, taken in (also or {}).items():
        if values.keys() & (names_of(other) - names_of(kind)):
            return {k: v for k, v in accept_values(values, where, other).items() if k in taken}
    return accept_values(values, where, kind)


def accept_values(values: Mapping[Any, Any], where: str, kind: type[Options]) -> dict[str, Any]:
    """Check names and types of values; errors begin with `where`."""
    field_types = _types(kind)
    known = {f.name: (f, field_types[f.name]) for f in fields_of(kind)}
    names = present_names(kind)
    result = {}
    for key, value in values.items():
        name = names.get(key, key) if isinstance(key, str) else key
        if name not in known:
            raise UsageError(f"{where}: unknown key {short(key)}: {nearest(str(key)[:80], known)}")
        f, type_ = known[name]
        if key in f.metadata["old"]:
            _note_renamed(f"{where}: '{key}'", f"'{name}'")
        try:
            if isinstance(value, str | bool) and str(value) in f.metadata["values"]:
                value = f.metadata["values"][str(value)]
            result[name] = type_.accept(value)
        except TypeError as error:
            expected = "a number" if type_.item is float and isinstance(value, str) else f"of type {type_}"
            raise UsageError(f"{where}: key '{key}' must be {expected}, not {short(value)}") from error
    return result


def _note_renamed(old: str, new: str) -> None:
    print(f"note: {old} is now {new}; the old name will be removed in the next version", file=sys.stderr)


def parse(
    kind: type[Kind],
    args: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    description: str | None = "",
    epilog: str | None = None,
    check: Callable[[Kind], Kind | None] | None = None,
    defaults: Mapping[str, Any] | None = None,
    choices: Mapping[str, Any] | None = None,
    ignored: Mapping[str, str] | None = None,
    also: Mapping[type[Options], Collection[str]] | None = None,
    translate: Translate | None = None,
) -> Kind:
    """Read flags, ``--config`` and ``--plugins`` into checked options.

    ``prog``: how the command is typed, by default how it was.
    ``check``: refuses combinations that cannot be, and may return changed options.
    ``defaults, choices``: those of this command, instead of those of the class.
    ``ignored``: flags of published code without a meaning here, and why; using one prints a note.
    ``also``: classes of other commands whose files ``--config`` understands, and what is taken from them.
    ``translate``: gives the values of a published file our names.
    """
    words = list(sys.argv[1:] if args is None else args)
    ignored = {**kind.ignored, **(ignored or {})}
    plugins.load_named(words)
    config = first_words(words, "config")["config"]
    parser = Parser(prog=prog or program(), description=description, epilog=epilog)
    add_options(parser, kind, choices)
    for name in ignored:
        parser.add_argument(f"--{name}", nargs="?", help=argparse.SUPPRESS)
    if {"-h", "--help"} & set(words):
        parser.parse_args(words)
    parser.set_defaults(**(defaults or {}))
    if config:
        parser.set_defaults(**read_config(config, kind, also, translate))
    values = vars(parser.parse_args(words))
    _say_notes(words, kind, ignored)
    options = kind(**{name: _value(type_, values[name]) for name, type_ in _types(kind).items()})
    missing = [
        f for f in fields_of(kind) if f.metadata["required"] and getattr(options, f.name) in ("", None, [])
    ]
    if missing:
        flags = [f.name if f.metadata["positional"] else f"--{f.name}" for f in missing]
        parser.error(f"the following arguments are required: {', '.join(flags)}")
    check_values(options, choices)
    return (check(options) if check else None) or options


def given_names(kind: type[Options] | Options, words: Sequence[str]) -> set[str]:
    """Names of the fields whose flags, or other names of them, are on a command line."""
    names = present_names(kind)
    return {names[flag] for flag in _flags(words) if flag in names}


def present_names(kind: type[Options] | Options) -> dict[str, str]:
    """Every name that a field has or had, and its present one."""
    return {n: f.name for f in fields_of(kind) for n in (f.name, *f.metadata["alias"], *f.metadata["old"])}


def _flags(words: Sequence[str]) -> set[str]:
    flags = {word.split("=")[0].removeprefix("--") for word in words if word.startswith("--")}
    return flags | {flag.replace("-", "_") for flag in flags}


def _say_notes(words: Sequence[str], kind: type[Options], ignored: Mapping[str, str]) -> None:
    given = _flags(words)
    for f in fields_of(kind):
        for old in given & set(f.metadata["old"]):
            _note_renamed(f"--{old}", f"--{f.name}")
    for name, why in ignored.items():
        if name in given:
            print(f"note: --{name} has no meaning here: {why}", file=sys.stderr)


def _value(type_: FieldType, value: Any) -> Any:
    if type_.many is None or value is None:
        return value
    items: Iterable[Any] = value
    if any(isinstance(item, list) for item in items):  # one list a word
        items = [part for item in items for part in (item if isinstance(item, list) else [item])]
    return type_.many(items)


def check_values(options: Any, choices: Mapping[str, Any] | None = None) -> None:
    """Refuse values outside of their range or choices, as the fields declare them."""
    for f in fields_of(options):
        value, valid = getattr(options, f.name), _choices(f, choices)
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, int | float) and not isinstance(item, bool):
                _check_number(f, item)
            if valid is None or item in valid or item is None or item == "" == _default(f):
                continue
            if isinstance(item, str):
                raise UsageError(f"unknown {f.name} {short(item)}: {nearest(item, valid)}")
            raise UsageError(f"--{f.name} must be one of {', '.join(map(str, valid))}, not {short(item)}")


def _check_number(f: Field, value: float) -> None:
    name = f.name if f.metadata["positional"] else f"--{f.name}"
    if not math.isfinite(value):
        raise UsageError(f"{name} must be a finite number, not {value}")
    if abs(value) > _LARGEST and isinstance(value, int):
        raise UsageError(f"{name} is too large: {short(value)}")
    limits = [(key, *_LIMITS[key], f.metadata[key]) for key in _LIMITS if f.metadata[key] is not None]
    if not all(holds(value, limit) for _, _, holds, limit in limits):
        words = " and ".join(f"{text} {limit:g}" for _, text, _, limit in limits)
        only_positive = [(key, limit) for key, _, _, limit in limits] == [("min", 0)]
        raise UsageError(f"{name} must {'not be negative' if only_positive else f'be {words}'}, not {value}")


def flags_of(options: Kind, defaults: Kind, leave_out: Collection[str] = ()) -> list[str]:
    """Words of a command line that give these options, where they differ from the defaults."""
    words = []
    for name, value in options.to_json().items():
        if name not in leave_out and value != defaults.to_json()[name]:
            text = json.dumps(value) if isinstance(value, dict) else value
            words += [f"--{name}", *map(str, text if isinstance(text, list) else [text])]
    return words


def write_settings(path: str | Path, options: Options) -> None:
    """Write the options of a command as a file that ``--config`` reads."""
    values = ({"plugins": plugins.loaded()} if plugins.loaded() else {}) | options.to_json()
    write_text(path, f"# {command()}\n" + yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
