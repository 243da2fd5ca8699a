"""Matches the rows of a source's tables to its images, and joins the tables into one."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import takewhile
from pathlib import PurePosixPath

import pandas as pd

from app.data.members import IMAGES, parts_of
from app.data.tables import DIAGNOSIS, FILE, LABEL, SelectedTable
from components.core.errors import LesionflowError
from components.data_quality.label_definitions import fold

MEMBER, TABLE = "member", "table"
SMALLER = "_downsampled"
"""End of the names of images that a challenge offers in a smaller size; its tables name them with or without it."""
ORIGINAL_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}


def original_split(name: str) -> str | None:
    """Original split (train, validation or test) named by a member's folders, or None."""
    return next((ORIGINAL_SPLITS[part.lower()] for part in reversed(parts_of(name)[:-1]) if part.lower() in ORIGINAL_SPLITS), None)


@dataclass(frozen=True)
class JoinedTables:
    """The rows of all tables that name an image, one row an image, and what was found on the way."""

    rows: pd.DataFrame
    """Indexed by member: the known columns, `label` and `diagnosis`."""
    missing: dict[str, list[str]]
    """File names without an image, by table."""
    matched: dict[str, int]
    """Images that each table names."""
    unrelated: list[str]
    """Tables that name no image and need not."""
    left_out: dict[str, tuple[str, ...]]
    """Headers of columns that are not imported, by table."""
    duplicates: list[str] = field(default_factory=list)
    """What to tell the user about lists of duplicates."""

    @cached_property
    def cells(self) -> dict[str, dict[str, str]]:
        """The cells that are not null, by column and image."""
        return {column: self.rows[column].dropna().to_dict() for column in self.rows}

    def require_complete(self) -> None:
        """Raise if a row names a file that the source does not have.

        Raises:
            LesionflowError: one does; the message names the table, the count and the first file.
        """
        for table, names in self.missing.items():
            raise LesionflowError(
                f"{table!r} names {len(names)} files that the source does not have, first {names[0]!r}. Add them, or delete their rows;"
                " nothing was imported"
            )

    @property
    def notes(self) -> list[str]:
        """What to tell the user about the tables."""
        lines = [f"{table}: describes {count} images" for table, count in self.matched.items()]
        lines += [f"{table}: {len(names)} rows name images that are not here, first {names[0]}" for table, names in self.missing.items()]
        lines += [f"{table}: columns left out: {', '.join(headers)}" for table, headers in self.left_out.items() if headers]
        return lines + self.duplicates


def join_tables(tables: Iterable[SelectedTable], images: "ImageIndex", others: "ImageIndex") -> JoinedTables:
    """Join the tables into one row for each image.

    Args:
        tables: the tables; the folder of each is the one that its file names are relative to.
        images: the images that are imported.
        others: images that are left out; their rows are left out too.

    Raises:
        LesionflowError: a required table names no image of the source, a name matches several, or two rows contradict each other.
    """
    parts, unrelated = [], []
    missing: dict[str, list[str]] = {}
    matched: dict[str, int] = {}
    left_out: dict[str, tuple[str, ...]] = {}
    for table in tables:
        names = _match(table, images)
        unknown = [row for row, name in zip(table.rows[FILE], names, strict=True) if name is None and not others.find(row, ())]
        if unknown and len(unknown) == len(table.rows):
            if table.required:
                raise LesionflowError(
                    f"{table.name!r} names {len(unknown)} files, first {unknown[0]!r}, and none of them is an image of this source;"
                    " nothing was imported"
                )
            unrelated.append(table.name)
            continue
        found = table.rows.assign(**{MEMBER: names, TABLE: table.name}).dropna(subset=[MEMBER])
        missing |= {table.name: unknown} if unknown else {}
        matched[table.name] = found[MEMBER].nunique()
        left_out[table.name] = table.left_out
        parts.append(found.drop(columns=FILE))
    rows = _merge(pd.concat(parts, ignore_index=True)) if parts else pd.DataFrame({MEMBER: [], TABLE: []})
    return JoinedTables(rows.drop(columns=TABLE).set_index(MEMBER), missing, matched, unrelated, left_out)


@dataclass(frozen=True)
class _Candidate:
    name: str
    parts: tuple[str, ...]
    """Parts of its name, with folded folders."""
    diagnosis: str | None
    """Folded diagnosis of its folder."""


class ImageIndex:
    """Looks up images by file name, with or without suffix."""

    def __init__(self, images: Iterable[str], diagnoses: Mapping[str, str]) -> None:
        self._named: dict[str, list[_Candidate]] = defaultdict(list)
        self._smaller: dict[str, list[_Candidate]] = defaultdict(list)
        self._folders: set[tuple[str, ...]] = set()
        self._diagnoses = {fold(diagnosis) for diagnosis in set(diagnoses.values())}
        for name in images:
            diagnosis = diagnoses.get(name)
            candidate = _Candidate(name, _canonical(parts_of(name)), None if diagnosis is None else fold(diagnosis))
            stem = _stem(candidate.parts[-1])
            for key in {candidate.parts[-1], stem}:
                self._named[key].append(candidate)
            if stem.endswith(SMALLER):
                self._smaller[stem.removesuffix(SMALLER)].append(candidate)
            folders = candidate.parts[:-1]
            if folders not in self._folders:
                self._folders |= {folders[:level] for level in range(len(folders) + 1)}

    def holds(self, folder: Sequence[str]) -> bool:
        """Return whether an image is in the folder or below it."""
        return tuple(folder) in self._folders

    def find(self, given: str, scope: Sequence[str]) -> list[str]:
        """Return the images that match a row: of those with its file name, the ones that share most folders with it.

        Args:
            given: the row's file name, with or without folders and suffix.
            scope: the folder that the row's path is relative to; only images in it are considered.
        """
        own = _canonical(parts_of(given))
        if not own:
            return []
        stem = _stem(own[-1])
        same = self._named.get(own[-1]) or self._named.get(stem) or self._smaller.get(stem) or []
        labels = [part for part in own[:-1] if part in self._diagnoses]
        fitting = [one for one in same if one.parts[: len(scope)] == tuple(scope) and (not labels or one.diagnosis in (None, labels[-1]))]
        if len(fitting) < 2:
            return [one.name for one in fitting]
        common = [_in_common((*scope, *own[:-1]), one.parts[:-1]) for one in fitting]
        return [one.name for one, count in zip(fitting, common, strict=True) if count == max(common)]


def _in_common(first: Sequence[str], second: Sequence[str]) -> tuple[int, int]:
    """Number of equal folders of two paths, counted from the end and from the start."""
    return _same(reversed(first), reversed(second)), _same(first, second)


def _same(first: Iterable[str], second: Iterable[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _match(table: SelectedTable, images: ImageIndex) -> list[str | None]:
    """The image that each row names, or None."""
    folder = _canonical((*parts_of(table.name)[:-1], ""))[:-1]
    scope = folder if images.holds(folder) else ()
    found = [images.find(given, scope) for given in table.rows[FILE]]
    for given, names in zip(table.rows[FILE], found, strict=True):
        if len(names) > 1:
            raise LesionflowError(
                f"{table.name!r} names {given!r}, which matches both {names[0]} and {names[1]}; nothing was imported. Add its folder."
            )
    return [names[0] if names else None for names in found]


def _merge(rows: pd.DataFrame) -> pd.DataFrame:
    """Merge the rows of each image into one.

    Raises:
        LesionflowError: two rows of an image contradict each other.
    """
    repeated = rows[MEMBER].duplicated(keep=False)
    if not repeated.any():
        return rows
    compared = rows[repeated].copy()
    if DIAGNOSIS in compared:
        compared[DIAGNOSIS] = compared[DIAGNOSIS].map(fold, na_action="ignore")
    differing = compared.drop(columns=[TABLE, LABEL], errors="ignore").groupby(MEMBER).nunique()
    for column in differing:
        if (differing[column] > 1).any():
            name = differing.index[differing[column] > 1][0]
            same = rows[rows[MEMBER] == name].dropna(subset=[column])
            values, where = same[column].unique(), " and ".join(same[TABLE].unique())
            raise LesionflowError(
                f"{where}: {name} is named twice, with {column} {values[0]!r} and {values[1]!r}. Keep one of them; nothing was imported"
            )
    return rows.groupby(MEMBER, sort=False, as_index=False).first().reindex(columns=rows.columns)


def _canonical(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(_folded_folder(part) for part in parts[:-1]) + tuple(part.casefold().strip() for part in parts[-1:])


@lru_cache(maxsize=2**16)
def _folded_folder(part: str) -> str:
    return fold(part) or part.casefold()


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem.strip() if path.suffix in IMAGES else name
