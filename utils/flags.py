"""Reading of command lines: flags that name the nearest valid one, True and False, JSON."""

from __future__ import annotations

import argparse
import json
from typing import Any

from utils.errors import nearest
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
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object, e.g. '{\"dropout\": 0.3}'")
    return value


class Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest flag when it meets one it does not know."""

    def __init__(self, **kwargs: Any):
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        if program().startswith("twelvelead "):
            kwargs["prog"] = program()
        super().__init__(allow_abbrev=False, **kwargs)

    def parse_args(self, args=None, namespace=None):
        """Parse, and refuse unknown flags with the nearest valid one."""
        values, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [
                flag for action in self._actions for flag in action.option_strings if flag.startswith("--")
            ]
            flag = next((word for word in unknown if word.startswith("-")), unknown[0])
            self.error(f"unknown argument '{flag}': {nearest(flag.split('=')[0], flags)}")
        return values
