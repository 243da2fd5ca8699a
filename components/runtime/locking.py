"""The lock of the project's folder: whoever changes data/, runs stages or imports holds it, one at a time."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor

LOCK = Path(".prefect/workspace.lock")
INHERITED = "LESIONFLOW_LOCK_FD"
"""Environment variable that names an inherited descriptor. It is a hint: what counts is that the descriptor is of the lock's file and
locked."""
POLL = 0.1
"""Seconds between two attempts to take the lock."""


class Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def held(patience: float, root: Path) -> Iterator[int]:
    """Hold the lock and yield its descriptor, which `for_child` hands to a command that needs the lock too.

    The kernel releases the lock when the last process that holds the descriptor ends, also after SIGKILL: a command that outlives the
    process that started it keeps other runs out until it ends. A process that inherited the lock neither waits for it nor releases it.

    Args:
        patience: seconds to wait for the lock; -1 waits as long as it takes.
        root: the project.

    Raises:
        Busy: another process still holds it after `patience` seconds.
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
                raise Busy(f"another run or import works in {root.resolve()}: it holds {LOCK}")
            time.sleep(POLL)
        yield descriptor
    finally:
        os.close(descriptor)


def for_child(descriptor: int) -> dict[str, str]:
    """Environment variables for a command that is also given `descriptor` itself (subprocess's `pass_fds`)."""
    return {INHERITED: str(descriptor)}


def _inherited(path: Path) -> int | None:
    """The descriptor of the lock that this process was started with, or None.

    Locking it succeeds if it holds the lock already, and fails if it does not and another one does.
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
