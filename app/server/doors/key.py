"""Asks for the key: of programs in a header, of people once in a form."""

from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.server import errors
from app.server.doors.access import CHALLENGE, Access
from app.server.errors import Refusal

OPEN = frozenset(("/health", "/ready", "/sign-in"))
STATIC = "/static/"
"""Style of the form that asks for the key."""
SIGN_IN = "/sign-in"
KEY_NAMES = frozenset(("key", "apikey", "token", "accesstoken", "authorization", "bearer", "password", "secret", "lesionflowapikey"))
"""Names of query parameters, without case, dashes and underscores, that a client would give a key in."""
IN_ADDRESS = "Keys do not belong into addresses, which others log. Send the header Authorization: Bearer KEY, and replace this key."


class Key:
    """Lets requests pass that have the key or a session.

    Args:
        app: that comes next.
        access: of the service.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            refused = await self._refused(scope)
            if refused is not None:
                return await refused(scope, receive, send)
        return await self._app(scope, receive, send)

    async def _refused(self, scope: Scope) -> Response | None:
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, encoding="latin-1")
        if any(name.lower().replace("-", "").replace("_", "") in KEY_NAMES for name, _ in pairs):
            return errors.respond(scope, Refusal(400, IN_ADDRESS))
        if not self._access.is_needed or scope["path"] in OPEN or scope["path"].startswith(STATIC):
            return None
        refused = await self._without_access(scope)
        # Only who has access learns that a value is the key: others could try keys here without being slowed.
        if refused is None and any(self._access.is_key(value.encode("latin-1", "replace")) for _, value in pairs):
            return errors.respond(scope, Refusal(400, IN_ADDRESS))
        return refused

    async def _without_access(self, scope: Scope) -> Response | None:
        """The response to a request that has neither the key nor a session; None if it has."""
        headers = Headers(scope=scope)
        if "authorization" in headers:
            scheme, _, given = headers["authorization"].partition(" ")
            if scheme.lower() == "bearer" and self._access.is_key(given.strip().encode("latin-1")):
                return None
            return errors.respond(scope, await self._access.refuse(scope, "The key is wrong."))
        if self._access.has_session(headers):
            return None
        if errors.wants_page(scope) and scope["method"] in ("GET", "HEAD"):
            return RedirectResponse(SIGN_IN, 303)
        return errors.respond(scope, Refusal(401, "A key is needed. Send the header Authorization: Bearer KEY, or sign in.", CHALLENGE))
