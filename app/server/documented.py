"""What the API's description says about each route: bodies, answers and errors, with examples."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Path
from starlette.responses import Response

from app.server import examples
from app.server.schemas import Error, Explanation, Model, Row, Similar

Number = Annotated[int, Path(ge=0, le=10_000_000, description="as `similar_cases` numbers it")]
IMAGE = {"type": "string", "format": "binary"}
TRUTH = {"type": "string", "enum": ["false", "true"], "default": "false", "description": "whether all images show one lesion"}
OUTPUT = {"type": "string", "description": "one of the version's outputs"}
READING = (400, 401, 414, 421, 429, 431, 500, 503)
"""Statuses that each route may answer with."""
COMPUTING = (*READING, 403, 408, 413, 415, 422)


def _errors(statuses: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    return {status: _error(status) for status in statuses}


def _error(status: int) -> dict[str, Any]:
    content = {"application/json": {"example": examples.error(status)}}
    return {"model": Error, "description": examples.REASONS[status], "content": content}


def _answered() -> dict[str, Any]:
    headers = {
        "X-Lesionflow-Version": {"description": "version that computed the answer", "schema": {"type": "string"}},
        "X-Request-Id": {"description": "id of the request", "schema": {"type": "string"}},
    }
    return {"description": "answered", "headers": headers}


def _takes(fields: dict[str, Any], several: bool) -> dict[str, Any]:
    image = {"type": "array", "items": IMAGE, "minItems": 1} if several else IMAGE
    form = {"type": "object", "properties": {"image": image, **fields}, "required": ["image"], "additionalProperties": False}
    raw = {kind: {"schema": IMAGE} for kind in ("image/jpeg", "image/png", "application/octet-stream")}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}, **raw}}}


PREDICT: dict[str, Any] = {
    "response_model": list[Row],
    "responses": {200: _answered(), **_errors(COMPUTING)},
    "openapi_extra": _takes({"lesion": TRUTH}, several=True),
}
EXPLAIN: dict[str, Any] = {
    "response_model": Explanation,
    "responses": {200: _answered(), **_errors(COMPUTING)},
    "openapi_extra": _takes({"output": OUTPUT}, several=False),
}
SIMILAR: dict[str, Any] = {
    "response_model": Similar,
    "responses": {200: _answered(), **_errors(COMPUTING)},
    "openapi_extra": _takes({}, several=True),
}
MODEL: dict[str, Any] = {
    "response_model": Model,
    "responses": {200: _answered(), **_errors(READING)},
}
_JPEG = {"description": "the picture", "content": {"image/jpeg": {"schema": IMAGE}}}
THUMBNAIL: dict[str, Any] = {"response_class": Response, "responses": {200: _JPEG, **_errors((*READING, 404, 422))}}
_CARD = {"description": "the model card", "content": {"text/markdown": {"schema": {"type": "string"}, "example": examples.CARD}}}
CARD: dict[str, Any] = {"response_class": Response, "responses": {200: _CARD, **_errors((*READING, 404))}}
