"""Refuses requests that a page of another site makes a browser send (cross-site request forgery)."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.server import errors
from app.server.errors import Refusal

READING = frozenset(("GET", "HEAD", "OPTIONS"))
OWN_SITE = frozenset(("same-origin", "none"))
PORTS = {"http": "80", "https": "443"}


class Origin:
    """Lets requests pass that only read, and others that no foreign page sent. Programs send no Origin."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and scope["method"] not in READING and is_foreign(Headers(scope=scope)):
            refusal = Refusal(403, "The request comes from a page of another site.")
            return await errors.respond(scope, refusal)(scope, receive, send)
        return await self._app(scope, receive, send)


def is_foreign(headers: Headers) -> bool:
    """Whether a page of another site sent the request. The scheme is not compared, since a proxy may end TLS."""
    origins = headers.getlist("origin")
    if any(not _is_same(origin, headers.get("host", "")) for origin in origins):
        return True
    return not OWN_SITE.issuperset(headers.getlist("sec-fetch-site"))


def _is_same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    port = PORTS.get(parts.scheme)
    return (
        port is not None and bool(parts.netloc) and parts.netloc.lower().removesuffix(f":{port}") == host.lower().removesuffix(f":{port}")
    )
