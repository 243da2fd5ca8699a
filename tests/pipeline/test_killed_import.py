"""An import that is killed at any file system call leaves the old or the new dataset, and the next command recovers it."""

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
from app.data.recognition import ImportOptions
from components.core.errors import LesionflowError
from tests.support.planted import with_exif
from tests.support.versioned import NEW, OLD, read_files, template, versioned, write

__all__ = ["template", "versioned"]

pytestmark = pytest.mark.timeout(3600)

CHANGING_CALLS = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.utime",
    "os.truncate",
    "shutil.",
)
STARTING_CALLS = ("subprocess.Popen", "os.posix_spawn", "sqlite3.connect")
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT
KILLED = 137


def is_counted(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audit event is a call that changes files or starts a process."""
    if event == "open":
        return isinstance(arguments[2], int) and bool(arguments[2] & WRITE_FLAGS)
    return event.startswith((*CHANGING_CALLS, *STARTING_CALLS))


class KillAtCall:
    """Ends this process at its Nth call or, if `midway`, in the middle of it: a file is open and empty, or a child has started."""

    def __init__(self, call_number: int, midway: bool, log: Path) -> None:
        self.call_number, self.midway, self.log = call_number, midway, log
        self.calls: list[str] = []
        self.lock = threading.RLock()
        self.is_handling = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not is_counted(event, arguments):
            return
        with self.lock:
            if self.is_handling:
                return
            self.is_handling = True
            self.calls.append(f"{event} {arguments[0]}")
            if len(self.calls) == self.call_number:
                self.log.write_text(self.calls[-1])
                if self.midway:
                    self.do_half(event, arguments)
                os._exit(KILLED)
            self.is_handling = False

    def do_half(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            os.close(os.open(arguments[0], arguments[2] | os.O_TRUNC, 0o666))
        elif event == "subprocess.Popen":
            with subprocess.Popen(arguments[1], cwd=arguments[2], env=arguments[3], stdout=subprocess.DEVNULL) as child:
                time.sleep(0.003)
                child.kill()
        else:
            os._exit(KILLED + 1)


def run_in_fork(root: Path, work: Callable[[], None]) -> int:
    """Run `work` in a fork of this process in the project folder; return its exit code."""
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


def killed_at_call(number: int, midway: bool, action: Callable[[], None], log: Path) -> Callable[[], None]:
    def work() -> None:
        killer = KillAtCall(number, midway, log)
        sys.addaudithook(killer)
        action()
        log.write_text(json.dumps(killer.calls))

    return work


def recover_and_import_again(source: Path, report: Path, options: ImportOptions) -> Callable[[], None]:
    """Recover as the next command does, import again, and report the messages, the dataset and the error of the import."""

    def work() -> None:
        with replacement.locked():
            messages = list(replacement.recover_dataset())
        dataset = {"data": sorted(read_files(replacement.DATA)), "pointer": replacement.DATA_POINTER.read_text()}
        next_import_error = ""
        try:
            list(ingest.import_dataset(source, None, options))
        except LesionflowError as error:
            next_import_error = str(error)
        report.write_text(json.dumps({"messages": messages, "next_import_error": next_import_error, **dataset}))

    return work


def all_points(calls: int) -> list[tuple[int, bool]]:
    return [(number, midway) for number in range(1, calls + 1) for midway in (False, True)]


def sweep(
    template: Path,
    root: Path,
    tmp_path: Path,
    points: Callable[[int], list[tuple[int, bool]]],
    *,
    recovering: bool = False,
    add: bool = False,
) -> tuple[int, int]:
    """Kill an import of the same source at these points, each in a fresh copy of the project.

    Args:
        template, root, tmp_path: the project, the folder that it is copied to, and the folder with the source.
        points: given the number of calls, returns the calls at which to kill and whether in the middle of them.
        recovering: kill the recovery instead, after an import that was killed when DVC had written data.dvc.
        add: the import adds to the dataset instead of replacing it.

    Returns:
        The number of calls, and the number of points at which the process was killed.
    """
    source, log, report = tmp_path / "source", tmp_path / "log", tmp_path / "report"
    options = ImportOptions(add=add)
    write(source, {"metadata.csv": b"filename,lesion_id\nnew_1,L1\nnew_2,L1\n", "attribution.txt": b"a clinic\n"})
    write(source, {"nevus/new_1.jpg": with_exif(NEW["nevus/new_1.jpg"])})  # comes in without its metadata
    before = {"data": OLD, "pointer": (template / "data.dvc").read_text()}
    list(ingest.import_dataset(source, None, options))  # loads every module that the forks need
    after = {"data": read_files(root / "data"), "pointer": (root / "data.dvc").read_text()}
    images = {"melanoma/new_3.jpg", "nevus/new_1.jpg", "nevus/new_2.jpg", *(OLD if add else ())}
    assert set(after["data"]) == {*images, "metadata.csv", "attribution.txt", "dataset.yaml"}

    def run_import() -> None:
        list(ingest.import_dataset(source, None, options))

    def recover() -> None:
        with replacement.locked():
            list(replacement.recover_dataset())

    def reset_project() -> None:
        shutil.rmtree(root)
        shutil.copytree(template, root, symlinks=True)
        if recovering:
            assert run_in_fork(root, killed_at_call(last, False, run_import, log)) == KILLED
            assert (root / replacement.UNFINISHED_SWAP).exists()
            assert (root / "data.dvc").read_text() == after["pointer"]

    os.chdir(tmp_path)
    last = 0
    if recovering:
        shutil.rmtree(root)
        shutil.copytree(template, root, symlinks=True)
        assert run_in_fork(root, killed_at_call(-1, False, run_import, log)) == 0
        calls = json.loads(log.read_text())
        last = calls.index(f"os.remove {replacement.UNFINISHED_SWAP}") + 1
    action = recover if recovering else run_import
    reset_project()
    assert run_in_fork(root, killed_at_call(-1, False, action, log)) == 0
    total = len(json.loads(log.read_text()))
    killed = 0
    failures = []
    for number, midway in points(total):
        reset_project()
        code = run_in_fork(root, killed_at_call(number, midway, action, log))
        if code == KILLED + 1:  # a call without a middle
            continue
        assert code in (0, KILLED), (number, midway, code)
        killed += 1
        label = f"call {number}{' midway' if midway else ''} ({log.read_text()[:200] if code else 'ended'})"
        pointer = (root / "data.dvc").read_text() if (root / "data.dvc").exists() else ""
        report.unlink(missing_ok=True)
        assert run_in_fork(root, recover_and_import_again(source, report, options)) == 0, label
        result = json.loads(report.read_text())
        final_state = {"data": read_files(root / "data"), "pointer": (root / "data.dvc").read_text()}
        is_old = result["pointer"] == before["pointer"] and result["data"] == sorted(before["data"])
        is_new = result["pointer"] == after["pointer"] and result["data"] == sorted(after["data"])
        if not (is_old or is_new) or final_state != after:
            failures.append(f"{label}: {result}, data.dvc was {pointer!r}")
        elif (is_old and result["next_import_error"]) or (is_new and "is not committed" not in result["next_import_error"]):
            failures.append(f"{label}: the next import failed with {result['next_import_error']!r}")
        elif is_old and (root / ingest.STAGING).exists():
            failures.append(f"{label}: the next import left its staging folder")
    assert not failures, "\n".join(failures)
    return total, killed


@pytest.mark.parametrize("add", [False, True], ids=["replace", "add"])
def test_import_killed_at_every_tenth_call_leaves_consistent_dataset(template, versioned, tmp_path, add):
    def points(total: int) -> list[tuple[int, bool]]:
        return [(number, number % 20 == 0) for number in range(5, total + 1, 10)]

    total, killed = sweep(template, versioned, tmp_path, points, add=add)
    assert killed > 5, total


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("what", "recovering", "add"), [("an import", False, False), ("a recovery", True, False), ("an addition", False, True)]
)
def test_killed_at_any_call_leaves_consistent_dataset(template, versioned, tmp_path, pytestconfig, what, recovering, add):
    calls, killed = sweep(template, versioned, tmp_path, all_points, recovering=recovering, add=add)
    # not capsys, which would close the stream that DVC's logger keeps
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{what} makes {calls} calls that change files or start a process; killed at {killed} points, all consistent")
    assert killed >= calls
