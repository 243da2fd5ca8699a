import pytest

from app.data import ingest
from app.data.archives import Member


def test_folders_are_named_canonically_and_train_and_test_are_flattened():
    members = [Member("raw/Train/Actinic Keratosis/a.jpg", 1), Member("raw/Test/nevus/b.JPG", 1), Member("raw/Train/nevus/b.JPG", 1)]
    targets, left = ingest.plan_import(members)
    assert list(targets.values()) == ["actinic_keratosis/a.jpg", "nevus/b.JPG", "nevus/raw_Train_b.JPG"]
    assert left == []


@pytest.mark.parametrize(
    "name", ["../../nevus/../x.jpg", "/etc/passwd", "nevus/..", "C:\\moles\\a.jpg", "__MACOSX/nevus/a.jpg", "nevus/.DS_Store"]
)
def test_no_name_can_lead_out_of_data(name):
    targets, _ = ingest.plan_import([Member(name, 1)])
    assert all(".." not in target and not target.startswith("/") for target in targets.values())


def test_companions_come_along_and_the_rest_is_reported():
    targets, left = ingest.plan_import(
        [Member(f"isic9/{name}", 1) for name in ("metadata.csv", "attribution.txt", "licenses/CC-0.txt", "notes.md")]
    )
    metadata, attribution, licence = targets.values()
    assert metadata.startswith(ingest.UNJOINED)
    assert attribution.startswith(ingest.UNJOINED)
    assert licence == "licenses/CC-0.txt"
    assert left == ["isic9/notes.md"]


def test_files_that_are_no_images_stay_behind():
    assert ingest.plan_import([Member("nevus/a.exe", 1), Member("nevus/Thumbs.db", 1), Member("nevus/a.PNG", 1)]) == (
        {"nevus/a.PNG": "nevus/a.PNG"},
        ["nevus/a.exe", "nevus/Thumbs.db"],
    )
