"""The registry that everything named shares."""

import pytest

from utils.errors import UsageError
from utils.registry import Registry


def test_registry_gives_items_by_name():
    registry: Registry[object] = Registry("database")
    item = object()
    assert registry.register("mitdb", item, module="databases.mitdb") is item
    registry.register("afdb", 2, module="databases.afdb")
    assert registry.get("mitdb") is item and registry.names() == ["afdb", "mitdb"] == list(registry)
    assert "mitdb" in registry and "svdb" not in registry
    assert registry.module("mitdb") == "databases.mitdb"
    registry.remove("mitdb")
    assert registry.names() == ["afdb"]


def test_registry_unknown_name_gives_the_nearest():
    registry: Registry[int] = Registry("database")
    registry.register("mitdb", 1, module="here")
    with pytest.raises(UsageError, match=r"^unknown database 'mitbd': did you mean 'mitdb'\? Valid: mitdb$"):
        registry.get("mitbd")
    with pytest.raises(UsageError, match="unknown database 'x'"):
        registry.module("x")


def test_registry_second_module_with_a_name_raises():
    registry: Registry[object] = Registry("task")

    def build():
        pass

    registry.register("toy", build)
    registry.register("toy", lambda: None)  # the same module, run again
    with pytest.raises(
        UsageError, match=rf"two modules register the task 'toy': {__name__} and other\.module; rename one"
    ):
        registry.register("toy", 1, module="other.module")
