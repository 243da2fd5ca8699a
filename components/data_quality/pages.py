"""Renders the HTML pages about a dataset from Jinja templates."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

BASE = Path(__file__).parent
"""Folder of page.html.jinja, the layout and style of all pages."""


def render(template: Path, **values: Any) -> str:
    """HTML of a template, which may extend page.html.jinja; the text in `values` is escaped.

    Raises:
        jinja2.UndefinedError: the template uses a variable that is not in `values`.
    """
    loader = FileSystemLoader([template.parent, BASE])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(template.name).render(values)
