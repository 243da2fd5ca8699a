import os
from pathlib import Path

import pytest

from flows import watch_data, workspace
from flows.git_commands import git

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
    assert watch_data.next_inbox_item(tmp_path, 60, NOW) == january


def test_what_is_still_written_to_hidden_or_put_away_is_not_next(tmp_path):
    arrive(tmp_path, "growing.zip", 5)
    arrive(tmp_path, ".uploading.zip.Xy12", 500)
    arrive(tmp_path, "imported/old.zip", 500)
    arrive(tmp_path, "refused/bad.zip", 500)
    assert watch_data.next_inbox_item(tmp_path, 60, NOW) is None
    assert watch_data.next_inbox_item(tmp_path / "absent", 60, NOW) is None


def test_a_folder_is_as_young_as_the_newest_file_in_it(tmp_path):
    arrive(tmp_path, "set/nevus/a.jpg", 500)
    arrive(tmp_path, "set/nevus/b.jpg", 5)
    for folder in (tmp_path / "set" / "nevus", tmp_path / "set"):
        os.utime(folder, (NOW - 500, NOW - 500))
    assert watch_data.next_inbox_item(tmp_path, 60, NOW) is None
    assert watch_data.next_inbox_item(tmp_path, 1, NOW) == tmp_path / "set"


def test_what_is_put_away_keeps_its_name_and_the_reason(tmp_path):
    target = watch_data.move_to(arrive(tmp_path, "bad.zip", 0), "refused", "no image in it")
    assert target.parent == tmp_path / "refused"
    assert target.name.endswith("-bad.zip")
    assert target.with_name(target.name + ".txt").read_text() == "no image in it\n"
    assert not (tmp_path / "bad.zip").exists()


def test_only_the_pointer_is_committed_whatever_else_has_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace, "ROOT", tmp_path)
    monkeypatch.setattr(watch_data, "git", lambda *command: git(*command, root=tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git("init", "--quiet", root=tmp_path)
    (tmp_path / "data.dvc").write_text("outs: []\n")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    git("add", "params.yaml", root=tmp_path)
    assert watch_data.commit_pointer("Import january.zip from the inbox")
    assert git("show", "--name-only", "--format=%an", root=tmp_path).split() == ["Lesionflow", "data.dvc"]
    assert not watch_data.commit_pointer("again")


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
    (clone / ".prefect").mkdir()
    (clone / ".gitignore").write_text("*\n")
    monkeypatch.setattr(watch_data, "ROOT", clone)
    monkeypatch.setattr(watch_data, "git", lambda *command: git(*command, root=clone))
    monkeypatch.setattr(watch_data, "run_json", lambda *_, **__: {})
    monkeypatch.setattr(watch_data, "checked_out", lambda pointer, _: pointer + "\n")
    monkeypatch.setattr(watch_data, "_lesionflow", lambda arguments, *_, **__: (clone / "data.dvc").write_text(arguments[-1]))
    monkeypatch.setattr(watch_data, "get_run_logger", lambda: type("Logger", (), {"info": print}))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return upstream, clone, commit


def test_a_dataset_that_the_followed_branch_names_is_taken_over_once(branches):
    upstream, clone, commit = branches
    assert watch_data.pull_upstream_dataset.fn(0) is None
    commit(upstream, "outs: [two]\n")
    assert watch_data.pull_upstream_dataset.fn(0).startswith("origin/")
    assert (clone / "data.dvc").read_text() == "outs: [two]\n"
    assert git("status", "--porcelain", root=clone) == ""
    assert watch_data.pull_upstream_dataset.fn(0) is None


def test_a_dataset_of_our_own_is_not_overwritten_by_the_followed_branch(branches):
    upstream, clone, commit = branches
    commit(clone, "outs: [ours]\n")
    assert watch_data.pull_upstream_dataset.fn(0) is None, "upstream has not changed it"
    commit(upstream, "outs: [theirs]\n")
    with pytest.raises(watch_data.CommandFailed, match="Merge origin/"):
        watch_data.pull_upstream_dataset.fn(0)
    assert (clone / "data.dvc").read_text() == "outs: [ours]\n"


def test_an_import_that_nobody_has_committed_is_kept_and_not_overwritten_by_the_followed_branch(branches):
    upstream, clone, commit = branches
    (clone / "data.dvc").write_text("outs: [ours]\n")
    commit(upstream, "outs: [theirs]\n")
    with pytest.raises(watch_data.CommandFailed, match="Merge origin/"):
        watch_data.pull_upstream_dataset.fn(0)
    assert (clone / "data.dvc").read_text() == "outs: [ours]\n"
    assert git("show", "HEAD:data.dvc", root=clone) == "outs: [ours]"


def test_data_with_changes_is_not_overwritten_by_the_followed_branch(branches, monkeypatch):
    upstream, clone, commit = branches
    monkeypatch.setattr(watch_data, "run_json", lambda *_, **__: {"data.dvc": ["changed"]})
    commit(upstream, "outs: [theirs]\n")
    with pytest.raises(watch_data.CommandFailed, match=r"data/ has changes that DVC does not track; the dataset of origin/\w+ waits"):
        watch_data.pull_upstream_dataset.fn(0)
    assert (clone / "data.dvc").read_text() == "outs: [one]\n"


@pytest.mark.parametrize("committed", [False, True])
def test_a_dataset_that_a_killed_run_took_over_is_committed_and_trained_on_by_the_next(branches, committed):
    _, clone, commit = branches
    watch_data.note_taking("january.zip")
    (clone / "data.dvc").write_text("outs: [january]\n")
    if committed:
        commit(clone, "outs: [january]\n")
    assert watch_data.taken_before() == "january.zip"
    assert git("show", "HEAD:data.dvc", root=clone) == "outs: [january]"
    assert watch_data.taken_before() == "january.zip", "until a run has trained on it"


def test_a_run_killed_before_it_took_anything_over_leaves_nothing_to_train_on(branches):
    _, clone, _ = branches
    watch_data.note_taking("january.zip")
    assert watch_data.taken_before() is None
    assert not (clone / watch_data.TAKING).exists()
    (clone / "data.dvc").write_text("outs: [by hand]\n")
    assert watch_data.taken_before() is None, "a person's import is the person's to commit"


def test_a_remote_that_does_not_answer_is_worth_another_try(branches):
    _, clone, _ = branches
    git("remote", "set-url", "origin", str(clone / "gone"), root=clone)
    with pytest.raises(watch_data.TransientCommandError):
        watch_data.pull_upstream_dataset.fn(0)


def test_a_branch_that_follows_none_looks_nowhere(branches):
    _, clone, _ = branches
    git("checkout", "--quiet", "-b", "alone", root=clone)
    assert watch_data.pull_upstream_dataset.fn(0) is None


@pytest.mark.parametrize("inbox", ["/etc", "..", "../other", "data", ".", ".git", "inbox/../data", "link"])
def test_a_run_chooses_no_inbox_outside_the_one_that_params_name(tmp_path, inbox):
    (tmp_path / "params.yaml").write_text("import: {inbox: inbox}\n")
    (tmp_path / "inbox").mkdir()
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(watch_data.CommandFailed, match=r"is not inbox or a folder in it.*import\.inbox"):
        watch_data.require_within_inbox(Path(inbox), tmp_path)


def test_the_inbox_is_the_one_that_params_name_or_a_folder_in_it(tmp_path):
    (tmp_path / "params.yaml").write_text("import: {}\n")
    assert watch_data.require_within_inbox(Path("inbox"), tmp_path) == tmp_path / "inbox"
    assert watch_data.require_within_inbox(Path("inbox/clinic"), tmp_path) == tmp_path / "inbox" / "clinic"
    (tmp_path / "params.yaml").write_text("import: {inbox: /srv/uploads}\n")
    assert watch_data.require_within_inbox(Path("/srv/uploads"), tmp_path) == Path("/srv/uploads")
    with pytest.raises(watch_data.CommandFailed):
        watch_data.require_within_inbox(Path("inbox"), tmp_path)
