"""CSV tables for spreadsheets: no cell is run as a formula, and reading returns what was written."""

import csv
from pathlib import Path

import pandas as pd

from components.core.errors import LesionflowError
from components.core.escaping import for_cell, from_cell


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table without its index; text that would run as a formula gets a leading apostrophe. Text is quoted, since some locales
    use semicolons as separators."""
    safe = table.map(lambda cell: for_cell(cell) if isinstance(cell, str) else cell)
    safe.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def read(path: Path) -> pd.DataFrame:
    """Read the table as text, without the apostrophes that `write` adds; null cells are empty text.

    Raises:
        LesionflowError: the file is not a CSV table in UTF-8.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{path} is not a CSV table: {fault}") from None
    return table.map(from_cell)
