"""Provenance of a run: git commit, dataset, flow run and DVC experiment."""

import os
import subprocess
from pathlib import Path

import yaml

from components.core.paths import DATA_POINTER
from components.runtime.environment import FLOW_RUN
from components.runtime.experiment import experiment_name

DECIDING = (
    "components",
    "flows",
    "app",
    "dvc.yaml",
    "params.yaml",
    "decisions.csv",
    "card.yaml",
    "labels",
    "*.dvc",
    "prefect.*",
    "pyproject.toml",
    "requirements.lock",
)
"""Git pathspecs of everything that determines a run's outputs: code, params and data pointers, but not the run's own outputs (dvc.lock,
reports/, splits/)."""


def provenance() -> dict[str, str]:
    """Tags for a run: git commit, whether files in DECIDING differ from it, md5 of data/, flow run, DVC experiment."""
    dirty = bool(git("status", "--porcelain", "--", *DECIDING))
    tags = {"git.commit": git("rev-parse", "HEAD") or "none", "git.dirty": str(dirty).lower()}
    tags["data.md5"] = data_md5(DATA_POINTER) or "untracked"
    if os.environ.get(FLOW_RUN):
        tags["prefect.flow_run"] = os.environ[FLOW_RUN]
    if name := experiment_name():
        tags["dvc.experiment"] = name
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
