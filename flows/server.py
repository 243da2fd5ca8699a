"""Run Prefect's server on loopback; it rejects requests for other hosts and requests from pages of other sites."""

import argparse
import os
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from components.runtime.environment import LOOPBACK

HOSTS = "LESIONFLOW_HOSTS"
"""Comma-separated host names of the server in addition to loopback, for example behind a reverse proxy."""


class Guard:
    """ASGI middleware that rejects requests and web sockets by their Host and Origin headers.

    Prefect's CORS and CSRF tokens cover neither web sockets nor foreign names that resolve to 127.0.0.1 (DNS rebinding).
    """

    def __init__(self, app: Any, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on requests for this server, and answer all others with 403."""
        if scope["type"] not in ("http", "websocket") or meant(dict(scope["headers"]), self._hosts):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": f"this host or origin is not allowed. Add host names with {HOSTS}.".encode()})


def meant(headers: dict[bytes, bytes], hosts: Collection[str]) -> bool:
    """Return whether a request is for one of the hosts and has no origin, or an origin with the same host and port."""
    host, origin = headers.get(b"host", b"").decode("latin-1"), headers.get(b"origin")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name in hosts and (origin is None or urlsplit(origin.decode("latin-1")).netloc == host)


def create_app() -> Guard:
    """Prefect's application behind the guard."""
    from prefect.server.api.server import create_app

    return Guard(create_app(final=True), {*LOOPBACK, *filter(None, os.environ.get(HOSTS, "").lower().split(","))})


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=4200, help="port on 127.0.0.1 (default: %(default)s)")
    given = parser.parse_args()
    print(f"Prefect on http://127.0.0.1:{given.port} (press Ctrl-C to stop)", flush=True)
    uvicorn.run(create_app(), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
