"""Runs a command in the workspace: passes on its output line by line and ends its whole process group with it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
TRY_LATER = os.EX_TEMPFAIL
"""Exit code of a command that failed because an external service did not respond; DVC reports its stage's code in its message."""
DVC_TRY_LATER = (f"exited with {TRY_LATER}", "Unable to acquire lock", "is busy, it is being blocked by")
LINE_END = re.compile(rb"[\r\n]")
KEPT_LINES = 200
GRACE = 3.0
"""Seconds between interrupting and killing a command; a stage's outputs are complete or absent in either case."""

OnLine = Callable[[str], None]
Environment = Mapping[str, str] | None
LESIONFLOW = (sys.executable, "-m", "app.cli")


class CommandFailed(Exception):
    """A command failed; the message is the command's own."""


class TransientCommandError(CommandFailed):
    """The command failed because an external service did not respond or a resource was locked; it can be retried."""


@dataclass(frozen=True)
class Command:
    """A program with its arguments, the name of the command in messages, and the descriptors that it inherits in addition to its standard
    streams."""

    arguments: list[str]
    name: str
    inherited: tuple[int, ...] = ()


def free_port() -> int:
    """A port of 127.0.0.1 at which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_json(command: Command, on_line: OnLine, environment: Environment = None, root: Path = ROOT) -> Any:
    """Run a command and parse its standard output as JSON, even if it fails after printing it; see `run_command`."""
    with tempfile.TemporaryFile() as output:
        try:
            run_command(command, on_line, environment, root, output)
        except CommandFailed:
            if not os.fstat(output.fileno()).st_size:
                raise
        output.seek(0)
        return json.load(output)


def run_command(
    command: Command, on_line: OnLine, environment: Environment = None, root: Path = ROOT, output: IO[bytes] | None = None
) -> list[str]:
    """Run a command in its own process group; return its last lines of output.

    Anything that ends this call (a timeout, a cancelled run, Ctrl-C) ends the whole group.

    Args:
        command: the program and its arguments.
        on_line: called with each line of output.
        environment: variables in addition to this process's own.
        root: the workspace to run in.
        output: file for standard output if it is data; then only standard error is read as lines.

    Raises:
        TransientCommandError, CommandFailed: the command failed.
    """
    with _start(command, environment, root, output) as process:
        try:
            lines = _pass_on(process, on_line)
        except BaseException:
            _end(process)
            raise
    if process.returncode != 0:
        transient = process.returncode == TRY_LATER or any(mark in line for line in lines for mark in DVC_TRY_LATER)
        raise (TransientCommandError if transient else CommandFailed)(_error_message(command.name, lines))
    return lines


def _start(command: Command, environment: Environment, root: Path, output: IO[bytes] | None) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command.arguments,
        cwd=root,
        env=_environment(environment, root),
        stdout=output or subprocess.PIPE,
        stderr=subprocess.PIPE if output else subprocess.STDOUT,
        start_new_session=True,
        pass_fds=command.inherited,
    )


def _pass_on(process: "subprocess.Popen[bytes]", on_line: OnLine) -> list[str]:
    """Call `on_line` with each line until the stream ends; return the last lines."""
    stream = process.stdout or process.stderr
    assert stream is not None
    lines: list[str] = []
    for line in _lines(stream):
        lines = [*lines[-KEPT_LINES:], line]
        on_line(line)
    return lines


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number, patience in ((signal.SIGINT, GRACE), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _environment(extra: Environment, root: Path) -> dict[str, str]:
    """Environment in which `python` is this interpreter, even without an activated virtual environment, and imports the code in `root`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1", **(extra or {})}


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Yield lines as they arrive; carriage returns of a progress bar end lines too."""
    pending = b""
    while chunk := stream.read1(4096):  # type: ignore[attr-defined]
        *whole, pending = LINE_END.split(pending + chunk)
        yield from (text for line in whole if (text := line.decode(errors="replace").rstrip()))
    if pending.strip():
        yield pending.decode(errors="replace").rstrip()


def _error_message(name: str, lines: list[str]) -> str:
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    message = errors or [line for line in lines if line.startswith("ERROR: ")] or lines[-15:]
    return f"{name} failed:\n" + "\n".join(message)
