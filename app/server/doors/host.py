"""Refuses requests that call the service by a name that is not on the list (DNS rebinding)."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from app.server import errors
from app.server.errors import Refusal


def host_name(host: str) -> str:
    """The name in a Host header, in lower case and without port: `[::1]` for `[::1]:8000`."""
    name, bracket, _ = host.lower().partition("]")
    return f"{name}]" if bracket else name.partition(":")[0]


class Host:
    """Lets requests pass whose Host header is on the list.

    Args:
        app: that comes next.
        allowed: names without port.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = {name.lower() for name in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or host_name(hosts[0].decode("latin-1")) not in self._allowed:
                refusal = Refusal(421, "This service does not answer to this host name. Start it with --allowed-host to add one.")
                return await errors.respond(scope, refusal)(scope, receive, send)
        return await self._app(scope, receive, send)
