"""setuptools' build backend for editable installs alone.

The top-level folders have generic names (utils, training, ...), which must not end up in site-packages, where
they would shadow other people's modules. An editable install leaves them where they are.
"""

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401  hooks of PEP 660
    build_editable,
    get_requires_for_build_editable,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

_REFUSED = (
    "TwelveLead runs from its checkout: its folders are called utils, training, ... and would shadow other "
    "packages in site-packages. Install it with: pip install -e ."
)


def build_wheel(*_args: object, **_options: object) -> str:
    """Refuse, with the command that works."""
    raise SystemExit(_REFUSED)


def build_sdist(*args: object, **options: object) -> str:
    """Source archives are harmless: whoever unpacks one has a checkout."""
    return build_meta.build_sdist(*args, **options)
