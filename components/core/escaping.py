"""Escapes external text (file names, IDs, reasons, paths) for terminals, Markdown, spreadsheets and database URIs.

HTML is written by templates that escape every value (components/data_quality/pages.py). Text in rich's tables is printed without
markup (app/console.py).
"""

import os
import re
from pathlib import Path

from components.core.errors import LesionflowError

CONTROLS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")
"""Runs of white space, control characters and marks that change the text direction."""
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # noqa: RUF001 (spreadsheets accept the full-width forms too)
"""Start of a cell that a spreadsheet would run as a formula (OWASP, "CSV Injection"), including apostrophes before it."""
MARKUP = re.compile(r"[\\`*_\[\]|~]")


def one_line(text: str) -> str:
    """Collapse each run of white space and control characters to one space, and strip the ends."""
    return CONTROLS.sub(" ", text).strip()


def for_terminal(text: str) -> str:
    """Escape every character that is not printable, so that no name moves the cursor or breaks the line."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def for_markdown(text: str) -> str:
    """Escape the text for one line of Markdown, with or without HTML, including table cells."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKUP.sub(r"\\\g<0>", plain)


def markdown_block(text: str) -> str:
    """Wrap the text in a code block with a fence that is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def for_cell(text: str) -> str:
    """Escape the text for a spreadsheet cell: text that would run as a formula gets a leading apostrophe."""
    return f"'{text}" if FORMULA.match(text) else text


def from_cell(text: str) -> str:
    """Reverse `for_cell`."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def sqlite_uri(database: Path, start: Path | None = None) -> str:
    """SQLAlchemy URI of a SQLite database, for processes that run in the folder `start` (default: the current one).

    In the URI a question mark starts the options and cannot be escaped, so a path that contains one is written relative to `start`.

    Raises:
        LesionflowError: the relative path contains a question mark too.
    """
    path = str(database.resolve())
    if "?" in path:
        path = os.path.relpath(path, (start or Path.cwd()).resolve())
    if "?" in path:
        raise LesionflowError(f"the path of the database {database.resolve()} must not contain a question mark. Rename its folder.")
    return f"sqlite:///{path}"
