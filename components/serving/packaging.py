"""Copies the code that a version is served with to a self-contained package, independent of later changes of the checkout."""

import ast
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ENTRY = "serving"
"""Name of the module that MLflow runs; the project modules that it imports are copied to the package."""
PROJECT = "components"
FOLDER = Path(__file__).parents[1]
"""Folder of the project's modules."""
PREFIX = "lesionflow_served_"
ABOUT = '"""Code that serves a registered version of Lesionflow: copies of project modules, made at registration."""\n'


@dataclass(frozen=True)
class ServedCode:
    """`entry`: the file that MLflow runs; `folder`: the package that it imports, whose name contains a hash of all files."""

    entry: Path
    folder: Path

    @property
    def name(self) -> str:
        """Name of the package."""
        return self.folder.name

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Make the package importable within the block; afterwards its modules are removed from sys.modules."""
        path = sys.path
        sys.path = [str(self.folder.parent), *path]
        try:
            yield
        finally:
            sys.path = path
            for name in [name for name in sys.modules if name.partition(".")[0] == self.name]:
                del sys.modules[name]


def modules_of(entry: Path, project: Path = FOLDER) -> dict[str, Path]:
    """The entry, as ENTRY, and all project modules that it imports directly or indirectly, by dotted name."""
    found: dict[str, Path] = {}
    todo = {ENTRY: entry}
    while todo:
        name, path = todo.popitem()
        if name not in found:
            found[name] = path
            todo |= _imported(path.read_text(encoding="utf-8"), project)
    return found


def write(modules: Mapping[str, Path], target: Path) -> ServedCode:
    """Write a copy of the modules that does not import the project.

    Args:
        modules: ENTRY and all project modules that it imports, by dotted name.
        target: an empty folder.
    """
    texts = {name: path.read_text(encoding="utf-8") for name, path in sorted(modules.items())}
    digest = hashlib.sha256("\0".join(part for item in texts.items() for part in item).encode()).hexdigest()
    package = target / f"{PREFIX}{digest[:16]}"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(ABOUT, encoding="utf-8")
    entry = target / f"{ENTRY}.py"
    for name, text in texts.items():
        path = entry if name == ENTRY else package.joinpath(*name.split(".")).with_suffix(".py")
        for folder in path.relative_to(target).parents[:-2]:
            (target / folder).mkdir(exist_ok=True)
            (target / folder / "__init__.py").touch()
        path.write_text(_renamed(text, package.name), encoding="utf-8")
    return ServedCode(entry, package)


def _project_imports(text: str) -> list[ast.ImportFrom]:
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == PROJECT and not node.level:
            found.append(node)
        elif (isinstance(node, ast.ImportFrom) and node.level) or (
            isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == PROJECT for alias in node.names)
        ):
            raise ValueError(f"line {node.lineno}: served code must import project modules with `from {PROJECT}... import ...`")
    return found


def _imported(text: str, project: Path) -> dict[str, Path]:
    found = {}
    for node in _project_imports(text):
        parts = str(node.module).split(".")[1:]
        for alias in node.names:
            module = project.joinpath(*parts, f"{alias.name}.py")
            if module.exists():
                found[".".join([*parts, alias.name])] = module
            else:
                found[".".join(parts)] = project.joinpath(*parts).with_suffix(".py")
    return found


def _renamed(text: str, package: str) -> str:
    """Rewrite the module's imports of the project to imports of the package."""
    lines = text.splitlines(keepends=True)
    for node in _project_imports(text):
        lines[node.lineno - 1] = re.sub(rf"\bfrom {PROJECT}\b", f"from {package}", lines[node.lineno - 1], count=1)
    return "".join(lines)
