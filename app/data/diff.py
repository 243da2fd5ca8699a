"""Differences between two versions of the dataset."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from app.data.ingest import dvc
from app.data.members import LICENSES
from app.data.sources import NO_SOURCE, read_sources
from components.core.paths import DATA

MAX_LISTED = 10
NO_FOLDER = "no diagnosis"
"""Shown for files outside the folders of diagnoses: metadata.csv and others."""


@dataclass(frozen=True)
class DatasetDiff:
    """Paths within data/. `relabeled` files moved to another diagnosis, `renamed` files moved within theirs; their bytes are equal."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    relabeled: list[tuple[str, str]]
    renamed: list[tuple[str, str]]


def compare(old: str, new: str | None) -> Iterator[str]:
    """Describe the difference in lines: counts per diagnosis and per source, then the first files of each kind of change.

    Raises:
        LesionflowError: a revision does not exist, or DVC no longer has its list of files.
    """
    command = ["diff", "--json", "--show-hash", "--targets", str(DATA), "--", old]
    changes = parse_difference(json.loads(dvc(*command, *([new] if new else [])) or "{}"))
    name = new or f"{DATA}/"
    if not any((changes.added, changes.removed, changes.changed, changes.relabeled, changes.renamed)):
        yield f"{old} and {name} contain the same files"
        return
    yield f"from {old} to {name}: {len(changes.added)} added, {len(changes.removed)} removed, {len(changes.relabeled)} relabeled, " + (
        f"{len(changes.changed)} changed, {len(changes.renamed)} renamed"
    )
    yield from _per_class(changes)
    yield from _per_source(changes, old, new)
    for title, names in (("added", changes.added), ("removed", changes.removed), ("changed", changes.changed)):
        yield from _name_lines(title, names)
    for title, pairs in (("relabeled", changes.relabeled), ("renamed", changes.renamed)):
        yield from _name_lines(title, [f"{before} -> {after}" for before, after in pairs])


def parse_difference(document: dict[str, list[dict[str, object]]]) -> DatasetDiff:
    """Parse the output of `dvc diff --json --show-hash`; files with equal bytes count as moved, regardless of their names."""
    added, removed = _files(document.get("added", [])), _files(document.get("deleted", []))
    for entry in document.get("renamed", []):
        removed += _files([{"path": entry["path"]["old"], "hash": entry["hash"]}])  # type: ignore[index]
        added += _files([{"path": entry["path"]["new"], "hash": entry["hash"]}])  # type: ignore[index]
    old_paths: dict[str, list[str]] = {}
    for path, digest in removed:
        old_paths.setdefault(digest, []).append(path)
    fresh, moves = [], []
    for path, digest in added:
        same = old_paths.get(digest)
        if same:
            moves.append((next((old for old in same if _class(old) == _class(path)), same[0]), path))
            same.remove(moves[-1][0])
        else:
            fresh.append(path)
    return DatasetDiff(
        added=fresh,
        removed=sorted(path for paths in old_paths.values() for path in paths),
        changed=[path for path, _ in _files(document.get("modified", []))],
        relabeled=[move for move in moves if _class(move[0]) != _class(move[1])],
        renamed=[move for move in moves if _class(move[0]) == _class(move[1])],
    )


def _files(entries: list[dict[str, object]]) -> list[tuple[str, str]]:
    named = [(str(entry["path"]), entry.get("hash")) for entry in entries if not str(entry["path"]).endswith("/")]
    return sorted(
        (PurePosixPath(path).relative_to(DATA).as_posix(), str(digest["new"] if isinstance(digest, dict) else digest))
        for path, digest in named
    )


def _class(path: str) -> str:
    """The folder that names a file's diagnosis."""
    folders = PurePosixPath(path).parts[:-1]
    return folders[0] if folders else NO_FOLDER


def _per_class(changes: DatasetDiff) -> Iterator[str]:
    columns = {
        "added": Counter(map(_class, changes.added)),
        "removed": Counter(map(_class, changes.removed)),
        "relabeled to": Counter(_class(after) for _, after in changes.relabeled),
        "relabeled from": Counter(_class(before) for before, _ in changes.relabeled),
    }
    yield from _counted("", columns)


def _per_source(changes: DatasetDiff, old: str, new: str | None) -> Iterator[str]:
    """Count added and removed images by the source that each dataset names for them, if one of them names any."""
    columns = {"added": _by_source(changes.added, new), "removed": _by_source(changes.removed, old)}
    if set().union(*columns.values()) - {NO_SOURCE}:
        yield from _counted("source", columns)


def _by_source(paths: list[str], revision: str | None) -> Counter[str]:
    images = [path for path in paths if _class(path) not in (NO_FOLDER, LICENSES)]
    return read_sources(revision).of(images) if images else Counter()


def _counted(title: str, columns: dict[str, Counter[str]]) -> Iterator[str]:
    names = sorted(set().union(*columns.values()))
    width = max([28, *map(len, names)])
    yield f"  {title:<{width}}" + "".join(f"{column:>17}" for column in columns)
    yield from (f"  {name:<{width}}" + "".join(f"{counts[name]:>17}" for counts in columns.values()) for name in names)


def _name_lines(title: str, names: list[str]) -> Iterator[str]:
    if names:
        yield f"{title}:"
        yield from (f"  {name}" for name in names[:MAX_LISTED])
        if len(names) > MAX_LISTED:
            yield f"  and {len(names) - MAX_LISTED} more"
