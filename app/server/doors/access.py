"""Who may use a service that has a key: programs that give it, and people with a session."""

import hmac
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from app.server.doors.attempts import Attempts
from app.server.doors.sessions import SECONDS, Sessions
from app.server.errors import Refusal
from app.server.settings import Settings

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="lesionflow"'}
RETRY = {"Retry-After": "5"}


class Access:
    """The key, the sessions and the attempts of a service.

    Attributes:
        is_needed: whether the service has a key.
        cookie: name of the session's cookie.
    """

    def __init__(self, settings: Settings) -> None:
        self._key = None if settings.key is None else settings.key.encode()
        self._secure = settings.tls is not None or settings.behind_proxy
        self._sessions, self._attempts = Sessions(), Attempts()
        self.is_needed = self._key is not None
        self.cookie = "__Host-lesionflow" if self._secure else "lesionflow"

    def is_key(self, given: bytes) -> bool:
        """Whether this is the key, compared in constant time."""
        return self._key is not None and hmac.compare_digest(given, self._key)

    def token(self, headers: Headers) -> str:
        """The session's token that a browser sent; empty if none."""
        return str(cookie_parser(headers.get("cookie", "")).get(self.cookie, ""))

    def has_session(self, headers: Headers) -> bool:
        """Whether a request belongs to a session."""
        token = self.token(headers)
        return bool(token) and self._sessions.is_valid(token)

    def begin(self) -> dict[str, str]:
        """Begin a session; return the header that sets its cookie."""
        return self._set_cookie(self._sessions.begin(), SECONDS)

    def end(self, headers: Headers) -> Mapping[str, str]:
        """End the session of a request; return the header that deletes its cookie."""
        self._sessions.end(self.token(headers))
        return self._set_cookie("", 0)

    async def refuse(self, scope: Scope, sentence: str) -> Refusal:
        """Count a wrong key, and return its refusal."""
        client = scope.get("client")
        if await self._attempts.wrong(client[0] if client else ""):
            return Refusal(429, "Too many wrong keys. Wait before the next attempt.", RETRY)
        return Refusal(401, sentence, CHALLENGE)

    def _set_cookie(self, token: str, seconds: int) -> dict[str, str]:
        secure = "; Secure" if self._secure else ""
        return {"Set-Cookie": f"{self.cookie}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"}
