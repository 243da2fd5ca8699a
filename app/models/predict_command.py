"""The command `lesionflow predict`: what it refuses, where its rows go, and its exit code."""

import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import click
from tqdm import tqdm

from app.models import prediction_tables
from app.models.image_files import FoundFile, are_folders, find_files
from app.models.predict import Version, answer_files, answer_lesion, read_pictures
from app.models.prediction_files import AnswerFile, Earlier, format_of
from app.models.prediction_rows import Row, RowForm, name_of
from components.core import spreadsheets
from components.core.errors import LesionflowError
from components.core.escaping import for_terminal
from components.runtime.stage import DISK_FULL, INTERRUPTED

READ_ERROR, ABSTAINED = 1, 3
"""Exit codes: a file could not be read; the version abstained from an image."""
TABLE = "table"
ON_OUTPUT = "Run the same command again to go on"
NO_OUTPUT = "With --output FILE, the same command goes on where it stopped"


@dataclass(frozen=True)
class Request:
    """What is asked: the files or folders, the format or None, the file for the answers or None, and whether all are of one lesion."""

    paths: tuple[Path, ...]
    form: str | None = None
    output: Path | None = None
    is_lesion: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether every path is a folder."""
        return are_folders(self.paths)


@dataclass
class Tally:
    """Numbers of files: found, answered with or without a diagnosis, abstained from, unread."""

    found: int = 0
    written: int = 0
    abstained: int = 0
    unread: int = 0

    def count(self, row: Row) -> None:
        """Count a row that was written."""
        self.written += 1
        self.unread += row.answer is None
        self.abstained += row.answer is not None and bool(row.answer.abstained)

    @property
    def exit_code(self) -> int:
        """0 if every file was answered."""
        return READ_ERROR if self.unread else ABSTAINED if self.abstained else 0


class Target(Protocol):
    """Where rows go."""

    def write(self, row: Row) -> None:
        """Write a row at once."""


def check(request: Request) -> None:
    """Refuse what makes no sense, before a version is loaded.

    Raises:
        LesionflowError: the message says what to do.
    """
    if request.output is not None:
        if request.is_lesion:
            raise LesionflowError("--lesion gives one answer, which --output does not write. Redirect standard output")
        format_of(request.output, request.form)


def run(request: Request, version: Version, max_mb: int) -> int:
    """Predict, print or write each row as it comes, and return the exit code.

    Raises:
        LesionflowError: the request makes no sense, or the file for the answers cannot be used.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
    tally = Tally()
    with ExitStack() as closed:
        target, earlier = _target(request, version.rows, closed)
        if request.is_lesion:
            rows: Iterable[Row] = answer_lesion(version, read_pictures(find_files(request.paths), max_mb))
        else:
            files = _unanswered(find_files(request.paths, request.output), earlier, tally)
            rows = closed.enter_context(closing(answer_files(version, files, max_mb)))
        try:
            _write(rows, target, tally, closed.enter_context(_bar(request, earlier)))
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # images under way are finished, in less than a second
            click.echo(f"\n{_how_to_go_on(request, tally)}", err=True)
            return INTERRUPTED
        except OSError as fault:
            if fault.errno not in DISK_FULL or request.output is None:
                raise
            raise LesionflowError(f"the disk is full: {request.output} has {tally.written:,} new rows. Free space. {ON_OUTPUT}") from None
    if not tally.found and not request.is_lesion:
        raise LesionflowError(f"no files in {', '.join(map(name_of, request.paths))}")
    return tally.exit_code


def _how_to_go_on(request: Request, tally: Tally) -> str:
    if request.is_lesion:
        return "interrupted"
    return f"interrupted after {tally.written:,} images. {ON_OUTPUT if request.output else NO_OUTPUT}"


def _unanswered(files: Iterable[FoundFile], earlier: Earlier, tally: Tally) -> Iterator[FoundFile]:
    """The files that have no answer from an earlier run."""
    for file in files:
        tally.found += 1
        abstained = earlier.abstained.get(name_of(file.path))
        if abstained is None:
            yield file
        else:
            tally.abstained += abstained


def _write(rows: Iterable[Row], target: Target, tally: Tally, bar: tqdm) -> None:
    for row in rows:
        target.write(row)
        tally.count(row)
        bar.update()
        if row.answer is None:
            tqdm.write(f"error: {for_terminal(row.image)}: {for_terminal(row.error)}", file=sys.stderr)


def _bar(request: Request, earlier: Earlier) -> tqdm:
    """A progress bar on a terminal, unless rows are printed there."""
    is_shown = sys.stderr.isatty() and (request.output is not None or not sys.stdout.isatty()) and not request.is_lesion
    total = sum(1 for _ in find_files(request.paths, request.output)) if is_shown else None
    return tqdm(total=total, initial=len(earlier.abstained), desc="predicting", unit="image", mininterval=1, disable=not is_shown)


def _target(request: Request, rows: RowForm, closed: ExitStack) -> tuple[Target, Earlier]:
    """Where the rows go, and what is answered there already."""
    if request.output is not None:
        form = format_of(request.output, request.form)
        file = closed.enter_context(AnswerFile(request.output, form, _with_columns(rows, form)))
        _tell(request.output, file.earlier)
        return file, file.earlier
    form = request.form or TABLE
    if form == "json":
        return closed.enter_context(closing(JsonList(rows))), Earlier()
    if form == TABLE:
        is_one = request.is_lesion or (len(set(request.paths)) == 1 and not request.is_folder)
        return Details(rows) if is_one else Lines(rows, form), Earlier()
    return Lines(_with_columns(rows, form), form), Earlier()


def _with_columns(rows: RowForm, form: str) -> RowForm:
    if form == "csv" and not rows.contract.outputs:
        raise LesionflowError(f"version {rows.version} does not tell its outputs, which a table needs as columns. Use --format jsonl")
    return rows


def _tell(path: Path, earlier: Earlier) -> None:
    if earlier.abstained:
        click.echo(f"{name_of(path)}: {len(earlier.abstained):,} files are answered already and are skipped", err=True)
    if earlier.unread:
        click.echo(f"{name_of(path)}: {earlier.unread:,} files could not be read before and are tried again", err=True)
    if earlier.is_cut:
        click.echo(f"{name_of(path)}: an incomplete last row was removed", err=True)


@dataclass
class Lines:
    """Standard output, with a line per row, below a head where the format has one."""

    rows: RowForm
    form: str

    def __post_init__(self) -> None:
        if self.form == TABLE:
            click.echo(prediction_tables.head_lines(self.rows), nl=False)
        elif self.form == "csv":
            click.echo(spreadsheets.row_text(self.rows.columns).encode(), nl=False)

    def write(self, row: Row) -> None:
        if self.form == TABLE:
            click.echo(prediction_tables.image_line(row), nl=False)
        else:
            click.echo(self.rows.line(self.form, row).encode(), nl=False)


@dataclass
class Details:
    """Standard output, with all about one image or lesion."""

    rows: RowForm

    def write(self, row: Row) -> None:
        click.echo(prediction_tables.details(row, self.rows), nl=False)


@dataclass
class JsonList:
    """Standard output, with one JSON list of all rows. It ends with its bracket also where the command is interrupted."""

    rows: RowForm
    before: str = field(default="[\n", init=False)

    def write(self, row: Row) -> None:
        click.echo(self.before + self.rows.as_json_line(row).rstrip("\n"), nl=False)
        self.before = ",\n"

    def close(self) -> None:
        click.echo("[]" if self.before.startswith("[") else "\n]")
