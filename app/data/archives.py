"""Reads a dataset source: a folder, a zip or a tar archive. Archives are treated as untrusted input.

Names and sizes of all members are checked before anything is unpacked; contents are checked while they are unpacked. Every error
names the archive, the member and the reason. No file is written under a name from an archive: ingest.py chooses the names.
"""

import lzma
import os
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Protocol

from components.core.errors import LesionflowError
from components.runtime.params import ImportLimits

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")
MIN_BYTES_FOR_RATIO = 2**20
"""Bytes below which a member's compression ratio is not checked: small text tables compress well."""
MAX_NAME = 200
"""Maximum bytes of a file name: most file systems allow 255, and the import may add a prefix."""
PADDING = 2**16
"""Bytes read after the end of a tar archive, where only zeros may follow; longer than any tar's padding."""
ARCHIVE_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Member:
    """One file of the source: its name with forward slashes, its declared size in bytes, and a stamp that changes with its content:
    the modification time in a folder or a tar, the time and checksum in a zip. The checksum is empty where the source has none."""

    name: str
    size: int
    stamp: str = field(default="", compare=False)
    checksum: str = field(default="", compare=False)

    def is_copy_of(self, other: "Member") -> bool:
        """Whether it is the same file in a folder whose name differs only in case, as in Kaggle's archive of HAM10000."""
        same_file = self.name.rpartition("/")[2] == other.name.rpartition("/")[2] and self.name.casefold() == other.name.casefold()
        return same_file and self.name != other.name and (self.size, self.checksum) == (other.size, other.checksum)


class Source(Protocol):
    """A dataset source. Call `members` first, then `contents`; read each content inside `archive_errors`."""

    path: Path

    def members(self) -> list[Member]:
        """List all files after checking their names and sizes.

        Raises:
            LesionflowError: the source is corrupt, or a member is unsafe.
        """

    def contents(self, wanted: Iterable[str]) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield the wanted members in the source's order as name and stream; read each stream before requesting the next."""


class Folder:
    """A folder as a source."""

    def __init__(self, root: Path, limits: ImportLimits) -> None:
        self.path, self._limits = root, limits

    def members(self) -> list[Member]:
        found = []
        inside = self.path.resolve()
        for path in sorted(self.path.rglob("*")):
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                raise LesionflowError(f"{path} is a link to a file outside {self.path}; nothing was imported")
            if path.is_file():
                status = path.stat()
                found.append(Member(path.relative_to(self.path).as_posix(), status.st_size, str(status.st_mtime_ns)))
        check_members(self.path, found, self._limits)
        return found

    def contents(self, wanted: Iterable[str]) -> Iterator[tuple[str, IO[bytes]]]:
        for name in wanted:
            with (self.path / name).open("rb") as stream:
                yield name, stream


class Zip:
    """A zip archive as a source."""

    def __init__(self, path: Path, limits: ImportLimits, content: IO[bytes] | None = None) -> None:
        self.path, self._limits = path, limits
        try:
            self._archive = zipfile.ZipFile(content or path)
        except ARCHIVE_ERRORS as fault:
            raise LesionflowError(f"{path} is a corrupt zip archive: {fault}. Download or create it again; nothing was imported") from None

    def members(self) -> list[Member]:
        items = [item for item in self._archive.infolist() if not item.is_dir()]
        for item in items:
            kind = stat.S_IFMT(item.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _refusal(self.path, item.filename, "is a link or a device, not a file")
            if item.flag_bits & 1:
                raise _refusal(self.path, item.filename, "is encrypted. Unpack the archive yourself and import the folder")
            if item.file_size > max(MIN_BYTES_FOR_RATIO, self._limits.max_ratio * item.compress_size):
                raise _refusal(
                    self.path,
                    item.filename,
                    f"would unpack to more than {self._limits.max_ratio} times its size (import.max_ratio): possible archive bomb",
                )
        end = 0
        for item in sorted(items, key=lambda one: one.header_offset):
            if item.header_offset < end:
                raise _refusal(self.path, item.filename, "overlaps another member: possible archive bomb")
            end = item.header_offset + item.compress_size
        found = [Member(item.filename, item.file_size, f"{item.date_time} {item.CRC}", f"{item.CRC:08x}") for item in items]
        check_members(self.path, found, self._limits)
        return found

    def contents(self, wanted: Iterable[str]) -> Iterator[tuple[str, IO[bytes]]]:
        for name in wanted:
            with archive_errors(self.path, name):
                stream = self._archive.open(name)
            with stream:
                yield name, stream


class Tar:
    """A tar archive as a source, compressed or not; read from front to back."""

    def __init__(self, path: Path, limits: ImportLimits) -> None:
        self.path, self._limits = path, limits

    def members(self) -> list[Member]:
        found: list[Member] = []
        total, allowed = 0, max(MIN_BYTES_FOR_RATIO, self._limits.max_ratio * self.path.stat().st_size)
        with archive_errors(self.path, "the archive"), tarfile.open(self.path, "r:*") as archive:
            for item in archive:
                if item.isdir():
                    continue
                if not item.isreg():
                    raise _refusal(self.path, item.name, "is a link or a device, not a file")
                total += item.size
                found.append(Member(item.name, item.size, str(item.mtime)))
                if item.size > self._limits.max_file_mb * 2**20:
                    break  # check_members rejects it; continuing would unpack it
                if total > allowed:
                    raise _refusal(
                        self.path,
                        item.name,
                        f"expands to more than {self._limits.max_ratio} times the archive's size (import.max_ratio): possible archive bomb",
                    )
                if len(found) > self._limits.max_files or total > self._limits.max_total_gb * 2**30:
                    break
        check_members(self.path, found, self._limits)
        return found

    def contents(self, wanted: Iterable[str]) -> Iterator[tuple[str, IO[bytes]]]:
        left = set(wanted)
        with archive_errors(self.path, "the archive"), tarfile.open(self.path, "r:*") as archive:
            for item in archive:
                if item.name in left and item.isreg():
                    stream = archive.extractfile(item)
                    assert stream is not None  # isreg
                    yield item.name, stream
            padding = archive.fileobj.read(PADDING) if archive.fileobj else b""  # reads a compressed stream's checksum too
            if padding.strip(b"\0") or len(padding) == PADDING:
                raise LesionflowError(f"{self.path} has data after the end of the archive; nothing was imported")


def open_source(source: Path, limits: ImportLimits) -> Source:
    """Open a folder, a zip or a tar archive as a dataset source.

    Raises:
        LesionflowError: the source does not exist or is neither a folder nor a zip or tar archive.
    """
    if source.is_dir():
        return Folder(source, limits)
    if not source.is_file():
        raise LesionflowError(f"{source} does not exist or is not a regular file. Name a folder, or a zip or tar archive")
    if zipfile.is_zipfile(source):
        return Zip(source, limits)
    if _is_tar(source):
        return Tar(source, limits)
    if source.suffix.lower() in ARCHIVES:
        raise LesionflowError(f"{source} is a corrupt or unsupported archive. Unpack it and import the folder")
    raise LesionflowError(f"{source} is neither a folder nor a zip or tar archive")


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (*ARCHIVE_ERRORS, OSError):
        return False


def check_members(source: Path, members: list[Member], limits: ImportLimits) -> None:
    """Check names and sizes, for every kind of source.

    Raises:
        LesionflowError: a name is unsafe or occurs twice, or a limit is exceeded.
    """
    if len(members) > limits.max_files:
        raise LesionflowError(f"{source} contains more than {limits.max_files} files (import.max_files); nothing was imported")
    total = 0
    seen: dict[str, Member] = {}
    for member in members:
        reason = _name_problem(member.name)
        if reason:
            raise _refusal(source, member.name, reason)
        folded = unicodedata.normalize("NFC", member.name).casefold()
        if not member.is_copy_of(seen.setdefault(folded, member)) and seen[folded] is not member:
            raise _refusal(source, member.name, "occurs twice, or differs from another member only in case or Unicode normalization")
        if member.size > limits.max_file_mb * 2**20:
            raise _refusal(source, member.name, f"is larger than {limits.max_file_mb} MB (import.max_file_mb)")
        total += member.size
        if total > limits.max_total_gb * 2**30:
            raise _refusal(source, member.name, f"exceeds the total limit of {limits.max_total_gb:g} GB (import.max_total_gb)")


def _name_problem(name: str) -> str:
    """Reason why a member's name is unsafe, or empty text."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts:
        return "points outside the archive"
    if name.startswith(("/", "\\")) or PureWindowsPath(name).drive:
        return "is an absolute path"
    if any(ord(letter) < 32 or ord(letter) == 127 or letter in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068" for letter in name):
        return "has control characters in its name"
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in name):
        return "has a name in an unknown encoding. Rename it, or create the archive again with UTF-8 names"
    if len(os.fsencode(parts[-1])) > MAX_NAME:
        return f"has a name longer than {MAX_NAME} bytes"
    return ""


def _refusal(source: Path, name: str, reason: str) -> LesionflowError:
    shown = name if len(name) <= 80 else f"{name[:77]}..."
    return LesionflowError(f"{source}: {shown!r} {reason}; nothing was imported")


@contextmanager
def archive_errors(source: Path, name: str) -> Iterator[None]:
    """Convert errors of reading a corrupt archive to a user error."""
    try:
        yield
    except ARCHIVE_ERRORS as fault:
        raise LesionflowError(f"{source}: {name!r} cannot be unpacked: {fault or type(fault).__name__}; nothing was imported") from None
    except OSError as fault:
        if fault.errno is not None:
            raise
        raise LesionflowError(
            f"{source}: {name!r} cannot be unpacked: {fault}; nothing was imported"
        ) from None  # gzip and bz2 raise OSError without errno
