import pandas as pd
import pytest

from components.core.errors import LesionflowError
from components.splitting.assignments import find_kept_groups, load_assignments, write_assignments
from tests.support.project import ROOT
from tests.support.splits import pixels

A, B, C = sorted(map(pixels, "abc"))
HEADER = "pixels_sha256,split\n"


def test_written_assignments_are_sorted_and_read_back(tmp_path):
    path = tmp_path / "splits" / "assignments.csv"
    assert load_assignments(path) == {}
    known = {B: "test", C: "validation", A: "train"}
    write_assignments(known, path)
    assert path.read_text(encoding="utf-8") == f"{HEADER}{A},train\n{B},test\n{C},validation\n"
    assert load_assignments(path) == known


def test_repeated_row_and_byte_order_mark_are_accepted(tmp_path):
    path = tmp_path / "assignments.csv"
    path.write_text(f"\ufeff{HEADER}{A},train\r\n{A},train\r\n", encoding="utf-8")
    assert load_assignments(path) == {A: "train"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the columns must be pixels_sha256,split"),
        (f"pixels_sha256;split\n{A};train\n", "line 1: the columns must be pixels_sha256,split"),
        (f"{HEADER}{A},train\n{B}\n", "line 3: found '.*', not pixels_sha256 and split"),
        (f"{HEADER}{A},train\n\n{B},test\n", "line 3: found '', not pixels_sha256 and split"),
        (f"{HEADER}<<<<<<< HEAD\n{A},train\n", "line 2: found '<<<<<<< HEAD', not pixels_sha256 and split"),
        (f"{HEADER}a.jpg,train\n", "line 2: 'a.jpg' is not a hash of 64 hex digits"),
        (f"{HEADER}{A},Training\n", "line 2: the split must be train, validation, test, found 'Training'"),
        (f"{HEADER}{A},train\n{B},test\n{A},test\n", f"line 4: {A} is in test, and in train on a line before"),
        (f"{HEADER}\udcff\n", "is not a CSV table in UTF-8"),
    ],
)
def test_invalid_file_is_reported_with_line_and_way_out(tmp_path, text, message):
    path = tmp_path / "assignments.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(LesionflowError, match=rf"assignments\.csv(, )?.*{message}.*git checkout -- .* split\.redeal: true"):
        load_assignments(path)


def test_group_keeps_split_of_its_known_images_and_joined_group_goes_to_train():
    files = pd.DataFrame(
        [("kept", A), ("kept", "unknown"), ("joined", B), ("joined", C), ("new", "another"), ("unreadable", "")],
        columns=["group", "pixels_sha256"],
    )
    kept = find_kept_groups(files, {A: "test", B: "test", C: "validation", "absent": "train"})
    assert kept.splits == {"kept": "test", "joined": "train"}
    assert kept.joined == {"joined"}
    none = find_kept_groups(files, {})
    assert (none.splits, none.joined) == ({}, frozenset())


def test_assignments_of_repository_are_valid():
    assert load_assignments(ROOT / "splits/assignments.csv")
