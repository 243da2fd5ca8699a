"""Outermost door: gives each request an id, each response its security headers, and the log one line."""

import secrets
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.server import errors, log

VERSION = "X-Lesionflow-Version"
REQUEST_ID = "X-Request-Id"
GONE = 499
POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
SECURITY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response that does not set its own. With `no-referrer`, browsers send the Origin `null` with the page's own forms, which
is refused as foreign."""


class Trace:
    """Traces requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and answer where a route fails."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None
        response = _Traced(scope, send)
        try:
            await self._app(scope, receive, response.send)
        except ClientDisconnect:
            response.status = GONE
        except Exception as fault:
            log.failure(response.request_id, fault)
            if not response.started:
                await _failed(scope)(scope, receive, response.send)
        finally:
            response.log()


def _failed(scope: Scope) -> Response:
    try:
        return errors.respond(scope, errors.failed())
    except Exception as fault:  # the page itself may be what failed
        log.failure(scope["state"]["request_id"], fault)
        return errors.as_json(scope, errors.failed())


class _Traced:
    """A request under way, and its response."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send, self._began = scope, send, time.perf_counter()
        self.request_id = secrets.token_hex(8)
        self.status, self.started, self._version = GONE, False, "-"
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            self.started, self.status, self._version = True, message["status"], headers.get(VERSION, "-")
            headers[REQUEST_ID] = self.request_id
            for name, value in SECURITY.items():
                headers.setdefault(name, value)
        await self._send(message)

    def log(self) -> None:
        """Log the request."""
        route = getattr(self._scope.get("route"), "path", "-")
        elapsed = 1000 * (time.perf_counter() - self._began)
        log.request(log.Line(self.request_id, self._scope["method"], route, self._version, self.status, elapsed))
