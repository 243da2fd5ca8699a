"""A small git and DVC project with two images, and a source of new images, for tests of commands that write data/."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.images import encoded, noise
from tests.support.project import ROOT

OLD = {"nevus/old_1.jpg": encoded(noise(1)), "melanoma/old_2.jpg": encoded(noise(2))}
NEW = {"nevus/new_1.jpg": encoded(noise(3)), "nevus/new_2.jpg": encoded(noise(4)), "melanoma/new_3.jpg": encoded(noise(5))}
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@t")


def command(root: Path, *arguments: str, check: bool = True) -> str:
    """Run a command in a folder; return its stdout and stderr."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0 or not check, done.stdout
    return done.stdout


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write these files into a folder; return the folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read_files(folder: Path) -> dict[str, bytes]:
    """The content of every file of a folder, by relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read_images(folder: Path) -> dict[str, bytes]:
    """The content of every image of a folder, by relative path."""
    return {name: content for name, content in read_files(folder).items() if name.endswith(".jpg")}


def commit(root: Path, message: str = "data") -> None:
    """Commit everything that git does not ignore."""
    command(root, "git", "add", "--all")
    command(root, "git", *IDENTITY, "commit", "--quiet", "--message", message)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, created once per session."""
    root = tmp_path_factory.mktemp("versioned") / "project"
    root.mkdir()
    for name in ("params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "labels", root / "labels")
    write(root / "data", OLD)
    command(root, "git", "init", "--quiet")
    command(root, sys.executable, "-m", "dvc", "init", "--quiet")
    command(root, sys.executable, "-m", "dvc", "add", "--quiet", "data")
    commit(root)
    return root


@pytest.fixture
def versioned(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project as the working directory; `tmp_path / "source"` holds the new images."""
    root = tmp_path / "project"
    shutil.copytree(template, root, symlinks=True)
    write(tmp_path / "source", NEW)
    monkeypatch.chdir(root)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    return root
