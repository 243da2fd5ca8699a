"""Writing data/ requires the lock, and data/ and data.dvc either change together or not at all."""

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
from tests.support.versioned import NEW, OLD, command, commit, read_files, read_images, template, versioned, write

pytestmark = pytest.mark.slow

__all__ = ["template", "versioned"]


def interrupt_import(source, monkeypatch, after=2):
    """Import `source` and raise KeyboardInterrupt once `after` files are copied."""
    original_replace, copied = ingest.Path.replace, []

    def replace(self, target):
        if self.name.endswith(".partial"):
            copied.append(target)
            if len(copied) > after:
                raise KeyboardInterrupt
        return original_replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(ingest.Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            list(ingest.import_dataset(source))


def test_resumed_import_discards_copies_of_changed_files(versioned, tmp_path, monkeypatch):
    source = tmp_path / "source"
    interrupt_import(source, monkeypatch)
    before = source.stat()
    (source / "nevus/new_2.jpg").rename(source / "melanoma/moved.jpg")
    (source / "melanoma/new_3.jpg").write_bytes(OLD["nevus/old_1.jpg"])
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    lines = list(ingest.import_dataset(source))
    expected = {
        "melanoma/moved.jpg": NEW["nevus/new_2.jpg"],
        "melanoma/new_3.jpg": OLD["nevus/old_1.jpg"],
        "nevus/new_1.jpg": NEW["nevus/new_1.jpg"],
    }
    assert read_images(versioned / "data") == expected
    assert lines[-1] == "imported 3 files in 2 classes"
    assert ["melanoma", "melanoma", "2"] in [line.split() for line in lines]


def test_import_is_refused_while_stage_reads_data(versioned, tmp_path):
    (versioned / "read.py").write_text("import time; open('started', 'w'); time.sleep(120)")
    (versioned / "dvc.yaml").write_text("stages:\n  read:\n    cmd: python read.py\n    deps: [data]\n")
    commit(versioned)
    with subprocess.Popen([sys.executable, "-m", "dvc", "repro", "-q", "read"], cwd=versioned, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 60
            while not (versioned / "started").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            with pytest.raises(ServiceUnavailable, match=r"DVC is reading or writing data/.*repro") as error:
                list(ingest.import_dataset(tmp_path / "source"))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert "\n" not in str(error.value)
    assert read_files(versioned / "data") == OLD


def test_dvc_command_cannot_lock_data_during_import(versioned, tmp_path, monkeypatch):
    from dvc.repo import Repo

    outputs = []
    add = Repo.add

    def add_with_status(self, *arguments, **options):
        outputs.append(command(versioned, sys.executable, "-m", "dvc", "status", check=False))
        return add(self, *arguments, **options)

    monkeypatch.setattr(Repo, "add", add_with_status)
    list(ingest.import_dataset(tmp_path / "source"))
    assert len(outputs) == 1
    assert "Unable to acquire lock" in outputs[0]
    assert read_images(versioned / "data") == NEW


def test_import_is_refused_while_workspace_is_locked(versioned, tmp_path):
    with workspace_holder(versioned) as process:
        with pytest.raises(ServiceUnavailable, match=r"workspace\.lock"):
            list(ingest.import_dataset(tmp_path / "source"))
        process.kill()
    assert read_files(versioned / "data") == OLD


@contextmanager
def workspace_holder(root):
    """A process that holds the workspace lock like a flow does."""
    code = "import time\nfrom pathlib import Path\nfrom flows import workspace\n"
    code += "with workspace.lock(0, Path()): print('held', flush=True); time.sleep(120)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def block_dvc_cache(root):
    """Make `dvc add` of the new images fail: a file blocks the cache folder of one of them."""
    digest = hashlib.md5(NEW["nevus/new_2.jpg"], usedforsecurity=False).hexdigest()
    cache_path = root / ".dvc/cache/files/md5" / digest[:2]
    cache_path.write_text("not a folder")
    return cache_path


def test_import_keeps_dataset_when_dvc_add_fails(versioned, tmp_path):
    pointer = (versioned / "data.dvc").read_bytes()
    cache_path = block_dvc_cache(versioned)
    with pytest.raises(LesionflowError, match=r"^data/ cannot be replaced: .*; nothing was changed$"):
        list(ingest.import_dataset(tmp_path / "source"))
    assert read_files(versioned / "data") == OLD
    assert (versioned / "data.dvc").read_bytes() == pointer
    assert not ingest.STAGING.exists()
    assert command(versioned, "git", "status", "--porcelain", "data.dvc") == ""
    cache_path.unlink()
    assert list(ingest.import_dataset(tmp_path / "source"))[-1] == "imported 3 files in 2 classes"
    assert read_images(versioned / "data") == NEW


@pytest.fixture
def checkout(versioned, tmp_path):
    """Another checkout of the project that shares its cache and tracks different data."""
    root = tmp_path / "checkout"
    shutil.copytree(versioned, root, symlinks=True)
    (root / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {versioned / '.dvc' / 'cache'}\n")
    shutil.rmtree(root / "data")
    write(root / "data", NEW)
    command(root, sys.executable, "-m", "dvc", "add", "--quiet", "data")
    return root


def test_adopt_dataset_takes_data_and_pointer_of_checkout(versioned, checkout):
    pointer = (checkout / "data.dvc").read_text()
    lines = list(replacement.adopt_dataset(checkout))
    assert lines == [f"data/ and data.dvc are now those of {checkout}"]
    assert read_images(versioned / "data") == NEW
    assert (versioned / "data.dvc").read_text() == pointer
    assert not replacement.STAGING.exists()


def test_adopt_dataset_rejects_checkout_that_differs_from_pointer(versioned, checkout):
    before = (versioned / "data.dvc").read_text()
    (checkout / "data" / "nevus" / "new_1.jpg").unlink()
    with pytest.raises(LesionflowError, match=r"does not contain the files listed in its data\.dvc"):
        list(replacement.adopt_dataset(checkout))
    assert read_files(versioned / "data") == OLD
    assert (versioned / "data.dvc").read_text() == before
    assert "nevus/new_2.jpg" in read_files(checkout / "data"), "the data of the checkout must be restored"


def kill_import_after_dvc_add(source, monkeypatch):
    """Import in a forked process that exits right after DVC has added the new dataset, before any cleanup."""
    from dvc.repo import Repo

    child = os.fork()
    if child == 0:
        add = Repo.add
        monkeypatch.setattr(Repo, "add", lambda *arguments, **options: (add(*arguments, **options), os._exit(9)))
        list(ingest.import_dataset(source))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_data_recover_restores_dataset_after_killed_import(versioned, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from app.cli import main
    from components.runtime.params_file import load
    from components.validate import validate

    kill_import_after_dvc_add(tmp_path / "source", monkeypatch)
    assert read_images(versioned / "data") == NEW
    with pytest.raises(LesionflowError, match="Run `lesionflow data recover` to restore the previous dataset"):
        validate(load())
    result = CliRunner().invoke(main, ["data", "recover"])
    assert result.exit_code == 0
    assert "data/ and data.dvc are the previous dataset again" in result.output
    assert read_files(versioned / "data") == OLD
    assert command(versioned, "git", "status", "--porcelain", "--", "data.dvc") == ""
    assert command(versioned, sys.executable, "-m", "dvc", "status", "data.dvc").strip().endswith("up to date.")
    assert "no import was interrupted" in CliRunner().invoke(main, ["data", "recover"]).output


def test_workspace_lock_recovers_killed_import_first(versioned, tmp_path, monkeypatch):
    from flows import workspace

    kill_import_after_dvc_add(tmp_path / "source", monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(workspace, "run_command", lambda *arguments: calls.append(arguments))
    calls: list = []
    with workspace.lock(0, versioned) as descriptor:
        pass
    recover, _, environment, root = calls[0]
    assert recover.arguments[-2:] == ["data", "recover"]
    assert environment == workspace.locking.for_child(descriptor)
    assert (root, recover.inherited) == (versioned, (descriptor,))
