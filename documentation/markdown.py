"""Reads and writes Markdown: tables, and the anchors and links of a page as GitHub resolves them."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from components.core import markdown

PARSER = MarkdownIt("commonmark").enable("table")
NOT_IN_SLUG = re.compile(r"[^\w\- ]")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a vertical bar or line break within a cell is escaped."""
    return markdown.table([cell(text) for text in head], [[cell(text) for text in row] for row in rows])


def cell(text: str) -> str:
    """The text as one cell of a table."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def source(*names: str) -> str:
    """The last paragraph of a page in docs/reference/: links to the files of the repository that it describes."""
    return f"Source: {', '.join(f'[`{name}`](../../{name})' for name in names)}"


def slug(heading: str) -> str:
    """The anchor that GitHub gives to the text of a heading."""
    return NOT_IN_SLUG.sub("", heading.strip().lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings; equal headings are numbered from the second on."""
    tokens, seen, found = PARSER.parse(text), Counter[str](), set()
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            name = slug("".join(child.content for child in inline.children or [] if child.type in ("text", "code_inline")))
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return found


def links(text: str) -> list[str]:
    """The targets of a page's links and images, in order; those in code are not links."""
    return [str(token.attrGet("href") or token.attrGet("src")) for token in _inline(text) if token.type in ("link_open", "image")]


def code(text: str) -> list[str]:
    """Inline code and the lines of code blocks, in order."""
    spans = [token.content for token in _inline(text) if token.type == "code_inline"]
    blocks = [token.content for token in PARSER.parse(text) if token.type in ("fence", "code_block")]
    return [*spans, *(line.strip() for block in blocks for line in block.splitlines() if line.strip())]


def _inline(text: str) -> Iterator[Token]:
    for token in PARSER.parse(text):
        yield from token.children or []
