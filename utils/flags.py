"""Reading of command lines: flags that name the nearest valid one, True and False, JSON."""

from __future__ import annotations

import argparse
import json
from typing import Any

from utils.errors import nearest


def true_or_false(text: str) -> bool:
    """Read True or False from text, as ``--loggr False`` needs it.

    Parameters
    ----------
    text : str
        true/false, yes/no, on/off, 1/0 in any case.

    Returns
    -------
    bool
        The value.

    Raises
    ------
    argparse.ArgumentTypeError
        Anything else.
    """
    word = str(text).strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither True nor False")


def json_object(text: str) -> dict:
    """Read a JSON object from text.

    Parameters
    ----------
    text : str
        For example ``{"dropout": 0.3}``.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    argparse.ArgumentTypeError
        Anything else.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object, e.g. '{\"dropout\": 0.3}'")
    return value


class Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest flag when it meets one it does not know.

    Parameters
    ----------
    **kwargs : object
        As for `argparse.ArgumentParser`.
    """

    def __init__(self, **kwargs: Any):
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **kwargs)

    def parse_args(self, args=None, namespace=None):
        """Parse, and refuse unknown flags with the nearest valid one.

        Parameters
        ----------
        args : list of str, optional
            The words; default the command line's.
        namespace : argparse.Namespace, optional
            Takes the values.

        Returns
        -------
        argparse.Namespace
            The values.
        """
        values, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [
                flag for action in self._actions for flag in action.option_strings if flag.startswith("--")
            ]
            flag = next((word for word in unknown if word.startswith("-")), unknown[0])
            self.error(f"unknown argument '{flag}': {nearest(flag.split('=')[0], flags)}")
        return values
