"""Small YAML files of plain values, read with limits: no objects, aliases, deep nesting or repeated keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from utils.errors import UsageError

_LARGEST = 1_000_000  # bytes
_DEEPEST = 20  # levels of nesting


class _Loader(yaml.SafeLoader):
    """Dates stay text, ``1e-3`` is a number, and nothing small can grow large."""

    depth = 0

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not supported", event.start_mark
            )
        self.depth += 1
        if self.depth > _DEEPEST:
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {_DEEPEST} levels", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                mark = node.value[i][0].start_mark
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {str(key)[:80]!r} is given twice", mark
                )
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: str | Path, where: str = "") -> Any:
    """Read a YAML file of plain values; errors begin with `where`, by default the path."""
    where = where or str(path)
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise UsageError(f"{where} is larger than {_LARGEST // 1_000_000} MB: not a configuration")
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}") from error
    return parse_yaml(content, where)


def parse_yaml(content: bytes | str, where: str) -> Any:
    """Plain values of YAML text."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        return _Loader(text).get_single_data()
    # ValueError: integers with thousands of digits, and text that is not UTF-8
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = str(error)
        raise UsageError(f"{where} is not valid YAML: {said[:500]}{' ...' * (len(said) > 500)}") from error


def read_mapping(path: str | Path, where: str = "", example: str = "lr: 1e-3") -> dict[Any, Any]:
    """Read a YAML file of settings and their values; errors show ``example``, lines parted by ``;``."""
    values = read_yaml(path, where)
    if isinstance(values, dict) and values:
        return values
    lines = ", ".join(f"'{line.strip()}'" for line in example.split(";"))
    found = "has no settings" if values else "is empty"
    raise UsageError(f"{where or path} {found}: write each with its value on a line, for example {lines}")
