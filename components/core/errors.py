"""User errors: a command reports them as one message without a traceback."""

from collections.abc import Mapping
from typing import Any


class LesionflowError(Exception):
    """User error; the message names the file or the value and what to do."""


class ParamsError(LesionflowError):
    """params.yaml is missing, is not YAML, or has a key or value that is not allowed."""


class UnreadableImageError(LesionflowError):
    """The bytes are not a supported image; the message gives the reason."""


class ServiceUnavailable(LesionflowError):
    """An external service did not respond, or a resource is locked; the same call may succeed later."""


def first_line(error: BaseException) -> str:
    """First line of an error's message, or the name of its type if it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def describe_invalid(key: str, error: Mapping[str, Any]) -> str:
    """Describe one of pydantic's errors: the key, and what is wrong with its value or that it is missing."""
    if error["type"] == "missing":
        return f"{key}: missing key"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}: {error['input']!r} is not allowed: {message[0].lower()}{message[1:]}"
