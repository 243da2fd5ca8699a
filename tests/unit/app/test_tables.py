"""Tables are read in the encodings and separators that people have, and only known columns come in."""

import pytest

from app.data.forms.definitions import FOLDERS, TABLE, forms
from app.data.tables import read_table, select_columns
from components.core.errors import LesionflowError

TEXT = "filename,lesion_id,localization\na.jpg,L1,Größe\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_read_table_accepts_encodings_and_separators(encoding, separator):
    table = read_table(TEXT.replace(",", separator).encode(encoding), "metadata.csv")
    assert table.rows.to_numpy().tolist() == [["a.jpg", "L1", "Größe"]]


def test_read_table_refuses_broken_utf_16():
    with pytest.raises(LesionflowError, match=r"'t.csv' is not in UTF-16, as its first bytes say"):
        read_table(b"\xff\xfea,b\n1", "t.csv")


def test_table_between_bars_ends_where_the_bars_end():
    text = "||  Name || Label || A | B ||\n|| IMD1 ||       || 0 | 1 ||\n\nLegends:\n0 is a code\n"
    table = read_table(text.encode(), "PH2_dataset.txt")
    assert table.rows.to_dict("list") == {"name": ["IMD1"], "label": [""], "a": ["0"], "b": ["1"]}


def test_read_table_ignores_stray_spaces_and_case_of_headers():
    table = read_table(b" Filename ,LESION ID\r\n a.jpg , L1 \r\n", "metadata.csv")
    assert select_columns(table, FOLDERS).rows.to_dict("list") == {"filename": ["a.jpg"], "lesion_id": ["L1"]}


def test_select_columns_keeps_known_columns_only():
    header = "image_id,dx,age,localization,dataset,copyright_license,Patient Name,date_of_birth,accession_number,comment"
    table = read_table(f"{header}\nISIC_0000001,nv,40.0,back,vidir,CC-0,Jane Doe,1970-01-01,A123,call her\n".encode(), "metadata.csv")
    selected = select_columns(table, FOLDERS)
    assert selected.left_out == ("Patient Name", "date_of_birth", "accession_number", "comment")
    assert selected.rows.iloc[0].to_dict() == {
        "filename": "ISIC_0000001",
        "isic_id": "ISIC_0000001",
        "diagnosis": "nv",
        "age_approx": "40",
        "anatom_site_general": "back",
        "collection": "vidir",
        "license": "CC-0",
        "label": "nv",
    }


def test_select_columns_reads_one_hot_labels():
    text = b"image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\na,0.0,1.0,0,0,0,0,0,0,0\nb,0,0,0,0,0,0,0,0,1\n"
    rows = select_columns(read_table(text, "t.csv"), forms()["isic2019"]).rows
    assert rows["label"].tolist() == ["NV", "UNK"]
    assert rows["diagnosis"].fillna("").tolist() == ["NV", ""]


def test_select_columns_rejects_row_with_two_labels():
    text = b"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,1,0,0,0,0,0,0\nb,1,1,0,0,0,0,0\n"
    with pytest.raises(LesionflowError, match=r"line 3: 2 of mel, nv, .* are set, not one"):
        select_columns(read_table(text, "t.csv"), forms()["isic2018"])


def test_select_columns_takes_most_specific_level():
    text = b"isic_id,diagnosis,diagnosis_1,diagnosis_2,diagnosis_3\na,nevus,Benign,,Blue nevus\nb,,Malignant,,\nc,unknown,,,\n"
    assert select_columns(read_table(text, "t.csv"), TABLE).rows["diagnosis"].fillna("").tolist() == ["Blue nevus", "Malignant", ""]


def test_select_columns_takes_second_column_of_labels_where_the_first_says_nothing():
    text = b"image_name,patient_id,diagnosis,benign_malignant\na,P1,unknown,benign\nb,P2,melanoma,malignant\n"
    assert select_columns(read_table(text, "t.csv"), forms()["isic2020"]).rows["diagnosis"].tolist() == ["benign", "melanoma"]
