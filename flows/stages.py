"""Runs stages and queries their status through DVC."""

import sys
import time
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from flows.processes import ROOT, Command, Environment, OnLine, run_command, run_json

SOURCES = ("data.dvc", "weights.dvc")
STAGES = ("validate", "split", "augment", "embed", "train", "finetune", "evaluate", "export", "index", "register")
CACHED = ("didn't change, skipping", "is cached - skipping run")
DVC = (sys.executable, "-m", "dvc")


@dataclass(frozen=True)
class StageResult:
    """Result of running a stage; `seconds` is wall time."""

    stage: str
    cached: bool
    seconds: float


def run_stage(stage: str, on_line: OnLine, environment: Environment = None, root: Path = ROOT, force: bool = False) -> StageResult:
    """Run one stage, or check one source, with `dvc repro --single-item`.

    Raises:
        TransientCommandError: DVC's lock is held, or MLflow did not respond.
        CommandFailed: the stage failed, or DVC did not start it; the message quotes the error.
    """
    started = time.monotonic()
    lines = dvc(["repro", "--single-item", *(["--force"] if force else []), stage], on_line, environment, root, what=stage)
    cached = any(mark in line for line in lines for mark in CACHED)
    return StageResult(stage, cached, time.monotonic() - started)


def up_to_date_stages(on_line: OnLine, root: Path = ROOT) -> list[str]:
    """Leading sources and stages of the pipeline that `dvc repro` would skip, from one `dvc status`.

    The list ends before the first stale one: whether later stages are stale is only known after it has run.
    """
    stale = run_json(Command([*DVC, "status", "--json"], "dvc status"), on_line, root=root)
    return list(takewhile(lambda name: name not in stale, (*SOURCES, *STAGES)))


def dvc(arguments: list[str], on_line: OnLine, environment: Environment = None, root: Path = ROOT, *, what: str = "") -> list[str]:
    """Run DVC; see `run_command`. `what` names the command in messages."""
    return run_command(Command([*DVC, *arguments], what or f"dvc {arguments[0]}"), on_line, environment, root)
