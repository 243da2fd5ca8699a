"""Functions, signatures and modules stay small enough to be read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.project import ROOT

MAX_FUNCTION_LINES = 40
MAX_PARAMETERS = 5
MAX_MODULE_LINES = 300
MODULE_EXCEPTIONS = {"components/runtime/params.py": 340}
"""The schema of params.yaml: one field after another, in the order of the file."""
CHECKED = [path for folder in ("components", "app", "flows") for path in sorted((ROOT / folder).rglob("*.py"))]


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The functions and methods of a module, each with its file and name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(ROOT).as_posix()}: {node.name}", node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The names of a function's parameters, without self and cls."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    return [argument.arg for argument in every if argument is not None and argument.arg not in ("self", "cls")]


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_no_function_is_too_long_to_be_read_at_once():
    sizes = [(name, lines(function)) for path in CHECKED for name, function in functions(path)]
    assert [f"{name}: {count} lines, at most {MAX_FUNCTION_LINES}" for name, count in sizes if count > MAX_FUNCTION_LINES] == []


def test_no_function_has_more_parameters_than_a_call_can_show():
    counts = [(name, len(parameters(function))) for path in CHECKED for name, function in functions(path)]
    assert [f"{name}: {count} parameters, at most {MAX_PARAMETERS}" for name, count in counts if count > MAX_PARAMETERS] == []


def test_no_module_is_too_long():
    counts = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in CHECKED}
    limits = {name: MODULE_EXCEPTIONS.get(name, MAX_MODULE_LINES) for name in counts}
    assert [f"{name}: {count} lines, at most {limits[name]}" for name, count in counts.items() if count > limits[name]] == []
