"""The workspace lock: only one process at a time may change data/, run stages or import."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor

LOCK = Path(".prefect/workspace.lock")
INHERITED = "LESIONFLOW_LOCK_FD"
"""Environment variable with the number of an inherited descriptor. It is only a hint: the descriptor must refer to the lock file and
hold the lock."""
POLL = 0.1
"""Seconds between two attempts to take the lock."""


class WorkspaceBusy(Exception):
    """Another process holds the lock."""


@contextmanager
def held(patience: float, root: Path) -> Iterator[int]:
    """Hold the lock and yield its descriptor, which `for_child` passes to a command that needs the lock too.

    The kernel releases the lock when the last process with the descriptor ends, even after SIGKILL. A command that outlives the
    process that started it therefore keeps the lock until it ends. A process that inherited the lock neither waits for it nor
    releases it.

    Raises:
        WorkspaceBusy: another process still holds it after `patience` seconds.
    """
    path = root / LOCK
    inherited = _inherited(path)
    if inherited is not None:
        yield inherited
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + patience
        while not lock_descriptor(descriptor, blocking=False):
            if patience >= 0 and time.monotonic() >= deadline:
                raise WorkspaceBusy(f"another run or import is active in {root.resolve()} and holds {LOCK}")
            time.sleep(POLL)
        yield descriptor
    finally:
        os.close(descriptor)


def for_child(descriptor: int) -> dict[str, str]:
    """Environment variables for a command that inherits `descriptor` (subprocess's `pass_fds`)."""
    return {INHERITED: str(descriptor)}


def _inherited(path: Path) -> int | None:
    """Descriptor of the lock that this process inherited, or None.

    Locking it succeeds if it already holds the lock, and fails if another descriptor holds it.
    """
    named = os.environ.get(INHERITED, "")
    if not named.isascii() or not named.isdigit():
        return None
    descriptor = int(named)
    try:
        if not os.path.samestat(os.fstat(descriptor), path.stat()) or not lock_descriptor(descriptor, blocking=False):
            return None
    except (OSError, OverflowError):
        return None
    os.set_inheritable(descriptor, False)
    return descriptor
