"""Runs a command in the workspace: its output handed on line by line, its whole process group ended with it."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
TRY_LATER = os.EX_TEMPFAIL
"""Exit code of a command for which something outside did not answer; DVC repeats its stage's code in words."""
DVC_TRY_LATER = (f"exited with {TRY_LATER}", "Unable to acquire lock", "is busy, it is being blocked by")
LINE_END = re.compile(rb"[\r\n]")
KEPT_LINES = 200
GRACE = 3.0
"""Seconds a command has to end in, once interrupted, before it is killed: what a stage writes is complete or absent either way."""

OnLine = Callable[[str], None]
Environment = Mapping[str, str] | None
LESIONFLOW = (sys.executable, "-m", "app.cli")


class CommandFailed(Exception):
    """A command ended with an error; the message is the command's own."""


class TryLater(CommandFailed):
    """It failed because something outside did not answer or was locked: worth another try."""


def ask(command: list[str], on_line: OnLine, environment: Environment = None, root: Path = ROOT, *, what: str) -> Any:
    """The JSON document that a command answers on standard output, also where it ends with an error after it; see `execute`."""
    with tempfile.TemporaryFile() as answer:
        try:
            execute(command, on_line, environment, root, what=what, answer=answer)
        except CommandFailed:
            if not os.fstat(answer.fileno()).st_size:
                raise
        answer.seek(0)
        return json.load(answer)


def execute(
    command: list[str],
    on_line: OnLine,
    environment: Environment = None,
    root: Path = ROOT,
    *,
    what: str,
    answer: IO[bytes] | None = None,
    inherited: tuple[int, ...] = (),
) -> list[str]:
    """Run a command in a process group of its own; returns the last lines it printed.

    Whatever ends this call (a time limit, a cancelled run, Ctrl-C) ends the whole group.

    Args:
        command: the program and its arguments.
        on_line: gets each line as it comes.
        environment: variables besides this process's own.
        root: the workspace to run in.
        what: names the command in messages.
        answer: a file for standard output, where that is no text for people; then only standard error makes lines.
        inherited: descriptors that the command inherits, besides its standard streams.

    Raises:
        TryLater, CommandFailed: it ended with an error.
    """
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=root,
        env=_environment(environment, root),
        stdout=answer or subprocess.PIPE,
        stderr=subprocess.PIPE if answer else subprocess.STDOUT,
        start_new_session=True,
        pass_fds=inherited,
    ) as process:
        spoken = process.stdout or process.stderr
        assert spoken is not None
        try:
            for line in _lines(spoken):
                lines = [*lines[-KEPT_LINES:], line]
                on_line(line)
        except BaseException:
            _end(process)
            raise
    if process.returncode != 0:
        later = process.returncode == TRY_LATER or any(mark in line for line in lines for mark in DVC_TRY_LATER)
        raise (TryLater if later else CommandFailed)(_last_words(what, lines))
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
    """The environment in which `python` is this interpreter, whether or not its environment is activated, and runs the code in `root`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1", **(extra or {})}


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they come; a progress bar's carriage returns end lines too."""
    pending = b""
    while chunk := stream.read1(4096):  # type: ignore[attr-defined]
        *whole, pending = LINE_END.split(pending + chunk)
        yield from (text for line in whole if (text := line.decode(errors="replace").rstrip()))
    if pending.strip():
        yield pending.decode(errors="replace").rstrip()


def _last_words(what: str, lines: list[str]) -> str:
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    spoken = own or [line for line in lines if line.startswith("ERROR: ")] or lines[-15:]
    return f"{what} failed:\n" + "\n".join(spoken)
