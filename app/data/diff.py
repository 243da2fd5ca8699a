"""What two versions of the dataset have apart."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from app.data.ingest import dvc
from components.core.classes import CLASSES, class_of_folder
from components.core.paths import DATA

SHOWN = 10


@dataclass(frozen=True)
class Difference:
    """Paths within data/. `relabelled`, `renamed`: the same bytes under another class, or elsewhere under the same."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    relabelled: list[tuple[str, str]]
    renamed: list[tuple[str, str]]


def compare(old: str, new: str | None) -> Iterator[str]:
    """The difference in lines: counts per class, then the first files of each kind.

    Raises:
        LesionflowError: DVC does not know a revision, or no longer has its list of files.
    """
    command = ["diff", "--json", "--show-hash", "--targets", str(DATA), "--", old]
    apart = difference(json.loads(dvc(*command, *([new] if new else [])) or "{}"))
    name = new or f"{DATA}/"
    images = [*apart.added, *apart.removed, *apart.changed, *apart.relabelled, *apart.renamed]
    if not images:
        yield f"{old} and {name} hold the same files"
        return
    yield f"from {old} to {name}: {len(apart.added)} added, {len(apart.removed)} removed, {len(apart.relabelled)} relabelled, " + (
        f"{len(apart.changed)} changed, {len(apart.renamed)} renamed"
    )
    yield from _per_class(apart)
    for title, names in (("added", apart.added), ("removed", apart.removed), ("changed", apart.changed)):
        yield from _listed(title, names)
    for title, pairs in (("relabelled", apart.relabelled), ("renamed", apart.renamed)):
        yield from _listed(title, [f"{before} -> {after}" for before, after in pairs])


def difference(document: dict[str, list[dict[str, object]]]) -> Difference:
    """What `dvc diff --json --show-hash` tells, with files of equal bytes matched whatever they are called."""
    added, removed = _files(document.get("added", [])), _files(document.get("deleted", []))
    for entry in document.get("renamed", []):
        removed += _files([{"path": entry["path"]["old"], "hash": entry["hash"]}])  # type: ignore[index]
        added += _files([{"path": entry["path"]["new"], "hash": entry["hash"]}])  # type: ignore[index]
    where: dict[str, list[str]] = {}
    for path, digest in removed:
        where.setdefault(digest, []).append(path)
    fresh, moves = [], []
    for path, digest in added:
        same = where.get(digest)
        if same:
            moves.append((next((old for old in same if _class(old) == _class(path)), same[0]), path))
            same.remove(moves[-1][0])
        else:
            fresh.append(path)
    return Difference(
        added=fresh,
        removed=sorted(path for paths in where.values() for path in paths),
        changed=[path for path, _ in _files(document.get("modified", []))],
        relabelled=[move for move in moves if _class(move[0]) != _class(move[1])],
        renamed=[move for move in moves if _class(move[0]) == _class(move[1])],
    )


def _files(entries: list[dict[str, object]]) -> list[tuple[str, str]]:
    named = [(str(entry["path"]), entry.get("hash")) for entry in entries if not str(entry["path"]).endswith("/")]
    return sorted(
        (PurePosixPath(path).relative_to(DATA).as_posix(), str(digest["new"] if isinstance(digest, dict) else digest))
        for path, digest in named
    )


def _class(path: str) -> str:
    return class_of_folder(PurePosixPath(path).parts[0]) or "no class"


def _per_class(apart: Difference) -> Iterator[str]:
    columns = {
        "added": Counter(map(_class, apart.added)),
        "removed": Counter(map(_class, apart.removed)),
        "relabelled to": Counter(_class(after) for _, after in apart.relabelled),
        "relabelled from": Counter(_class(before) for before, _ in apart.relabelled),
    }
    yield f"  {'':<28}" + "".join(f"{title:>17}" for title in columns)
    for name in (*CLASSES, "no class"):
        if any(counts[name] for counts in columns.values()):
            yield f"  {name:<28}" + "".join(f"{counts[name]:>17}" for counts in columns.values())


def _listed(title: str, names: list[str]) -> Iterator[str]:
    if names:
        yield f"{title}:"
        yield from (f"  {name}" for name in names[:SHOWN])
        if len(names) > SHOWN:
            yield f"  and {len(names) - SHOWN} more"
