"""Tables with patients: keys in place of ids, and file names that name nobody."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from app.data import ingest
from app.data.pseudonyms import open_key, patient_key
from app.data.recognition import ImportOptions
from app.data.source_tables import GivenTable
from components.core.errors import LesionflowError
from components.runtime.params import ImportLimits
from tests.support.images import encoded, noise

pytestmark = pytest.mark.usefixtures("project")
LIMITS = ImportLimits(max_files=200, max_file_mb=16, max_total_gb=0.05, max_ratio=200)
COLUMNS = {"Photo": "filename", "Finding": "diagnosis", "Case": "lesion_id", "Person": "patient_id"}
ROWS = (
    ("Mustermann_1", "nevus", "MRN-0017-a", "MRN-0017"),
    ("Mustermann_2", "melanoma", "MRN-0017-b", "MRN-0017"),
    ("b", "nevus", "L3", " MRN-0018 "),
    ("c", "nevus", "L3", "unknown"),
    ("ISIC_0000001", "nevus", "IL_1", "IP_1"),
    ("d", "nevus", "", "0"),
)


def write(folder: Path, rows: tuple[tuple[str, ...], ...] = ROWS, header: str = "Photo,Finding,Case,Person") -> Path:
    folder.mkdir()
    for number, (name, *_) in enumerate(rows):
        (folder / f"{name}.jpg").write_bytes(encoded(noise(number, 32)))
    (folder / "list.csv").write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return folder


def run(folder: Path, **options) -> list[str]:
    return list(ingest.import_dataset(folder, LIMITS, ImportOptions(table=GivenTable(Path("list.csv"), COLUMNS), **options)))


def table() -> pd.DataFrame:
    return pd.read_csv("data/metadata.csv", dtype=str)


def test_ids_become_keys_and_file_names_are_replaced(tmp_path):
    lines = run(write(tmp_path / "Clinic A"))
    secret = open_key().secret
    first, second = (patient_key(secret, "clinic-a", name) for name in ("MRN-0017", "MRN-0018"))
    rows = table()
    assert rows["patient_id"].fillna("-").tolist() == [first, first, second, "-", "IP_1", "-"]
    assert rows["lesion_id"].tolist()[2:5] == ["clinic-a:L3", "clinic-a:L3", "IL_1"]
    assert all(re.fullmatch(r"clinic-a:L_[0-9a-f]{16}", lesion) for lesion in rows["lesion_id"][:2])
    assert rows["lesion_id"].nunique() == 4
    names = rows["filename"].tolist()
    assert [bool(re.fullmatch(r"\w+/img_[0-9a-f]{16}\.jpg", name)) for name in names] == [True, True, True, True, False, True]
    assert names[4] == "nevus/ISIC_0000001.jpg"
    assert sorted(names) == sorted(path.relative_to("data").as_posix() for path in Path("data").rglob("*.jpg"))
    written = b"".join(path.read_bytes() for path in Path("data").rglob("*") if path.is_file())
    assert b"MRN" not in written and b"Mustermann" not in written
    assert yaml.safe_load(Path("data/dataset.yaml").read_text())["namespace"] == "clinic-a"
    assert "namespace of lesions and patients, but for those of the ISIC Archive: clinic-a (--source names another)" in lines
    assert any("file names are hashed with" in line for line in lines)


def test_second_delivery_of_a_source_keeps_keys_and_names(tmp_path):
    run(write(tmp_path / "2024"), source="Clinic A")
    before = table()
    run(write(tmp_path / "2025"), source="clinic a")
    assert table().equals(before)
    run(write(tmp_path / "2026"))
    assert not set(table()["patient_id"].dropna()) & set(before["patient_id"].dropna()) - {"IP_1"}


def test_public_patients_need_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFLOW_PSEUDONYM_KEY_FILE", str(tmp_path / "new.key"))
    run(write(tmp_path / "source", (("a", "nevus", "L1", "IP_1"), ("b", "melanoma", "L2", "unknown"))))
    assert table()["filename"].tolist() == ["nevus/a.jpg", "melanoma/b.jpg"]
    assert not (tmp_path / "new.key").exists()


def test_dry_run_makes_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFLOW_PSEUDONYM_KEY_FILE", str(tmp_path / "new.key"))
    folder = write(tmp_path / "source")
    list(ingest.describe_import(folder, LIMITS, ImportOptions(table=GivenTable(Path("list.csv"), COLUMNS))))
    assert not (tmp_path / "new.key").exists()
    lines = run(folder)
    assert any(line.startswith(f"made the secret key that patient ids and file names are hashed with: {tmp_path}") for line in lines)


def test_key_that_cannot_be_used_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFLOW_PSEUDONYM_KEY_FILE", "inside.key")
    with pytest.raises(LesionflowError, match="is in this project"):
        run(write(tmp_path / "source"))
    assert [path.name for path in Path("data").rglob("*.jpg")] == ["old.jpg"]


def test_class_folders_hide_names_that_contain_the_patient(tmp_path):
    for name in ("nevus/mrn-0017_1.jpg", "nevus/b.jpg", "melanoma/c_8.jpg"):
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(encoded(noise(len(name))))
    (tmp_path / "source/metadata.csv").write_text("filename,patient_id\nmrn-0017_1,MRN-0017\nb,MRN-0018\nc_8,8\n")
    list(ingest.import_dataset(tmp_path / "source", LIMITS))
    names = sorted(path.name for path in Path("data").rglob("*.jpg"))
    assert names[:2] == ["b.jpg", "c_8.jpg"] and names[2].startswith("img_")
    assert table()["patient_id"].str.fullmatch("P_[0-9a-f]{16}").all()


def test_only_known_columns_come_in_and_no_dates(tmp_path):
    header = "filename,diagnosis,patient_id,age,name,birth_date,accession_number,comment"
    rows = (("a", "nevus", "1", "1950-03-12", "Mustermann", "1950-03-12", "A-77", "sister of B"), ("b", "nevus", "2", "61", "", "", "", ""))
    folder = write(tmp_path / "source", rows, header)
    list(ingest.import_dataset(folder, LIMITS, ImportOptions(source="x")))
    assert list(table()) == ["filename", "diagnosis", "patient_id", "age_approx"]
    assert table()["age_approx"].fillna("-").tolist() == ["-", "61"]
    assert table()["filename"].str.startswith("nevus/img_").all()
