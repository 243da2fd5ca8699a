import pandas as pd
import pytest

from app.data import metadata
from components.core.errors import LesionflowError

IMAGES = {
    "nevus/ISIC_0000101.jpg": "nevus/ISIC_0000101.jpg",
    "nevus/ISIC_0000102.JPG": "nevus/ISIC_0000102.JPG",
    "melanoma/ISIC_0000103.jpg": "melanoma/ISIC_0000103.jpg",
}
TABLES = {
    "bare names": "filename,lesion_id\nISIC_0000101.jpg,L1\nISIC_0000102.JPG,L1\nISIC_0000103.jpg,L2\n",
    "without suffix": "filename,lesion_id\nISIC_0000101,L1\nISIC_0000102,L1\nISIC_0000103,L2\n",
    "isic_id alone": "isic_id,lesion_id\nISIC_0000101,L1\nISIC_0000102,L1\nISIC_0000103,L2\n",
    "semicolons": "\ufefffilename;lesion_id\nnevus/ISIC_0000101.jpg;L1\nnevus/ISIC_0000102.JPG;L1\nmelanoma/ISIC_0000103.jpg;L2\n",
    "byte order mark and CRLF": "\ufefffilename,lesion_id\r\nnevus/ISIC_0000101.jpg,L1\r\nnevus/ISIC_0000102.JPG,L1\r\n"
    "melanoma/ISIC_0000103.jpg,L2\r\n",
    "folders of another layout": "filename\tlesion_id\nimages\\ISIC_0000101.jpg\tL1\nimages\\isic_0000102.jpg\tL1\n"
    "x/ISIC_0000103.jpg\tL2\n",
}


def join(texts: dict[str, str], images: dict[str, str] = IMAGES) -> pd.DataFrame | None:
    return metadata.join_tables({name: metadata.read(text.encode(), name) for name, text in texts.items()}, images)


@pytest.mark.parametrize("form", TABLES)
def test_file_names_are_matched_in_the_forms_that_people_write(form):
    table = join({"metadata.csv": TABLES[form]})
    assert dict(zip(table["filename"], table["lesion_id"], strict=True)) == dict(zip(IMAGES.values(), ("L1", "L1", "L2"), strict=True))


def test_two_tables_are_joined():
    images = {"ham10000/nevus/ISIC_1.jpg": "nevus/ISIC_1.jpg", "bcn20000/nevus/ISIC_2.jpg": "nevus/ISIC_2.jpg"}
    texts = {
        "ham10000/metadata.csv": "filename,lesion_id\nnevus/ISIC_1.jpg,L_ham\n",
        "bcn20000/metadata.csv": "isic_id,lesion_id,license\nISIC_2,L_bcn,CC-0\n",
    }
    table = join(texts, images).set_index("filename")
    assert table["lesion_id"].to_dict() == {"nevus/ISIC_1.jpg": "L_ham", "nevus/ISIC_2.jpg": "L_bcn"}
    assert table.loc["nevus/ISIC_2.jpg", "license"] == "CC-0"


def test_a_name_in_two_folders_belongs_to_the_table_beside_it():
    images = {"Train/nevus/1.jpg": "nevus/1.jpg", "Test/nevus/1.jpg": "nevus/Test_1.jpg"}
    texts = {f"{side}/metadata.csv": f"filename,lesion_id\n1.jpg,{side}\n" for side in ("Test", "Train")}
    table = join(texts, images).set_index("filename")
    assert table["lesion_id"].to_dict() == {"nevus/Test_1.jpg": "Test", "nevus/1.jpg": "Train"}
    assert table["given_side"].to_dict() == {"nevus/Test_1.jpg": "test", "nevus/1.jpg": "train"}


def test_rows_about_one_image_are_merged_where_they_agree():
    text = "filename,lesion_id,license\nnevus/ISIC_0000101.jpg,L1,\nISIC_0000101,,CC-0\n"
    assert join({"metadata.csv": text}).to_numpy().tolist() == [["nevus/ISIC_0000101.jpg", "L1", "CC-0"]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filename,lesion_id\nISIC_0000101,L1\nnevus/ISIC_0000101.jpg,L2\n", "twice, with lesion_id 'L1' and 'L2'"),
        ("filename,lesion_id\ngone.jpg,L1\n", "none of them is an image of this source"),
        ("filename,lesion_id\nmelanoma/ISIC_0000101.jpg,L1\n", "none of them is an image of this source"),
        ("filename,lesion_id\nISIC_0000101,L1\n,L2\n", "line 3: no filename and no isic_id"),
        ("image,lesion_id\nISIC_0000101,L1\n", "no column 'filename' or 'isic_id': found image, lesion_id"),
        ("", "not a CSV table"),
    ],
)
def test_a_table_that_cannot_be_matched_is_refused_with_the_reason(text, said):
    with pytest.raises(LesionflowError, match=said):
        join({"metadata.csv": text})


def test_a_table_that_is_not_utf8_is_refused():
    with pytest.raises(LesionflowError, match="not a CSV table in UTF-8"):
        metadata.read("filename,note\na.jpg,Läsion\n".encode("cp1252"), "metadata.csv")


def test_a_name_that_may_be_two_images_is_refused():
    images = {"nevus/1.jpg": "nevus/1.jpg", "melanoma/1.jpg": "melanoma/1.jpg"}
    with pytest.raises(LesionflowError, match=r"names '1', which matches both nevus/1.jpg and melanoma/1.jpg"):
        join({"metadata.csv": "filename,lesion_id\n1,L1\n"}, images)


def test_a_row_without_its_file_is_kept_for_validate_to_find():
    table = join({"metadata.csv": "filename,lesion_id\nISIC_0000101,L1\nnevus/gone.jpg,L2\n"})
    assert list(table["filename"]) == ["nevus/ISIC_0000101.jpg", "nevus/gone.jpg"]


@pytest.mark.parametrize(
    ("name", "side"),
    [("raw/Train/nevus/a.jpg", "train"), ("TEST\\nevus\\a.jpg", "test"), ("val/nevus/a.jpg", "validation"), ("nevus/train.jpg", None)],
)
def test_the_side_of_a_given_split_is_read_off_the_folders(name, side):
    assert metadata.original_split(name) == side


def test_metadata_follows_its_files_and_keeps_their_sides():
    images = {"raw/Train/Nevus/a.jpg": "nevus/a.jpg", "raw/Test/Nevus/b.jpg": "nevus/b.jpg", "raw/Test/Nevus/c.jpg": "nevus/c.jpg"}
    table = join({"raw/metadata.csv": "filename,lesion_id\nTrain/Nevus/a.jpg,L1\nNevus/b.jpg,L2\n"}, images)
    assert table.fillna("").to_numpy().tolist() == [
        ["nevus/a.jpg", "L1", "train"],
        ["nevus/b.jpg", "L2", "test"],
        ["nevus/c.jpg", "", "test"],
    ]


def test_without_metadata_the_sides_of_a_given_split_make_one():
    table = join({}, {"Train/nevus/a.jpg": "nevus/a.jpg", "nevus/b.jpg": "nevus/b.jpg"})
    assert table["given_side"].fillna("").tolist() == ["train", ""]
    assert join({}, {"nevus/b.jpg": "nevus/b.jpg"}) is None
