"""Code and names of code in the documentation exist."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from documentation.repository import ROOT
from documentation.repository import pages as every_page

PACKAGES = ("components", "flows", "app")
PYTHON_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
NAME_IN_FILE = re.compile(r"`(\w+)`\s*(?:\(|in|of)\s*(?:\[)?`((?:components|flows|app|tests|benchmarks)/[\w/]+\.py)`")
"""A name and the file that has it, as in: `find_near_pairs` of `components/data_quality/near_duplicates.py`."""


def attributes(code: str) -> Iterator[tuple[str, str]]:
    """Modules of the project that the code imports, each with an attribute that it uses."""
    tree = ast.parse(code)
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
            for alias in node.names:
                yield str(node.module), alias.name
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield modules[node.value.id], node.attr


def exists(module: str, name: str) -> bool:
    """Whether the module has the attribute, or a module of this name is in the package."""
    return hasattr(importlib.import_module(module), name) or (ROOT / module.replace(".", "/") / f"{name}.py").exists()


def names_in(path: Path) -> set[str]:
    """Names that a module defines or uses anywhere."""
    return set(re.findall(r"\w+", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", every_page(), ids=lambda page: str(page.relative_to(ROOT)))
def test_python_code_in_documentation_uses_existing_names(page):
    used = [found for block in PYTHON_BLOCK.findall(page.read_text(encoding="utf-8")) for found in attributes(block)]
    assert [f"{module}.{name}" for module, name in used if not exists(module, name)] == []


@pytest.mark.parametrize("page", every_page(), ids=lambda page: str(page.relative_to(ROOT)))
def test_names_in_documentation_are_in_file_that_is_named_with_them(page):
    named = NAME_IN_FILE.findall(page.read_text(encoding="utf-8"))
    assert [f"{name} of {file}" for name, file in named if name not in names_in(ROOT / file)] == []


def test_unknown_names_are_found():
    assert list(attributes("from components.imaging import images\nimages.reader(1)")) == [
        ("components.imaging", "images"),
        ("components.imaging.images", "reader"),
    ]
    assert not exists("components.imaging.images", "reader")
    assert exists("components.imaging", "images")
    assert NAME_IN_FILE.findall("`replacing` (`components/core/files.py`)") == [("replacing", "components/core/files.py")]
    assert "replacing" not in names_in(ROOT / "components/core/files.py")
