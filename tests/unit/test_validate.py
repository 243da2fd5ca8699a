import shutil

import pandas as pd
import pytest

from components import validate
from components.classes import CLASSES
from components.errors import LesionflowError
from components.settings import Validate
from tests.conftest import noise
from tests.unit.test_images import encoded, png_header

LIMITS = Validate(min_images_per_class=2, min_side=32, max_unreadable=0, max_duplicates=0, max_conflicts=0, max_missing=0)


def cataloged(root, min_side=32):
    """The catalog of a folder, as the stage makes it."""
    metadata = validate.read_metadata(root)
    rows = pd.DataFrame([validate.scan_file(root, name) for name in validate.list_files(root)]).reindex(columns=list(validate.COLUMNS))
    frame = validate.describe(rows.astype({"width": "Int64", "height": "Int64"}), metadata)
    return validate.quarantine(frame, metadata, min_side).set_index("path")


def test_a_clean_dataset_is_wholly_usable(tmp_path, make_dataset):
    frame = cataloged(make_dataset(tmp_path / "data"))
    assert frame["usable"].all()
    assert sorted(frame["diagnosis"].unique()) == sorted(CLASSES)
    assert frame["phash"].str.fullmatch("[0-9a-f]{64}").all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "unreadable: empty file"),
        (b"text named jpg", "unreadable: not a JPEG or PNG"),
        (encoded(noise(1))[:-200], "unreadable: truncated"),
        (png_header(30_000, 30_000), "unreadable: 30000 x 30000 px|unreadable: more than"),
        (encoded(noise(1, 16)), "unreadable: 16 x 16 px is smaller than 32 px"),
    ],
    ids=["empty", "text", "truncated", "huge", "tiny"],
)
def test_what_cannot_be_used_is_quarantined_with_its_reason(tmp_path, make_dataset, content, reason):
    root = make_dataset(tmp_path / "data")
    (root / "nevus" / "bad.jpg").write_bytes(content)
    frame = cataloged(root)
    assert not frame.at["nevus/bad.jpg", "usable"]
    assert pd.Series([frame.at["nevus/bad.jpg", "reason"]]).str.match(reason).all()
    assert (root / "nevus" / "bad.jpg").read_bytes() == content


def test_the_first_of_two_equal_images_is_kept(tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data")
    shutil.copy(root / "nevus" / "nevus_0.png", root / "nevus" / "nevus_0 (1).png")
    frame = cataloged(root)
    assert frame["usable"].sum() == len(frame) - 1
    assert frame.loc[~frame["usable"], "reason"].iloc[0].startswith("duplicate: same pixels as nevus/")


def test_equal_pixels_in_other_bytes_are_duplicates_too(tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data")
    again = noise(4000).copy()  # the first nevus
    again.save(root / "nevus" / "again.png", compress_level=0)
    frame = cataloged(root)
    assert frame.loc[~frame["usable"], "reason"].tolist() == ["duplicate: same pixels as nevus/again.png"]


def test_an_image_under_two_classes_loses_every_copy(tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data")
    shutil.copy(root / "nevus" / "nevus_0.png", root / "melanoma" / "x.png")
    frame = cataloged(root)
    assert set(frame.index[~frame["usable"]]) == {"nevus/nevus_0.png", "melanoma/x.png"}
    assert frame.at["melanoma/x.png", "reason"] == "conflicting: the same image stands under melanoma and nevus"


def test_an_archive_id_under_two_classes_is_a_conflict_whatever_its_pixels(tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data")
    noise(77).save(root / "nevus" / "ISIC_0000001.png")
    noise(78).save(root / "melanoma" / "ISIC_0000001 (1).png")
    frame = cataloged(root)
    assert frame["reason"].str.startswith("conflicting").sum() == 2


def test_metadata_that_contradicts_the_folder_is_a_conflict(tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data")
    (root / "metadata.csv").write_text("filename,diagnosis,lesion_id\nnevus/nevus_0.png,melanoma,L1\nnevus/nevus_1.png,Nevus,L1\n")
    frame = cataloged(root)
    assert frame.at["nevus/nevus_0.png", "reason"] == "conflicting: metadata.csv says 'melanoma'"
    assert frame.at["nevus/nevus_1.png", "usable"]
    assert frame.at["nevus/nevus_1.png", "lesion_id"] == "L1"
    assert frame.at["nevus/nevus_2.png", "lesion_id"] == "nevus_2"


def test_a_file_in_no_class_folder_is_unreadable(tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data")
    (root / "moles").mkdir()
    noise(5).save(root / "moles" / "a.png")
    assert cataloged(root).at["moles/a.png", "reason"] == "unreadable: in no folder named after a class"


def test_companions_of_the_dataset_are_no_images(tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data")
    (root / "attribution.txt").write_text("ISIC")
    (root / "licenses").mkdir()
    (root / "licenses" / "CC-0.txt").write_text("...")
    assert len(validate.list_files(root)) == 36


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not a CSV table"),
        ("id,lesion\n1,2\n", "no column 'filename'"),
        ("filename\na.jpg\na.jpg\n", "names 1 files more than once"),
    ],
)
def test_metadata_that_cannot_be_used_says_why(tmp_path, content, said):
    (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(LesionflowError, match=said):
        validate.read_metadata(tmp_path)


def test_thresholds_name_the_knob_and_the_files(tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data")
    (root / "nevus" / "bad.jpg").write_bytes(b"")
    for path in (root / "melanoma").iterdir():
        path.unlink()
    frame = cataloged(root).reset_index()
    classes = validate.count_classes(frame, "multiclass")
    lines = "\n".join(validate.faults(frame, classes, ["nevus/gone.jpg"], LIMITS))
    assert "1 files are unreadable; validate.max_unreadable allows 0" in lines
    assert "data/nevus/bad.jpg: unreadable: empty file" in lines
    assert "names 1 files that are not there; validate.max_missing allows 0" in lines
    assert "data/nevus/gone.jpg" in lines
    assert "melanoma: 0 usable images, validate.min_images_per_class asks for 2" in lines


def test_no_limit_lets_anything_pass(tmp_path, make_dataset):
    root = make_dataset(tmp_path / "data")
    (root / "nevus" / "bad.jpg").write_bytes(b"")
    frame = cataloged(root).reset_index()
    tolerant = LIMITS.model_copy(update={"max_unreadable": None})
    assert validate.faults(frame, validate.count_classes(frame, "multiclass"), [], tolerant) == []


def test_binary_counts_malignant_and_benign(tmp_path, make_dataset):
    frame = cataloged(make_dataset(tmp_path / "data")).reset_index()
    assert validate.count_classes(frame, "binary")["images"].tolist() == [20, 16]
