"""What a browser would make of a page."""

from html.parser import HTMLParser


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.found += [name for name, _ in attrs if name.startswith("on")]


def tags_of(page: str) -> list[str]:
    reader = Tags()
    reader.feed(page)
    return reader.found
