"""Limits the bytes and the time of requests' bodies, each and all together."""

import asyncio
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.server import errors
from app.server.errors import BUSY, Refusal
from app.server.settings import Settings

FORM_BYTES = 1_000_000
"""What a request may have beside the images."""
REQUESTS_IN_MEMORY = 4
"""Number of largest requests whose bodies may be in memory at a time."""


class Limits:
    """Lets a request's body pass within its limits.

    Args:
        app: that comes next.
        settings: of the service.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._seconds = settings.request_seconds
        self._most = settings.max_images * settings.max_image_bytes + FORM_BYTES
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it before its body is read."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if int(Headers(scope=scope).get("content-length", "0")) > self._most:
            return await errors.respond(scope, self._too_large())(scope, receive, send)
        body = _Body(receive, asyncio.get_running_loop().time() + self._seconds)
        try:
            return await self._app(scope, lambda: self._receive(body), send)
        finally:
            self._held -= body.bytes

    async def _receive(self, body: "_Body") -> Message:
        message = await body.next(self._seconds)
        size = len(message.get("body", b""))
        body.bytes += size
        self._held += size
        if body.bytes > self._most:
            raise self._too_large()
        if self._held > REQUESTS_IN_MEMORY * self._most:
            raise Refusal(503, "Too many large requests arrive. Try again later.", {"Retry-After": BUSY})
        return message

    def _too_large(self) -> Refusal:
        return Refusal(413, f"The request is larger than {self._most:,} bytes.")


@dataclass
class _Body:
    """A body that arrives.

    Attributes:
        receive: of the server.
        deadline: time of the event loop by which all must have arrived.
        bytes: that have arrived.
        complete: whether all have.
    """

    receive: Receive
    deadline: float
    bytes: int = 0
    complete: bool = False

    async def next(self, seconds: float) -> Message:
        """The next message; after the last one, it waits until the client goes."""
        if self.complete:
            return await self.receive()
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.receive()
        except TimeoutError:
            raise Refusal(408, f"The request did not arrive within {seconds:g} seconds.") from None
        self.complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message
