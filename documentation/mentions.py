"""Checks that the source files, imports and commands that the documentation mentions in code exist."""

import re
from pathlib import Path

import click

from documentation import markdown
from documentation.repository import ROOT, pages

SOURCE = re.compile(r"^(?:components|flows|app|benchmarks|documentation|tests)/[\w./-]+$")
"""A path of the repository's code, alone in its code span."""
PLACEHOLDER = re.compile(r"NAME|<|\*|…|\.\.\.")
MODULE = re.compile(r"python -m ((?:components|flows|app|benchmarks|documentation)[\w.]*)")
SCRIPT = re.compile(r"python (benchmarks/\w+\.py)")
IMPORT = re.compile(r"^from ((?:components|flows|app|benchmarks|documentation)[\w.]*) import (\w+)$")
TARGET = re.compile(r"(?:^|[ `])make ([a-z][a-z-]*)")
LESIONFLOW = re.compile(r"(?:^|[ `])lesionflow((?: [a-z]+)+)")


def missing(root: Path = ROOT) -> list[str]:
    """One line for each file, module, make target or `lesionflow` command that a page mentions and that does not exist."""
    return [f"{page.relative_to(root)}: {name}" for page in pages(root) for name in missing_in(page.read_text(encoding="utf-8"), root)]


def missing_in(text: str, root: Path = ROOT) -> list[str]:
    """What a page mentions that does not exist."""
    found: list[str] = []
    for span in markdown.code(text):
        if PLACEHOLDER.search(span):
            continue
        if SOURCE.match(span) and not (root / span).exists():
            found.append(span)
        found += [name for name in MODULE.findall(span) if not _is_module(root, name)]
        found += [f"python {name}" for name in SCRIPT.findall(span)]  # benchmarks are a package: `python -m benchmarks.NAME`
        found += [f"{module}.{name}" for module, name in IMPORT.findall(span) if not _defines(root, module, name)]
        found += [f"make {name}" for name in TARGET.findall(span) if name not in make_targets(root)]
        found += [f"lesionflow{words}" for words in LESIONFLOW.findall(span) if not _is_command(words.split())]
    return found


def make_targets(root: Path = ROOT) -> dict[str, str]:
    """The documented targets of the Makefile, and what each does."""
    text = (root / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z-]+):.*?## (.*)$", text, flags=re.MULTILINE))


def _is_module(root: Path, name: str) -> bool:
    path = root.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def _defines(root: Path, module: str, name: str) -> bool:
    """Whether a module of the project defines the name at its top level, or a package contains it as a module."""
    path = root.joinpath(*module.split("."))
    if path.is_dir():
        return (path / f"{name}.py").is_file() or (path / name).is_dir()
    source = path.with_suffix(".py")
    defined = re.compile(rf"^(?:(?:def|class) {name}\b|{name}\b.*=)", flags=re.MULTILINE)
    return source.is_file() and defined.search(source.read_text(encoding="utf-8")) is not None


def _is_command(words: list[str]) -> bool:
    """Whether the words begin with a command; once it takes arguments, further words are those."""
    from app.cli import main

    command: click.Command = main
    for word in words:
        if not isinstance(command, click.Group):
            return True
        if word not in command.commands:
            return False
        command = command.commands[word]
    return True
