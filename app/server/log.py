"""The log: one line for each request on standard error, which holds nothing of the request's content."""

import logging
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

LOGGER = logging.getLogger("lesionflow.serve")
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
SILENT = ("uvicorn.access", "python_multipart", "python_multipart.multipart")
"""Loggers whose lines hold paths, queries or bytes of requests."""


@dataclass(frozen=True)
class Line:
    """What the log tells of a request.

    Attributes:
        request_id: that the answer names, too.
        method: of HTTP, or OTHER.
        route: template of the address, as /v1/similar/{number}.jpg; "-" where no route took the request.
        version: of the model that computed the answer; "-" where none did.
        status: of the answer; 499 where the client had gone.
        milliseconds: from the request's first byte to the answer's last.
    """

    request_id: str
    method: str
    route: str
    version: str
    status: int
    milliseconds: float


def configure() -> None:
    """Write the lines to standard error, and silence loggers that tell of requests' content."""
    if not LOGGER.handlers:
        handler = _StandardError()
        handler.setFormatter(_Formatter())
        LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    for name in SILENT:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate, logger.disabled = [logging.NullHandler()], False, True


def request(line: Line) -> None:
    """Log a request."""
    method = line.method if line.method in METHODS else "OTHER"
    LOGGER.info(
        "id=%s %s %s version=%s status=%d ms=%.1f", line.request_id, method, line.route, line.version, line.status, line.milliseconds
    )


def failure(request_id: str, fault: BaseException) -> None:
    """Log an error that nobody expected: its type and where it happened, without its message, which may quote the request."""
    LOGGER.error("id=%s %s", request_id, "\n".join(_trace(fault)))


def _trace(fault: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    current: BaseException | None = fault
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield f"{'caused by ' if current is not fault else ''}{type(current).__module__}.{type(current).__qualname__}"
        for frame in traceback.extract_tb(current.__traceback__):
            yield f"    {frame.filename}:{frame.lineno} in {frame.name}"
        current = current.__cause__ or current.__context__


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return f"{time} {record.levelname.lower()} {record.getMessage()}"


class _StandardError(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what standard error is now, as tests replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)
