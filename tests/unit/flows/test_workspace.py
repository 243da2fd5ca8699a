import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.runtime import params_file
from flows import workspace
from flows.git_commands import git
from flows.processes import CommandFailed
from tests.support.project import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small git and DVC repository with params, an ignored folder and a remote whose path is relative."""
    root = tmp_path_factory.mktemp("template") / "project"
    root.mkdir()
    (root / "params.yaml").write_text("seed: 0\n")
    (root / ".gitignore").write_text("/.prefect/\n/build/\n")
    (root / "build").mkdir()
    (root / "build" / "large").write_text("made by a stage")
    git("init", "--quiet", root=root)
    for command in (["init", "--quiet"], ["remote", "add", "--quiet", "--default", "shelf", "../shelf"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=root, check=True)
    git("add", "--all", root=root)
    git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--message", "start", root=root)
    return root


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    """A copy of the template repository."""
    return Path(shutil.copytree(template, tmp_path / "project", symlinks=True))


@pytest.fixture
def without_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip DVC's part of a copy, for tests of its git part."""
    monkeypatch.setattr(workspace, "_share_cache", lambda *_: None)


def test_copy_worktree_includes_changes_and_is_independent(repository):
    (repository / "params.yaml").write_text("seed: 1\n")
    (repository / "new.txt").write_text("untracked")
    target = workspace.copy_worktree(repository)
    assert (target / "params.yaml").read_text() == "seed: 1\n"
    assert (target / "new.txt").exists()
    assert not (target / "build").exists()
    (target / "params.yaml").write_text("seed: 2\n")
    assert (repository / "params.yaml").read_text() == "seed: 1\n"
    assert git("status", "--porcelain", root=repository) == " M params.yaml\n?? new.txt"
    config = (target / ".dvc" / "config.local").read_text()
    assert str(repository / ".dvc" / "cache") in config
    assert str(repository.parent / "shelf") in config or str(repository / "shelf") in config

    (repository / "new.txt").unlink()
    assert workspace.copy_worktree(repository) == target
    assert (target / "params.yaml").read_text() == "seed: 1\n", "changes of an earlier run are reverted"
    assert not (target / "new.txt").exists()


@pytest.mark.usefixtures("without_dvc")
def test_copy_worktree_replaces_incomplete_copy(repository):
    target = repository / workspace.COPY
    target.mkdir(parents=True)
    (target / "half").write_text("")
    assert workspace.copy_worktree(repository) == target
    assert not (target / "half").exists()


@pytest.mark.parametrize("invalid", [b"seed: [0", b"- 3", b"", b"seed: \xff"])
def test_set_params_reports_invalid_params_file(tmp_path, invalid):
    path = tmp_path / "params.yaml"
    path.write_bytes(invalid)
    with pytest.raises(CommandFailed, match=r"^params\.yaml (is not valid YAML|must be a mapping)"):
        workspace.set_params(path, ["seed=1"])
    assert path.read_bytes() == invalid


@pytest.mark.parametrize(("override", "message"), [("train.dropuot=0.2", "dropuot"), ("train.dropout=[1", "")])
def test_set_params_reports_invalid_override(tmp_path, override, message):
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    before = path.read_bytes()
    with pytest.raises(CommandFailed, match=rf"^params override: .*{re.escape(message)}"):
        workspace.set_params(path, ["seed=1", override])
    assert path.read_bytes() == before


def test_lock_excludes_other_runs_and_is_released_by_kill(tmp_path):
    code = f"""
import time
from pathlib import Path
from flows import workspace
with workspace.lock(0, Path({str(tmp_path)!r})):
    print("locked", flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(workspace.WorkspaceBusy, match="another run"), workspace.lock(0, tmp_path):
            pass
        other.kill()
        other.wait()
    with workspace.lock(5, tmp_path):
        pass


@pytest.mark.parametrize("overrides", [[], ["train.dropout=0.4", "register.min_balanced_accuracy=0", "overrides=[]"]])
@pytest.mark.parametrize("promote", ["params.yaml", "automatic"])
def test_set_params_of_run_lists_all_overrides(tmp_path, overrides, promote):
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    workspace.set_params(path, ["register.promotion=manual"])
    workspace.set_params_of_run(path, overrides, promote)
    loaded_settings = params_file.load(path)
    assert list(loaded_settings.overrides) == overrides
    assert loaded_settings.registration.promotion == ("manual" if promote == "params.yaml" else "automatic")
    assert loaded_settings.train.dropout == (0.4 if overrides else 0.3)


def test_set_params_reports_new_name_of_renamed_key(tmp_path):
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    with pytest.raises(CommandFailed, match=r"`validate\.max_one_colour` was renamed to `validate\.max_dominant_color_fraction`"):
        workspace.set_params(path, ["validate.max_one_colour=0.5"])
    assert path.read_bytes() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.usefixtures("without_dvc")
def test_copy_worktree_works_after_project_was_moved_or_copied(repository):
    workspace.copy_worktree(repository)
    for action, name in ((shutil.copytree, "copied"), (shutil.move, "moved")):
        elsewhere = repository.with_name(name)
        action(repository, elsewhere)
        (elsewhere / "params.yaml").write_text(f"seed: {name}\n")
        target = workspace.copy_worktree(elsewhere)
        assert (target / "params.yaml").read_text() == f"seed: {name}\n"
        assert git("rev-parse", "--path-format=absolute", "--git-common-dir", root=target) == str(elsewhere / ".git")


def test_missing_git_is_reported_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(CommandFailed, match=r"^git rev-parse failed: .* is not a git repository\. Run `git init [^\n]*$"):
        git("rev-parse", "HEAD", root=tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandFailed, match=r"^git is not installed\."):
        git("rev-parse", "HEAD", root=tmp_path)


def test_repository_of_another_owner_is_reported_in_one_line(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # a switch of git for its own tests
    with pytest.raises(CommandFailed, match=r"belongs to another user\. Run `git config --global --add safe\.directory [^\n]*$"):
        workspace.copy_worktree(repository)
