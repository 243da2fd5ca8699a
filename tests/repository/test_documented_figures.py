"""Every measured figure in the documentation is in a committed file that the same paragraph names."""

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
DECIMAL_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+\.\d{2,}(?![\w.])")
"""A number with two or more decimals: a measured value, rather than a version, a limit or a param."""
CODE_SPAN = re.compile(r"`([\w./-]+)`")
VERSIONS = re.compile(r"(Python|MLflow) 3\.\d+( to 3\.\d+)?")
READABLE_SUFFIXES = (".json", ".md", ".yaml", ".csv", ".toml")


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs and tables that contain figures, without code blocks."""
    prose = VERSIONS.sub("", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return (part for part in prose.split("\n\n") if DECIMAL_NUMBER.search(part))


def numbers(path: Path) -> Iterator[str]:
    """The numbers in a file."""
    if path.suffix == ".json":
        yield from numbers_in(json.loads(path.read_text(encoding="utf-8")))
    else:
        yield from DECIMAL_NUMBER.findall(path.read_text(encoding="utf-8"))


def numbers_in(document: Any) -> Iterator[str]:
    if isinstance(document, dict | list):
        for item in document.values() if isinstance(document, dict) else document:
            yield from numbers_in(item)
    elif isinstance(document, float | int) and not isinstance(document, bool):
        yield repr(float(document))
    elif isinstance(document, str):
        yield from DECIMAL_NUMBER.findall(document)


def committed(name: str) -> list[Path]:
    result = subprocess.run(["git", "ls-files", "--", name], cwd=ROOT, capture_output=True, text=True, check=False)
    return [ROOT / path for path in result.stdout.split("\n") if path.endswith(READABLE_SUFFIXES)]


def untraced(paragraph: str) -> list[str]:
    """The figures that are in no committed file named in the paragraph, after rounding as in the paragraph."""
    known_numbers = [number for name in CODE_SPAN.findall(paragraph) for path in committed(name) for number in numbers(path)]
    return [figure for figure in DECIMAL_NUMBER.findall(paragraph) if not any(is_rounded_value(figure, number) for number in known_numbers)]


def is_rounded_value(figure: str, number: str) -> bool:
    """Whether the absolute value of the number, rounded to the decimals of the figure, equals it."""
    decimals = len(figure.partition(".")[2])
    return f"{abs(float(number)):.{decimals}f}" == figure.lstrip("+-")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs git to list the committed files")
@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_figures_in_docs_are_in_files_that_paragraph_names(path):
    text = path.read_text(encoding="utf-8")
    untraced_in = {paragraph: figures for paragraph in paragraphs(text) if (figures := untraced(paragraph))}
    assert not untraced_in, "\n\n".join(f"{', '.join(figures)} in:\n{paragraph}" for paragraph, figures in untraced_in.items())


def test_untraced_finds_figure_that_no_file_contains(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text('{"x": [0.7761, {"y": "0.5 [0.412, 0.6]"}]}')
    monkeypatch.setattr(sys.modules[__name__], "committed", lambda name: [tmp_path / name])
    assert untraced("`a.json`: 0.776, +0.412") == []
    assert untraced("`a.json`: 0.777") == ["0.777"]
