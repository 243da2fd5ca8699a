"""The documentation is generated from the code as it is now, and every link and command in it works."""

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


def test_no_generated_page_is_stale():
    assert pages.stale() == [], "run `make docs`"


def test_every_link_and_anchor_exists():
    assert links.broken() == []


def test_every_file_and_command_that_is_mentioned_exists():
    assert mentions.missing() == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= README_LIMIT


def test_the_glossary_is_short():
    rows = re.findall(r"^\| (?!term|---)", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert 10 < len(rows) <= GLOSSARY_LIMIT


def test_every_page_is_two_clicks_from_the_readme():
    reached = {ROOT / "README.md"}
    for _ in range(2):
        reached |= {linked for page in reached for linked in linked_pages(page)}
    assert set(every_page()) - reached == set()


def linked_pages(page):
    targets = (target.partition("#")[0] for target in markdown.links(page.read_text(encoding="utf-8")) if "://" not in target)
    return [(page.parent / target).resolve() for target in targets if target.endswith(".md")]


@pytest.mark.parametrize("path", WITH_SOURCE, ids=lambda path: path.name)
def test_a_page_about_code_links_its_source_at_the_end(path):
    last = path.read_text(encoding="utf-8").rstrip().split("\n\n")[-1]
    named = re.findall(r"`([^`]+)`", last)
    assert last.startswith("Source: ")
    assert named
    assert [(path.parent / target).resolve() for target in markdown.links(last)] == [(ROOT / name).resolve() for name in named]


def test_every_package_has_a_row_in_the_architecture():
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    packages = {f"components/{path.parent.name}/" for path in (ROOT / "components").glob("*/__init__.py")}
    assert packages == set(re.findall(r"^\| `(components/\w+/)` \|", page, flags=re.MULTILINE))


def test_the_architecture_shows_the_layers_that_import_linter_checks():
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    assert "```text\n" + "\n".join(layers) + "\n```" in page


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "a.md").write_text("# One `two`\n\n[a](docs/b.md) [b](#one-two) [c](https://example.org) `[d](no.md)`\n")
    (tmp_path / "docs" / "b.md").write_text("[e](../a.md#three) [f](gone.md) ![g](gone.png)\n")
    assert links.broken(tmp_path) == ["docs/b.md: ../a.md#three", "docs/b.md: gone.md", "docs/b.md: gone.png"]


def test_equal_headings_have_numbered_anchors():
    assert markdown.anchors("# A, b!\n\n## `evaluation.json`\n\n## A, b!\n") == {"a-b", "evaluationjson", "a-b-1"}


def test_a_command_or_file_that_does_not_exist_is_found():
    text = "`lesionflow data review` `lesionflow champion crown` `make run` `make tea` `components/registry/gate.py` `components/gone.py`"
    assert sorted(mentions.missing_in(f"{text} `python -m flows.gone`")) == [
        "components/gone.py",
        "flows.gone",
        "lesionflow champion crown",
        "make tea",
    ]


def test_an_import_of_a_name_that_does_not_exist_is_found():
    imports = ("from components.imaging import images", "from components import images", "from components.core.classes import CLASSES")
    text = "\n".join(["`python benchmarks/rates.py`", "", "```python", *imports, "```"])
    assert mentions.missing_in(text) == ["python benchmarks/rates.py", "components.images"]


def test_comments_of_params_belong_to_their_keys():
    text = "a: 1   # first\n        # and more\nb:\n  c: {x: 1}  # second\n  d: 2\n"
    assert comments(text) == {"a": "first and more", "b.c": "second"}


def test_every_command_has_a_section():
    page = cli_page()
    assert all(f"### lesionflow {name}\n" in page for name in ("import", "data review", "predict", "summary", "champion promote"))
