"""A small project under the real git and DVC, for tests of whatever writes data/: two old images, and a source of new ones."""

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
    """What a command prints there, errors included."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0 or not check, done.stdout
    return done.stdout


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder with these files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def held(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def commit(root: Path, message: str = "data") -> None:
    """Commit everything that git does not ignore."""
    command(root, "git", "add", "--all")
    command(root, "git", *IDENTITY, "commit", "--quiet", "--message", message)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, made once."""
    root = tmp_path_factory.mktemp("versioned") / "project"
    root.mkdir()
    for name in ("params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    write(root / "data", OLD)
    command(root, "git", "init", "--quiet")
    command(root, sys.executable, "-m", "dvc", "init", "--quiet")
    command(root, sys.executable, "-m", "dvc", "add", "--quiet", "data")
    commit(root)
    return root


@pytest.fixture
def versioned(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, which is the working folder; `tmp_path / "source"` holds the new images."""
    root = tmp_path / "project"
    shutil.copytree(template, root, symlinks=True)
    write(tmp_path / "source", NEW)
    monkeypatch.chdir(root)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    return root
