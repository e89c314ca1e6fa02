"""What every backbone shares, and the registry of backbones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor, nn

from models_torch.backbones.columns import Columns, TooShortError, walk
from models_torch.backbones.configs import Config, adjust_cnn_filter_lengths
from models_torch.backbones.layers import initialize
from models_torch.backbones.layout import keep_innermost, wants_innermost
from utils.errors import DataError, UsageError, nearest
from utils.feature_info import FeatureInfo, Grid, mark_explained
from utils.registry import Registry

_LONGEST = 1 << 24  # samples: no network here needs more

C = TypeVar("C", bound="BackboneConfig")


@dataclass
class BackboneConfig(Config):
    """``fs``: sampling rate, in Hz, that the filter lengths are meant for."""

    fs: int = 500


class Backbone(nn.Module, Generic[C]):
    """A convolutional network from signals to one map of features.

    A family is a subclass that defines `build`; the layers that it adds by `add` run one after another, and
    each is described in `feature_info`.

    Parameters
    ----------
    config : BackboneConfig
        Every size.
    leads : int
        Leads of the signals.
    channels_first : bool
        Whether signals are (B, leads, T) instead of (B, T, leads).

    Attributes
    ----------
    config : BackboneConfig
        As given.
    channels : int
        Channels of the map.
    feature_info : tuple of FeatureInfo
        The map of each added layer. Gates and non-local blocks, which let the whole record have an effect on
        every column, are not counted in receptive fields.
    minimum_samples : int
        Least length of a record.
    """

    name: ClassVar[str] = ""
    config_class: ClassVar[type[BackboneConfig]] = BackboneConfig

    def __init__(self, config: C, leads: int = 12, channels_first: bool = False):
        super().__init__()
        self.config, self.leads, self.channels_first = config, leads, channels_first
        self.channels = leads
        self._maps: list[tuple[str, int]] = []
        self.build(config)
        initialize(self)
        self._innermost = wants_innermost(self)
        if self._innermost:
            keep_innermost(self)
        self.minimum_samples = self._least_samples()
        self.feature_info = self._describe()

    def build(self, config: C) -> None:
        """Add the layers."""
        raise TypeError(f"backbone {type(self).__name__} defines no layers")

    def add(self, name: str, layer: nn.Module, channels: int) -> None:
        """Append a layer.

        Parameters
        ----------
        name : str
            Its name, also in `feature_info`.
        layer : torch.nn.Module
            It takes the map of the layer before, or signals (B, leads, T).
        channels : int
            Channels of its map.
        """
        self.add_module(name, layer)
        self._maps.append((name, channels))
        self.channels = channels

    # ---- sizes

    def _columns(self, samples: int) -> list[Columns]:
        """Columns behind each layer; `TooShortError` where there are none."""
        columns, found = Columns(Grid(), samples), []
        for name, _ in self._maps:
            columns = walk(self.get_submodule(name), columns)
            found.append(columns)
        return found

    def _least_samples(self) -> int:
        low, high = 0, 1  # the first is too short, the second is long enough
        while not self._takes(high):
            low, high = high, 2 * high
            if high > _LONGEST:
                raise UsageError(f"backbone {self.name}: no length of a record is enough for these sizes")
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._takes(middle) else (middle, high)
        return high

    def _takes(self, samples: int) -> bool:
        try:
            self._columns(samples)
        except TooShortError:
            return False
        return True

    def output_shape(self, samples: int) -> tuple[int, int]:
        """Shape of the map of one record.

        Parameters
        ----------
        samples : int
            Length of the record.

        Returns
        -------
        tuple of int
            Channels and columns.
        """
        self.check_samples(samples)
        return self.channels, self._columns(samples)[-1].length

    def check_samples(self, samples: int) -> None:
        """Refuse records that are too short.

        Parameters
        ----------
        samples : int
            Length of the record.

        Raises
        ------
        DataError
            The message says which lengths the network takes.
        """
        if samples < self.minimum_samples:
            raise DataError(
                f"backbone {self.name}: {samples} samples are too few, it takes {self.minimum_samples} or "
                "more: use longer records, shorter filters or smaller strides"
            )

    def _describe(self) -> tuple[FeatureInfo, ...]:
        found = zip(self._maps, self._columns(self.minimum_samples), strict=True)
        return mark_explained([columns.grid.info(name, channels) for (name, channels), columns in found])

    def feature(self, name: str) -> FeatureInfo:
        """Describe the map of a layer.

        Parameters
        ----------
        name : str
            Name of the layer.

        Returns
        -------
        FeatureInfo
            Its entry of `feature_info`.

        Raises
        ------
        UsageError
            There is no such layer; the message names the nearest.
        """
        infos = {info.name: info for info in self.feature_info}
        if name not in infos:
            raise UsageError(f"backbone {self.name} has no feature layer '{name}': {nearest(name, infos)}")
        return infos[name]

    @property
    def module_size(self) -> int:
        """Number of trainable parameters."""
        return module_size(self)

    @property
    def module_size_(self) -> str:
        """Memory of the trainable parameters as text, for example ``36.5M``."""
        return module_size_text(self)

    # ---- signals

    def features(self, signals: Tensor) -> Tensor:
        """Compute the last map.

        Parameters
        ----------
        signals : Tensor
            Shape (B, T, leads), or (B, leads, T) with `channels_first`.

        Returns
        -------
        Tensor
            Shape (B, channels, columns).
        """
        return self.maps(signals, (self._maps[-1][0],))[0]

    def maps(self, signals: Tensor, names: tuple[str, ...]) -> list[Tensor]:
        """Compute the maps of several layers.

        Parameters
        ----------
        signals : Tensor
            As for `features`.
        names : tuple of str
            Names of layers.

        Returns
        -------
        list of Tensor
            One for each name, shape (B, channels, columns).
        """
        for name in names:
            self.feature(name)
        x = self._checked(signals)
        found: dict[str, Tensor] = {}
        for name, _ in self._maps:
            x = found[name] = self.get_submodule(name)(x)
            if name not in names:
                del found[name]
        return [found[name] for name in names]

    def _checked(self, signals: Tensor) -> Tensor:
        order = "leads, samples" if self.channels_first else "samples, leads"
        lead_dimension = 1 if self.channels_first else 2
        if signals.ndim != 3 or signals.shape[lead_dimension] != self.leads:
            raise DataError(
                f"backbone {self.name} was built for {self.leads} leads, signals (batch, {order}), but "
                f"got {tuple(signals.shape)}: select those leads, or build it with other leads"
            )
        self.check_samples(signals.shape[3 - lead_dimension])
        if self._innermost and signals.device.type == "cpu":
            rows = signals.transpose(1, 2) if self.channels_first else signals
            return rows.contiguous().transpose(1, 2)
        return signals if self.channels_first else signals.transpose(1, 2)

    def forward(self, signals: Tensor) -> Tensor:
        return self.features(signals)


def module_size(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def module_size_text(module: nn.Module) -> str:
    """Memory of the trainable parameters as text with one decimal."""
    size = float(sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad))
    units = iter("BKMGT")
    unit = next(units)
    while size >= 102.4:
        size, unit = size / 1024, next(units)
    return f"{size:.1f}{unit}"


# ---- registry ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preset:
    """One named configuration of a family: the changes from the family's defaults."""

    family: type[Backbone[Any]]
    changes: Mapping[str, Any]


_PRESETS: Registry[Preset] = Registry("backbone")


def register_backbone(name: str, presets: Mapping[str, Mapping[str, Any]] | None = None) -> Any:
    """Register a family of backbones (a decorator for a subclass of `Backbone`).

    Parameters
    ----------
    name : str
        Name of the family; as a backbone it has the defaults of its configuration.
    presets : mapping, optional
        Further backbones of the family: by name, the changes from those defaults.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(family: type[Backbone[Any]]) -> type[Backbone[Any]]:
        family.name = name
        for key, changes in {name: {}, **(presets or {})}.items():
            _PRESETS.register(key, Preset(family, changes), family.__module__)
        return family

    return decorate


def list_backbones(family: str = "") -> list[str]:
    """Names that `create_backbone` knows.

    Parameters
    ----------
    family : str
        Only those of a family.

    Returns
    -------
    list of str
        Sorted names.
    """
    if family:
        kind = _PRESETS.get(family).family
        return [name for name in _PRESETS if _PRESETS.get(name).family is kind]
    return _PRESETS.names()


def backbone_config(name: str, **changes: Any) -> BackboneConfig:
    """Make the configuration of a backbone, which may be changed further.

    Parameters
    ----------
    name : str
        One of `list_backbones()`.
    **changes : object
        Fields with other values than the preset's.

    Returns
    -------
    BackboneConfig
        A dataclass of the family; ``to_json`` gives it as JSON values.
    """
    preset = _PRESETS.get(name)
    return preset.family.config_class.from_json(preset.changes, name).changed(changes, name)


def create_backbone(
    name: str,
    leads: int = 12,
    config: Mapping[str, Any] | BackboneConfig | None = None,
    channels_first: bool = False,
    fs: int = 0,
) -> Backbone[Any]:
    """Build a backbone by name.

    Parameters
    ----------
    name : str
        One of `list_backbones()`.
    leads : int
        Leads of the signals.
    config : mapping or BackboneConfig, optional
        A configuration of its family, or changes of fields as JSON values; the preset's for None.
    channels_first : bool
        Whether signals are (B, leads, T) instead of (B, T, leads).
    fs : int
        Sampling rate in Hz to rescale the filter lengths to; 0 leaves them.

    Returns
    -------
    Backbone
        ``features(signals)`` is a map (B, channels, columns); ``feature_info`` describes the inner ones.
    """
    family = _PRESETS.get(name).family
    if isinstance(config, BackboneConfig):
        if not isinstance(config, family.config_class):
            raise UsageError(
                f"backbone '{name}' takes a {family.config_class.__name__}, not a {type(config).__name__}"
            )
        settled = config.changed(config.to_json(), name)  # checked, and no longer the caller's
    else:
        settled = backbone_config(name, **(config or {}))
    if fs and fs != settled.fs:
        settled = adjust_cnn_filter_lengths(settled, fs)
    return family(settled, leads, channels_first)
