"""The registry of models of one framework: their properties and builders.

A model is registered beside its code by the decorator `register_model` of its package. The decorator's
arguments and the builder's defaults are read from the source, so that names, options and properties are known
without importing a framework; a module is imported when one of its models is built.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from utils.errors import UsageError, nearest
from utils.registry import Registry


@dataclass(frozen=True)
class ModelCase:
    """A small model for the contract test.

    ``options``: of the builder; small enough to run in milliseconds.
    ``parameters``: weights of the model with these options.
    ``name``: what sets it apart from the model's other cases.
    ``samples``: other record lengths that the model allows.
    ``leads``: other numbers of leads that it allows.
    ``columns``: rows of logits of a record, of a model that tags a sequence; 0 where it gives one row alone.
    """

    options: Mapping[str, Any]
    parameters: int
    name: str = ""
    samples: tuple[int, ...] = ()
    leads: tuple[int, ...] = ()
    columns: int = 0

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output of five records for five classes."""
        return (5, self.columns, 5) if self.columns else (5, 5)


@dataclass(frozen=True)
class Published:
    """Scores that a paper reports for a model on PTB-XL's test fold.

    ``task``: label set.
    ``scores``: by the names of our metrics.
    ``source``: DOI.
    """

    task: str
    scores: Mapping[str, float]
    source: str


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without building it.

    ``framework``: ``keras`` or ``torch``, as on model cards.
    ``module``: where it is defined.
    ``options``: the builder's options with their defaults.
    ``title``: as tables name it.
    ``doi``: of the paper.
    ``parameters``: weights with the default options; 0 where these build no model.
    ``clip_norm``: gradient clipping of the reference; 0 for none.
    """

    name: str
    framework: str
    module: str
    options: Mapping[str, Any]
    title: str = ""
    doi: str = ""
    parameters: int = 0
    clip_norm: float = 0.0
    published: tuple[Published, ...] = ()
    cases: tuple[ModelCase, ...] = field(default=(), repr=False)


class ModelRegistry:
    """Models of one framework.

    Every model takes standardized signals (B, T, leads), where T and leads are its options ``samples`` and
    ``leads``, and has ``feature_info``, a tuple of `utils.feature_info.FeatureInfo`, which is empty where no
    gradient reaches a map. A PyTorch model returns logits; ``features(x)`` is its deepest map, which
    ``feature_info`` describes last, and ``head`` its last layer, a `torch.nn.Linear` (of a model that answers
    for every sample, a `torch.nn.Conv1d`) that fine-tuning replaces. One with a true ``learns_sequences`` is
    trained by its own ``sequence_loss(signals, targets)``. A Keras model returns probabilities; its last
    layer is called ``head``. A model that computes attention over its input may have
    ``attention(signals)``, a dict whose ``heatmap`` (B, T, leads) is each sample's share.

    Parameters
    ----------
    framework : str
        As on model cards: ``keras`` or ``torch``.
    title : str
        As messages call it, for example ``Keras``.
    package : str
        Package whose modules hold the models; plugins may register more.
    folder : Path
        Where the package lies.
    first : str
        Module to import before any of the models.
    """

    def __init__(self, framework: str, title: str, package: str, folder: Path, first: str = ""):
        self.framework, self.title, self.package, self.folder = framework, title, package, folder
        self.first = first or package
        self._builders: Registry[Callable[..., Any]] = Registry(f"{title} model")
        self._infos: dict[str, ModelInfo] = {}

    @cached_property
    def _declared(self) -> dict[str, ModelInfo]:
        """Models of the package, read from its source."""
        infos: Registry[ModelInfo] = Registry(f"{self.title} model")
        for path in sorted(self.folder.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "@register_model" not in text:
                continue
            module = ".".join([self.package, *path.relative_to(self.folder).with_suffix("").parts])
            try:
                registrations = _registrations(ast.parse(text))
            except (ValueError, KeyError) as error:
                raise ValueError(f"{path}: register_model takes literals here ({error})") from error
            for name, options, properties in registrations:
                info = ModelInfo(name, self.framework, module, options, **{"title": name, **properties})
                infos.register(name, info, module)
        return {name: infos.get(name) for name in infos}

    def register_model(
        self,
        builder: Callable[..., Any] | None = None,
        *,
        title: str = "",
        doi: str = "",
        parameters: int = 0,
        clip_norm: float = 0.0,
        published: tuple[Published, ...] = (),
        cases: tuple[ModelCase, ...] = (),
    ) -> Callable[..., Any]:
        """Register a builder, a class or a function, under its name in lower case (a decorator).

        For a model of the package the arguments and the builder's defaults must be literals, because they are
        read from the source. A name that another module registered is refused.

        Parameters
        ----------
        builder : callable
            ``builder(num_classes=5, samples=1000, leads=12, **config)`` builds the model. Every argument has
            a default.
        title, doi, parameters, clip_norm, published, cases
            As in `ModelInfo`. The contract test fails for a model of the package without a case.

        Returns
        -------
        callable
            The builder, unchanged; without a builder, the decorator.
        """
        if builder is None:
            return partial(
                self.register_model, title=title, doi=doi, parameters=parameters, clip_norm=clip_norm,
                published=published, cases=cases,
            )  # fmt: skip
        name, module = builder.__name__.lower(), builder.__module__
        if name in self._declared:
            self._builders.check_module(name, module, self._declared[name].module)
        self._builders.register(name, builder, module)
        defaults = {key: p.default for key, p in inspect.signature(builder).parameters.items()}
        properties = (title or name, doi, parameters, clip_norm, published, cases)
        self._infos[name] = ModelInfo(name, self.framework, module, defaults, *properties)
        return builder

    def list_models(self) -> list[str]:
        """Sorted names that `create_model` knows; the framework is not imported for them."""
        return sorted({*self._declared, *self._infos})

    def model_info(self, name: str) -> ModelInfo:
        """Properties of a model; the framework is not imported for them."""
        known = self._infos.get(name) or self._declared.get(name)
        if known is None:
            raise UsageError(f"unknown {self.title} model '{name}': {nearest(name, self.list_models())}")
        return known

    def model_options(self, name: str) -> dict[str, Any]:
        """Options of a model with their defaults."""
        return dict(self.model_info(name).options)

    def create_model(self, name: str, num_classes: int = 5, **config: Any) -> Any:
        """Build a model by name.

        Parameters
        ----------
        name : str
            One of `list_models()`; unknown names and options are refused with the nearest valid one.
        num_classes : int
            Number of outputs.
        **config : object
            Other options; the defaults are the reference's.

        Returns
        -------
        torch.nn.Module or keras.Model
            Takes standardized signals (B, T, leads); returns logits (PyTorch) or probabilities (Keras) of
            shape (B, num_classes). ``model.config`` holds the name and every option as JSON values:
            ``create_model(**model.config)`` builds it again.
        """
        info = self.model_info(name)
        if name not in self._builders:
            importlib.import_module(self.first)
            importlib.import_module(info.module)
        options = {"num_classes": num_classes, **config}
        for key in options:
            if key not in info.options:
                raise UsageError(f"unknown option '{key}' of model '{name}': {nearest(key, info.options)}")
        options = {**info.options, **options}
        for key in {"num_classes", "samples", "leads"} & options.keys():
            if type(options[key]) is not int or options[key] < 1:
                raise UsageError(
                    f"model '{name}': {key} must be a positive whole number, not {options[key]!r}"
                )
        model = self._builders.get(name)(**options)
        options |= getattr(model, "resolved_options", {})  # such as a preset, written out
        model.config = json.loads(json.dumps({"name": name, **options}))
        return model


def _registrations(tree: ast.Module) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Names, options and properties of the models that a module decorates with `register_model`."""
    registrations, nodes = [], list[Any](tree.body)
    for node in nodes:
        for decorator in getattr(node, "decorator_list", ()):
            call = decorator if isinstance(decorator, ast.Call) else None
            function = call.func if call else decorator
            if isinstance(function, ast.Name) and function.id == "register_model":
                keywords = call.keywords if call else []
                properties = {str(word.arg): _value(word.value) for word in keywords}
                registrations.append((node.name.lower(), _source_defaults(node), properties))
    return registrations


def _value(node: ast.expr) -> Any:
    """Value of an expression made of literals, `ModelCase` and `Published`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        kind = {"ModelCase": ModelCase, "Published": Published}[node.func.id]
        return kind(*map(_value, node.args), **{str(word.arg): _value(word.value) for word in node.keywords})
    if isinstance(node, ast.Tuple):
        return tuple(map(_value, node.elts))
    return ast.literal_eval(node)


def _source_defaults(node: Any) -> dict[str, Any]:
    """Options of a builder with their defaults."""
    if isinstance(node, ast.ClassDef):
        node = next(inner for inner in node.body if getattr(inner, "name", "") == "__init__")
    names = [argument.arg for argument in node.args.args if argument.arg != "self"]
    return {name: _value(default) for name, default in zip(names, node.args.defaults, strict=True)}
