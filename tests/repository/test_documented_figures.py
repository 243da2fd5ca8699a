"""Every figure in the docs stands in a committed file that the same paragraph names."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import ROOT

DOCS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FIGURE = re.compile(r"(?<![\w.])[+-]?\d+\.\d{2,}(?![\w.])")
"""A number with two decimals or more: what somebody measured, and not a version, a limit or a share that params.yaml sets."""
NAMED = re.compile(r"`([\w./-]+)`")
VERSIONS = re.compile(r"(Python|MLflow) 3\.\d+( to 3\.\d+)?")
READ = (".json", ".md", ".yaml", ".csv", ".toml")


def paragraphs(text: str) -> Iterator[str]:
    """Prose and tables that hold figures, without the code that people type."""
    prose = VERSIONS.sub("", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return (part for part in prose.split("\n\n") if FIGURE.search(part))


def numbers(path: Path) -> Iterator[str]:
    """The numbers of a file as they stand there."""
    if path.suffix == ".json":
        yield from leaves(json.loads(path.read_text(encoding="utf-8")))
    else:
        yield from FIGURE.findall(path.read_text(encoding="utf-8"))


def leaves(document: Any) -> Iterator[str]:
    if isinstance(document, dict | list):
        for item in document.values() if isinstance(document, dict) else document:
            yield from leaves(item)
    elif isinstance(document, float | int) and not isinstance(document, bool):
        yield repr(float(document))
    elif isinstance(document, str):
        yield from FIGURE.findall(document)


def committed(name: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "--", name], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\n")
    return [ROOT / one for one in listed if one.endswith(READ)]


def untraced(paragraph: str) -> list[str]:
    """The figures that no committed file named in the paragraph holds, rounded as the paragraph rounds them."""
    known = [number for name in NAMED.findall(paragraph) for path in committed(name) for number in numbers(path)]
    return [figure for figure in FIGURE.findall(paragraph) if not any(same(figure, number) for number in known)]


def same(figure: str, number: str) -> bool:
    """Whether the number, signs apart, is the figure once it is rounded to as many decimals."""
    decimals = len(figure.partition(".")[2])
    return f"{abs(float(number)):.{decimals}f}" == figure.lstrip("+-")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a tarball does not know which files are committed")
@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_figure_stands_in_a_committed_file_that_its_paragraph_names(path):
    found = {paragraph: missing for paragraph in paragraphs(path.read_text(encoding="utf-8")) if (missing := untraced(paragraph))}
    assert not found, "\n\n".join(f"{', '.join(missing)} in:\n{paragraph}" for paragraph, missing in found.items())


def test_a_figure_that_no_file_holds_is_found_out(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text('{"x": [0.7761, {"y": "0.5 [0.412, 0.6]"}]}')
    monkeypatch.setattr(sys.modules[__name__], "committed", lambda name: [tmp_path / name])
    assert untraced("`a.json`: 0.776, +0.412") == []
    assert untraced("`a.json`: 0.777") == ["0.777"]
