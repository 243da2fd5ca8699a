"""CSV tables that people open: no spreadsheet runs a cell of one, and what is read back is what was written."""

import csv
from pathlib import Path

import pandas as pd

from components.core.errors import LesionflowError
from components.core.escaping import for_cell, from_cell


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table without its index; text that would be a formula gets an apostrophe in front. Text is quoted, since spreadsheets of
    some countries separate cells by semicolons."""
    safe = table.map(lambda cell: for_cell(cell) if isinstance(cell, str) else cell)
    safe.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def read(path: Path) -> pd.DataFrame:
    """The table as text, without the apostrophes that `write` puts in front; empty text where a cell was null.

    Raises:
        LesionflowError: the file is not a CSV table in UTF-8.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{path} is not a CSV table: {fault}") from None
    return table.map(from_cell)
