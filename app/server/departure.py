"""Notices that the client of a request has gone, so that nothing is computed for it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.server.engine import DEPARTURE, ClientGone


class Departure:
    """Middleware, outside all that reads requests: sets `DEPARTURE` for each request.

    Args:
        application: what it wraps.
    """

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        client = _Client(receive)
        token = DEPARTURE.set(client.wait_until_gone)
        try:
            await self._application(scope, client.receive, send)
        except ClientGone:
            pass
        finally:
            DEPARTURE.reset(token)


class _Client:
    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_read = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_read = self._is_read or not message.get("more_body", False)
        return message

    async def wait_until_gone(self) -> None:
        """Wait for the end of the connection. Before the body was read whole, what comes next belongs to its reader."""
        while not self._is_read or (await self._receive())["type"] != "http.disconnect":
            if not self._is_read:
                raise RuntimeError("the body must be read before work is run")
