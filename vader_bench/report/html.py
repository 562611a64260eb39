"""Pages from templates. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["render"]


def render(template: Path, values: Mapping[str, object], finalize: Callable[[Any], Any] | None = None) -> str:
    """Return the page that the file ``template`` makes of ``values``; text in them is escaped.

    Args:
        template: a Jinja template; those it names lie beside it.
        values: what it may name; anything else is an error.
        finalize: applied to everything that is put into the page.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**values)
