"""Parsing of HTML pages as a browser does."""

from html.parser import HTMLParser


class TagParser(HTMLParser):
    """Collects the names of tags and of event attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.names += [name for name, _ in attrs if name.startswith("on")]


def tags_of(page: str) -> list[str]:
    """The tags and event attributes (`onclick` and others) of a page."""
    parser = TagParser()
    parser.feed(page)
    return parser.names
