"""The Makefile in a moved checkout and behind a proxy."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.project import ROOT


def make(folder: Path, *arguments: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name.upper() != "NO_PROXY" and not name.startswith("MAKE")}
    result = subprocess.run(["make", *arguments], cwd=folder, env={**environment, **variables}, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile and an up-to-date environment."""
    folder = tmp_path / "a clinic's Größe #1"
    (folder / ".venv").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / ".ready").write_text(f"{folder}\n")
    return folder


def test_setup_recreates_environment_after_checkout_was_moved(checkout):
    assert "venv" not in make(checkout, "-n", "setup")
    moved = checkout.rename(checkout.with_name("moved"))
    commands = make(moved, "-n", "setup")
    assert "rm -rf .venv" in commands
    assert "uv pip sync" in commands


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": ".clinic.org"}, ".clinic.org,127.0.0.1,localhost,::1"),
        ({"no_proxy": ".clinic.org"}, ".clinic.org,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_make_adds_loopback_to_no_proxy(checkout, variables, expected):
    with (checkout / "Makefile").open("a", encoding="utf-8") as file:
        file.write('\nshow:\n\t@echo "$$NO_PROXY $$no_proxy"\n')
    assert make(checkout, "show", **variables) == f"{expected} {expected}\n"
