"""Finds and reads the files that `lesionflow predict` is given: files by name, or all files of folders."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.system_files import is_system_file, is_system_folder
from components.core.errors import UnreadableImageError

NO_FILES = {
    stat.S_ISDIR: "a folder, not a file",
    stat.S_ISFIFO: "a named pipe, not a file",
    stat.S_ISSOCK: "a socket, not a file",
    stat.S_ISCHR: "a device, not a file",
    stat.S_ISBLK: "a device, not a file",
}
"""What a path is that is not a regular file. None of these is opened: reading a pipe or a device may never end."""
NO_TARGET = "a link to a file that does not exist"
FOLDER_LINK = "a link to a folder, which is not followed"


@dataclass(frozen=True)
class FoundFile:
    """A file to predict; `problem`: why it cannot be read, where that is known already."""

    path: Path
    problem: str = ""


def find_files(paths: Sequence[Path], without: Path | None = None) -> Iterator[FoundFile]:
    """Yield the files to predict, each named one once.

    If every path is a folder, these are all files in them, in sorted order, without those of an operating system. Otherwise they are the
    paths as they are given.

    Args:
        paths: files, or folders.
        without: a file that is left out of folders: the one that the answers are written to.
    """
    distinct = list(dict.fromkeys(paths))
    if not are_folders(distinct):
        yield from map(FoundFile, distinct)
        return
    left_out = without.resolve() if without is not None else None
    for folder in distinct:
        yield from (found for found in _files_in(folder) if left_out is None or found.path.resolve() != left_out)


def are_folders(paths: Iterable[Path]) -> bool:
    """Whether every path is a folder."""
    try:
        return all(path.is_dir() for path in paths)
    except OSError:  # a path that is too long
        return False


def _files_in(root: Path) -> Iterator[FoundFile]:
    """All files in a folder and its folders, in the order of their paths. Only the names of open folders are in memory."""
    left = [_entries(root)]
    while left:
        entry = next(left[-1], None)
        if entry is None:
            left.pop()
        elif isinstance(entry, FoundFile):
            yield entry
        elif not entry.is_dir():
            if not is_system_file((entry.name,)):
                yield FoundFile(Path(entry.path))
        elif not is_system_folder(entry.name):
            if entry.is_symlink():
                yield FoundFile(Path(entry.path), FOLDER_LINK)
            else:
                left.append(_entries(Path(entry.path)))


def _entries(folder: Path) -> "Iterator[os.DirEntry[str] | FoundFile]":
    """The entries of a folder by name; the folder itself with a problem if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as fault:
        return iter([FoundFile(folder, reason(fault))])
    return iter(found)


def read_file(path: Path, max_mb: int) -> bytes:
    """Read a file of at most `max_mb` megabytes.

    Raises:
        UnreadableImageError: it does not exist, is not a regular file, is larger, or cannot be read; the message gives the reason.
    """
    try:
        _require_regular(path.stat().st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # does not wait, even if it became a pipe meanwhile
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(stream.fileno())
            _require_regular(status.st_mode)
            if status.st_size > max_mb * 2**20:
                raise UnreadableImageError(f"larger than {max_mb} MB (import.max_file_mb)")
            return stream.read()
    except FileNotFoundError as fault:
        raise UnreadableImageError(NO_TARGET if path.is_symlink() else reason(fault)) from None
    except OSError as fault:
        raise UnreadableImageError(reason(fault)) from None
    except ValueError:
        raise UnreadableImageError("not a valid path") from None


def _require_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise UnreadableImageError(next((text for test, text in NO_FILES.items() if test(mode)), "not a regular file"))


def reason(fault: OSError) -> str:
    """What the operating system says about a file, in lower case."""
    return (fault.strerror or str(fault)).lower()
