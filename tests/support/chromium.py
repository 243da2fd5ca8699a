"""A real Chromium whose pages may reach one address only."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT_MS = 30_000
REPEATED = ".wide tbody tr:nth-child(n+3)"
"""Rows of long tables that are like those above them; axe-core takes long for each."""


@contextmanager
def chromium() -> Iterator[Any]:
    """Chromium as Debian installs it; skips the test where it is not."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def guarded_pages(browser: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens a page of an address, with options of its context. After the block, it fails if a page sent a request to
    another host, broke its own security policy, or a script failed."""
    problems: list[str] = []
    contexts = []

    def open_page(address: str, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("request", lambda request: problems.extend(_foreign(request.url, address)))
        page.on("pageerror", lambda fault: problems.append(f"script: {fault}"))
        page.on("console", lambda line: problems.extend([line.text] if "Content Security Policy" in line.text else []))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def _foreign(url: str, address: str) -> list[str]:
    return [] if url.startswith((f"{address}/", "data:", "blob:", "file:")) or url == address else [f"request to {url}"]


def violations(page: Any, **options: Any) -> list[str]:
    """What axe-core finds on a page."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, {"exclude": [[REPEATED]]}, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [f"{rule['id']}: {node['target']} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


def violations_in_both_schemes(page: Any, **options: Any) -> list[str]:
    """What axe-core finds on a page in light, and in dark, which changes nothing but colors."""
    found = violations(page, **options)
    page.emulate_media(color_scheme="dark")
    found += violations(page, runOnly={"type": "rule", "values": ["color-contrast"]})
    page.emulate_media(color_scheme="light")
    return found
