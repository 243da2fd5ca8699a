"""CSV tables for spreadsheets: no cell is run as a formula, and reading returns what was written."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import LesionflowError
from components.core.escaping import for_cell, from_cell

if TYPE_CHECKING:
    import pandas as pd


def write(table: "pd.DataFrame", path: Path) -> None:
    """Write a table without its index; text that would run as a formula gets a leading apostrophe. Text is quoted, since some locales
    use semicolons as separators."""
    safe = table.map(lambda cell: for_cell(cell) if isinstance(cell, str) else cell)
    safe.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def read(path: Path) -> "pd.DataFrame":
    """Read the table as text, without the apostrophes that `write` adds; null cells are empty text.

    Raises:
        LesionflowError: the file is not a CSV table in UTF-8.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{path} is not a CSV table: {fault}") from None
    return table.map(from_cell)


def row_text(cells: Iterable[str | float]) -> str:
    """One row as `write` writes it, with its line end."""
    stream = io.StringIO()
    safe = [for_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerow(safe)
    return stream.getvalue()


def row_cells(text: str) -> list[str]:
    """The cells of one row that `row_text` wrote, as text.

    Raises:
        ValueError: it is not one row.
    """
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as fault:
        raise ValueError(str(fault)) from None
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} rows instead of one")
    return [from_cell(cell) for cell in rows[0]]
