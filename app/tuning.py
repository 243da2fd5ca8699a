"""Takes what a search found over into params.yaml, with its comments as they are."""

import difflib
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from components.core.errors import LesionflowError
from components.core.files import atomic_write
from components.core.paths import TUNING
from components.core.reports.tuning import TuningReport
from components.runtime.params_file import PARAMS_FILE, load
from components.runtime.tuning_params import with_values


def proposal() -> tuple[TuningReport, str, str]:
    """The report of the last search, params.yaml as it is, and as the best trial has it.

    Raises:
        LesionflowError: no search has ended, or params.yaml was changed since.
    """
    if not TUNING.exists():
        raise LesionflowError(f"{TUNING} does not exist: run `lesionflow tune` first")
    report, text = TuningReport.read(TUNING), PARAMS_FILE.read_text(encoding="utf-8")
    document = load().model_dump(by_alias=True, mode="json")
    for key, value in report.present.items():
        section, _, name = key.partition(".")
        if document.get(section, {}).get(name) != value:
            raise LesionflowError(
                f"{key} is {document.get(section, {}).get(name)} in {PARAMS_FILE}, and was {value} when the search started."
                " Run `lesionflow tune` again."
            )
    return report, text, with_new_values(text, {key: value for key, value in report.best.items() if value != report.present[key]})


def diff(before: str, after: str) -> list[str]:
    """A unified diff of params.yaml; empty if nothing would change."""
    name = str(PARAMS_FILE)
    return list(difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="", n=1))


def write(text: str, path: Path = PARAMS_FILE) -> None:
    """Replace params.yaml."""
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")


def with_new_values(text: str, values: Mapping[str, Any]) -> str:
    """The text of a params.yaml with other values of keys such as train.dropout; comments and all else stay.

    Raises:
        LesionflowError: a value stands over several lines.
    """
    changed = text
    for key, value in values.items():
        section, _, name = key.partition(".")
        line = re.compile(rf"(?ms)(^{re.escape(section)}:[^\n]*\n(?:[ #][^\n]*\n|\n)*?  {re.escape(name)}: *)([^#\n]*?)( *)(#[^\n]*)?$")
        changed = line.sub(partial(_replaced, value), changed, count=1)
    try:
        done = yaml.safe_load(changed) == with_values(yaml.safe_load(text), values)
    except yaml.YAMLError:
        done = False
    if not done:
        raise LesionflowError(f"{', '.join(values)} cannot be changed in {PARAMS_FILE}: not written on one line. Edit it by hand.")
    return changed


def _replaced(value: Any, found: re.Match[str]) -> str:
    """The line with another value, its comment where it was if there is room."""
    head, old, space, comment = found.group(1), found.group(2), found.group(3), found.group(4) or ""
    new = yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("...").strip()
    gap = " " * max(1, len(old) + len(space) - len(new)) if comment else space
    return f"{head}{new}{gap}{comment}"
