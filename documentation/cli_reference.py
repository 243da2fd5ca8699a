"""The page docs/reference/cli.md, from the commands themselves: click's, make's, the stages' and the flows'."""

import ast
from collections.abc import Iterator
from pathlib import Path

import click
import yaml

from app.cli import main
from documentation.markdown import source, table
from documentation.mentions import make_targets
from documentation.repository import GENERATED_NOTE, ROOT

FLOW_COMMANDS = ("flows.training", "flows.serve", "flows.server", "flows.deploy")


def page() -> str:
    """The page as Markdown."""
    parts = [
        "# Command line",
        GENERATED_NOTE,
        "Every command, its options and defaults."
        " Run them from the project's root, in the environment that `make setup` creates (`source .venv/bin/activate`)."
        " Exit codes are on [their own page](exit-codes-and-errors.md).",
        "## lesionflow",
        *(section for path, command in commands(main, "lesionflow") for section in _command(path, command)),
        "## make",
        table(["target", "description"], [[f"`make {name}`", text] for name, text in make_targets().items()]),
        "## Stages",
        "A stage takes no options: its settings are in `params.yaml`, where DVC sees them. `dvc repro` runs the stages that are out of"
        " date; `dvc repro --single-item STAGE` runs one.",
        table(["command", "description"], [[f"`{command}`", _first_sentence(command.split()[-1])] for command in _stage_commands()]),
        "## Flows and servers",
        *(section for module in FLOW_COMMANDS for section in _module(module)),
        source("app/cli.py", "app/data/commands.py", "Makefile", "dvc.yaml", *(f"{name.replace('.', '/')}.py" for name in FLOW_COMMANDS)),
    ]
    return "\n\n".join(parts) + "\n"


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with the words that call it, in the order in which it is defined."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _command(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    yield f"### {path}"
    yield f"```text\n{' '.join([path, *command.collect_usage_pieces(context)])}\n```"
    yield "\n".join(line.strip() for line in (command.help or "").strip().splitlines())
    options = [option for option in command.params if isinstance(option, click.Option)]
    if options:
        yield table(["option", "default", "description"], [_option(option, context) for option in options])


def _option(option: click.Option, context: click.Context) -> list[str]:
    names = ", ".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else f" {option.make_metavar(context)}"
    default = f"`{option.default!s}`" if option.show_default else ""
    return [f"`{names}{value}`", default, option.help or "`table` for people, `json` for programs"]


def _stage_commands() -> list[str]:
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    return [stage["cmd"] for stage in pipeline["stages"].values()]


def _module(name: str) -> Iterator[str]:
    yield f"### python -m {name}"
    yield _first_sentence(name)
    flags = list(_flags(_tree(name)))
    if flags:
        yield table(["option", "description"], flags)


def _flags(tree: ast.Module) -> Iterator[list[str]]:
    """Options of an argparse parser, as the source adds them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            names = [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
            given = {keyword.arg: keyword.value.value for keyword in node.keywords if isinstance(keyword.value, ast.Constant)}
            text = str(given.get("help", "")).replace("%(default)s", str(given.get("default", "")))
            metavar = f" {given['metavar']!s}" if "metavar" in given else ""
            yield [f"`{', '.join(names)}{metavar}`", text]


def _tree(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    source = path / "__main__.py" if path.is_dir() else Path(f"{path}.py")
    return ast.parse(source.read_text(encoding="utf-8"))


def _first_sentence(module: str) -> str:
    """The first paragraph of a module's docstring."""
    return " ".join((ast.get_docstring(_tree(module)) or "").split("\n\n")[0].split())
