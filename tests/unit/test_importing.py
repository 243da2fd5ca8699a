import pandas as pd
import pytest

from app import importing
from app.sources import Member


def test_folders_are_named_canonically_and_train_and_test_are_flattened():
    members = [Member("raw/Train/Actinic Keratosis/a.jpg", 1), Member("raw/Test/nevus/b.JPG", 1), Member("raw/Train/nevus/b.JPG", 1)]
    targets, left = importing.plan(members)
    assert list(targets.values()) == ["actinic_keratosis/a.jpg", "nevus/b.JPG", "nevus/raw_Train_b.JPG"]
    assert left == []


@pytest.mark.parametrize(
    "name", ["../../nevus/../x.jpg", "/etc/passwd", "nevus/..", "C:\\moles\\a.jpg", "__MACOSX/nevus/a.jpg", "nevus/.DS_Store"]
)
def test_no_name_can_lead_out_of_data(name):
    targets, _ = importing.plan([Member(name, 1)])
    assert all(".." not in target and not target.startswith("/") for target in targets.values())


def test_companions_come_along_and_the_rest_is_reported():
    targets, left = importing.plan(
        [Member(f"isic9/{name}", 1) for name in ("metadata.csv", "attribution.txt", "licenses/CC-0.txt", "notes.md")]
    )
    assert list(targets.values()) == ["metadata.csv", "attribution.txt", "licenses/CC-0.txt"]
    assert left == ["isic9/notes.md"]


def test_files_that_are_no_images_stay_behind():
    assert importing.plan([Member("nevus/a.exe", 1), Member("nevus/Thumbs.db", 1), Member("nevus/a.PNG", 1)]) == (
        {"nevus/a.PNG": "nevus/a.PNG"},
        ["nevus/a.exe", "nevus/Thumbs.db"],
    )


@pytest.mark.parametrize(
    ("name", "side"),
    [("raw/Train/nevus/a.jpg", "train"), ("TEST\\nevus\\a.jpg", "test"), ("val/nevus/a.jpg", "validation"), ("nevus/train.jpg", None)],
)
def test_the_side_of_a_given_split_is_read_off_the_folders(name, side):
    assert importing.given_side(name) == side


def test_metadata_follows_its_files_and_keeps_their_sides(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text("filename,lesion_id\nTrain/Nevus/a.jpg,L1\nNevus/b.jpg,L2\n")
    targets = {"raw/Train/Nevus/a.jpg": "nevus/a.jpg", "raw/Test/Nevus/b.jpg": "nevus/b.jpg", "raw/Test/Nevus/c.jpg": "nevus/c.jpg"}
    importing._rewrite_metadata(path, targets)
    assert pd.read_csv(path, dtype=str).fillna("").to_numpy().tolist() == [
        ["nevus/a.jpg", "L1", "train"],
        ["nevus/b.jpg", "L2", "test"],
        ["nevus/c.jpg", "", "test"],
    ]


def test_without_metadata_the_sides_of_a_given_split_make_one(tmp_path):
    importing._rewrite_metadata(tmp_path / "metadata.csv", {"Train/nevus/a.jpg": "nevus/a.jpg", "nevus/b.jpg": "nevus/b.jpg"})
    assert pd.read_csv(tmp_path / "metadata.csv")["given_side"].fillna("").tolist() == ["train", ""]
    importing._rewrite_metadata(tmp_path / "none.csv", {"nevus/b.jpg": "nevus/b.jpg"})
    assert not (tmp_path / "none.csv").exists()
