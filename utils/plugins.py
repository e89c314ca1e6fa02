"""Modules of users that register models, databases, tasks and the like before flags are read.

They are named by ``--plugins`` and by the environment variable TWELVELEAD_PLUGINS. A file that is read never
imports one: a model card or a configuration only says which plugins its run used.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from utils.errors import TwelveLeadError, UsageError
from utils.flags import first_words, split_list

VARIABLE = "TWELVELEAD_PLUGINS"
_loaded: dict[str, str] = {}  # as it was named -> name of the module


def load(names: Iterable[str] = ()) -> None:
    """Import the plugins of the environment variable and of a command line, each once."""
    environment = split_list(os.environ.get(VARIABLE, ""))
    for name in (*environment, *names):
        if name not in _loaded:
            _loaded[name] = _import(name)
    if _loaded:  # for processes that this one starts
        os.environ[VARIABLE] = ",".join(dict.fromkeys([*environment, *_loaded]))


def load_named(words: Sequence[str]) -> None:
    """Import the plugins that a command line names with ``--plugins``."""
    load(split_list(first_words(words, "plugins")["plugins"]))


def loaded() -> list[str]:
    """Plugins that were imported, as they were named."""
    return list(_loaded)


def require(names: Any, where: str) -> None:
    """Refuse a file that was written by a run with plugins which are not imported now."""
    plugins = names if isinstance(names, list) else [names]
    stems = {Path(name).stem for name in _loaded}
    missing = [
        str(name) for name in plugins if str(name) not in _loaded and Path(str(name)).stem not in stems
    ]
    if missing:
        raise UsageError(f"{where} was written with plugins: give --plugins {','.join(missing)[:200]}")


def _import(name: str) -> str:
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name).__name__
        path = Path(name).resolve()
        if not path.is_file():
            raise UsageError(f"--plugins: there is no file {name}")
        module_name = f"twelvelead_plugin_{path.stem}"
        present = sys.modules.get(module_name)
        if present is not None:
            if Path(str(present.__file__)) == path:
                return module_name
            raise UsageError(f"--plugins: {name} and {present.__file__} have the same name: rename one")
        spec = importlib.util.spec_from_file_location(module_name, path)
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[module_name] = module  # dataclasses and other processes look it up there
        try:
            spec.loader.exec_module(module)  # type: ignore[union-attr]
        except BaseException:
            del sys.modules[module_name]
            raise
        return module_name
    except TwelveLeadError:
        raise
    except ModuleNotFoundError as error:
        raise UsageError(f"--plugins {name}: {error}; a file is named with its ending .py") from error
    except Exception as error:
        raise UsageError(f"--plugins {name} cannot be imported: {type(error).__name__}: {error}") from error
