"""The command `lesionflow serve`: binds the address, loads the first version, and serves until it is interrupted."""

import errno
import signal
import socket
from types import FrameType

import click
import uvicorn
from fastapi import FastAPI

from app.server import log
from app.server.application import build
from app.server.connection import Connection
from app.server.engine import Engine
from app.server.following import Follower
from app.server.settings import Settings
from components.core.errors import LesionflowError

GRACE_SECONDS = 8
"""Seconds that running requests have to finish after an interrupt."""
HEADER_LIMIT = 32_768
"""Bytes of a request's line and headers together."""


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        LesionflowError: the address cannot be used, or no version can answer.
    """
    log.configure()
    with listener(settings.host, settings.port) as sock:
        engine = Engine(settings.threads, settings.waiting)
        follower = Follower(settings, engine)
        try:
            follower.load_first()
            server = uvicorn.Server(_config(build(settings, engine, follower.state), settings))
            follower.start(on_refusal=lambda: _end(server))
            click.echo(f"Lesionflow on {_address(settings, sock)} (Ctrl-C ends it)", err=True)
            _serve(server, sock)
        finally:
            follower.close()
            engine.close()
    if follower.refusal:
        raise LesionflowError(follower.refusal)


def _serve(server: uvicorn.Server, sock: socket.socket) -> None:
    def end(_signal: int, _frame: FrameType | None) -> None:
        _end(server)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)  # uvicorn raises a signal again when it has ended, and this process would die of it
    server.run(sockets=[sock])


def _end(server: uvicorn.Server) -> None:
    server.should_exit = True


def _config(application: FastAPI, settings: Settings) -> uvicorn.Config:
    tls = settings.tls
    return uvicorn.Config(
        application,
        access_log=False,  # it has the paths and queries of requests
        log_config=None,
        server_header=False,
        proxy_headers=settings.behind_proxy,
        timeout_graceful_shutdown=GRACE_SECONDS,
        h11_max_incomplete_event_size=HEADER_LIMIT,
        http=Connection,
        ws="none",
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )


def listener(host: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    Raises:
        LesionflowError: the address is in use, or is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(128)
        except OSError:
            sock.close()
            raise
    except OSError as fault:
        raise LesionflowError(_why_not(fault, host, port)) from None
    return sock


def _why_not(fault: OSError, host: str, port: int) -> str:
    if fault.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use. Name another with --port"
    if fault.errno == errno.EACCES:
        return f"port {port} needs the rights of an administrator. Name one above 1023 with --port"
    return f"{host} is not an address of this machine: {fault.strerror}. Name one with --host"


def _address(settings: Settings, sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls else 'http'}://{name}:{port}{', behind a proxy that ends TLS' if settings.behind_proxy else ''}"
