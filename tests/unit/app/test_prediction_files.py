import csv
import json
import os
from pathlib import Path

import pytest

from app.models.prediction_files import AnswerFile, format_of
from app.models.prediction_rows import Row, RowForm, name_of
from components.core.errors import LesionflowError
from components.serving.answers import Contract, answer

CONTRACT = Contract(outputs=("melanoma", "nevus"), malignant=("melanoma",), operating_points={"triage": 0.2}, abstention_threshold=0.6)
ROWS = RowForm("lesions", "3", CONTRACT)
FORMS = pytest.mark.parametrize("form", ["csv", "jsonl"])
NAMES = ("a.jpg", 'quote"d.jpg', "two\nlines, and a comma.jpg", "=1+1.jpg", "ü.jpg", name_of(Path(os.fsdecode(b"\xff.jpg"))))


def row(name: str, melanoma: float = 0.1) -> Row:
    return Row(name, answer(CONTRACT, "nevus", {"melanoma": melanoma, "nevus": 1 - melanoma}))


def write(path: Path, form: str, *rows: Row, version: RowForm = ROWS) -> AnswerFile:
    with AnswerFile(path, form, version) as file:
        for one in rows:
            file.write(one)
    return file


def earlier(path: Path, form: str, version: RowForm = ROWS):
    return write(path, form, version=version).earlier


@FORMS
def test_rows_of_earlier_run_are_found_whatever_their_names(tmp_path, form):
    path = tmp_path / "answers"
    assert earlier(path, form).abstained == {}
    write(path, form, *map(row, NAMES))
    write(path, form, row("uncertain.jpg", 0.5))
    assert earlier(path, form).abstained == {**dict.fromkeys(NAMES, False), "uncertain.jpg": True}


@FORMS
def test_row_is_in_file_before_it_is_closed(tmp_path, form):
    with AnswerFile(tmp_path / "answers", form, ROWS) as file:
        before = (tmp_path / "answers").stat().st_size
        file.write(row("a.jpg"))
        assert (tmp_path / "answers").read_bytes()[before:].endswith(b"\n")


@FORMS
def test_row_cut_at_any_byte_is_removed_and_the_others_stay(tmp_path, form):
    path = tmp_path / "answers"
    write(path, form, row("a.jpg"))
    start = path.stat().st_size
    write(path, form, row("two\nlines.jpg"))
    whole = path.read_bytes()
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        found = earlier(path, form)
        assert (list(found.abstained), found.is_cut) == (["a.jpg"], end > start)
        assert path.read_bytes() == whole[:start]


def test_cut_head_of_table_is_written_again(tmp_path):
    path = tmp_path / "answers.csv"
    write(path, "csv", row("a.jpg"))
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    write(path, "csv", row("a.jpg"))
    assert path.read_bytes() == whole


@FORMS
def test_images_that_could_not_be_read_are_tried_again(tmp_path, form):
    path = tmp_path / "answers"
    write(path, form, row("a.jpg"), Row("b.jpg", error="permission denied"), row("c.jpg"))
    path.chmod(0o640)
    found = earlier(path, form)
    assert (list(found.abstained), found.unread) == (["a.jpg", "c.jpg"], 1)
    write(path, form, row("b.jpg"))
    assert list(earlier(path, form).abstained) == ["a.jpg", "c.jpg", "b.jpg"]
    assert b"permission" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o640
    assert [found.name for found in tmp_path.iterdir()] == ["answers"]


@FORMS
@pytest.mark.parametrize(
    ("other", "said"),
    [
        (RowForm("lesions", "2", CONTRACT), "has answers of lesions version 2, not of lesions version 3"),
        (RowForm("lesions", "3", CONTRACT.model_copy(update={"outputs": ("melanoma", "wart")})), "has other columns"),
    ],
)
def test_file_of_another_version_or_with_other_columns_is_refused_unchanged(tmp_path, form, other, said):
    path = tmp_path / "answers"
    if form == "jsonl" and "columns" in said:
        path.write_text('{"image": "a.jpg"}\n{"image"')
    else:
        write(path, form, row("a.jpg"), version=other)
    before = path.read_bytes()
    with pytest.raises(LesionflowError, match=f"{said}.*Name another file with --output, or delete this one"):
        earlier(path, form)
    assert path.read_bytes() == before


@FORMS
def test_file_that_is_something_else_is_refused_unchanged(tmp_path, form):
    path = tmp_path / "notes"
    path.write_bytes(b"\xff\xfe notes\nmore\n")
    with pytest.raises(LesionflowError, match="has other columns"):
        earlier(path, form)
    assert path.read_bytes() == b"\xff\xfe notes\nmore\n"


@FORMS
def test_second_run_on_the_same_file_is_refused(tmp_path, form):
    path = tmp_path / "answers"
    with AnswerFile(path, form, ROWS), pytest.raises(LesionflowError, match="is being written by another run"):
        AnswerFile(path, form, ROWS)
    write(path, form, Row("a.jpg", error="x"))
    with AnswerFile(path, form, ROWS), pytest.raises(LesionflowError, match="is being written by another run"):  # the file was replaced
        AnswerFile(path, form, ROWS)


def test_target_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path, said in ((tmp_path / "pipe.csv", "not a regular file"), (tmp_path, "not a regular"), (tmp_path / "no/a.csv", "no such file")):
        with pytest.raises(LesionflowError, match=said):
            AnswerFile(path, "csv", ROWS)


def test_format_is_given_or_that_of_suffix():
    assert [format_of(Path(name), None) for name in ("a.csv", "a.CSV", "a.jsonl", "a.ndjson")] == ["csv", "csv", "jsonl", "jsonl"]
    assert format_of(Path("a.txt"), "csv") == "csv"
    for name, given in (("a.txt", None), ("a", None), ("a.csv", "table"), ("a.json", "json")):
        with pytest.raises(LesionflowError, match="Use --format jsonl or csv"):
            format_of(Path(name), given)


def test_table_has_fixed_columns_and_runs_no_formula(tmp_path):
    path = tmp_path / "answers.csv"
    write(path, "csv", row("=cmd|' /C calc'!A0.jpg", 0.3), Row("b.jpg", error="@sum"))
    with path.open(newline="", encoding="utf-8") as stream:
        first, second = csv.DictReader(stream)
    assert list(first) == ROWS.columns == list(second)
    assert first["image"] == "'=cmd|' /C calc'!A0.jpg"
    assert second["error"] == "'@sum"
    assert (first["alarm"], first["at_or_above_triage"], first["diagnosis"], first["p_melanoma"]) == ("true", "true", "nevus", "0.3")
    assert {second[name] for name in ("alarm", "diagnosis", "p_melanoma")} == {""}


def test_json_objects_have_the_same_keys():
    objects = [json.loads(ROWS.as_json_line(one)) for one in (row("a.jpg"), row("b.jpg", 0.5), Row("c.jpg", error="empty file"))]
    assert len({tuple(found) for found in objects}) == 1
    assert [found["diagnosis"] for found in objects] == ["nevus", None, None]
    assert [found["abstained"] for found in objects] == [[], ["too uncertain"], None]
    assert [found["error"] for found in objects] == [None, None, "empty file"]
