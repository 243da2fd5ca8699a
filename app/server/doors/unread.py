"""Closes connections whose request was answered before its body was read, so that the client still gets the answer."""

import asyncio
import contextlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = 2.0
BYTES = 256_000_000
"""How long and how much a client may go on sending after the answer."""


class Unread:
    """Reads on for a moment after an early answer: a connection that is closed while data arrives is reset, and the answer lost."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            return await self._app(scope, receive, send)
        body = _Unread(receive, send, waits="expect" in Headers(scope=scope))
        return await self._app(scope, body.receive, body.send)


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


class _Unread:
    """A body, and whether all of it was read. A client that `waits` sends nothing before it is asked to."""

    def __init__(self, receive: Receive, send: Send, waits: bool) -> None:
        self._receive, self._send = receive, send
        self._complete, self._waits = False, waits

    async def receive(self) -> Message:
        """The next message of the body."""
        message = await self._receive()
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        self._waits = False
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the response; after the last, read on where the body is not complete."""
        if self._complete:
            return await self._send(message)
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Connection"] = "close"
        elif not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            if not self._waits:
                await self._read_on()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        return await self._send(message)

    async def _read_on(self) -> None:
        read = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while not self._complete and read < BYTES:
                    read += len((await self.receive()).get("body", b""))
