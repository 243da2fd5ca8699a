"""Tables on a terminal, with every cell as it is: nothing in one is read as markup or as an emoji's code."""

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def render_table(table: "Table") -> str:
    """The table as text, in colour where standard output is a terminal."""
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, force_terminal=sys.stdout.isatty(), markup=False, emoji=False, highlight=False).print(table)
    return stream.getvalue().rstrip()
