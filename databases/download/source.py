"""Where the files of a database are on the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A folder on a server with a SHA256SUMS.txt that lists its files.

    ``tables``: files without which the database is of no use.
    ``extras``: files that are fetched where the server lists them.
    ``records``: sampling rate in Hz -> regular expression of the record files.
    """

    url: str
    records: Mapping[int, str]
    tables: tuple[str, ...] = ()
    extras: tuple[str, ...] = ("RECORDS", "LICENSE.txt")
