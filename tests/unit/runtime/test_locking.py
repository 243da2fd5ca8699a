import os
import subprocess
import sys

import pytest

from components.runtime import locking
from tests.support.project import ROOT

CHILD = """
import time
from pathlib import Path
from components.runtime import locking
try:
    with locking.held(0, Path()):
        print("locked", flush=True)
        {body}
except locking.WorkspaceBusy as busy:
    print(busy, flush=True)
"""


def start_child(root, inherited=(), body="pass", **environment):
    """Start a process that takes the lock; return it and its first line of output."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(body=body)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=inherited,
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def run_child(root, inherited=(), **environment):
    child, output = start_child(root, inherited, **environment)
    child.communicate()
    return output


def test_child_that_inherits_descriptor_holds_lock(tmp_path):
    with locking.held(0, tmp_path) as descriptor:
        assert run_child(tmp_path, (descriptor,), **locking.for_child(descriptor)) == "locked"
        assert run_child(tmp_path).startswith("another run or import is active in")
        assert run_child(tmp_path, (descriptor,), **locking.for_child(descriptor)) == "locked", "a child that ends does not release it"
    assert run_child(tmp_path) == "locked"


def test_child_without_locked_descriptor_is_refused(tmp_path):
    with locking.held(0, tmp_path) as descriptor, (tmp_path / "other").open("w") as other, (tmp_path / locking.LOCK).open() as unlocked:
        assert run_child(tmp_path, **locking.for_child(descriptor)).startswith("another run"), "not inherited"
        assert run_child(tmp_path, (other.fileno(),), **locking.for_child(other.fileno())).startswith("another run"), "another file"
        assert run_child(tmp_path, (unlocked.fileno(),), **locking.for_child(unlocked.fileno())).startswith("another run"), "not locked"
        for invalid in ("-1", "one", "", "99999999999999999999", "²"):
            assert run_child(tmp_path, **{locking.INHERITED: invalid}).startswith("another run"), invalid


def test_lock_is_held_until_inheriting_child_ends(tmp_path):
    with locking.held(0, tmp_path) as descriptor:
        child, output = start_child(tmp_path, (descriptor,), body="time.sleep(60)", **locking.for_child(descriptor))
    assert output == "locked"
    with pytest.raises(locking.WorkspaceBusy), locking.held(0, tmp_path):
        pass
    child.kill()
    child.communicate()
    with locking.held(5, tmp_path):
        pass
