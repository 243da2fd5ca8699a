"""Limits for lines of functions and modules and for parameters of functions."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.project import ROOT

MAX_FUNCTION_LINES = 40
MAX_PARAMETERS = 5
MAX_MODULE_LINES = 300
MODULE_EXCEPTIONS: dict[str, int] = {}
"""The schema of params.yaml, with the fields in the order of the file."""
CHECKED = [path for folder in ("components", "app", "flows") for path in sorted((ROOT / folder).rglob("*.py"))]


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The functions and methods of a module, each with its file and name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(ROOT).as_posix()}: {node.name}", node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The names of a function's parameters, without self and cls."""
    arguments = function.args
    all_arguments = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    return [argument.arg for argument in all_arguments if argument is not None and argument.arg not in ("self", "cls")]


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_functions_have_at_most_40_lines():
    sizes = [(name, lines(function)) for path in CHECKED for name, function in functions(path)]
    assert [f"{name}: {count} lines, at most {MAX_FUNCTION_LINES}" for name, count in sizes if count > MAX_FUNCTION_LINES] == []


def test_functions_have_at_most_5_parameters():
    counts = [(name, len(parameters(function))) for path in CHECKED for name, function in functions(path)]
    assert [f"{name}: {count} parameters, at most {MAX_PARAMETERS}" for name, count in counts if count > MAX_PARAMETERS] == []


def test_modules_are_within_line_limit():
    counts = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in CHECKED}
    limits = {name: MODULE_EXCEPTIONS.get(name, MAX_MODULE_LINES) for name in counts}
    assert [f"{name}: {count} lines, at most {limits[name]}" for name, count in counts.items() if count > limits[name]] == []
