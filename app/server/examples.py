"""Examples in the API's description: answers of a small version with three outputs."""

from typing import Any

from starlette.responses import Response


class Jpeg(Response):
    """A JPEG."""

    media_type = "image/jpeg"


class Markdown(Response):
    """A text in Markdown."""

    media_type = "text/markdown"


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


NAMED = {"model": "skin-lesion-mobilenetv2", "version": "3"}
SPREAD = {"malignant": [0.58, 0.71], "probabilities": {"melanoma": [0.58, 0.71], "nevus": [0.22, 0.35], "keratosis": [0.05, 0.09]}}
CASE: dict[str, Any] = {
    "diagnosis": "melanoma",
    "collection": "HAM10000",
    "distance": 0.08,
    "license": "CC-BY-NC",
    "attribution": "ViDIR Group, Department of Dermatology, Medical University of Vienna",
    "thumbnail": 412,
}
COUNTS = {"melanoma": 11, "nevus": 5}
ANSWER: dict[str, Any] = {
    "alarm": True,
    "abstained": [],
    "diagnosis": "melanoma",
    "malignant_probability": 0.65,
    "operating_points": {"triage": True, "balanced": True, "rule_in": False},
    "prediction_set": ["melanoma", "nevus"],
    "probabilities": {"melanoma": 0.65, "nevus": 0.28, "keratosis": 0.07},
    "shifted_probabilities": None,
    "prevalence": {"melanoma": 0.35, "nevus": 0.5, "keratosis": 0.15},
    "view_spread": SPREAD,
    "picture_spread": None,
    "pictures": 1,
    "neighbour_counts": COUNTS,
    "similar_cases": [CASE],
    "in_training": False,
}
ROWS = [
    {"image": "1", **NAMED, "error": None, **ANSWER},
    {"image": "2", **NAMED, "error": "not a JPEG or PNG image", **dict.fromkeys(ANSWER)},
]
EXPLANATION = {
    **NAMED,
    "output": "melanoma",
    "meaning": "Where the score of this output comes from. It is coarse, and no evidence for a diagnosis.",
    "grid": [[0.1, 0.9], [0.4, 3.2]],
    "overlay": "data:image/png;base64,iVBORw0KGgo...",
}
SIMILAR = {
    **NAMED,
    "abstained": [],
    "in_training": False,
    "neighbour_counts": COUNTS,
    "similar_cases": [{**CASE, "thumbnail": "/v1/similar/412.jpg?version=3"}],
}
MODEL = {
    **NAMED,
    "outputs": ["melanoma", "nevus", "keratosis"],
    "malignant": ["melanoma"],
    "operating_points": {"triage": {"threshold": 0.12, "sensitivity": 0.95, "specificity": 0.41}},
    "abstention_threshold": 0.45,
    "views": 4,
    "prevalence": {"melanoma": 0.35, "nevus": 0.5, "keratosis": 0.15},
    "registered": "2026-11-27",
    "data_md5": "d5593355308f8736a1e547db7f2f7e4d.dir",
    "test_images": 576,
    "warnings": [],
    "card": "/v1/card",
}
CARD = "# skin-lesion-mobilenetv2, version 3\n"
