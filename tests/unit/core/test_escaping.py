"""What comes from outside stands for itself, wherever it is shown or stored."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core import escaping, spreadsheets
from components.core.errors import LesionflowError
from tests.support import wild
from tests.support.html import tags_of

RUN_BY_SPREADSHEETS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001


@given(wild.texts() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_no_cell_is_run_as_a_formula_and_each_reads_back_as_it_was(text):
    cell = escaping.for_cell(text)
    assert not cell.startswith(RUN_BY_SPREADSHEETS)
    assert escaping.from_cell(cell) == text


@wild.FEW
@given(st.lists(st.tuples(wild.names(controls=True), wild.texts()), min_size=1, max_size=5))
def test_a_table_reads_back_as_it_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    table = pd.DataFrame([(f"{name}.jpg", note, None) for name, note in rows], columns=["path", "note", "nothing"])
    spreadsheets.write(table, path)
    assert spreadsheets.read(path).to_numpy().tolist() == [[f"{name}.jpg", note, ""] for name, note in rows]


def test_numbers_in_a_table_stay_numbers_and_a_cell_written_by_hand_is_read_as_it_is(tmp_path):
    spreadsheets.write(pd.DataFrame({"drop": [-0.5], "says": ["-0.5"]}), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines() == ['"drop","says"', '-0.5,"\'-0.5"']
    (tmp_path / "hand.csv").write_text("path,note\n=a.jpg,'quoted'\n")
    assert spreadsheets.read(tmp_path / "hand.csv").iloc[0].tolist() == ["=a.jpg", "'quoted'"]


@given(wild.texts())
def test_text_for_a_terminal_is_one_printable_line(text):
    shown = escaping.for_terminal(text)
    assert shown.isprintable()
    assert escaping.for_terminal(shown) == shown


def test_text_for_a_terminal_is_left_as_it_is_where_it_can_be():
    assert escaping.for_terminal("Übergröße [x] $^$ 漢字") == "Übergröße [x] $^$ 漢字"
    assert escaping.for_terminal("a\x1b[31m\nb\udcff") == r"a\x1b[31m\nb\udcff"


@given(wild.texts())
def test_text_in_markdown_makes_no_tag_no_link_and_no_cell(text):
    shown = escaping.for_markdown(text)
    assert tags_of(shown) == []
    assert "\n" not in shown
    plain = shown.replace("\\\\", "")
    assert all(plain[at - 1] == "\\" for at, letter in enumerate(plain) if letter in "|[]`*_~")


@given(wild.texts())
def test_a_block_of_code_in_markdown_ends_only_at_its_end(text):
    first, *inner, last = escaping.markdown_block(f"{text}\n```\n# after").splitlines()
    assert first == last
    assert first not in inner


@pytest.mark.parametrize("name", ["plain", "ä #1 [x] $^$ it's 100%3F", "why? #1"])
def test_the_databases_uri_names_the_same_file_from_where_it_is_used(tmp_path, monkeypatch, name):
    from sqlalchemy import make_url

    start = tmp_path / name
    (start / "copy").mkdir(parents=True)
    monkeypatch.chdir(start)
    for uri, where in (
        (escaping.sqlite_uri(Path("mlruns/mlflow.db")), start),
        (escaping.sqlite_uri(start / "mlruns/mlflow.db", start / "copy"), start / "copy"),
    ):
        url = make_url(uri)
        assert not url.query
        assert (where / str(url.database)).resolve() == start / "mlruns/mlflow.db"
    if "?" in name:
        with pytest.raises(LesionflowError, match="must not contain a question mark"):
            escaping.sqlite_uri(start / "mlruns/mlflow.db", tmp_path)
