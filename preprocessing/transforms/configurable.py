"""What preprocessors and augmenters have in common: named options, checked, from YAML, JSON or a flag."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from utils.errors import UsageError, nearest


@dataclasses.dataclass(frozen=True)
class Configurable:
    """A frozen dataclass whose fields are the options of a transform."""

    name: ClassVar[str] = ""

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None = None) -> Self:
        """Build from a mapping of options; an unknown one is refused with the nearest valid name."""
        known = [f.name for f in dataclasses.fields(cls)]
        for option in config or {}:
            if option not in known:
                hint = nearest(option, known) if known else "it has none"
                raise UsageError(f"{cls.name}: unknown option '{option}': {hint}")
        return cls(**dict(config or {}))

    def to_json(self) -> dict[str, Any]:
        """Every option, as JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def number(
        self,
        option: str,
        *,
        least: float = -np.inf,
        above: float = -np.inf,
        most: float = np.inf,
        whole: bool = False,
        none: bool = False,
    ) -> None:
        """Refuse an option that is not a number in its range."""
        value = getattr(self, option)
        if value is None and none:
            return
        kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
        if (
            isinstance(value, kinds)
            and not isinstance(value, bool)
            and max(least, above) <= value <= most
            and value != above
        ):
            return
        bounds = [
            words
            for words, given in (
                (f"at least {least:g}", np.isfinite(least)),
                (f"above {above:g}", np.isfinite(above)),
                (f"at most {most:g}", np.isfinite(most)),
            )
            if given
        ]
        kind = "a whole number" if whole else "a number"
        raise UsageError(
            f"{self.name}: {option} must be {' '.join([kind, ' and '.join(bounds)])}, not {value!r}"
        )

    def numbers(
        self, option: str, length: int | None = None, least: float = -np.inf, most: float = np.inf
    ) -> None:
        """Store a sequence of numbers as a tuple; refuse another length or a value out of range."""
        value = getattr(self, option)
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.asarray(np.nan)
        if array.ndim == 0 or not np.isfinite(array).all() or not ((array >= least) & (array <= most)).all():
            raise UsageError(f"{self.name}: {option} must be numbers, not {value!r}")
        if length is not None and array.shape != (length,):
            raise UsageError(f"{self.name}: {option} must be {length} numbers, not {value!r}")
        object.__setattr__(self, option, _tuples(array.tolist()))

    def one_of(self, option: str, choices: tuple[str, ...]) -> None:
        """Refuse a word that is none of the choices."""
        value = getattr(self, option)
        if value not in choices:
            raise UsageError(f"{self.name}: {option} '{value}': {nearest(str(value), choices)}")


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def parse_step(step: str) -> tuple[str, dict[str, Any]]:
    """Name and options of ``NAME`` or ``NAME:OPTION=VALUE:OPTION=VALUE``; values are JSON or plain words."""
    name, *words = step.split(":")
    options: dict[str, Any] = {}
    for word in words:
        option, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{step}: '{word}' must be OPTION=VALUE")
        try:
            options[option] = json.loads(value)
        except ValueError:
            options[option] = value
    return name, options


def steps_of(config: Mapping[str, Any], settings: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    """Names and options of a mapping: ``name: {option: value}``, True or None for defaults, False for none.

    ``settings``: keys that are not steps.
    """
    steps = []
    for name, options in config.items():
        if name in settings or options is False:
            continue
        if options is not None and options is not True and not isinstance(options, Mapping):
            raise UsageError(f"{name}: its options must be a mapping, True or False, not {options!r}")
        steps.append((name, dict(options) if isinstance(options, Mapping) else {}))
    return steps
