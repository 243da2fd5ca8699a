import pytest

from app.data import ingest
from app.data.archives import Member


def test_plan_import_normalizes_class_folders_and_flattens_splits():
    members = [Member("raw/Train/Actinic Keratosis/a.jpg", 1), Member("raw/Test/nevus/b.JPG", 1), Member("raw/Train/nevus/b.JPG", 1)]
    targets, skipped = ingest.plan_import(members)
    assert list(targets.values()) == ["actinic_keratosis/a.jpg", "nevus/b.JPG", "nevus/raw_Train_b.JPG"]
    assert skipped == []


@pytest.mark.parametrize(
    "name", ["../../nevus/../x.jpg", "/etc/passwd", "nevus/..", "C:\\moles\\a.jpg", "__MACOSX/nevus/a.jpg", "nevus/.DS_Store"]
)
def test_plan_import_never_targets_outside_data(name):
    targets, _ = ingest.plan_import([Member(name, 1)])
    assert all(".." not in target and not target.startswith("/") for target in targets.values())


def test_plan_import_keeps_metadata_and_reports_other_files():
    targets, skipped = ingest.plan_import(
        [Member(f"isic9/{name}", 1) for name in ("metadata.csv", "attribution.txt", "licenses/CC-0.txt", "notes.md")]
    )
    metadata, attribution, license_path = targets.values()
    assert metadata.startswith(ingest.UNJOINED)
    assert attribution.startswith(ingest.UNJOINED)
    assert license_path == "licenses/CC-0.txt"
    assert skipped == ["isic9/notes.md"]


def test_plan_import_skips_files_that_are_not_images():
    assert ingest.plan_import([Member("nevus/a.exe", 1), Member("nevus/Thumbs.db", 1), Member("nevus/a.PNG", 1)]) == (
        {"nevus/a.PNG": "nevus/a.PNG"},
        ["nevus/a.exe", "nevus/Thumbs.db"],
    )
