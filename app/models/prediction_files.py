"""The file that answers are written to, row by row. A later run goes on where an earlier one stopped, however that one ended."""

import fcntl
import io
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from app.models.prediction_rows import FORMATS, Row, RowForm
from components.core import spreadsheets
from components.core.errors import LesionflowError

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
QUOTE = b'"'
WAY_OUT = "Name another file with --output, or delete this one"


def format_of(path: Path, given: str | None) -> str:
    """The format of a file of answers: the given one, or by its suffix.

    Raises:
        LesionflowError: neither is a format with one line per row.
    """
    form = given or SUFFIXES.get(path.suffix.lower(), "")
    if form not in FORMATS:
        chosen = f"--format {given}" if given else f"the suffix {path.suffix!r}"
        raise LesionflowError(f"--output {path}: {chosen} cannot be continued row by row. Use --format {' or '.join(FORMATS)}")
    return form


@dataclass
class Earlier:
    """What a file of answers holds from earlier runs.

    Attributes:
        abstained: whether the version abstained, by each image that is answered.
        end: bytes of its complete rows.
        unread: number of images that could not be read; they are tried again.
        is_cut: whether a last row is incomplete.
    """

    abstained: dict[str, bool] = field(default_factory=dict)
    end: int = 0
    unread: int = 0
    is_cut: bool = False


class AnswerFile:
    """A file of answers, locked against a second run that writes to it. A context that closes it.

    Attributes:
        earlier: what it holds from earlier runs.
    """

    def __init__(self, path: Path, form: str, rows: RowForm) -> None:
        """Open the file, make it if there is none, and remove what is incomplete and the rows of images that could not be read.

        Raises:
            LesionflowError: it cannot be written, another run writes to it, or it has rows of another version or with other columns; it
                was not changed.
        """
        self._path, self._form, self._rows = path, form, rows
        self._stream = _open(path)
        try:
            self.earlier = self._read()
            self._mend()
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()

    def write(self, row: Row) -> None:
        """Append a row; it is in the file when this returns."""
        self._append(self._rows.line(self._form, row))

    def _append(self, text: str) -> None:
        left = memoryview(text.encode())
        while left:
            left = left[self._stream.write(left) :]

    def _read(self) -> Earlier:
        found, header = Earlier(), self._form == "csv"
        self._stream.seek(0)
        with os.fdopen(os.dup(self._stream.fileno()), "rb") as stream:
            for record, is_whole in _records(stream, quoted=self._form == "csv"):
                if not is_whole:
                    found.is_cut = True
                elif header:
                    self._require_columns(record)
                    header = False
                else:
                    self._note(self._cells(record), found)
                found.end += len(record) if is_whole else 0
        return found

    def _require_columns(self, record: bytes) -> None:
        try:
            columns = spreadsheets.row_cells(record.decode())
        except ValueError:
            columns = []
        if columns != self._rows.columns:
            raise LesionflowError(f"{self._path} has other columns than the answers of version {self._rows.version}. {WAY_OUT}")

    def _cells(self, record: bytes) -> dict[str, object]:
        """The row as a mapping with the keys of a JSON object or the columns of a CSV table."""
        try:
            if self._form == "csv":
                return dict(zip(self._rows.columns, spreadsheets.row_cells(record.decode()), strict=True))
            cells = json.loads(record)
        except ValueError:
            cells = None
        if not isinstance(cells, dict) or cells.keys() != self._rows.as_object(Row("")).keys():
            raise LesionflowError(f"{self._path} has other columns than the answers of version {self._rows.version}. {WAY_OUT}")
        return cells

    def _note(self, cells: dict[str, object], found: Earlier) -> None:
        if (cells["model"], cells["version"]) != (self._rows.model, self._rows.version):
            raise LesionflowError(
                f"{self._path} has answers of {cells['model']} version {cells['version']}, not of {self._rows.model} version"
                f" {self._rows.version}. {WAY_OUT}"
            )
        if cells["error"]:
            found.unread += 1
        else:
            found.abstained[str(cells["image"])] = bool(cells["abstained"])

    def _mend(self) -> None:
        if self.earlier.unread:
            self._drop_unread()
        elif self.earlier.is_cut:
            self._stream.truncate(self.earlier.end)
        self._stream.seek(0, os.SEEK_END)
        if self._form == "csv" and not self._stream.tell():
            self._append(spreadsheets.row_text(self._rows.columns))

    def _drop_unread(self) -> None:
        """Replace the file by one without the rows of images that could not be read, which are tried again."""
        target = self._path.resolve()
        draft = target.with_name(f".{target.name}.partial")
        draft.unlink(missing_ok=True)
        kept = _open(draft)
        os.fchmod(kept.fileno(), stat.S_IMODE(os.fstat(self._stream.fileno()).st_mode))
        self._stream.seek(0)
        with os.fdopen(os.dup(self._stream.fileno()), "rb") as stream:
            for number, (record, is_whole) in enumerate(_records(stream, quoted=self._form == "csv")):
                is_header = self._form == "csv" and not number
                if is_whole and (is_header or not self._cells(record)["error"]):
                    kept.write(record)
        draft.replace(target)
        self._stream.close()
        self._stream = kept


def _open(path: Path) -> io.FileIO:
    """Open a regular file for reading and appending, unbuffered, so that each row is one write, and locked."""
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise LesionflowError(f"--output {path} is not a regular file")
        stream = path.open("a+b", buffering=0)
    except OSError as fault:
        raise LesionflowError(f"--output {path} cannot be written: {(fault.strerror or str(fault)).lower()}") from None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_same = os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except BlockingIOError:
        is_same = False
    except OSError:
        return stream  # a file system without locks
    if not is_same:
        stream.close()
        raise LesionflowError(f"{path} is being written by another run of `lesionflow predict`. Wait for it, or name another file")
    return stream


def _records(stream: BinaryIO, quoted: bool) -> Iterator[tuple[bytes, bool]]:
    """Yield each row with its line end, and whether it is complete. In a CSV table (`quoted`) a row may have several lines."""
    record = b""
    for line in stream:
        record += line
        if line.endswith(b"\n") and not (quoted and record.count(QUOTE) % 2):
            yield record, True
            record = b""
    if record:
        yield record, False
