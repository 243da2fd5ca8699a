"""Formats Markdown tables."""

from collections.abc import Sequence

from tabulate import tabulate


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table. Cells are Markdown: escape external text with `escaping.for_markdown` first."""
    return tabulate(rows, headers=head, tablefmt="pipe", stralign=None, disable_numparse=True)
