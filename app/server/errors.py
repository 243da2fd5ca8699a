"""Errors as answers: one sentence, and the id of the request."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Scope

from app.server.engine import Busy, NotReady
from app.server.html.rendering import error_page
from components.core.errors import LesionflowError, UnreadableImageError

BUSY, NOT_READY = "1", "5"
"""Seconds after which a client may try again."""
SENTENCES = {
    404: "This address does not exist.",
    405: "This address does not take this method.",
    500: "The service failed. Its log has the cause under this request's id.",
}


class Refusal(LesionflowError):
    """A request that is not answered as asked.

    Attributes:
        status: of the response.
        headers: that the response has besides.
    """

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = dict(headers or {})


def respond(scope: Scope, refusal: Refusal) -> Response:
    """The response to a refused request: JSON for programs, a page for people."""
    if not wants_page(scope):
        return as_json(scope, refusal)
    page = error_page(scope["app"].state.settings, refusal.status, str(refusal), _request_id(scope))
    return HTMLResponse(page, refusal.status, refusal.headers)


def as_json(scope: Scope, refusal: Refusal) -> Response:
    """The response to a refused request, for programs."""
    return JSONResponse({"error": str(refusal), "request_id": _request_id(scope)}, refusal.status, refusal.headers)


def _request_id(scope: Scope) -> str:
    return str(scope.get("state", {}).get("request_id", ""))


def wants_page(scope: Scope) -> bool:
    """Whether a person asks with a browser for a page, not a program for data."""
    return not scope["path"].startswith("/v1/") and "text/html" in Headers(scope=scope).get("accept", "")


def failed() -> Refusal:
    """The answer where the service itself is at fault."""
    return Refusal(500, SENTENCES[500])


def install(application: FastAPI) -> None:
    """Have the application answer every expected error with one sentence."""
    for kind in (Refusal, Busy, NotReady, UnreadableImageError, RequestValidationError, HTTPException):
        application.add_exception_handler(kind, _handle)


def _handle(request: Request, fault: Exception) -> Response:
    return respond(request.scope, _refusal(fault))


def _refusal(fault: Exception) -> Refusal:
    if isinstance(fault, Refusal):
        return fault
    if isinstance(fault, Busy | NotReady):
        seconds = BUSY if isinstance(fault, Busy) else NOT_READY
        return Refusal(503, f"{_sentence(str(fault))}", {"Retry-After": seconds})
    if isinstance(fault, UnreadableImageError):
        return Refusal(422, f"The image cannot be read: {fault}.")
    if isinstance(fault, RequestValidationError):
        return Refusal(422, describe(fault.errors()))
    assert isinstance(fault, HTTPException)
    return Refusal(fault.status_code, SENTENCES.get(fault.status_code, "The request cannot be answered."), fault.headers)


def describe(faults: Any) -> str:
    """What is wrong with the parameters of a request, without their values."""
    return "; ".join(sorted({f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in faults})) + "."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."
