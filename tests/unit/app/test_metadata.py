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
    "isic_id only": "isic_id,lesion_id\nISIC_0000101,L1\nISIC_0000102,L1\nISIC_0000103,L2\n",
    "semicolons": "\ufefffilename;lesion_id\nnevus/ISIC_0000101.jpg;L1\nnevus/ISIC_0000102.JPG;L1\nmelanoma/ISIC_0000103.jpg;L2\n",
    "byte order mark and CRLF": "\ufefffilename,lesion_id\r\nnevus/ISIC_0000101.jpg,L1\r\nnevus/ISIC_0000102.JPG,L1\r\n"
    "melanoma/ISIC_0000103.jpg,L2\r\n",
    "paths of another folder layout": "filename\tlesion_id\nimages\\ISIC_0000101.jpg\tL1\nimages\\isic_0000102.jpg\tL1\n"
    "x/ISIC_0000103.jpg\tL2\n",
}


def join(texts: dict[str, str], images: dict[str, str] = IMAGES) -> pd.DataFrame | None:
    return metadata.join_tables({name: metadata.read(text.encode(), name) for name, text in texts.items()}, images)


@pytest.mark.parametrize("form", TABLES)
def test_join_tables_matches_common_file_name_forms(form):
    table = join({"metadata.csv": TABLES[form]})
    assert dict(zip(table["filename"], table["lesion_id"], strict=True)) == dict(zip(IMAGES.values(), ("L1", "L1", "L2"), strict=True))


def test_join_tables_combines_two_tables():
    images = {"ham10000/nevus/ISIC_1.jpg": "nevus/ISIC_1.jpg", "bcn20000/nevus/ISIC_2.jpg": "nevus/ISIC_2.jpg"}
    texts = {
        "ham10000/metadata.csv": "filename,lesion_id\nnevus/ISIC_1.jpg,L_ham\n",
        "bcn20000/metadata.csv": "isic_id,lesion_id,license\nISIC_2,L_bcn,CC-0\n",
    }
    table = join(texts, images).set_index("filename")
    assert table["lesion_id"].to_dict() == {"nevus/ISIC_1.jpg": "L_ham", "nevus/ISIC_2.jpg": "L_bcn"}
    assert table.loc["nevus/ISIC_2.jpg", "license"] == "CC-0"


def test_join_tables_prefers_image_next_to_table():
    images = {"Train/nevus/1.jpg": "nevus/1.jpg", "Test/nevus/1.jpg": "nevus/Test_1.jpg"}
    texts = {f"{split}/metadata.csv": f"filename,lesion_id\n1.jpg,{split}\n" for split in ("Test", "Train")}
    table = join(texts, images).set_index("filename")
    assert table["lesion_id"].to_dict() == {"nevus/Test_1.jpg": "Test", "nevus/1.jpg": "Train"}
    assert table["given_side"].to_dict() == {"nevus/Test_1.jpg": "test", "nevus/1.jpg": "train"}


def test_join_tables_merges_consistent_rows_of_one_image():
    text = "filename,lesion_id,license\nnevus/ISIC_0000101.jpg,L1,\nISIC_0000101,,CC-0\n"
    assert join({"metadata.csv": text}).to_numpy().tolist() == [["nevus/ISIC_0000101.jpg", "L1", "CC-0"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,lesion_id\nISIC_0000101,L1\nnevus/ISIC_0000101.jpg,L2\n", "twice, with lesion_id 'L1' and 'L2'"),
        ("filename,lesion_id\ngone.jpg,L1\n", "none of them is an image of this source"),
        ("filename,lesion_id\nmelanoma/ISIC_0000101.jpg,L1\n", "none of them is an image of this source"),
        ("filename,lesion_id\nISIC_0000101,L1\n,L2\n", "line 3: no filename and no isic_id"),
        ("image,lesion_id\nISIC_0000101,L1\n", "no column 'filename' or 'isic_id': found image, lesion_id"),
        ("", "not a CSV table"),
    ],
)
def test_join_tables_rejects_unmatchable_table_with_reason(text, message):
    with pytest.raises(LesionflowError, match=message):
        join({"metadata.csv": text})


def test_read_rejects_table_that_is_not_utf8():
    with pytest.raises(LesionflowError, match="not a CSV table in UTF-8"):
        metadata.read("filename,note\na.jpg,Läsion\n".encode("cp1252"), "metadata.csv")


def test_join_tables_rejects_ambiguous_name():
    images = {"nevus/1.jpg": "nevus/1.jpg", "melanoma/1.jpg": "melanoma/1.jpg"}
    with pytest.raises(LesionflowError, match=r"names '1', which matches both nevus/1.jpg and melanoma/1.jpg"):
        join({"metadata.csv": "filename,lesion_id\n1,L1\n"}, images)


def test_join_tables_keeps_row_without_image_file():
    table = join({"metadata.csv": "filename,lesion_id\nISIC_0000101,L1\nnevus/gone.jpg,L2\n"})
    assert list(table["filename"]) == ["nevus/ISIC_0000101.jpg", "nevus/gone.jpg"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("raw/Train/nevus/a.jpg", "train"), ("TEST\\nevus\\a.jpg", "test"), ("val/nevus/a.jpg", "validation"), ("nevus/train.jpg", None)],
)
def test_original_split_is_read_from_folder_name(name, expected):
    assert metadata.original_split(name) == expected


def test_join_tables_adds_original_split_to_metadata():
    images = {"raw/Train/Nevus/a.jpg": "nevus/a.jpg", "raw/Test/Nevus/b.jpg": "nevus/b.jpg", "raw/Test/Nevus/c.jpg": "nevus/c.jpg"}
    table = join({"raw/metadata.csv": "filename,lesion_id\nTrain/Nevus/a.jpg,L1\nNevus/b.jpg,L2\n"}, images)
    assert table.fillna("").to_numpy().tolist() == [
        ["nevus/a.jpg", "L1", "train"],
        ["nevus/b.jpg", "L2", "test"],
        ["nevus/c.jpg", "", "test"],
    ]


def test_join_tables_uses_original_splits_when_metadata_is_missing():
    table = join({}, {"Train/nevus/a.jpg": "nevus/a.jpg", "nevus/b.jpg": "nevus/b.jpg"})
    assert table["given_side"].fillna("").tolist() == ["train", ""]
    assert join({}, {"nevus/b.jpg": "nevus/b.jpg"}) is None
