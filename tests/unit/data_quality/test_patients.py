import pandas as pd
import pytest

from components.data_quality import dataset, patients
from tests.support.labels import ISIC9_DEFINITION


def labeled(rows: list[tuple[str, object, object]]) -> pd.DataFrame:
    """The files of a dataset whose metadata.csv has these paths, patients and lesions."""
    table = pd.DataFrame(rows, columns=["filename", "patient_id", "lesion_id"], dtype="str")
    return dataset.add_labels(table[["filename"]].set_axis(["path"], axis=1), table.set_index("filename"), ISIC9_DEFINITION)


@pytest.mark.parametrize("placeholder", ["unknown", " Unknown ", "-", "0", "N/A", None])
def test_placeholders_are_nobody(placeholder):
    frame = labeled([("nevus/a.jpg", placeholder, "L1"), ("nevus/b.jpg", placeholder, "L2")])
    assert frame["patient_id"].isna().all()
    assert frame["lesion_id"].tolist() == ["L1", "L2"]


def test_placeholder_lesions_are_lesions_of_their_own():
    frame = labeled([("nevus/a.jpg", "P1", "unknown"), ("nevus/b.jpg", "P2", "unknown")])
    assert frame["lesion_id"].tolist() == ["nevus/a.jpg", "nevus/b.jpg"]


def test_same_lesion_id_of_two_patients_is_two_lesions():
    frame = labeled([("nevus/a.jpg", "P1", "L1"), ("nevus/b.jpg", "P2", "L1"), ("nevus/c.jpg", "P1", "L1"), ("nevus/d.jpg", "P3", "L2")])
    assert frame["lesion_id"].tolist() == ["P1 / L1", "P2 / L1", "P1 / L1", "P3 / L2"]
    found = patients.find_shared_lesions(frame, "metadata.csv")
    assert [finding.subjects for finding in found] == [("nevus/a.jpg", "nevus/b.jpg", "nevus/c.jpg")]
    assert "lesion L1 of 2 patients (P1, P2)" in found[0].message


def test_lesions_numbered_within_patients_are_one_finding_about_the_table():
    rows = [(f"nevus/{patient}_{lesion}.jpg", f"P{patient}", str(lesion)) for patient in range(5) for lesion in range(3)]
    frame = labeled([*rows, ("nevus/x.jpg", "P0", "3"), ("nevus/y.jpg", None, "4")])
    assert frame["lesion_id"].nunique() == 17
    (found,) = patients.find_shared_lesions(frame, "metadata.csv")
    assert found.subjects == ("metadata.csv",)
    assert found.message.startswith("3 of 4 lesion ids have several patients: lesions are numbered within each patient")


def test_image_without_patient_gets_the_only_patient_of_its_lesion():
    frame = labeled([("nevus/a.jpg", "P1", "L1"), ("nevus/b.jpg", None, "L1"), ("nevus/c.jpg", "P2", "L2"), ("nevus/d.jpg", "P3", "L2"),
                     ("nevus/e.jpg", None, "L2")])  # fmt: skip
    assert frame["patient_id"].fillna("nobody").tolist() == ["P1", "P1", "P2", "P3", "nobody"]
    assert frame["lesion_id"].tolist() == ["P1 / L1", "P1 / L1", "P2 / L2", "P3 / L2", "L2"]


def test_dataset_without_patients_keeps_its_lesions():
    frame = labeled([("nevus/a.jpg", None, "L1"), ("nevus/ISIC_0000001.jpg", None, None)])
    assert frame["lesion_id"].tolist() == ["L1", "ISIC_0000001"]
    assert patients.find_shared_lesions(frame, "metadata.csv") == []
