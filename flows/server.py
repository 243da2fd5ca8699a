"""Prefect's server on loopback, which refuses requests that name another host, or that come from a page of another site."""

import argparse
import os
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from components.runtime.environment import LOOPBACK

HOSTS = "LESIONFLOW_HOSTS"
"""Names, separated by commas, under which people reach the server besides loopback, as through a reverse proxy."""


class Guard:
    """ASGI middleware that refuses requests and web sockets by their Host and Origin.

    CORS and CSRF tokens, which Prefect has, do not cover web sockets, nor a foreign name that resolves to 127.0.0.1 (DNS rebinding).
    """

    def __init__(self, app: Any, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on what is meant for this server, and answer the rest with 403."""
        if scope["type"] not in ("http", "websocket") or meant(dict(scope["headers"]), self._hosts):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": f"this host or origin is not served; {HOSTS} names more".encode()})


def meant(headers: dict[bytes, bytes], hosts: Collection[str]) -> bool:
    """Whether a request names one of the hosts and comes from no page, or from a page of the same host and port."""
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
    parser.add_argument("--port", type=int, default=4200, help="on 127.0.0.1 (default: %(default)s)")
    given = parser.parse_args()
    print(f"Prefect on http://127.0.0.1:{given.port} (Ctrl-C ends it)", flush=True)
    uvicorn.run(create_app(), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
