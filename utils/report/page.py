"""Self-contained HTML pages, each a pure function of JSON and PNG images.

A page is a title and sections; a section is one function and one `register_section` call. Templates, style
sheets and scripts are named ``package/file``: the file in the folder ``templates`` or ``static`` of that
package. Autoescape is on: only templates contain HTML.
"""

from __future__ import annotations

import base64
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from utils.ecg import NOT_A_DEVICE
from utils.files import jsonable, write_text
from utils.registry import Registry

Images = Mapping[str, bytes]
Render = Callable[[dict[str, Any], Images], str]


class _Section(NamedTuple):
    position: int
    render: Render
    styles: tuple[str, ...]
    scripts: tuple[str, ...]


_pages: dict[str, Registry[_Section]] = {}


def register_section(
    page: str, name: str, render: Render, styles: Sequence[str] = (), scripts: Sequence[str] = ()
) -> None:
    """Add a section to a page; sections appear in the order of their registration.

    Parameters
    ----------
    page : str
        Name of the page, for example ``attribution``; each page's module exports it.
    name : str
        Name of the section, unique on its page.
    render : callable
        ``render(facts, images)`` returns the section's HTML from `fill`, or plain text, which is escaped; an
        empty result leaves the section out. ``facts`` is JSON, ``images`` maps names to PNG bytes.
    styles, scripts : sequence of str
        Static files of the section, each ``package/file.css`` or ``package/file.js``.

    Raises
    ------
    UsageError
        Another module registered a section of that name for the page.
    """
    sections = _pages.setdefault(page, Registry(f"section of page '{page}'"))
    section = _Section(len(sections.names()), render, tuple(styles), tuple(scripts))
    sections.register(name, section, render.__module__)


def fill(template: str, /, **values: Any) -> Markup:
    """Fill a template; every value is escaped unless it is HTML from `fill` itself.

    Parameters
    ----------
    template : str
        ``package/file.html``, or the template itself where it contains a ``<``.
    **values
        Values by name. A template that uses a name without a value is an error.

    Returns
    -------
    markupsafe.Markup
        HTML that other templates do not escape again.
    """
    environment = template_environment()
    source = environment.from_string(template) if "<" in template else environment.get_template(template)
    return Markup(source.render(**values))


def render_page(page: str, title: str, facts: Mapping[str, Any], images: Images | None = None) -> str:
    """A page that loads nothing and sends nothing, byte-identical for equal arguments.

    ``page``: name under which sections were registered.
    ``facts``: JSON values; sections see them as a JSON file would return them.
    ``images``: PNG images by name.
    """
    values = json.loads(json.dumps(jsonable(dict(facts)), allow_nan=False))
    bodies: list[str] = []
    styles: list[str] = ["utils.report/page.css"]
    scripts: list[str] = []
    registered = _pages.get(page, Registry("section"))
    for section in sorted(map(registered.get, registered), key=lambda section: section.position):
        body = section.render(values, images or {})
        if body:
            bodies.append(body)
            styles += section.styles
            scripts += section.scripts
    files = {"styles": list(dict.fromkeys(styles)), "scripts": list(dict.fromkeys(scripts))}
    return str(fill("utils.report/page.html", title=title, sections=bodies, **files))


def write_page(
    path: str | os.PathLike, page: str, title: str, facts: Mapping[str, Any], images: Images | None = None
) -> Path:
    """Write what `render_page` returns, atomically."""
    write_text(path, render_page(page, title, facts, images))
    return Path(path)


def png_uri(png: bytes) -> str:
    """A PNG as a data URI, so that a page contains its images."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@functools.cache
def _read(folder: str, name: str) -> str:
    package, _, file = name.rpartition("/")
    return resources.files(package).joinpath(folder, file).read_text(encoding="utf-8")


@functools.cache
def template_environment(autoescape: bool = True) -> jinja2.Environment:
    """Templates by their names ``package/file``."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _read("templates", name)),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["png_uri"] = png_uri
    environment.globals["static"] = lambda name: Markup(_read("static", name))
    environment.globals["notice"] = NOT_A_DEVICE
    return environment
