"""Diagnoses are data: only the files of labels/ and of the importers name them."""

import re

import pytest

from components.data_quality.label_definitions import read_definitions
from tests.support.project import ROOT

EXEMPT = (
    "components/core/former_formats.py",
    "components/runtime/renamed_params.py",
    "components/synthetic",
)
"""What older releases wrote, the names of former params, and the synthetic sample."""
CHECKED = [
    path
    for folder in ("components", "flows", "app")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".jinja") and not path.relative_to(ROOT).as_posix().startswith(EXEMPT)
]
GENERAL = {"benign", "malignant", "mole", "moles", "cancer", "vascular"}
"""Words of the field that are no diagnosis."""


def diagnoses() -> re.Pattern[str]:
    named = {
        name
        for entry in read_definitions(ROOT / "labels").values()
        for key, definition in entry.classes.items()
        for name in (key, *definition.synonyms, *definition.includes)
    }
    words = sorted(re.sub("[ _]", "[ _-]", name) for name in named - GENERAL if len(name) > 4)
    return re.compile(rf"(?<![a-z])({'|'.join(words)})(?![a-z])", re.IGNORECASE)


@pytest.mark.parametrize("path", CHECKED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_names_no_diagnosis(path):
    assert diagnoses().findall(path.read_text(encoding="utf-8")) == []
