"""Untrusted text is shown and stored literally in every output format."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core import escaping, spreadsheets
from components.core.errors import LesionflowError
from tests.support import untrusted_text
from tests.support.html import tags_of

FORMULA_PREFIXES = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001


@given(untrusted_text.texts() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_for_cell_prevents_formulas_and_round_trips(text):
    cell = escaping.for_cell(text)
    assert not cell.startswith(FORMULA_PREFIXES)
    assert escaping.from_cell(cell) == text


@untrusted_text.FEW_EXAMPLES
@given(st.lists(st.tuples(untrusted_text.file_names(controls=True), untrusted_text.texts()), min_size=1, max_size=5))
def test_spreadsheet_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    table = pd.DataFrame([(f"{name}.jpg", note, None) for name, note in rows], columns=["path", "note", "nothing"])
    spreadsheets.write(table, path)
    assert spreadsheets.read(path).to_numpy().tolist() == [[f"{name}.jpg", note, ""] for name, note in rows]


def test_spreadsheet_keeps_numbers_and_reads_handwritten_cells(tmp_path):
    spreadsheets.write(pd.DataFrame({"drop": [-0.5], "says": ["-0.5"]}), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines() == ['"drop","says"', '-0.5,"\'-0.5"']
    (tmp_path / "handwritten.csv").write_text("path,note\n=a.jpg,'quoted'\n")
    assert spreadsheets.read(tmp_path / "handwritten.csv").iloc[0].tolist() == ["=a.jpg", "'quoted'"]


@given(untrusted_text.texts())
def test_for_terminal_returns_one_printable_line(text):
    line = escaping.for_terminal(text)
    assert line.isprintable()
    assert escaping.for_terminal(line) == line


def test_for_terminal_keeps_printable_text():
    assert escaping.for_terminal("Übergröße [x] $^$ 漢字") == "Übergröße [x] $^$ 漢字"
    assert escaping.for_terminal("a\x1b[31m\nb\udcff") == r"a\x1b[31m\nb\udcff"


@given(untrusted_text.texts())
def test_for_markdown_escapes_tags_links_and_table_cells(text):
    markdown = escaping.for_markdown(text)
    assert tags_of(markdown) == []
    assert "\n" not in markdown
    escaped = markdown.replace("\\\\", "")
    assert all(escaped[position - 1] == "\\" for position, character in enumerate(escaped) if character in "|[]`*_~")


@given(untrusted_text.texts())
def test_markdown_block_cannot_be_closed_by_its_content(text):
    first, *inner, last = escaping.markdown_block(f"{text}\n```\n# after").splitlines()
    assert first == last
    assert first not in inner


@pytest.mark.parametrize("name", ["plain", "ä #1 [x] $^$ it's 100%3F", "why? #1"])
def test_sqlite_uri_points_to_same_file_from_any_folder(tmp_path, monkeypatch, name):
    from sqlalchemy import make_url

    start = tmp_path / name
    (start / "copy").mkdir(parents=True)
    monkeypatch.chdir(start)
    for uri, folder in (
        (escaping.sqlite_uri(Path("mlruns/mlflow.db")), start),
        (escaping.sqlite_uri(start / "mlruns/mlflow.db", start / "copy"), start / "copy"),
    ):
        url = make_url(uri)
        assert not url.query
        assert (folder / str(url.database)).resolve() == start / "mlruns/mlflow.db"
    if "?" in name:
        with pytest.raises(LesionflowError, match="must not contain a question mark"):
            escaping.sqlite_uri(start / "mlruns/mlflow.db", tmp_path)


@given(st.lists(st.text() | st.floats(allow_nan=False), min_size=1, max_size=4))
def test_row_of_table_is_read_as_written(cells):
    text = spreadsheets.row_text(cells)
    assert spreadsheets.row_cells(text) == [cell if isinstance(cell, str) else repr(cell) for cell in cells]
    for cell in (cell for cell in cells if isinstance(cell, str) and cell.startswith(("=", "+", "@"))):
        assert f"\"'{cell[0]}" in text


@pytest.mark.parametrize("text", ["", '"open', '"a"\n"b"\n'])
def test_text_that_is_not_one_row_is_refused(text):
    with pytest.raises(ValueError, match=r"row|line|data|quot"):
        spreadsheets.row_cells(text)
