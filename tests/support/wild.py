"""Names, ids and reasons as they come from outside: each stands for itself wherever it is shown, stored or read back."""

from hypothesis import settings
from hypothesis import strategies as st

FEW = settings(deadline=None, max_examples=30)
"""For tests that take some milliseconds an example."""
HOSTILE = "<img src=x onerror=alert(1)>"
PARTS = (
    "Übergröße",
    "a\u0308o\u0308",  # combining characters
    "a b  c",
    "$^$",
    "$x_{",
    "[x]",
    "[/x]",
    "[bold]",
    "[/wiki/42]",
    "it's",
    '"quoted"',
    "#1",
    "100%",
    "%3F%20",
    "why?",
    "a&b",
    ";=1+1",
    HOSTILE,
    "{{7*7}}",
    "${HOME}",
    "`id`",
    "| a | b",
    "*bold*_x_",
    ":smile:",
    "\U0001f9d1\u200d\u2695\ufe0f",
    "שלום",
    "漢字",
    "~",
    "\\n",
)
FIRST = ("", "", "=1+1", "-rf", "+49", "@SUM(A1)", "'=1", "'", " ", "＝1")  # noqa: RUF001
CONTROLS = ("\n", "\r", "\t", "\x1b[31m", "\u202e")
LONGEST = 190
"""Bytes of a name, so that a suffix still fits."""

EXAMPLES = (*(f"{FIRST[number % len(FIRST)]}{part}" for number, part in enumerate(PARTS)), "long " * 38)
"""One text for each part, for tests that write files."""


def texts(controls: bool = True) -> st.SearchStrategy[str]:
    """Ids, reasons, collections: a few parts in any order; with `controls` also line breaks and escape sequences."""
    parts = st.sampled_from([*PARTS, *(CONTROLS if controls else ())]) | st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u202a\u202b\u202d\u202e\u2066\u2067\u2068"), max_size=5
    )
    return st.builds(lambda first, rest: first + "".join(rest), st.sampled_from(FIRST), st.lists(parts, min_size=1, max_size=5))


def names(controls: bool = False) -> st.SearchStrategy[str]:
    """File names without a suffix that a file system allows; without `controls` those that import keeps."""
    return (
        texts(controls)
        .map(lambda text: text.replace("/", "_").replace("\0", "").replace("\\", "_").strip("."))
        .map(lambda text: text.encode()[:LONGEST].decode(errors="ignore"))
        .filter(lambda text: text.strip() != "" and text[1:2] != ":")
    )
