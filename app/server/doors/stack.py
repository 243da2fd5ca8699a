"""The doors in their order."""

from fastapi import FastAPI

from app.server.doors.access import Access
from app.server.doors.head import Head
from app.server.doors.host import Host
from app.server.doors.key import Key
from app.server.doors.limits import Limits
from app.server.doors.origin import Origin
from app.server.doors.trace import Trace
from app.server.doors.unread import Unread
from app.server.settings import Settings


def install(application: FastAPI, settings: Settings) -> None:
    """Put the doors before the application's routes. The last that is added is the outermost."""
    application.state.access = Access(settings)
    application.add_middleware(Limits, settings=settings)
    application.add_middleware(Origin)
    application.add_middleware(Key, access=application.state.access)
    application.add_middleware(Host, allowed=settings.allowed_hosts)
    application.add_middleware(Head)
    application.add_middleware(Unread)
    application.add_middleware(Trace)
