"""Reads and validates params.yaml; its errors name the key and the allowed values."""

import difflib
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import ValidationError

from components.core.errors import ParamsError, describe_invalid
from components.runtime import renamed_params
from components.runtime.params import Settings

PARAMS_FILE = Path("params.yaml")


def load(path: Path = PARAMS_FILE) -> Settings:
    """Read and validate params.yaml.

    Raises:
        ParamsError: the file is missing or not a YAML mapping, or a key is unknown, missing or out of range; the message lists each
            key and what is allowed.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist. Run this command from the project's root.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise ParamsError(f"{path} is not valid YAML: {fault}") from None
    if not isinstance(document, dict):
        raise ParamsError(f"{path} must be a mapping of sections, found {type(document).__name__}")
    return parse(document, str(path))


def parse(document: dict[str, Any], origin: str = "params") -> Settings:
    """Validate a mapping as `load` does; `origin` names it in messages."""
    try:
        return Settings.model_validate(document)
    except ValidationError as fault:
        renamed = renamed_params.renamed_keys(document)
        faults = [renamed_params.describe(old, new) for old, new in renamed.items()]
        faults += [_describe_fault(error) for error in _not_renamed(fault.errors())]
        raise ParamsError("\n".join(f"{origin}: {line}" for line in dict.fromkeys(faults))) from None


def _not_renamed(errors: list[Any]) -> list[Any]:
    """The errors other than an unknown key that was renamed, and its new name that is missing."""
    new_names = {_key(error): renamed_params.new_name(_key(error)) for error in errors}
    missing = set(new_names.values())
    return [error for error in errors if not new_names[_key(error)] and not (error["type"] == "missing" and _key(error) in missing)]


def _where(error: Any) -> list[str]:
    return [str(part) for part in error["loc"] if not str(part).startswith(("constrained-", "function-", "literal["))]


def _key(error: Any) -> str:
    return ".".join(_where(error))


def _describe_fault(error: Any) -> str:
    where, key = _where(error), _key(error)
    if error["type"] == "extra_forbidden":
        allowed = _allowed_keys(where[:-1])
        close = difflib.get_close_matches(where[-1], allowed, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"{key}: unknown key; {hint}allowed here: {', '.join(allowed)}"
    message = str(error["msg"].removeprefix("Value error, "))
    if not key:
        return message
    if error["type"] == "value_error" and isinstance(error["input"], dict):
        return f"{key}: {message}"
    return describe_invalid(key, error)


def _allowed_keys(where: list[str]) -> list[str]:
    found: Any = Settings
    for key in where:
        if get_origin(found) is dict:
            found = get_args(found)[1]
        else:
            found = {field.alias or name: field.annotation for name, field in found.model_fields.items()}[key]
    return [field.alias or name for name, field in found.model_fields.items()]
