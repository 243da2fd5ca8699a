"""Refuses requests whose line or headers are too long, or leave open where the body ends."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.server import errors
from app.server.errors import Refusal

MOST_HEADER_BYTES, MOST_HEADERS, MOST_ADDRESS_BYTES = 16_384, 100, 4096


class Head:
    """Lets requests pass whose head is sound."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            refusal = _refusal(scope)
            if refusal is not None:
                return await errors.respond(scope, refusal)(scope, receive, send)
        return await self._app(scope, receive, send)


def _refusal(scope: Scope) -> Refusal | None:
    pairs = scope["headers"]
    if len(pairs) > MOST_HEADERS or sum(len(name) + len(value) for name, value in pairs) > MOST_HEADER_BYTES:
        return Refusal(431, f"The request has more than {MOST_HEADERS} headers, or more than {MOST_HEADER_BYTES:,} bytes of them.")
    if len(scope["path"]) + len(scope["query_string"]) > MOST_ADDRESS_BYTES:
        return Refusal(414, f"The address is longer than {MOST_ADDRESS_BYTES:,} bytes.")
    headers = Headers(scope=scope)
    lengths = headers.getlist("content-length")
    if lengths and "transfer-encoding" in headers:
        return Refusal(400, "The request has both Content-Length and Transfer-Encoding.")
    if lengths and (len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit())):
        return Refusal(400, "The request's Content-Length is not a number.")
    return None
