"""Stages and sources, run and asked about through DVC."""

import sys
import time
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from flows.processes import ROOT, Environment, OnLine, ask, execute

SOURCES = ("data.dvc", "weights.dvc")
STAGES = ("validate", "split", "augment", "embed", "train", "finetune", "evaluate", "export", "register")
CACHED = ("didn't change, skipping", "is cached - skipping run")
DVC = (sys.executable, "-m", "dvc")


@dataclass(frozen=True)
class Outcome:
    """What running a stage came to; `seconds` is wall time."""

    stage: str
    cached: bool
    seconds: float


def run_stage(stage: str, on_line: OnLine, environment: Environment = None, root: Path = ROOT, force: bool = False) -> Outcome:
    """Run one stage, or check one source, as `dvc repro --single-item` does for a person.

    Raises:
        TryLater: DVC's lock is held, or MLflow did not answer.
        CommandFailed: the stage's own last words, or DVC's where the stage never ran.
    """
    started = time.monotonic()
    lines = dvc(["repro", "--single-item", *(["--force"] if force else []), stage], on_line, environment, root, what=stage)
    cached = any(mark in line for line in lines for mark in CACHED)
    return Outcome(stage, cached, time.monotonic() - started)


def fresh_stages(on_line: OnLine, root: Path = ROOT) -> list[str]:
    """The sources and stages at the head of the pipeline that `dvc repro` would skip, from one look at all of them.

    The list ends at the first stale one: whether what follows is stale, only running that one tells.
    """
    stale = ask([*DVC, "status", "--json"], on_line, root=root, what="dvc status")
    return list(takewhile(lambda name: name not in stale, (*SOURCES, *STAGES)))


def dvc(arguments: list[str], on_line: OnLine, environment: Environment = None, root: Path = ROOT, *, what: str = "") -> list[str]:
    """Run DVC; see `execute`."""
    return execute([*DVC, *arguments], on_line, environment, root, what=what or f"dvc {arguments[0]}")
