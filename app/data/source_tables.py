"""Reads the tables and attribution texts of a source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from app.data.archives import Source, archive_errors
from app.data.forms.definitions import TABLE, fold_header, forms
from app.data.members import METADATA
from app.data.tables import SEPARATORS, WIDE_ENCODINGS, Table, image_column, read_table
from components.core.errors import LesionflowError, describe_invalid

COLUMN_OPTIONS = {"image_column": "filename", "label_column": "diagnosis", "lesion_column": "lesion_id", "patient_column": "patient_id"}
"""Known column that each option names a header for."""
HEAD = 2**16
"""Bytes of a table in which its headers are looked for before the whole of it is read."""


@dataclass(frozen=True)
class SourceTables:
    """The tables that may describe images, other tables by name, and the contents of the attribution texts."""

    tables: list[Table]
    without_images: list[str]
    attributions: list[bytes]


@dataclass(frozen=True)
class GivenTable:
    """A table that the user names, with what its columns are."""

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    """Known column by header."""
    namespace: str | None = None
    """What the ids of its source were named after, if a description says so."""

    def described(self) -> dict[str, str]:
        """The file name and the headers by option, as dataset.yaml keeps them."""
        headers = {column: header for header, column in self.columns.items()}
        return {"file": self.path.name} | {name: headers[column] for name, column in COLUMN_OPTIONS.items() if column in headers}


class _Description(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    file: str
    image_column: str | None = None
    label_column: str | None = None
    lesion_column: str | None = None
    patient_column: str | None = None


def read_description(path: Path) -> GivenTable:
    """Read the key `table` of a YAML file like dataset.yaml, at its top or in one of its sources: the file and the columns of a table, and
    the key `namespace` beside it if it is there.

    Raises:
        LesionflowError: the file cannot be read, is not YAML, has no such key, several of them, or other keys in it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise LesionflowError(f"--table-description {path} cannot be read: {' '.join(str(fault).split())}") from None
    entry = _only_description(content, path)
    if entry is None:
        raise LesionflowError(
            f"--table-description {path} has no key table with file, image_column and label_column. See docs/how-to/import-a-dataset.md"
        )
    try:
        read = _Description.model_validate(entry["table"])
    except ValidationError as fault:
        error = fault.errors()[0]
        raise LesionflowError(f"{path}: {describe_invalid('.'.join(map(str, ('table', *error['loc']))), error)}") from None
    columns = {getattr(read, name): column for name, column in COLUMN_OPTIONS.items() if getattr(read, name)}
    return GivenTable(Path(read.file), columns, str(entry["namespace"]) if entry.get("namespace") else None)


def _only_description(content: object, path: Path) -> dict[str, Any] | None:
    """A dataset's description, or that of one of its sources, with a key `table`; None if there is none."""
    if not isinstance(content, dict):
        return None
    sources = content.get("sources")
    entries = [content, *(sources if isinstance(sources, list) else [])]
    described = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("table"), dict)]
    if len(described) > 1:
        files = ", ".join(str(entry["table"].get("file")) for entry in described)
        raise LesionflowError(f"--table-description {path} describes {len(described)} tables: {files}. Keep one of them in a copy")
    return described[0] if described else None


def read_source_tables(opened: Source, tables: list[str], attributions: list[str], sizes: Mapping[str, int]) -> SourceTables:
    """Read the tables with a column that may name images, and the attribution texts.

    Raises:
        LesionflowError: a file has more or fewer bytes than declared, or a table cannot be read.
    """
    read, others, texts = [], [], {}
    for name, stream in opened.contents([*tables, *attributions]):
        with archive_errors(opened.path, name):
            head = stream.read(HEAD)
            if name in tables and PurePosixPath(name).name.lower() != METADATA and not _may_name_images(head):
                others.append(name)
                continue
            content = head + _rest(stream, sizes[name] - len(head))
        _require_size(opened, name, content, sizes)
        if name in attributions:
            texts[name] = content
        else:
            read.append(read_table(content, name))
    return SourceTables(read, others, list(dict.fromkeys(texts.values())))


def _rest(stream: IO[bytes], size: int) -> bytes:
    """The rest of a file, at most one byte more than declared."""
    return stream.read(max(size, 0) + 1)


def _require_size(opened: Source, name: str, content: bytes, sizes: Mapping[str, int]) -> None:
    if len(content) != sizes[name]:
        raise LesionflowError(f"{opened.path}: {name!r} does not have its declared size of {sizes[name]} bytes; nothing was imported")


def read_given_table(given: GivenTable, source: Path, opened: Source, tables: list[str], sizes: Mapping[str, int]) -> Table:
    """Read the table that the user names: a file on this machine or, by its name there, one in the source.

    Raises:
        LesionflowError: there is no such table, it cannot be read, or it does not have a named column.
    """
    if given.path.is_file():
        inside = source.is_dir() and given.path.resolve().is_relative_to(source.resolve())
        name = given.path.resolve().relative_to(source.resolve()).as_posix() if inside else given.path.name
        table = read_table(given.path.read_bytes(), name)
    else:
        same = [name for name in tables if name == given.path.as_posix() or PurePosixPath(name).name == given.path.as_posix()]
        if len(same) != 1:
            raise LesionflowError(
                f"--table {given.path}: {source} has {len(same)} tables of this name, and it is not a file on this machine"
            )
        for name, stream in opened.contents(same):
            with archive_errors(opened.path, name):
                content = _rest(stream, sizes[name])
            _require_size(opened, name, content, sizes)
            table = read_table(content, name)
    for header in given.columns:
        if fold_header(header) not in table.rows:
            raise LesionflowError(f"--table {given.path} has no column {header!r}: found {', '.join(table.headers.values())}")
    return table


def _may_name_images(head: bytes) -> bool:
    """Whether the headers of a table include one that names images, or are those of a form or of its list of duplicates."""
    line = head.decode("utf-16" if head.startswith(WIDE_ENCODINGS) else "utf-8-sig", errors="replace").partition("\n")[0]
    separator = max(SEPARATORS, key=line.count)
    headers = {fold_header(header.strip().strip('"')) for header in line.split(separator)}
    return image_column(headers, TABLE) is not None or any(
        {*own} <= headers for form in forms().values() for own in (*form.headers, form.pairs) if own
    )
