"""An import that is killed at any call to the file system leaves the old dataset or the new one, and the next command says which."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.data import ingest, replacement
from components.core.errors import LesionflowError
from tests.support.versioned import OLD, held, template, versioned, write

__all__ = ["template", "versioned"]

pytestmark = pytest.mark.timeout(3600)

CHANGING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.utime", "os.truncate", "shutil.")
STARTING = ("subprocess.Popen", "os.posix_spawn", "sqlite3.connect")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
KILLED = 137


def counts(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audit event is a call that changes files or starts a process."""
    if event == "open":
        return isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
    return event.startswith((*CHANGING, *STARTING))


class Killer:
    """Ends this process at its Nth call; or, `midway`, when that call is half done: a file is opened and empty, a child has started."""

    def __init__(self, at: int, midway: bool, log: Path) -> None:
        self.at, self.midway, self.log = at, midway, log
        self.seen: list[str] = []
        self.busy = threading.RLock()
        self.inside = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not counts(event, arguments):
            return
        with self.busy:
            if self.inside:
                return
            self.inside = True
            self.seen.append(f"{event} {arguments[0]}")
            if len(self.seen) == self.at:
                self.log.write_text(self.seen[-1])
                if self.midway:
                    self.half_do(event, arguments)
                os._exit(KILLED)
            self.inside = False

    def half_do(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            os.close(os.open(arguments[0], arguments[2] | os.O_TRUNC, 0o666))
        elif event == "subprocess.Popen":
            with subprocess.Popen(arguments[1], cwd=arguments[2], env=arguments[3], stdout=subprocess.DEVNULL) as child:
                time.sleep(0.003)
                child.kill()
        else:
            os._exit(KILLED + 1)


def forked(root: Path, work: Callable[[], None]) -> int:
    """The exit code of `work` in a fork of this process, in the project."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(root)
            signal.alarm(0)
            work()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(number: int, midway: bool, act: Callable[[], None], log: Path) -> Callable[[], None]:
    def work() -> None:
        killer = Killer(number, midway, log)
        sys.addaudithook(killer)
        act()
        log.write_text(json.dumps(killer.seen))

    return work


def carried_on(source: Path, report: Path) -> Callable[[], None]:
    """Run the next command and note what it said, what it found, and what another import made of it."""

    def work() -> None:
        with replacement.locked():
            said = list(replacement.recover_dataset())
        found = {"data": sorted(held(replacement.DATA)), "pointer": replacement.DATA_POINTER.read_text()}
        again = ""
        try:
            list(ingest.import_dataset(source))
        except LesionflowError as refusal:
            again = str(refusal)
        report.write_text(json.dumps({"said": said, "again": again, **found}))

    return work


def every_point(calls: int) -> list[tuple[int, bool]]:
    return [(number, midway) for number in range(1, calls + 1) for midway in (False, True)]


def sweep(
    template: Path, root: Path, tmp_path: Path, points: Callable[[int], list[tuple[int, bool]]], *, recovering: bool = False
) -> tuple[int, int]:
    """Kill an import of the same source at these points, each in a fresh copy of the project.

    Args:
        template, root, tmp_path: the project, where it is copied to, and the folder with the source.
        points: which calls of so many, and whether half-way through.
        recovering: kill the recovery from an import that was killed when DVC had written data.dvc, not the import.

    Returns:
        How many calls there are, and at how many points it was killed.
    """
    source, log, report = tmp_path / "source", tmp_path / "log", tmp_path / "report"
    write(source, {"metadata.csv": b"filename,lesion_id\nnew_1,L1\nnew_2,L1\n", "attribution.txt": b"a clinic\n"})
    before = {"data": OLD, "pointer": (template / "data.dvc").read_text()}
    list(ingest.import_dataset(source))  # imports every module that the forks need
    after = {"data": held(root / "data"), "pointer": (root / "data.dvc").read_text()}
    assert set(after["data"]) == {"melanoma/new_3.jpg", "nevus/new_1.jpg", "nevus/new_2.jpg", "metadata.csv", "attribution.txt"}

    def import_it() -> None:
        list(ingest.import_dataset(source))

    def recover() -> None:
        with replacement.locked():
            list(replacement.recover_dataset())

    def fresh() -> None:
        shutil.rmtree(root)
        shutil.copytree(template, root, symlinks=True)
        if recovering:
            assert forked(root, killed_at(last, False, import_it, log)) == KILLED
            assert (root / replacement.UNFINISHED_SWAP).exists()
            assert (root / "data.dvc").read_text() == after["pointer"]

    os.chdir(tmp_path)
    last = 0
    if recovering:
        shutil.rmtree(root)
        shutil.copytree(template, root, symlinks=True)
        assert forked(root, killed_at(-1, False, import_it, log)) == 0
        calls = json.loads(log.read_text())
        last = calls.index(f"os.remove {replacement.UNFINISHED_SWAP}") + 1
    act = recover if recovering else import_it
    fresh()
    assert forked(root, killed_at(-1, False, act, log)) == 0
    total = len(json.loads(log.read_text()))
    killed = 0
    wrong = []
    for number, midway in points(total):
        fresh()
        code = forked(root, killed_at(number, midway, act, log))
        if code == KILLED + 1:  # a call that has no middle
            continue
        assert code in (0, KILLED), (number, midway, code)
        killed += 1
        place = f"call {number}{' midway' if midway else ''} ({log.read_text()[:200] if code else 'ended'})"
        pointer = (root / "data.dvc").read_text() if (root / "data.dvc").exists() else ""
        report.unlink(missing_ok=True)
        assert forked(root, carried_on(source, report)) == 0, place
        result = json.loads(report.read_text())
        end = {"data": held(root / "data"), "pointer": (root / "data.dvc").read_text()}
        is_old = result["pointer"] == before["pointer"] and result["data"] == sorted(before["data"])
        is_new = result["pointer"] == after["pointer"] and result["data"] == sorted(after["data"])
        if not (is_old or is_new) or end != after:
            wrong.append(f"{place}: {result}, data.dvc was {pointer!r}")
        elif (is_old and result["again"]) or (is_new and "is not committed" not in result["again"]):
            wrong.append(f"{place}: the next import said {result['again']!r}")
        elif is_old and (root / ingest.STAGING).exists():
            wrong.append(f"{place}: the next import left its staging folder")
    assert not wrong, "\n".join(wrong)
    return total, killed


def test_an_import_killed_at_every_tenth_call_leaves_the_old_dataset_or_the_new_one(template, versioned, tmp_path):
    total, killed = sweep(template, versioned, tmp_path, lambda total: [(number, number % 20 == 0) for number in range(5, total + 1, 10)])
    assert killed > 5, total


@pytest.mark.sweep
@pytest.mark.parametrize("recovering", [False, True], ids=["import", "recovery"])
def test_killed_at_any_call_it_leaves_the_old_dataset_or_the_new_one(template, versioned, tmp_path, capsys, recovering):
    calls, killed = sweep(template, versioned, tmp_path, every_point, recovering=recovering)
    with capsys.disabled():
        what = "a recovery" if recovering else "an import"
        print(f"\n{what} makes {calls} calls that change files or start a process; killed at {killed} points, all consistent")
    assert killed >= calls
