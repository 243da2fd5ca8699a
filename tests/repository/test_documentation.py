"""Generated pages match the code, and all links, files and commands in the documentation exist."""

import re
import tomllib

import pytest

from documentation import links, markdown, mentions, pages
from documentation.cli_reference import page as cli_page
from documentation.params_reference import comments
from documentation.repository import ROOT
from documentation.repository import pages as every_page

README_LIMIT = 5 * 1024
GLOSSARY_LIMIT = 20
DOCS = sorted((ROOT / "docs").rglob("*.md"))
WITH_SOURCE = [path for path in DOCS if path.parent.name in ("reference", "explanation", "decisions") and path.name != "README.md"]


def test_generated_pages_are_current():
    assert pages.stale() == [], "run `make docs`"


def test_all_links_and_anchors_exist():
    assert links.broken() == []


def test_mentioned_files_and_commands_exist():
    assert mentions.missing() == []


def test_readme_is_within_size_limit():
    assert len((ROOT / "README.md").read_bytes()) <= README_LIMIT


def test_glossary_is_within_size_limit():
    rows = re.findall(r"^\| (?!term|---)", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert 10 < len(rows) <= GLOSSARY_LIMIT


def test_all_pages_are_within_two_links_of_readme():
    reachable = {ROOT / "README.md"}
    for _ in range(2):
        reachable |= {linked for page in reachable for linked in linked_pages(page)}
    assert set(every_page()) - reachable == set()


def linked_pages(page):
    targets = (target.partition("#")[0] for target in markdown.links(page.read_text(encoding="utf-8")) if "://" not in target)
    return [(page.parent / target).resolve() for target in targets if target.endswith(".md")]


@pytest.mark.parametrize("path", WITH_SOURCE, ids=lambda path: path.name)
def test_pages_about_code_end_with_links_to_source(path):
    last = path.read_text(encoding="utf-8").rstrip().split("\n\n")[-1]
    named = re.findall(r"`([^`]+)`", last)
    assert last.startswith("Source: ")
    assert named
    assert [(path.parent / target).resolve() for target in markdown.links(last)] == [(ROOT / name).resolve() for name in named]


def test_architecture_lists_all_packages():
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    packages = {f"components/{path.parent.name}/" for path in (ROOT / "components").glob("*/__init__.py")}
    assert packages == set(re.findall(r"^\| `(components/\w+/)` \|", page, flags=re.MULTILINE))


def test_architecture_shows_layers_of_import_linter():
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    assert "```text\n" + "\n".join(layers) + "\n```" in page


def test_broken_finds_broken_links_and_anchors(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "a.md").write_text("# One `two`\n\n[a](docs/b.md) [b](#one-two) [c](https://example.org) `[d](no.md)`\n")
    (tmp_path / "docs" / "b.md").write_text("[e](../a.md#three) [f](gone.md) ![g](gone.png)\n")
    assert links.broken(tmp_path) == ["docs/b.md: ../a.md#three", "docs/b.md: gone.md", "docs/b.md: gone.png"]


def test_anchors_of_equal_headings_are_numbered():
    assert markdown.anchors("# A, b!\n\n## `evaluation.json`\n\n## A, b!\n") == {"a-b", "evaluationjson", "a-b-1"}


def test_missing_in_finds_unknown_commands_and_files():
    text = "`lesionflow data review` `lesionflow champion crown` `make run` `make tea` `components/registry/gate.py` `components/gone.py`"
    assert sorted(mentions.missing_in(f"{text} `python -m flows.gone`")) == [
        "components/gone.py",
        "flows.gone",
        "lesionflow champion crown",
        "make tea",
    ]


def test_missing_in_finds_imports_of_unknown_names():
    imports = ("from components.imaging import images", "from components import images", "from components.core.label_set import LabelSet")
    text = "\n".join(["`python benchmarks/rates.py`", "", "```python", *imports, "```"])
    assert mentions.missing_in(text) == ["python benchmarks/rates.py", "components.images"]


def test_comments_are_assigned_to_their_params():
    text = "a: 1   # first\n        # and more\nb:\n  c: {x: 1}  # second\n  d: 2\n"
    assert comments(text) == {"a": "first and more", "b.c": "second"}


def test_cli_reference_has_section_for_each_command():
    page = cli_page()
    assert all(f"### lesionflow {name}\n" in page for name in ("import", "data review", "predict", "summary", "champion promote"))
