"""Runs DVC stages: one `dvc repro --single-item` each, its output handed on line by line."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("data.dvc", "weights.dvc")
STAGES = ("validate", "split", "augment", "embed", "train", "finetune", "evaluate", "export", "register")
CACHED = ("didn't change, skipping", "is cached - skipping run")
LINE_END = re.compile(rb"[\r\n]")
KEPT_LINES = 200


class StageFailed(Exception):
    """A stage ended with an error; the message is the stage's own."""


@dataclass(frozen=True)
class Outcome:
    """What running a stage came to; `seconds` is wall time."""

    stage: str
    cached: bool
    seconds: float


def run_stage(stage: str, on_line: Callable[[str], None], environment: dict[str, str] | None = None, root: Path = ROOT) -> Outcome:
    """Run one stage, or check one source, as `dvc repro --single-item` does for a person.

    Raises:
        StageFailed: the stage's own last words, or DVC's where the stage never ran.
    """
    started = time.monotonic()
    lines: list[str] = []
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage]
    with subprocess.Popen(command, cwd=root, env=_environment(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        try:
            for line in _lines(process.stdout):
                lines = [*lines[-KEPT_LINES:], line]
                on_line(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise StageFailed(_last_words(stage, lines))
    cached = any(mark in line for line in lines for mark in CACHED)
    return Outcome(stage, cached, time.monotonic() - started)


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    """The environment in which `python` is this interpreter, whether or not its environment is activated."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **(extra or {})}


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they come; a progress bar's carriage returns end lines too."""
    pending = b""
    while chunk := stream.read1(4096):  # type: ignore[attr-defined]
        *whole, pending = LINE_END.split(pending + chunk)
        yield from (text for line in whole if (text := line.decode(errors="replace").rstrip()))
    if pending.strip():
        yield pending.decode(errors="replace").rstrip()


def _last_words(stage: str, lines: list[str]) -> str:
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    spoken = own or [line for line in lines if line.startswith("ERROR: ")] or lines[-15:]
    return f"{stage} failed:\n" + "\n".join(spoken)
