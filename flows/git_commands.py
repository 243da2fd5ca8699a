"""Git commands on the project's history."""

import os
import shlex
import subprocess
from pathlib import Path

from flows.processes import ROOT, CommandFailed


def git(*command: str, root: Path = ROOT) -> str:
    """Run a git command and return its output.

    Raises:
        CommandFailed: git is not installed, there is no repository, or git fails with its own message.
    """
    unasked = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(["git", *command], cwd=root, env=unasked, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CommandFailed("git is not installed. Install it: this command reads the project's history.") from None
    if done.returncode != 0:
        raise CommandFailed(f"git {command[0]} failed: {_reason(done.stderr.strip() or done.stdout.strip(), root)}")
    return done.stdout.strip("\n")


def _reason(output: str, root: Path) -> str:
    if "not a git repository" in output:
        return f"{root} is not a git repository. Run `git init && git add --all && git commit --message start` there."
    if "dubious ownership" in output:
        return f"{root} belongs to another user. Run `git config --global --add safe.directory {shlex.quote(str(root))}`."
    return output
