"""Configurations of networks: dataclasses that are JSON, checked field by field."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from utils.errors import UsageError, nearest

_FILTER_LENGTH = re.compile(r"filter_(length|size)")


@dataclass
class Config:
    """A configuration whose fields are numbers, words, lists and other configurations."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str = "") -> typing.Self:
        """Build from JSON values; what they leave out has its default."""
        return cls().changed(values, where)

    def to_json(self) -> dict[str, Any]:
        """JSON values of all fields."""
        return dataclasses.asdict(self)

    def changed(self, values: Mapping[str, Any], where: str = "") -> typing.Self:
        """Copy with other values.

        A nested configuration takes the changes that are given. In a list of configurations each entry takes
        those of the entry at its place; one mapping in place of the list changes every entry.
        """
        where = where or type(self).__name__
        hints = get_type_hints(type(self))
        fields = {}
        for name, value in values.items():
            if name not in hints:
                raise UsageError(f"{where}: unknown field '{name}': {nearest(name, hints)}")
            fields[name] = _checked(hints[name], value, getattr(self, name), f"{where}.{name}")
        copy = {name: _copied(getattr(self, name)) for name in hints}
        return type(self)(**(copy | fields))


def _copied(value: Any) -> Any:
    if isinstance(value, Config):
        return value.changed({})
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return dict(value) if isinstance(value, dict) else value


def _checked(hint: Any, value: Any, before: Any, where: str) -> Any:
    """Value of a field, converted to its type."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _one_of(get_args(hint), value, before, where)
    if origin is Literal:
        if value not in get_args(hint):
            raise UsageError(f"{where}: unknown '{value}': {nearest(str(value), get_args(hint))}")
        return value
    if origin is list:
        return _checked_list(get_args(hint)[0], value, before, where)
    if isinstance(hint, type) and issubclass(hint, Config):
        if isinstance(value, Config):
            value = value.to_json()
        if isinstance(value, Mapping):
            return (before if isinstance(before, hint) else hint()).changed(value, where)
    if hint is float and type(value) is int:
        return float(value)
    kind = origin or hint
    if isinstance(value, Mapping) and kind is dict:
        return dict(value)
    if type(value) is not kind:
        raise UsageError(f"{where} must be {_described(hint)}, not {value!r}")
    return value


def _one_of(hints: Sequence[Any], value: Any, before: Any, where: str) -> Any:
    if value is None and type(None) in hints:
        return None
    error = None
    for hint in hints:
        if hint is type(None):
            continue
        try:
            return _checked(hint, value, before, where)
        except UsageError as found:
            error = error or found
    assert error is not None
    raise error


def _checked_list(item: Any, value: Any, before: Any, where: str) -> list[Any]:
    before = before if isinstance(before, list) else []
    if isinstance(item, type) and issubclass(item, Config) and isinstance(value, Mapping):
        value = [value] * len(before)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise UsageError(f"{where} must be a list of {_described(item)}, not {value!r}")
    previous = [*before, *[None] * len(value)]
    return [_checked(item, entry, previous[index], f"{where}[{index}]") for index, entry in enumerate(value)]


def _described(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(map(_described, get_args(hint)))
    names = {
        int: "a whole number",
        float: "a number",
        str: "a word",
        bool: "true or false",
        dict: "a mapping",
    }
    if get_origin(hint) is list:
        return f"a list of {_described(get_args(hint)[0])}"
    return names.get(get_origin(hint) or hint, getattr(hint, "__name__", str(hint)))


def adjust_cnn_filter_lengths(config: Any, fs: int) -> Any:
    """Rescale kernel lengths to another sampling rate.

    Every number above 1 in a field called ``filter_length...`` or ``filter_size...`` is multiplied by the
    ratio of the sampling rates, rounded and made odd; the field ``fs`` becomes the new sampling rate.

    Parameters
    ----------
    config : Config or dict
        A configuration with a field ``fs``, in Hz, at any depth; it is not changed.
    fs : int
        The new sampling rate in Hz.

    Returns
    -------
    Config or dict
        The rescaled copy.
    """
    values = config.to_json() if isinstance(config, Config) else config
    if "fs" not in values:
        raise UsageError("adjust_cnn_filter_lengths: the configuration has no field 'fs' (sampling rate, Hz)")
    scaled = {**_rescaled(values, fs / values["fs"], inside=False), "fs": fs}
    return type(config).from_json(scaled) if isinstance(config, Config) else scaled


def _rescaled(value: Any, ratio: float, inside: bool) -> Any:
    if isinstance(value, Mapping):
        return {key: _rescaled(v, ratio, bool(_FILTER_LENGTH.search(str(key)))) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rescaled(item, ratio, inside) for item in value]
    if inside and type(value) is int and value > 1:
        length = round(value * ratio)
        return length - length % 2 + 1
    return value
