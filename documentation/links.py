"""Checks that every relative link of the documentation names a file that exists and, where it has one, an anchor in it."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from documentation import markdown
from documentation.repository import ROOT, pages


def broken(root: Path = ROOT) -> list[str]:
    """One line for each broken link, with its page; addresses with a scheme are not looked at."""
    return [f"{page.relative_to(root)}: {target}" for page in pages(root) for target in broken_in(page)]


def broken_in(page: Path) -> list[str]:
    """The targets of a page's broken links."""
    return [target for target in markdown.links(page.read_text(encoding="utf-8")) if not _resolves(page, target)]


def _resolves(page: Path, target: str) -> bool:
    parts = urlsplit(target)
    if parts.scheme:
        return True
    file = page.parent / unquote(parts.path) if parts.path else page
    if not file.exists():
        return False
    return not parts.fragment or (file.suffix == ".md" and unquote(parts.fragment) in markdown.anchors(file.read_text(encoding="utf-8")))
