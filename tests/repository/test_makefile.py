"""What make notices of the folder it runs in."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.project import ROOT


def make(folder: Path, *arguments: str, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name.upper() != "NO_PROXY" and not name.startswith("MAKE")}
    done = subprocess.run(["make", *arguments], cwd=folder, env={**kept, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile and an environment that is up to date for it."""
    folder = tmp_path / "a clinic's Größe #1"
    (folder / ".venv").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / ".ready").write_text(f"{folder}\n")
    return folder


def test_an_environment_is_made_once_and_again_where_the_checkout_was_moved(checkout):
    assert "venv" not in make(checkout, "-n", "setup")
    moved = checkout.rename(checkout.with_name("moved"))
    wanted = make(moved, "-n", "setup")
    assert "rm -rf .venv" in wanted
    assert "uv pip sync" in wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": ".clinic.org"}, ".clinic.org,127.0.0.1,localhost,::1"),
        ({"no_proxy": ".clinic.org"}, ".clinic.org,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_commands_of_make_reach_servers_on_this_machine_directly(checkout, given, wanted):
    with (checkout / "Makefile").open("a", encoding="utf-8") as file:
        file.write('\nshow:\n\t@echo "$$NO_PROXY $$no_proxy"\n')
    assert make(checkout, "show", **given) == f"{wanted} {wanted}\n"
