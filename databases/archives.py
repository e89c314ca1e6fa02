"""Where files of a database are that is published as archives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Archives:
    """Files of a database that is published without checksums: the first download pins them.

    ``urls``: addresses. ``members``: regular expression of what belongs to the database in ZIP archives among
    them; its group is the path that a file gets.
    """

    urls: tuple[str, ...]
    members: str = ""
