"""Sessions of people who gave the key once: random tokens in memory, known by their hash."""

import hashlib
import secrets
import time
from collections import OrderedDict

SECONDS = 12 * 3600
"""After which a session ends."""
MOST = 10_000
"""Sessions at a time; a further one ends the oldest."""


class Sessions:
    """The sessions of a running service. They end with it."""

    def __init__(self) -> None:
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def begin(self) -> str:
        """Begin a session; return its token."""
        token = secrets.token_urlsafe(32)
        self._ends[_digest(token)] = time.monotonic() + SECONDS
        if len(self._ends) > MOST:
            self._ends.popitem(last=False)
        return token

    def is_valid(self, token: str) -> bool:
        """Whether a session with this token runs."""
        end = self._ends.get(_digest(token))
        if end is not None and end <= time.monotonic():
            self.end(token)
            return False
        return end is not None

    def end(self, token: str) -> None:
        """End a session, if it runs."""
        self._ends.pop(_digest(token), None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
