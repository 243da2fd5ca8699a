import os
from pathlib import Path

import pytest

from flows import watch_data, workspace
from flows.git_commands import git

NOW = 1_000_000.0


def add_to_inbox(inbox: Path, name: str, age: float) -> Path:
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (NOW - age, NOW - age))
    return path


def test_next_inbox_item_is_oldest_settled_one(tmp_path):
    add_to_inbox(tmp_path, "february.zip", 100)
    january = add_to_inbox(tmp_path, "january.zip", 200)
    assert watch_data.next_inbox_item(tmp_path, 60, NOW) == january


def test_next_inbox_item_skips_unsettled_hidden_and_processed_items(tmp_path):
    add_to_inbox(tmp_path, "growing.zip", 5)
    add_to_inbox(tmp_path, ".uploading.zip.Xy12", 500)
    add_to_inbox(tmp_path, "imported/old.zip", 500)
    add_to_inbox(tmp_path, "refused/bad.zip", 500)
    assert watch_data.next_inbox_item(tmp_path, 60, NOW) is None
    assert watch_data.next_inbox_item(tmp_path / "absent", 60, NOW) is None


def test_folder_settles_with_its_newest_file(tmp_path):
    add_to_inbox(tmp_path, "set/nevus/a.jpg", 500)
    add_to_inbox(tmp_path, "set/nevus/b.jpg", 5)
    for folder in (tmp_path / "set" / "nevus", tmp_path / "set"):
        os.utime(folder, (NOW - 500, NOW - 500))
    assert watch_data.next_inbox_item(tmp_path, 60, NOW) is None
    assert watch_data.next_inbox_item(tmp_path, 1, NOW) == tmp_path / "set"


def test_move_to_keeps_name_and_writes_reason(tmp_path):
    target = watch_data.move_to(add_to_inbox(tmp_path, "bad.zip", 0), "refused", "no image in it")
    assert target.parent == tmp_path / "refused"
    assert target.name.endswith("-bad.zip")
    assert target.with_name(target.name + ".txt").read_text() == "no image in it\n"
    assert not (tmp_path / "bad.zip").exists()


def test_commit_pointer_commits_data_dvc_only(tmp_path, monkeypatch):
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
    """An upstream repository, a clone that tracks its branch, and a function that commits data.dvc in either."""
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
    monkeypatch.setattr(watch_data, "checkout_copy", lambda pointer, _: pointer + "\n")
    monkeypatch.setattr(watch_data, "_lesionflow", lambda arguments, *_, **__: (clone / "data.dvc").write_text(arguments[-1]))
    monkeypatch.setattr(watch_data, "get_run_logger", lambda: type("Logger", (), {"info": print}))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return upstream, clone, commit


def test_upstream_dataset_is_pulled_once(branches):
    upstream, clone, commit = branches
    assert watch_data.pull_upstream_dataset.fn(0) is None
    commit(upstream, "outs: [two]\n")
    assert watch_data.pull_upstream_dataset.fn(0).startswith("origin/")
    assert (clone / "data.dvc").read_text() == "outs: [two]\n"
    assert git("status", "--porcelain", root=clone) == ""
    assert watch_data.pull_upstream_dataset.fn(0) is None


def test_upstream_does_not_overwrite_committed_dataset(branches):
    upstream, clone, commit = branches
    commit(clone, "outs: [ours]\n")
    assert watch_data.pull_upstream_dataset.fn(0) is None, "upstream has not changed data.dvc"
    commit(upstream, "outs: [theirs]\n")
    with pytest.raises(watch_data.CommandFailed, match="Merge origin/"):
        watch_data.pull_upstream_dataset.fn(0)
    assert (clone / "data.dvc").read_text() == "outs: [ours]\n"


def test_upstream_does_not_overwrite_uncommitted_import(branches):
    upstream, clone, commit = branches
    (clone / "data.dvc").write_text("outs: [ours]\n")
    commit(upstream, "outs: [theirs]\n")
    with pytest.raises(watch_data.CommandFailed, match="Merge origin/"):
        watch_data.pull_upstream_dataset.fn(0)
    assert (clone / "data.dvc").read_text() == "outs: [ours]\n"
    assert git("show", "HEAD:data.dvc", root=clone) == "outs: [ours]"


def test_upstream_does_not_overwrite_changed_data(branches, monkeypatch):
    upstream, clone, commit = branches
    monkeypatch.setattr(watch_data, "run_json", lambda *_, **__: {"data.dvc": ["changed"]})
    commit(upstream, "outs: [theirs]\n")
    with pytest.raises(watch_data.CommandFailed, match=r"data/ has changes that DVC does not track; the dataset of origin/\w+ waits"):
        watch_data.pull_upstream_dataset.fn(0)
    assert (clone / "data.dvc").read_text() == "outs: [one]\n"


@pytest.mark.parametrize("committed", [False, True])
def test_next_run_commits_dataset_imported_by_killed_run(branches, committed):
    _, clone, commit = branches
    watch_data.record_pending("january.zip")
    (clone / "data.dvc").write_text("outs: [january]\n")
    if committed:
        commit(clone, "outs: [january]\n")
    assert watch_data.resume_pending() == "january.zip"
    assert git("show", "HEAD:data.dvc", root=clone) == "outs: [january]"
    assert watch_data.resume_pending() == "january.zip", "the note remains until a run has trained on the dataset"


def test_run_killed_before_import_leaves_no_dataset_to_resume(branches):
    _, clone, _ = branches
    watch_data.record_pending("january.zip")
    assert watch_data.resume_pending() is None
    assert not (clone / watch_data.PENDING).exists()
    (clone / "data.dvc").write_text("outs: [by hand]\n")
    assert watch_data.resume_pending() is None, "a manual import is not committed by a run"


def test_unreachable_remote_is_transient_error(branches):
    _, clone, _ = branches
    git("remote", "set-url", "origin", str(clone / "gone"), root=clone)
    with pytest.raises(watch_data.TransientCommandError):
        watch_data.pull_upstream_dataset.fn(0)


def test_branch_without_upstream_pulls_nothing(branches):
    _, clone, _ = branches
    git("checkout", "--quiet", "-b", "alone", root=clone)
    assert watch_data.pull_upstream_dataset.fn(0) is None


@pytest.mark.parametrize("inbox", ["/etc", "..", "../other", "data", ".", ".git", "inbox/../data", "link"])
def test_inbox_outside_configured_folder_is_refused(tmp_path, inbox):
    (tmp_path / "params.yaml").write_text("import: {inbox: inbox}\n")
    (tmp_path / "inbox").mkdir()
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(watch_data.CommandFailed, match=r"is not inbox or a folder in it.*import\.inbox"):
        watch_data.require_within_inbox(Path(inbox), tmp_path)


def test_inbox_is_configured_folder_or_subfolder(tmp_path):
    (tmp_path / "params.yaml").write_text("import: {}\n")
    assert watch_data.require_within_inbox(Path("inbox"), tmp_path) == tmp_path / "inbox"
    assert watch_data.require_within_inbox(Path("inbox/clinic"), tmp_path) == tmp_path / "inbox" / "clinic"
    (tmp_path / "params.yaml").write_text("import: {inbox: /srv/uploads}\n")
    assert watch_data.require_within_inbox(Path("/srv/uploads"), tmp_path) == Path("/srv/uploads")
    with pytest.raises(watch_data.CommandFailed):
        watch_data.require_within_inbox(Path("inbox"), tmp_path)
