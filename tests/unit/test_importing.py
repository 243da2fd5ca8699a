import zipfile

import pytest

from app import importing
from app.importing import Member
from components.errors import LesionflowError


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


def test_what_is_neither_folder_nor_zip_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(LesionflowError, match="neither a folder nor a zip archive"):
        importing.open_source(tmp_path / "a.txt")


def test_zip_members_are_listed_with_their_sizes(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("nevus/a.jpg", b"12345")
    assert importing.open_source(tmp_path / "a.zip").members() == [Member("nevus/a.jpg", 5)]
