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
        print("held", flush=True)
        {then}
except locking.WorkspaceBusy as busy:
    print(busy, flush=True)
"""


def start(root, inherited=(), then="pass", **environment):
    """A process that takes the lock, and its first line."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(then=then)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=inherited,
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def ended(root, inherited=(), **environment):
    child, said = start(root, inherited, **environment)
    child.communicate()
    return said


def test_a_child_that_inherits_the_lock_holds_it_and_no_other_process_does(tmp_path):
    with locking.held(0, tmp_path) as descriptor:
        assert ended(tmp_path, (descriptor,), **locking.for_child(descriptor)) == "held"
        assert ended(tmp_path).startswith("another run or import is active in")
        assert ended(tmp_path, (descriptor,), **locking.for_child(descriptor)) == "held", "a child that ends does not release it"
    assert ended(tmp_path) == "held"


def test_naming_a_descriptor_is_not_enough(tmp_path):
    with locking.held(0, tmp_path) as descriptor, (tmp_path / "other").open("w") as other, (tmp_path / locking.LOCK).open() as unlocked:
        assert ended(tmp_path, **locking.for_child(descriptor)).startswith("another run"), "not inherited"
        assert ended(tmp_path, (other.fileno(),), **locking.for_child(other.fileno())).startswith("another run"), "another file"
        assert ended(tmp_path, (unlocked.fileno(),), **locking.for_child(unlocked.fileno())).startswith("another run"), "not locked"
        for nonsense in ("-1", "one", "", "99999999999999999999", "²"):
            assert ended(tmp_path, **{locking.INHERITED: nonsense}).startswith("another run"), nonsense


def test_a_child_that_outlives_the_holder_keeps_others_out(tmp_path):
    with locking.held(0, tmp_path) as descriptor:
        child, said = start(tmp_path, (descriptor,), then="time.sleep(60)", **locking.for_child(descriptor))
    assert said == "held"
    with pytest.raises(locking.WorkspaceBusy), locking.held(0, tmp_path):
        pass
    child.kill()
    child.communicate()
    with locking.held(5, tmp_path):
        pass
