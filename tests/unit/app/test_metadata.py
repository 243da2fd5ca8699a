import pytest

from app.data import metadata
from app.data.forms.definitions import FOLDERS
from app.data.tables import read_table, select_columns
from components.core.errors import LesionflowError

IMAGES = ("nevus/ISIC_0000101.jpg", "nevus/ISIC_0000102.JPG", "melanoma/ISIC_0000103.jpg")
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


def join(texts: dict[str, str], images: tuple[str, ...] = IMAGES) -> metadata.JoinedTables:
    folders = {name: name.split("/")[-2] for name in images}
    tables = [select_columns(read_table(text.encode(), name), FOLDERS) for name, text in texts.items()]
    return metadata.join_tables(tables, metadata.ImageIndex(images, folders), metadata.ImageIndex((), {}))


def column(joined: metadata.JoinedTables, name: str) -> dict[str, str]:
    return joined.rows[name].dropna().to_dict()


@pytest.mark.parametrize("form", TABLES)
def test_join_tables_matches_common_file_name_forms(form):
    assert column(join({"metadata.csv": TABLES[form]}), "lesion_id") == dict(zip(IMAGES, ("L1", "L1", "L2"), strict=True))


def test_join_tables_combines_two_tables():
    texts = {
        "ham10000/metadata.csv": "filename,lesion_id\nnevus/ISIC_1.jpg,L_ham\n",
        "bcn20000/metadata.csv": "isic_id,lesion_id,license\nISIC_2,L_bcn,CC-0\n",
    }
    joined = join(texts, ("ham10000/nevus/ISIC_1.jpg", "bcn20000/nevus/ISIC_2.jpg"))
    assert column(joined, "lesion_id") == {"ham10000/nevus/ISIC_1.jpg": "L_ham", "bcn20000/nevus/ISIC_2.jpg": "L_bcn"}
    assert column(joined, "license") == {"bcn20000/nevus/ISIC_2.jpg": "CC-0"}
    assert joined.matched == {"ham10000/metadata.csv": 1, "bcn20000/metadata.csv": 1}


def test_join_tables_prefers_image_next_to_table():
    texts = {f"{split}/metadata.csv": f"filename,lesion_id\n1.jpg,{split}\n" for split in ("Test", "Train")}
    joined = join(texts, ("Train/nevus/1.jpg", "Test/nevus/1.jpg"))
    assert column(joined, "lesion_id") == {"Test/nevus/1.jpg": "Test", "Train/nevus/1.jpg": "Train"}


def test_join_tables_merges_consistent_rows_of_one_image():
    rows = join({"metadata.csv": "filename,lesion_id,license\nnevus/ISIC_0000101.jpg,L1,\nISIC_0000101,,CC-0\n"}).rows
    assert rows[["lesion_id", "license"]].to_numpy().tolist() == [["L1", "CC-0"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,lesion_id\nISIC_0000101,L1\nnevus/ISIC_0000101.jpg,L2\n", "is named twice, with lesion_id 'L1' and 'L2'"),
        ("filename,dx\nISIC_0000101,nv\nnevus/ISIC_0000101.jpg,mel\n", "is named twice, with diagnosis 'nv' and 'mel'"),
        ("filename,lesion_id\ngone.jpg,L1\n", "none of them is an image of this source"),
        ("filename,lesion_id\nmelanoma/ISIC_0000101.jpg,L1\n", "none of them is an image of this source"),
        ("filename,lesion_id\nISIC_0000101,L1\n,L2\n", "line 3: no filename and no isic_id"),
        ("picture,lesion_id\nISIC_0000101,L1\n", "no column that names the images: found picture, lesion_id"),
        ("", "not a CSV table"),
        ("\0\1", "not a CSV table"),
    ],
)
def test_join_tables_rejects_unmatchable_table_with_reason(text, message):
    with pytest.raises(LesionflowError, match=message):
        join({"metadata.csv": text})


def test_join_tables_rejects_one_image_with_two_patients_in_two_tables():
    texts = {"a.csv": "image,patient_id\nISIC_0000101,P1\n", "b.csv": "image_id;patient_id\nISIC_0000101;P2\n"}
    with pytest.raises(LesionflowError, match=r"^a\.csv and b\.csv: nevus/ISIC_0000101\.jpg is named twice, with patient_id 'P1' and 'P2'"):
        join(texts)


def test_join_tables_names_both_tables_of_one_name():
    texts = {"metadata.csv": "image,age\nISIC_0000101,50\n", "x/metadata.csv": "image,age\nISIC_0000101,60\n"}
    with pytest.raises(LesionflowError, match=r"^metadata\.csv and x/metadata\.csv: .* with age_approx '50' and '60'"):
        join(texts)


def test_join_tables_accepts_one_diagnosis_in_two_spellings():
    joined = join(
        {"a.csv": "image,dx\nISIC_0000101,Basal cell carcinoma (BCC)\n", "b.csv": "image,dx\nISIC_0000101,basal_cell_carcinoma\n"}
    )
    assert column(joined, "diagnosis") == {"nevus/ISIC_0000101.jpg": "Basal cell carcinoma (BCC)"}


def test_join_tables_rejects_ambiguous_name():
    with pytest.raises(LesionflowError, match=r"names '1', which matches both nevus/1.jpg and melanoma/1.jpg"):
        join({"metadata.csv": "filename,lesion_id\n1,L1\n"}, ("nevus/1.jpg", "melanoma/1.jpg"))


def test_require_complete_rejects_row_without_image_file():
    joined = join({"metadata.csv": "filename,lesion_id\nISIC_0000101,L1\nnevus/gone.jpg,L2\n"})
    assert list(joined.rows.index) == ["nevus/ISIC_0000101.jpg"]
    with pytest.raises(LesionflowError, match=r"'metadata\.csv' names 1 files that the source does not have, first 'nevus/gone\.jpg'"):
        joined.require_complete()


def test_rows_of_images_that_are_left_out_are_not_missing():
    table = select_columns(read_table(b"filename,lesion_id\nISIC_0000101,L1\nm_mask,L1\n", "metadata.csv"), FOLDERS)
    others = metadata.ImageIndex(["nevus/m_mask.png"], {})
    metadata.join_tables([table], metadata.ImageIndex(IMAGES, {}), others).require_complete()


@pytest.mark.parametrize(("given", "file"), [("ISIC_7", "ISIC_7_downsampled.jpg"), ("ISIC_7_downsampled", "ISIC_7_downsampled.jpg")])
def test_join_tables_matches_downsampled_images(given, file):
    assert column(join({"a.csv": f"image,lesion_id\n{given},L1\n"}, (f"nv/{file}",)), "lesion_id") == {f"nv/{file}": "L1"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("raw/Train/nevus/a.jpg", "train"), ("TEST\\nevus\\a.jpg", "test"), ("val/nevus/a.jpg", "validation"), ("nevus/train.jpg", None)],
)
def test_original_split_is_read_from_folder_name(name, expected):
    assert metadata.original_split(name) == expected
