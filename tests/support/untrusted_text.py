"""Names, ids and reasons from untrusted sources. The code must show, store and read back each of them literally."""

from hypothesis import settings
from hypothesis import strategies as st

FEW_EXAMPLES = settings(deadline=None, max_examples=30)
"""For tests that need several milliseconds per example."""
HTML_INJECTION = "<img src=x onerror=alert(1)>"
FRAGMENTS = (
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
    HTML_INJECTION,
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
PREFIXES = ("", "", "=1+1", "-rf", "+49", "@SUM(A1)", "'=1", "'", " ", "＝1")  # noqa: RUF001
CONTROL_CHARACTERS = ("\n", "\r", "\t", "\x1b[31m", "\u202e")
MAX_NAME_BYTES = 190
"""Maximum length of a name in bytes; a suffix still fits into 255 bytes."""

EXAMPLES = (*(f"{PREFIXES[number % len(PREFIXES)]}{fragment}" for number, fragment in enumerate(FRAGMENTS)), "long " * 38)
"""One text per fragment, for tests that write files."""


def texts(controls: bool = True) -> st.SearchStrategy[str]:
    """Ids, reasons and collections made of a few fragments; with `controls` they may contain line breaks and escape sequences."""
    fragments = st.sampled_from([*FRAGMENTS, *(CONTROL_CHARACTERS if controls else ())]) | st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u202a\u202b\u202d\u202e\u2066\u2067\u2068"), max_size=5
    )
    return st.builds(lambda prefix, rest: prefix + "".join(rest), st.sampled_from(PREFIXES), st.lists(fragments, min_size=1, max_size=5))


def file_names(controls: bool = False) -> st.SearchStrategy[str]:
    """File names without a suffix that a file system allows; without `controls`, only names that import keeps unchanged."""
    return (
        texts(controls)
        .map(lambda text: text.replace("/", "_").replace("\0", "").replace("\\", "_").strip("."))
        .map(lambda text: text.encode()[:MAX_NAME_BYTES].decode(errors="ignore"))
        .filter(lambda text: text.strip() != "" and text[1:2] != ":")
    )
