"""Databases by name."""

from __future__ import annotations

import importlib
import os
from typing import Any, TypeVar

from databases.base import Database
from utils.registry import Registry

# Modules that register databases; imported when a name is first asked for. The table of one's own recordings
# reads files of any format, which only a package above this one can.
_MODULES = (
    "preprocessing.table_database",
    *(
        f"databases.{module}"
        for module in (
            "afdb",
            "apnea_ecg",
            "cinc2017",
            "cinc2018",
            "cinc2020",
            "cinc2021",
            "cpsc2018",
            "cpsc2019",
            "cpsc2020",
            "cpsc2021",
            "icentia11k",
            "incartdb",
            "ltafdb",
            "ludb",
            "mitdb",
            "nstdb",
            "ptbxl",
            "ptbxl_plus",
            "qtdb",
            "shhs",
            "svdb",
            "synthetic.database",
        )
    ),
)

_DATABASES: Registry[type[Database]] = Registry("database")
Kind = TypeVar("Kind", bound=type[Database])


def register_database(cls: Kind) -> Kind:
    """Make a database known under its ``name``; used as a decorator.

    Parameters
    ----------
    cls : type
        Subclass of `Database`.

    Returns
    -------
    type
        The same class.

    Raises
    ------
    UsageError
        Another module has registered a database of this name; the message names both.
    """
    if cls.__module__ not in _MODULES:
        _registry()  # so that a name of this package is refused here, not later
    _DATABASES.register(cls.name, cls)
    return cls


def _registry() -> Registry[type[Database]]:
    for module in _MODULES:
        importlib.import_module(module)
    return _DATABASES


def list_databases() -> list[str]:
    """List the names that `open_database` knows.

    Returns
    -------
    list of str
        In alphabetical order.
    """
    return _registry().names()


def database_class(name: str) -> type[Database]:
    """Class of a database; the error for an unknown name gives the nearest one."""
    return _registry().get(name)


def open_database(name: str, root: str | os.PathLike, **options: Any) -> Database:
    """Open a database in a folder.

    Parameters
    ----------
    name : str
        One of `list_databases`.
    root : path-like
        Folder of its files.
    **options
        What the database takes besides, such as PTB-XL's ``sampling_rate``.

    Returns
    -------
    Database
        Files are read when `records`, `read` or `annotations` asks for them.

    Raises
    ------
    UsageError
        There is no such database.
    """
    return database_class(name)(root, **options)
