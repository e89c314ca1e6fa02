"""Registries of models: read from source, extended by plugins, one module a name."""

import importlib
import sys

import pytest

from utils.errors import UsageError

NET = """
from toy_models.registry import register_model
from utils.model_registry import ModelCase, Published
@register_model(
    title="Net", clip_norm=0.5, published=(Published("mi", {"max_f1": 0.5}, "10.1/x"),),
    cases=(ModelCase({"samples": 8}, parameters=3),),
)
class Net:
    def __init__(self, num_classes: int = 5, samples: int = 1000, leads: int = 12, sizes=(1, 2)):
        self.sizes = sizes
"""


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """The registry of a package with one model."""
    package = tmp_path / "toy_models"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text(NET)
    (package / "registry.py").write_text(
        "from pathlib import Path\nfrom utils.model_registry import ModelRegistry\n"
        "REGISTRY = ModelRegistry('torch', 'PyTorch', 'toy_models', Path(__file__).parent)\n"
        "register_model = REGISTRY.register_model\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(f"{package.name}.registry").REGISTRY
    for name in [name for name in sys.modules if name.startswith("toy_models")]:
        del sys.modules[name]


def test_model_registry_reads_properties_without_importing_the_model(registry):
    assert registry.list_models() == ["net"]
    info = registry.model_info("net")
    assert "toy_models.net" not in sys.modules
    assert (info.title, info.clip_norm, info.parameters) == ("Net", 0.5, 0)
    assert info.published[0].scores == {"max_f1": 0.5} and info.cases[0].parameters == 3
    assert registry.model_options("net") == {
        "num_classes": 5, "samples": 1000, "leads": 12, "sizes": (1, 2),
    }  # fmt: skip
    model = registry.create_model("net", sizes=(3,))
    assert model.sizes == (3,) and "toy_models.net" in sys.modules
    assert model.config == {"name": "net", "num_classes": 5, "samples": 1000, "leads": 12, "sizes": [3]}
    assert registry.model_info("net") == info


def test_model_registry_takes_a_model_from_elsewhere(registry):
    @registry.register_model
    class Other:
        def __init__(self, num_classes=5, depth=3):
            self.depth = depth

    assert registry.list_models() == ["net", "other"] and registry.model_info("other").title == "other"
    assert registry.create_model("other", depth=4).depth == 4


def test_model_registry_second_module_with_a_name_raises(registry):
    def net(num_classes=5):
        return None

    with pytest.raises(
        UsageError, match=rf"two modules register the PyTorch model 'net': toy_models\.net and {__name__}"
    ):
        registry.register_model(net)
    assert type(registry.create_model("net")).__module__ == "toy_models.net"


def test_model_registry_two_files_with_a_name_raise(registry):
    (registry.folder / "again.py").write_text(NET)
    with pytest.raises(UsageError, match=r"model 'net': toy_models\.again and toy_models\.net; rename one"):
        registry.list_models()


def test_model_registry_unknown_names_give_the_nearest(registry):
    with pytest.raises(UsageError, match="unknown PyTorch model 'nett': did you mean 'net'"):
        registry.create_model("nett")
    with pytest.raises(UsageError, match="unknown option 'size' of model 'net': did you mean 'sizes'"):
        registry.create_model("net", size=3)
    with pytest.raises(UsageError, match="samples must be a positive whole number, not 0"):
        registry.create_model("net", samples=0)


def test_model_registry_names_the_file_whose_registration_cannot_be_read(registry):
    (registry.folder / "odd.py").write_text(
        NET.replace("class Net", "class Odd").replace("0.5, pub", "half(), pub")
    )
    with pytest.raises(ValueError, match=r"odd\.py.*literals"):
        registry.list_models()
