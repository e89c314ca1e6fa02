"""Words of a command line and values of a file, read in the type of their field."""

from __future__ import annotations

import argparse
import dataclasses
import json
import reprlib
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from utils.errors import nearest
from utils.files import check_depth
from utils.provenance import program


def true_or_false(text: str) -> bool:
    """Read True or False from text, as ``--loggr False`` needs it."""
    word = str(text).strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither True nor False")


def json_object(text: str) -> dict:
    """Read a JSON object from text."""
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats)
        check_depth(value)
    except (ValueError, RecursionError) as error:  # also numbers with thousands of digits
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object, e.g. '{\"dropout\": 0.3}'")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Pairs of a JSON object as a dict; ValueError for a key that is given twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)[:80]}' is given twice")
    return values


def split_list(text: str) -> list[str]:
    """Items of a comma-separated list."""
    return [word.strip() for word in text.split(",") if word.strip()]


def first_words(args: Sequence[str], *names: str) -> dict[str, str]:
    """Values of some flags, before the others are known."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in names:
        parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}", dest=name, nargs="?", default="")
    return {name: value or "" for name, value in vars(parser.parse_known_args(args)[0]).items()}


class Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest flag when it meets one it does not know."""

    def __init__(self, **kwargs: Any):
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        if program().startswith("twelvelead "):
            kwargs["prog"] = program()
        super().__init__(allow_abbrev=False, **kwargs)

    def parse_args(self, args=None, namespace=None):
        """Parse, and refuse unknown flags with the nearest valid one."""
        words = list(sys.argv[1:] if args is None else args)
        values, unknown = self.parse_known_args([self._underscored(word) for word in words], namespace)
        if unknown:
            flags = [
                flag
                for action in self._actions
                if action.help != argparse.SUPPRESS
                for flag in action.option_strings
                if flag.startswith("--")
            ]
            flag = next((word for word in unknown if word.startswith("-")), unknown[0])
            self.error(f"unknown argument '{flag}': {nearest(flag.split('=')[0], flags)}")
        return values

    def _underscored(self, word: str) -> str:
        """A flag that is written with hyphens as it is declared, ``--weight-decay`` as ``--weight_decay``."""
        name, equals, value = word.partition("=")
        flag = "--" + name[2:].replace("-", "_")
        known = name.startswith("--") and flag in self._option_string_actions
        return flag + equals + value if known else word


@dataclasses.dataclass(frozen=True)
class FieldType:
    """Type of a field: of its value, or of each item of a list or tuple; ``none``: may be None."""

    item: type
    many: type | None
    none: bool
    kinds: ClassVar = {bool: "bool", int: "int", float: "float", str: "str", dict: "dict", Path: "path"}

    def __str__(self) -> str:
        name = self.kinds.get(self.item, self.item.__name__)
        return f"list of {name}" if self.many else name

    def read(self, text: str) -> Any:
        """Value (or item) of a flag."""
        reader: Any = {bool: true_or_false, dict: json_object}.get(self.item, self.item)
        return reader(text)

    def accept(self, value: Any) -> Any:
        """Value of a file in the type of the field; TypeError if it cannot be one."""
        if value is None and self.none:
            return None
        if self.many is None:
            return self._accept_item(value)
        if isinstance(value, str):  # paths may hold commas
            value = [value] if self.item is Path else split_list(value)
        if not isinstance(value, list | tuple):
            raise TypeError
        return self.many(self._accept_item(item) for item in value)

    def _accept_item(self, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.item in (str, Path) and (number or isinstance(value, str | Path)):
            return self.item(str(value))  # precision: 32
        if self.item is float and (number or isinstance(value, str)):
            try:
                return float(value)  # YAML 1.1 reads 1e-3 as text
            except (ValueError, OverflowError) as error:
                raise TypeError from error
        if not isinstance(value, self.item) or (self.item is int and isinstance(value, bool)):
            raise TypeError
        return value


def type_of(hint: Any) -> FieldType:
    """Type of a field from its annotation."""
    none = isinstance(hint, types.UnionType) and type(None) in hint.__args__
    if none:
        hint = next(part for part in hint.__args__ if part is not type(None))
    origin = typing.get_origin(hint) or hint
    if origin in (list, tuple):
        item = typing.get_args(hint)[0] if typing.get_args(hint) else str
        return FieldType(typing.get_origin(item) or item, origin, none)
    return FieldType(origin, None, none)


def read_word(type_: FieldType, spellings: Mapping[str, Any], text: str) -> Any:
    """Value of one word; a list where the field is one, except of paths, which may hold commas."""
    if text in spellings:
        return spellings[text]
    if type_.item is Path and not text.strip():  # Path("") would be the current folder
        raise argparse.ArgumentTypeError("the path is empty; name a file or a folder (. for the current one)")
    try:
        if type_.many and type_.item is not Path:
            return [type_.read(word) for word in split_list(text)]
        return type_.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be of type {type_}, not {short(text)}") from error


def short(value: Any) -> str:
    """Text of a value for an error message, cut after some 80 characters."""
    shown = reprlib.Repr()
    shown.maxlevel = 2
    shown.maxstring = shown.maxlong = shown.maxother = 80
    try:
        return shown.repr(value)
    except ValueError:  # an integer with more digits than Python prints
        return "a number with thousands of digits"
