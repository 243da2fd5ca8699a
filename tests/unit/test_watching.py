import os
from pathlib import Path

import pytest

from flows import watching, workspace
from flows.workspace import git

NOW = 1_000_000.0


def arrive(inbox: Path, name: str, age: float) -> Path:
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (NOW - age, NOW - age))
    return path


def test_the_oldest_settled_dataset_is_next(tmp_path):
    arrive(tmp_path, "february.zip", 100)
    january = arrive(tmp_path, "january.zip", 200)
    assert watching.next_arrival(tmp_path, 60, NOW) == january


def test_what_is_still_written_to_hidden_or_put_away_is_not_next(tmp_path):
    arrive(tmp_path, "growing.zip", 5)
    arrive(tmp_path, ".uploading.zip.Xy12", 500)
    arrive(tmp_path, "imported/old.zip", 500)
    arrive(tmp_path, "refused/bad.zip", 500)
    assert watching.next_arrival(tmp_path, 60, NOW) is None
    assert watching.next_arrival(tmp_path / "absent", 60, NOW) is None


def test_a_folder_is_as_young_as_the_newest_file_in_it(tmp_path):
    arrive(tmp_path, "set/nevus/a.jpg", 500)
    arrive(tmp_path, "set/nevus/b.jpg", 5)
    for folder in (tmp_path / "set" / "nevus", tmp_path / "set"):
        os.utime(folder, (NOW - 500, NOW - 500))
    assert watching.next_arrival(tmp_path, 60, NOW) is None
    assert watching.next_arrival(tmp_path, 1, NOW) == tmp_path / "set"


def test_what_is_put_away_keeps_its_name_and_the_reason(tmp_path):
    target = watching.put_away(arrive(tmp_path, "bad.zip", 0), "refused", "no image in it")
    assert target.parent == tmp_path / "refused"
    assert target.name.endswith("-bad.zip")
    assert target.with_name(target.name + ".txt").read_text() == "no image in it\n"
    assert not (tmp_path / "bad.zip").exists()


def test_only_the_pointer_is_committed_whatever_else_has_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace, "ROOT", tmp_path)
    monkeypatch.setattr(watching, "git", lambda *command: git(*command, root=tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git("init", "--quiet", root=tmp_path)
    (tmp_path / "data.dvc").write_text("outs: []\n")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    git("add", "params.yaml", root=tmp_path)
    assert watching.commit_pointer("Import january.zip from the inbox")
    assert git("show", "--name-only", "--format=%an", root=tmp_path).split() == ["Lesionflow", "data.dvc"]
    assert not watching.commit_pointer("again")


@pytest.fixture
def branches(tmp_path, monkeypatch):
    """A clone that follows a branch of another repository; the clone, and a way to change data.dvc upstream."""
    upstream, clone = tmp_path / "upstream", tmp_path / "clone"
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    upstream.mkdir()
    git("init", "--quiet", root=upstream)

    def commit(root: Path, text: str) -> None:
        (root / "data.dvc").write_text(text)
        git("add", "data.dvc", root=root)
        git(*identity, "commit", "--quiet", "--message", "data", root=root)

    commit(upstream, "outs: [one]\n")
    git("clone", "--quiet", str(upstream), str(clone), root=tmp_path)
    pulled = []
    monkeypatch.setattr(watching, "git", lambda *command: git(*command, root=clone))
    monkeypatch.setattr(watching, "dvc", lambda arguments, _: pulled.append(arguments))
    monkeypatch.setattr(watching, "get_run_logger", lambda: type("Logger", (), {"info": print}))
    return upstream, clone, commit, pulled


def test_a_dataset_that_the_followed_branch_names_is_taken_over_once(branches):
    upstream, clone, commit, pulled = branches
    assert watching.take_upstream.fn() is None
    commit(upstream, "outs: [two]\n")
    assert watching.take_upstream.fn().startswith("origin/")
    assert (clone / "data.dvc").read_text() == "outs: [two]\n"
    assert pulled == [["pull", "data.dvc"]]
    assert git("status", "--porcelain", root=clone) == ""
    assert watching.take_upstream.fn() is None


def test_a_dataset_of_our_own_is_not_overwritten_by_the_followed_branch(branches):
    upstream, clone, commit, _ = branches
    commit(clone, "outs: [ours]\n")
    assert watching.take_upstream.fn() is None, "upstream has not changed it"
    commit(upstream, "outs: [theirs]\n")
    with pytest.raises(watching.CommandFailed, match="merge origin/"):
        watching.take_upstream.fn()
    assert (clone / "data.dvc").read_text() == "outs: [ours]\n"


def test_a_remote_that_does_not_answer_is_worth_another_try(branches):
    _, clone, _, _ = branches
    git("remote", "set-url", "origin", str(clone / "gone"), root=clone)
    with pytest.raises(watching.TryLater):
        watching.take_upstream.fn()


def test_a_branch_that_follows_none_looks_nowhere(branches):
    _, clone, _, _ = branches
    git("checkout", "--quiet", "-b", "alone", root=clone)
    assert watching.take_upstream.fn() is None
