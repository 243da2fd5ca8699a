"""Text for a terminal. Every cell of a table is shown as it is: nothing in one is read as markup or as an emoji's code."""

import io
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


FEW = 3
"""Names that a line lists of many."""


def first_few(names: Iterable[str]) -> str:
    """The first FEW names, and dots for the others."""
    names = list(names)
    return ", ".join(names[:FEW]) + (", ..." if len(names) > FEW else "")


def render_table(table: "Table") -> str:
    """The table as text, in colour where standard output is a terminal."""
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, force_terminal=sys.stdout.isatty(), markup=False, emoji=False, highlight=False).print(table)
    return stream.getvalue().rstrip()
