"""Registries: things by name, for everything that users may add (models, tasks, databases, methods, ...)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from utils.errors import UsageError, nearest

Item = TypeVar("Item")


class Registry(Generic[Item]):
    """Items by name; a name belongs to one module.

    ``kind``: what messages call an item, for example ``database``.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._items: dict[str, Item] = {}
        self._modules: dict[str, str] = {}

    def register(self, name: str, item: Item, module: str = "") -> Item:
        """Add an item.

        ``module`` is where it is defined: ``item.__module__`` unless given (an instance needs it). Running
        that module again replaces the item; the same name from another module is an error.
        """
        module = module or str(getattr(item, "__module__", ""))
        self.check_module(name, module, self._modules.get(name, module))
        self._items[name], self._modules[name] = item, module
        return item

    def check_module(self, name: str, module: str, owner: str) -> None:
        """Refuse a name from another module than the one that owns it."""
        if module != owner:
            raise UsageError(
                f"two modules register the {self.kind} '{name}': {owner} and {module}; rename one of them"
            )

    def get(self, name: str) -> Item:
        """Item of a name; the error for an unknown one gives the nearest valid name."""
        if name not in self._items:
            raise UsageError(f"unknown {self.kind} '{name}': {nearest(name, self.names())}")
        return self._items[name]

    def names(self) -> list[str]:
        """Sorted names."""
        return sorted(self._items)

    def module(self, name: str) -> str:
        """Module that registered a name."""
        self.get(name)
        return self._modules[name]

    def remove(self, name: str) -> None:
        """Remove a name if it is registered (for tests that register things)."""
        self._items.pop(name, None)
        self._modules.pop(name, None)

    def __contains__(self, name: Any) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())
