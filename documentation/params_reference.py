"""The page docs/reference/params.md, from the schema of params.yaml, its values and its comments."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from components.runtime.params import Settings
from components.runtime.params_file import PARAMS_FILE
from documentation.markdown import source, table
from documentation.repository import GENERATED_NOTE, ROOT

ENTRY = re.compile(r"^(?P<indent> *)(?P<key>[\w]+):(?P<value>[^#]*)(?:#\s*(?P<comment>.*))?$")
MORE = re.compile(r"^\s+#\s*(?P<comment>.*)$")
HEAD = ["parameter", f"value in `{PARAMS_FILE}`", "allowed", "meaning"]


def page() -> str:
    """The page as Markdown."""
    text = (ROOT / PARAMS_FILE).read_text(encoding="utf-8")
    schema, values, notes = Settings.model_json_schema(by_alias=True), yaml.safe_load(text), comments(text)
    rows = list(_rows(schema, schema, values, notes))
    whole = [row for row in rows if "." not in row[0]]
    parts = [
        "# Parameters",
        GENERATED_NOTE,
        "Every setting of `params.yaml`, its value and its limits."
        " An unknown, missing or disallowed key stops every stage, with the allowed keys in the"
        " message; `lesionflow params check` checks the file."
        " [Change parameters](../how-to/change-parameters.md) shows how to try other values.",
        "## General",
        table(HEAD, [_format(row) for row in whole]),
    ]
    for section in dict.fromkeys(row[0].partition(".")[0] for row in rows if "." in row[0]):
        stages = sorted(_stages_of(section))
        names = ", ".join(f"`{name}`" for name in stages)
        used = f"Read by {'the stage' if len(stages) == 1 else 'the stages'} {names}." if stages else "No stage reads this section."
        nested = [f"`{key}`: {note}" for key, note in notes.items() if key.startswith(f"{section}.") and _is_nested(schema, values, key)]
        parts += [f"## {section}", used, *_about(schema, section), *nested]
        parts.append(table(HEAD, [_format(row) for row in rows if row[0].startswith(f"{section}.")]))
    parts.append(source("components/runtime/params.py", "components/runtime/params_file.py", "params.yaml", "dvc.yaml"))
    return "\n\n".join(parts) + "\n"


def _about(schema: Mapping[str, Any], section: str) -> list[str]:
    """What the schema says of a section, as one paragraph, or nothing."""
    node = schema["properties"][section]
    node = _resolved(schema, node.get("additionalProperties", node))
    return [" ".join(node["description"].split())] if "description" in node else []


def _is_nested(schema: Mapping[str, Any], values: Mapping[str, Any], path: str) -> bool:
    """Whether the path names a mapping that has rows of its own, in a section whose keys are fixed."""
    if "additionalProperties" in schema["properties"][path.partition(".")[0]]:
        return False
    node: Any = values
    for key in path.split("."):
        node = node[key]
    return isinstance(node, dict) and "action" not in node


def comments(text: str) -> dict[str, str]:
    """The comment of each key of a YAML file by its dotted path; lines that hold only a comment continue the one before."""
    found: dict[str, str] = {}
    open_keys: list[tuple[int, str]] = []
    for line in text.splitlines():
        if entry := ENTRY.match(line):
            indent = len(entry["indent"])
            open_keys = [(depth, key) for depth, key in open_keys if depth < indent] + [(indent, entry["key"])]
            found[".".join(key for _, key in open_keys)] = entry["comment"] or ""
        elif (more := MORE.match(line)) and found:
            last = next(reversed(found))
            found[last] = f"{found[last]} {more['comment']}".strip()
    return {key: comment.strip() for key, comment in found.items() if comment.strip()}


def _rows(
    schema: Mapping[str, Any], node: Mapping[str, Any], values: Mapping[str, Any], notes: Mapping[str, str], prefix: str = ""
) -> Iterator[tuple[str, str, str, str]]:
    for key, value in values.items():
        known = _resolved(schema, node.get("properties", {}).get(key) or node.get("additionalProperties"))
        path = f"{prefix}{key}"
        if isinstance(value, dict) and "action" not in value:
            yield from _rows(schema, known, value, notes, f"{path}.")
        elif isinstance(value, dict):
            yield path, _shown(value), f"action: {allowed(schema, known['properties']['action'])}", notes.get(path, "")
        else:
            yield path, _shown(value), allowed(schema, known), notes.get(path, "")


def _resolved(schema: Mapping[str, Any], node: Any) -> Mapping[str, Any]:
    if isinstance(node, dict) and "$ref" in node:
        return dict(schema["$defs"][node["$ref"].rpartition("/")[2]])
    return node if isinstance(node, dict) else {}


def allowed(schema: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in a few words."""
    node = _resolved(schema, node)
    if "anyOf" in node:
        return " or ".join(allowed(schema, choice) for choice in node["anyOf"])
    if "enum" in node:
        return ", ".join(f"`{choice}`" for choice in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    if "prefixItems" in node:
        return f"[{', '.join(allowed(schema, item) for item in node['prefixItems'])}]"
    if node.get("type") == "array":
        return f"list of {allowed(schema, node['items'])}"
    kind = {"integer": "whole number", "null": "`null`", "string": "text", "boolean": "`true`, `false`"}.get(node["type"], node["type"])
    return " ".join([kind, _range(node)]).strip()


def _range(node: Mapping[str, Any]) -> str:
    low = next((f"{sign} {node[key]}" for key, sign in (("minimum", ">="), ("exclusiveMinimum", ">")) if key in node), "")
    high = next((f"{sign} {node[key]}" for key, sign in (("maximum", "<="), ("exclusiveMaximum", "<")) if key in node), "")
    return ", ".join(bound for bound in (low, high) if bound)


def _shown(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).removesuffix("...\n").strip()


def _format(row: tuple[str, str, str, str]) -> list[str]:
    path, value, limits, note = row
    return [f"`{path}`", f"`{value}`", limits, note]


def _stages_of(section: str) -> set[str]:
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name for name, stage in pipeline.items() if any(param.partition(".")[0] == section for param in stage.get("params", []))}
