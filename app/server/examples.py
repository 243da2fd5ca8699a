"""Examples in the API's description: answers of a small version with three outputs."""

import json
from pathlib import Path
from typing import Any

REASONS = {
    400: "not a valid request, or a key in the address",
    401: "no key, or a wrong one",
    403: "sent by a page of another site",
    404: "does not exist",
    408: "did not arrive in time",
    413: "too large, or too many images",
    414: "an address that is too long",
    415: "not a JPEG or PNG",
    421: "another host name than the service answers to",
    422: "an image that cannot be read, or a missing or wrong field",
    429: "too many wrong keys",
    431: "headers that are too long",
    500: "a fault of the service",
    503: "busy, or no version is loaded; try again after the seconds in Retry-After",
}
SENTENCES = {
    400: "The form ends before its last boundary.",
    401: "A key is needed. Send the header Authorization: Bearer KEY, or sign in.",
    403: "The request comes from a page of another site.",
    404: "The version has no picture of this number.",
    408: "The request did not arrive within 30 seconds.",
    413: "The form has more than 8 images.",
    414: "The address is longer than 4,096 bytes.",
    415: "The image cannot be read: not a JPEG or PNG image.",
    421: "This service does not answer to this host name. Start it with --allowed-host to add one.",
    422: "The image cannot be read: truncated or corrupt: image file is truncated (12 bytes not processed).",
    429: "Too many wrong keys. Wait before the next attempt.",
    431: "The request has more than 100 headers, or more than 16,384 bytes of them.",
    500: "The service failed. Its log has the cause under this request's id.",
    503: "Too many requests wait; try again later.",
}


def error(status: int) -> dict[str, str]:
    """An answer with this status."""
    return {"error": SENTENCES[status], "request_id": "3f0c9a51be27d604"}


_ANSWERS: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
ANSWERS = {
    ("/v1/predict", "post"): _ANSWERS["rows"],
    ("/v1/explain", "post"): _ANSWERS["explanation"],
    ("/v1/similar", "post"): _ANSWERS["similar"],
    ("/v1/model", "get"): _ANSWERS["model"],
}
"""By path and method. FastAPI would leave out what is null in them (openapi.py adds them)."""
CARD = "# skin-lesion-mobilenetv2, version 3\n"
