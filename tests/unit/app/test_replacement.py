"""Whoever writes data/ holds the lock, and either all of data/ and data.dvc changes or nothing."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from app.data import ingest, replacement
from components.core.errors import LesionflowError, ServiceUnavailable
from tests.support.project import ROOT
from tests.support.versioned import NEW, OLD, command, commit, read_files, template, versioned, write

pytestmark = pytest.mark.slow

__all__ = ["template", "versioned"]


def interrupted(source, monkeypatch, after=2):
    """Import `source` until so many files are copied, then press Ctrl-C."""
    plain, copied = ingest.Path.replace, []

    def replace(self, target):
        if self.name.endswith(".partial"):
            copied.append(target)
            if len(copied) > after:
                raise KeyboardInterrupt
        return plain(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(ingest.Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            list(ingest.import_dataset(source))


def test_a_resumed_import_keeps_nothing_that_has_changed_in_the_source_since(versioned, tmp_path, monkeypatch):
    source = tmp_path / "source"
    interrupted(source, monkeypatch)
    before = source.stat()
    (source / "nevus/new_2.jpg").rename(source / "melanoma/moved.jpg")
    (source / "melanoma/new_3.jpg").write_bytes(OLD["nevus/old_1.jpg"])
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    said = list(ingest.import_dataset(source))
    expected = {
        "melanoma/moved.jpg": NEW["nevus/new_2.jpg"],
        "melanoma/new_3.jpg": OLD["nevus/old_1.jpg"],
        "nevus/new_1.jpg": NEW["nevus/new_1.jpg"],
    }
    assert read_files(versioned / "data") == expected
    assert said[0] == "imported 3 files in 2 of 9 classes:"
    assert said[1 + list(ingest.CLASSES).index("melanoma")].split() == ["melanoma", "2"]


def test_an_import_is_refused_while_a_stage_reads_data(versioned, tmp_path):
    (versioned / "read.py").write_text("import time; open('started', 'w'); time.sleep(120)")
    (versioned / "dvc.yaml").write_text("stages:\n  read:\n    cmd: python read.py\n    deps: [data]\n")
    commit(versioned)
    with subprocess.Popen([sys.executable, "-m", "dvc", "repro", "-q", "read"], cwd=versioned, start_new_session=True) as running:
        try:
            deadline = time.monotonic() + 60
            while not (versioned / "started").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            with pytest.raises(ServiceUnavailable, match=r"DVC is reading or writing data/.*repro") as refusal:
                list(ingest.import_dataset(tmp_path / "source"))
        finally:
            os.killpg(running.pid, signal.SIGKILL)
    assert "\n" not in str(refusal.value)
    assert read_files(versioned / "data") == OLD


def test_no_dvc_command_gets_at_data_while_an_import_replaces_it(versioned, tmp_path, monkeypatch):
    from dvc.repo import Repo

    seen = []
    add = Repo.add

    def while_replaced(self, *arguments, **options):
        seen.append(command(versioned, sys.executable, "-m", "dvc", "status", check=False))
        return add(self, *arguments, **options)

    monkeypatch.setattr(Repo, "add", while_replaced)
    list(ingest.import_dataset(tmp_path / "source"))
    assert len(seen) == 1
    assert "Unable to acquire lock" in seen[0]
    assert read_files(versioned / "data") == NEW


def test_an_import_is_refused_while_a_run_holds_the_workspace(versioned, tmp_path):
    with holder(versioned) as other:
        with pytest.raises(ServiceUnavailable, match=r"workspace\.lock"):
            list(ingest.import_dataset(tmp_path / "source"))
        other.kill()
    assert read_files(versioned / "data") == OLD


@contextmanager
def holder(root):
    """A process that holds the workspace as a flow does."""
    code = "import time\nfrom pathlib import Path\nfrom flows import workspace\n"
    code += "with workspace.lock(0, Path()): print('held', flush=True); time.sleep(120)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, env=environment, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


def unaddable(root):
    """Let DVC fail while it adds the new images: the folder that its cache needs for one of them is a file."""
    digest = hashlib.md5(NEW["nevus/new_2.jpg"], usedforsecurity=False).hexdigest()
    place = root / ".dvc/cache/files/md5" / digest[:2]
    place.write_text("no folder")
    return place


def test_a_dataset_that_dvc_cannot_take_leaves_the_old_one_in_place(versioned, tmp_path):
    pointer = (versioned / "data.dvc").read_bytes()
    place = unaddable(versioned)
    with pytest.raises(LesionflowError, match=r"^data/ cannot be replaced: .*; nothing was changed$"):
        list(ingest.import_dataset(tmp_path / "source"))
    assert read_files(versioned / "data") == OLD
    assert (versioned / "data.dvc").read_bytes() == pointer
    assert not ingest.STAGING.exists()
    assert command(versioned, "git", "status", "--porcelain", "data.dvc") == ""
    place.unlink()
    assert "imported 3 files in 2 of 9 classes:" in list(ingest.import_dataset(tmp_path / "source"))
    assert read_files(versioned / "data") == NEW


@pytest.fixture
def checkout(versioned, tmp_path):
    """A checkout of the project that shares its cache, with other data under DVC."""
    other = tmp_path / "checkout"
    shutil.copytree(versioned, other, symlinks=True)
    (other / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {versioned / '.dvc' / 'cache'}\n")
    shutil.rmtree(other / "data")
    write(other / "data", NEW)
    command(other, sys.executable, "-m", "dvc", "add", "--quiet", "data")
    return other


def test_the_dataset_of_another_checkout_is_taken_with_its_pointer(versioned, checkout):
    pointer = (checkout / "data.dvc").read_text()
    said = list(replacement.adopt_dataset(checkout))
    assert said == [f"data/ and data.dvc are now those of {checkout}"]
    assert read_files(versioned / "data") == NEW
    assert (versioned / "data.dvc").read_text() == pointer
    assert not replacement.STAGING.exists()


def test_a_checkout_that_does_not_hold_what_its_pointer_names_is_not_taken(versioned, checkout):
    before = (versioned / "data.dvc").read_text()
    (checkout / "data" / "nevus" / "new_1.jpg").unlink()
    with pytest.raises(LesionflowError, match=r"does not contain the files listed in its data\.dvc"):
        list(replacement.adopt_dataset(checkout))
    assert read_files(versioned / "data") == OLD
    assert (versioned / "data.dvc").read_text() == before
    assert "nevus/new_2.jpg" in read_files(checkout / "data"), "the checkout has its data again"


def killed_while_replacing(source, monkeypatch):
    """Import, with the process ended after DVC has added the new dataset: a fork, since nothing after the kill may run."""
    from dvc.repo import Repo

    child = os.fork()
    if child == 0:
        add = Repo.add
        monkeypatch.setattr(Repo, "add", lambda *arguments, **options: (add(*arguments, **options), os._exit(9)))
        list(ingest.import_dataset(source))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_stage_does_not_read_what_a_killed_import_left_and_a_command_brings_it_in_order(versioned, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from app.cli import main
    from components.runtime.params_file import load
    from components.validate import validate

    killed_while_replacing(tmp_path / "source", monkeypatch)
    assert read_files(versioned / "data") == NEW
    with pytest.raises(LesionflowError, match="Run `lesionflow data recover` to restore the previous dataset"):
        validate(load())
    said = CliRunner().invoke(main, ["data", "recover"])
    assert said.exit_code == 0
    assert "data/ and data.dvc are the previous dataset again" in said.output
    assert read_files(versioned / "data") == OLD
    assert command(versioned, "git", "status", "--porcelain", "--", "data.dvc") == ""
    assert command(versioned, sys.executable, "-m", "dvc", "status", "data.dvc").strip().endswith("up to date.")
    assert "no import was interrupted" in CliRunner().invoke(main, ["data", "recover"]).output


def test_a_run_that_takes_the_lock_has_a_killed_import_undone_first(versioned, tmp_path, monkeypatch):
    from flows import workspace

    killed_while_replacing(tmp_path / "source", monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(workspace, "run_command", lambda *arguments: undone.append(arguments))
    undone: list = []
    with workspace.lock(0, versioned) as descriptor:
        pass
    recover, _, environment, root = undone[0]
    assert recover.arguments[-2:] == ["data", "recover"]
    assert environment == workspace.locking.for_child(descriptor)
    assert (root, recover.inherited) == (versioned, (descriptor,))
