"""Which commit, data and flow run a run came from."""

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from components.core.paths import DATA_POINTER

if TYPE_CHECKING:
    pass

FLOW_RUN = "LESIONFLOW_FLOW_RUN"
"""Set by the Prefect flow, so that a stage's MLflow run names the flow run it was part of."""

DECIDING = (
    "components",
    "flows",
    "app",
    "dvc.yaml",
    "params.yaml",
    "decisions.csv",
    "*.dvc",
    "prefect.*",
    "pyproject.toml",
    "requirements.lock",
)
"""Paths for git that decide what a run makes: code, params and pointers; what a run writes itself (dvc.lock, reports/) is not here."""


def provenance() -> dict[str, str]:
    """Tags for code, data and flow run: git commit, whether files in DECIDING differ from it, md5 of data/, flow run."""
    dirty = bool(git("status", "--porcelain", "--", *DECIDING))
    tags = {"git.commit": git("rev-parse", "HEAD") or "none", "git.dirty": str(dirty).lower()}
    tags["data.md5"] = data_md5(DATA_POINTER) or "untracked"
    if os.environ.get(FLOW_RUN):
        tags["prefect.flow_run"] = os.environ[FLOW_RUN]
    return tags


def git(*command: str) -> str:
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def data_md5(pointer: Path) -> str | None:
    if not pointer.exists():
        return None
    outs = (yaml.safe_load(pointer.read_text(encoding="utf-8")) or {}).get("outs") or [{}]
    return outs[0].get("md5")
