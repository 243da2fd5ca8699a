"""Reads the metadata.csv files of a source, matches their rows to the imported images and joins them into one table."""

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath

import pandas as pd

from components.core.classes import class_of_folder
from components.core.errors import LesionflowError
from components.imaging.images import SUFFIXES

FILE, ID = "filename", "isic_id"
SEPARATORS = ",;\t"
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
    return next((ORIGINAL_SPLITS[part.lower()] for part in reversed(_parts(name)[:-1]) if part.lower() in ORIGINAL_SPLITS), None)


def read(content: bytes, name: str) -> pd.DataFrame:
    """Read a table with all values as text; the separator is the comma, semicolon or tab that is most frequent in the first line.

    Args:
        content: the file's bytes, UTF-8 with or without a byte order mark.
        name: name of the table, for messages.

    Raises:
        LesionflowError: the content is not such a table, or has no column with file names.
    """
    try:
        text = content.decode("utf-8-sig")
        separator = max(SEPARATORS, key=text.partition("\n")[0].count)
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{name!r} is not a CSV table in UTF-8: {fault}; nothing was imported") from None
    table.columns = table.columns.str.strip()
    if not {FILE, ID} & set(table):
        raise LesionflowError(f"{name!r} has no column {FILE!r} or {ID!r}: found {', '.join(table.columns)}; nothing was imported")
    return table


def join_tables(tables: Mapping[str, pd.DataFrame], images: Mapping[str, str]) -> pd.DataFrame | None:
    """Join the tables into one for the images, with the column given_side if their folders name the original split.

    Args:
        tables: by name of the member; its folder is the one that the table's file names are relative to.
        images: by name of the member, its target relative to data/.

    Returns:
        The joined rows with the image's target in `filename`; rows without an image keep their file name. None if there is neither
        a table nor an original split.
    """
    index = _Index(images)
    parts = [_matched(name, table, index) for name, table in tables.items()]
    sides = {target: side for name, target in images.items() if (side := original_split(name))}
    if not parts and not sides:
        return None
    table = _merged(pd.concat(parts, ignore_index=True)) if parts else pd.DataFrame({FILE: list(images.values())})
    if sides:
        there = set(table[FILE])
        table = pd.concat([table, pd.DataFrame({FILE: [name for name in sides if name not in there]})], ignore_index=True)
        table["given_side"] = table[FILE].map(sides)
    return table


@dataclass(frozen=True)
class _Candidate:
    target: str
    parts: tuple[str, ...]
    """Parts of its name in the source; folders that name a class are replaced by the class."""
    diagnosis: str


class _Index:
    """Looks up images by file name, with or without suffix."""

    def __init__(self, images: Mapping[str, str]) -> None:
        self._named: dict[str, list[_Candidate]] = defaultdict(list)
        for name, target in images.items():
            candidate = _Candidate(target, _canonical(_parts(name)), target.split("/")[0])
            for key in {candidate.parts[-1], _stem(candidate.parts[-1])}:
                self._named[key].append(candidate)

    def holds(self, folder: Sequence[str]) -> bool:
        """Return whether an image is in the folder or below it."""
        return any(one.parts[: len(folder)] == tuple(folder) for same in self._named.values() for one in same)

    def find(self, given: str, scope: Sequence[str]) -> list[str]:
        """Return the targets of the images that match a row: of those with its file name, the ones that share most folders with it.

        Args:
            given: the row's file name, with or without folders and suffix.
            scope: the folder that the row's path is relative to; only images in it are considered.
        """
        own = _canonical(_parts(given))
        if not own:
            return []
        classes = [part for part in own[:-1] if class_of_folder(part)]
        fitting = [
            one
            for one in self._named.get(own[-1], ())
            if one.parts[: len(scope)] == tuple(scope) and (not classes or one.diagnosis == classes[-1])
        ]
        if len(fitting) < 2:
            return [one.target for one in fitting]
        common = [_in_common((*scope, *own[:-1]), one.parts[:-1]) for one in fitting]
        return [one.target for one, count in zip(fitting, common, strict=True) if count == max(common)]


def _in_common(first: Sequence[str], second: Sequence[str]) -> tuple[int, int]:
    """Number of equal folders of two paths, counted from the end and from the start."""
    return _same(reversed(first), reversed(second)), _same(first, second)


def _same(first: Iterable[str], second: Iterable[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _matched(name: str, table: pd.DataFrame, index: _Index) -> pd.DataFrame:
    folder = tuple(class_of_folder(part) or part.casefold() for part in _parts(name)[:-1])
    scope = folder if index.holds(folder) else ()
    given = table[FILE] if FILE in table else pd.Series(pd.NA, index=table.index, dtype="str")
    given = (given.fillna(table[ID]) if ID in table else given).fillna("").str.strip()
    if (given == "").any():
        raise LesionflowError(f"{name!r}, line {given.eq('').idxmax() + 2}: no {FILE} and no {ID}; nothing was imported")
    found = [index.find(row, scope) for row in given]
    for row, targets in zip(given, found, strict=True):
        if len(targets) > 1:
            raise LesionflowError(
                f"{name!r} names {row!r}, which matches both {targets[0]} and {targets[1]}; nothing was imported. Add its folder."
            )
    if len(table) and not any(found):
        raise LesionflowError(
            f"{name!r} names {len(table)} files, first {given.iloc[0]!r}, and none of them is an image of this source; nothing was imported"
        )
    names = [targets[0] if targets else row for row, targets in zip(given, found, strict=True)]
    return pd.DataFrame({FILE: names, **{column: table[column] for column in table if column != FILE}}, index=table.index)


def _merged(table: pd.DataFrame) -> pd.DataFrame:
    """Merge the rows of each file into one."""
    repeated = table[FILE].duplicated(keep=False)
    if not repeated.any():
        return table
    differing = table[repeated].groupby(FILE).nunique()
    for column in differing:
        if (differing[column] > 1).any():
            file = differing.index[differing[column] > 1][0]
            values = table.loc[table[FILE] == file, column].dropna().unique()
            raise LesionflowError(f"metadata.csv gives {file} twice, with {column} {values[0]!r} and {values[1]!r}; nothing was imported")
    return table.groupby(FILE, sort=False, as_index=False).first().reindex(columns=table.columns)


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name.replace("\\", "/")).parts


def _canonical(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(class_of_folder(part) or part.casefold() for part in parts[:-1]) + tuple(part.casefold() for part in parts[-1:])


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix in SUFFIXES else name
