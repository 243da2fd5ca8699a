"""Reads the zip archives within a source, for forms that are published so. Only archives with a known name are opened, one level deep."""

import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO

from app.data.archives import Folder, Member, Source, Zip, archive_errors, check_members
from components.runtime.params import ImportLimits


class WithInnerArchives:
    """A source in which zip archives with known names count as folders. A member is named after the archive without suffix."""

    def __init__(self, outer: Source, patterns: Collection[str], limits: ImportLimits) -> None:
        self.path = outer.path
        self._outer, self._patterns, self._limits = outer, patterns, limits
        self._inner: dict[str, Zip] = {}

    def members(self) -> list[Member]:
        outside = self._outer.members()
        names = [member.name for member in outside if self._is_known(member.name)]
        if not names:
            return outside
        self._inner = dict(self._open(names))
        found = [member for member in outside if member.name not in names]
        for folder, archive in self._inner.items():
            found += [Member(f"{folder}/{member.name}", member.size, member.stamp) for member in archive.members()]
        check_members(self.path, found, self._limits)
        return found

    def contents(self, wanted: Iterable[str]) -> Iterator[tuple[str, IO[bytes]]]:
        by_folder: dict[str, list[str]] = {folder: [] for folder in self._inner}
        outside = []
        for name in wanted:
            folder = next((folder for folder in self._inner if name.startswith(f"{folder}/")), None)
            if folder is None:
                outside.append(name)
            else:
                by_folder[folder].append(name.removeprefix(f"{folder}/"))
        if outside:
            yield from self._outer.contents(outside)
        for folder, names in by_folder.items():
            for name, stream in self._inner[folder].contents(names):
                yield f"{folder}/{name}", stream

    def _is_known(self, name: str) -> bool:
        return name.lower().endswith(".zip") and any(
            fnmatch(PurePosixPath(name).name.lower(), pattern.lower()) for pattern in self._patterns
        )

    def _open(self, names: list[str]) -> Iterator[tuple[str, Zip]]:
        for name, stream in self._outer.contents(names):
            folder, shown = str(PurePosixPath(name).with_suffix("")), self.path / name
            if isinstance(self._outer, Folder):
                yield folder, Zip(shown, self._limits)
                continue
            copy = tempfile.TemporaryFile(dir=Path.cwd())  # noqa: SIM115 (open as long as the source)
            with archive_errors(self.path, name):
                shutil.copyfileobj(stream, copy)
            yield folder, Zip(shown, self._limits, copy)
