"""Folders for long work: a process has one to itself while it works, and whoever comes after a killed one goes on in it.

There are never more of them than processes that worked at once, so what they hold on disk is bounded.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from filelock import FileLock, Timeout

from components.core.files import read_json, write_json

MARKER = "identity.json"


@contextmanager
def work_folder(root: Path, identity: str) -> Iterator[Path]:
    """Yield a folder that no other process uses: one in which work with this identity was begun, or else an empty one.

    Args:
        root: where the folders are; a free one that holds other work is emptied.
        identity: of everything that decides what is kept in the folder.
    """
    root.mkdir(parents=True, exist_ok=True)
    begun = [number for number in _numbers(root) if _identity_of(root / str(number)) == identity]
    for number in chain(begun, count()):
        lock, folder = _lock(root, number), root / str(number)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        try:
            if _identity_of(folder) != identity:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                write_json(folder / MARKER, {"identity": identity})
            yield folder
        finally:
            lock.release()
        return


def clear(root: Path) -> None:
    """Delete the folders that no process uses."""
    for number in _numbers(root):
        try:
            with _lock(root, number).acquire(blocking=False):
                shutil.rmtree(root / str(number), ignore_errors=True)
        except Timeout:
            continue


def _lock(root: Path, number: int) -> FileLock:
    return FileLock(root / f"{number}.lock")


def _numbers(root: Path) -> list[int]:
    return sorted(int(path.name) for path in root.glob("*") if path.is_dir() and path.name.isdecimal())


def _identity_of(folder: Path) -> str | None:
    marker = folder / MARKER
    return str(read_json(marker)["identity"]) if marker.exists() else None
