"""Key, type and meaning of everything in a JSON report, from its model's schema."""

from collections.abc import Iterator
from typing import Any

from components.core.document import JsonFile
from components.core.reports.evaluation import Estimate

Row = tuple[str, str, str]
TYPES = {"string": "text"}
"""Names of JSON types on the page, where they differ."""


def rows(model: type[JsonFile]) -> list[list[str]]:
    """Rows in the order of the file, whose keys are sorted.

    Raises:
        KeyError: a field has no description.
    """
    schema = model.model_json_schema()
    found = sorted(_properties(schema, schema.get("$defs", {}), ""))
    return [[f"`{key}`", kind, meaning] for key, kind, meaning in found]


def _properties(schema: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Iterator[Row]:
    for name, field in schema["properties"].items():
        yield from _rows(f"{prefix}{name}", field, definitions)


def _rows(key: str, field: dict[str, Any], definitions: dict[str, Any]) -> Iterator[Row]:
    [shape] = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    item, path, container = shape, key, "object"
    if "additionalProperties" in shape:
        item, path = shape["additionalProperties"], f"{key}.<{field['key']}>"
    elif shape.get("type") == "array":
        item, path, container = shape["items"], f"{key}[]", "list"
    name = item.get("$ref", "").rpartition("/")[2]
    if "additionalProperties" in item:
        yield key, container, field["description"]
        yield from _rows(path, item, definitions)
    elif not name:
        yield path, TYPES.get(item.get("type", "value"), item.get("type", "value")), field["description"]
    elif name == Estimate.__name__:
        yield path, "estimate", field["description"]
    else:
        if "description" in field:
            yield key, container, field["description"]
        yield from _properties(definitions[name], definitions, f"{path}.")
