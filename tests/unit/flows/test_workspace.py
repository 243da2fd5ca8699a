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
    """The repository, in a folder of its own."""
    return Path(shutil.copytree(template, tmp_path / "project", symlinks=True))


@pytest.fixture
def without_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy makes six calls of DVC, which git's part of it does not need."""
    monkeypatch.setattr(workspace, "_share_cache", lambda *_: None)


def test_a_copy_holds_the_project_as_it_is_now_and_what_it_changes_stays_there(repository):
    (repository / "params.yaml").write_text("seed: 1\n")
    (repository / "new.txt").write_text("not yet in git")
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
    assert (target / "params.yaml").read_text() == "seed: 1\n", "what an earlier run changed is put right"
    assert not (target / "new.txt").exists()


@pytest.mark.usefixtures("without_dvc")
def test_a_copy_that_a_killed_run_left_half_made_is_made_anew(repository):
    target = repository / workspace.COPY
    target.mkdir(parents=True)
    (target / "half").write_text("")
    assert workspace.copy_worktree(repository) == target
    assert not (target / "half").exists()


@pytest.mark.parametrize("broken", [b"seed: [0", b"- 3", b"", b"seed: \xff"])
def test_params_that_no_override_can_change_are_named_with_what_is_wrong(tmp_path, broken):
    path = tmp_path / "params.yaml"
    path.write_bytes(broken)
    with pytest.raises(CommandFailed, match=r"^params\.yaml (is not valid YAML|must be a mapping)"):
        workspace.set_params(path, ["seed=1"])
    assert path.read_bytes() == broken


@pytest.mark.parametrize(("override", "said"), [("train.dropuot=0.2", "dropuot"), ("train.dropout=[1", "")])
def test_an_override_that_names_no_param_or_is_none_is_named(tmp_path, override, said):
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    before = path.read_bytes()
    with pytest.raises(CommandFailed, match=rf"^params override: .*{re.escape(said)}"):
        workspace.set_params(path, ["seed=1", override])
    assert path.read_bytes() == before


def test_one_run_at_a_time_holds_the_workspace_and_a_killed_one_lets_go(tmp_path):
    code = f"""
import time
from pathlib import Path
from flows import workspace
with workspace.lock(0, Path({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(workspace.WorkspaceBusy, match="another run"), workspace.lock(0, tmp_path):
            pass
        other.kill()
        other.wait()
    with workspace.lock(5, tmp_path):
        pass


@pytest.mark.parametrize("overrides", [[], ["train.dropout=0.4", "register.min_balanced_accuracy=0", "overrides=[]"]])
@pytest.mark.parametrize("promote", ["params.yaml", "automatic"])
def test_the_params_of_a_run_list_its_overrides_and_no_override_takes_itself_off_the_list(tmp_path, overrides, promote):
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    workspace.set_params(path, ["register.promotion=manual"])
    workspace.set_params_of_run(path, overrides, promote)
    found = params_file.load(path)
    assert list(found.overrides) == overrides
    assert found.registration.promotion == ("manual" if promote == "params.yaml" else "automatic")
    assert found.train.dropout == (0.4 if overrides else 0.3)


def test_an_override_with_the_old_name_of_a_key_is_answered_with_the_new_one(tmp_path):
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    with pytest.raises(CommandFailed, match=r"`validate\.max_one_colour` was renamed to `validate\.max_dominant_color_fraction`"):
        workspace.set_params(path, ["validate.max_one_colour=0.5"])
    assert path.read_bytes() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.usefixtures("without_dvc")
def test_a_copy_follows_a_project_that_was_moved_or_copied(repository):
    workspace.copy_worktree(repository)
    for action, name in ((shutil.copytree, "copied"), (shutil.move, "moved")):
        elsewhere = repository.with_name(name)
        action(repository, elsewhere)
        (elsewhere / "params.yaml").write_text(f"seed: {name}\n")
        target = workspace.copy_worktree(elsewhere)
        assert (target / "params.yaml").read_text() == f"seed: {name}\n"
        assert git("rev-parse", "--path-format=absolute", "--git-common-dir", root=target) == str(elsewhere / ".git")


def test_a_folder_without_git_is_answered_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(CommandFailed, match=r"^git rev-parse failed: .* is not a git repository\. Run `git init [^\n]*$"):
        git("rev-parse", "HEAD", root=tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandFailed, match=r"^git is not installed\."):
        git("rev-parse", "HEAD", root=tmp_path)


def test_a_repository_of_another_owner_is_answered_in_one_line(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its own tests
    with pytest.raises(CommandFailed, match=r"belongs to another user\. Run `git config --global --add safe\.directory [^\n]*$"):
        workspace.copy_worktree(repository)
