"""Text from outside (file names, ids, reasons, paths) written so that it stands for itself where it is shown or stored.

HTML needs nothing of this: it is written with html.escape. Text on rich's tables is printed without markup (app/console.py).
"""

import os
import re
from pathlib import Path

from components.core.errors import LesionflowError

CONTROLS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")
"""Runs of white space, control characters and marks that reverse the direction of writing."""
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # noqa: RUF001 (spreadsheets take the wide forms too)
"""How a cell begins that a spreadsheet would run (OWASP, "CSV Injection"), apostrophes before it included."""
MARKUP = re.compile(r"[\\`*_\[\]|~]")


def one_line(text: str) -> str:
    """The text in one line: each run of white space and control characters becomes one space, none at the ends."""
    return CONTROLS.sub(" ", text).strip()


def for_terminal(text: str) -> str:
    """The text with everything that is not printable as an escape: no name moves the cursor or breaks the line."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def for_markdown(text: str) -> str:
    """The text in one line that Markdown, with or without HTML in it, shows as it is, also in a table's cell."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKUP.sub(r"\\\g<0>", plain)


def markdown_block(text: str) -> str:
    """The text as a code block whose fence is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def for_cell(text: str) -> str:
    """The text as a spreadsheet's cell that is never run as a formula: with an apostrophe in front where it would be."""
    return f"'{text}" if FORMULA.match(text) else text


def from_cell(text: str) -> str:
    """The text that `for_cell` was given."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def sqlite_uri(database: Path, start: Path | None = None) -> str:
    """SQLAlchemy's URI of a SQLite database, for processes that run in `start`; here, where that is None.

    In it a question mark begins the options, and nothing escapes it: such a path is given relative to `start`.

    Raises:
        LesionflowError: even that path holds a question mark.
    """
    path = str(database.resolve())
    if "?" in path:
        path = os.path.relpath(path, (start or Path.cwd()).resolve())
    if "?" in path:
        raise LesionflowError(f"the path of the database {database.resolve()} must not hold a question mark: rename its folder")
    return f"sqlite:///{path}"
