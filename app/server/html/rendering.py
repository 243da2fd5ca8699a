"""Renders the page's templates. Every value is escaped."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.server.settings import Settings

FOLDER = Path(__file__).parent
TEMPLATES, STATIC = FOLDER / "templates", FOLDER / "static"


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render(name: str, settings: Settings, **values: Any) -> str:
    """HTML of a template in `templates/`, without its suffix.

    Args:
        name: of the template.
        settings: of the service; the navigation depends on them.
        **values: what the template prints.

    Raises:
        jinja2.UndefinedError: the template uses a value that is not given.
    """
    shared: Mapping[str, Any] = {"has_key": settings.key is not None, "has_review": settings.review}
    return _environment().get_template(f"{name}.html.jinja").render({**shared, **values})


def error_page(settings: Settings, status: int, sentence: str, request_id: str = "") -> str:
    """A page that says why a request was refused or failed."""
    return render("error", settings, status=status, sentence=sentence, request_id=request_id, retry=status == 503)


def sign_in_page(settings: Settings, sentence: str = "") -> str:
    """The form for the key; `sentence` says why the last attempt failed. It posts `key` to /sign-in."""
    return render("sign_in", settings, sentence=sentence)
