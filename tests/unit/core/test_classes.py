import pytest

from components.core import classes
from components.core.classes import CLASSES, class_of_folder, encode_targets, output_names


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("actinic keratosis", "actinic_keratosis"),
        ("Acitinic-Keratosis", "actinic_keratosis"),
        ("  VASCULAR  lesion ", "vascular_lesion"),
        ("nevus", "nevus"),
        ("naevus", None),
        ("Train", None),
        ("", None),
    ],
)
def test_folder_names_match_without_regard_to_case_spaces_hyphens_and_the_known_misspelling(folder, expected):
    assert class_of_folder(folder) == expected


def test_multiclass_targets_follow_the_order_of_the_classes():
    assert encode_targets(CLASSES, "multiclass") == list(range(9))
    assert output_names("multiclass") == CLASSES


def test_binary_targets_call_four_diagnoses_malignant():
    malignant = [name for name, target in zip(CLASSES, encode_targets(CLASSES, "binary"), strict=True) if target]
    assert malignant == ["actinic_keratosis", "basal_cell_carcinoma", "melanoma", "squamous_cell_carcinoma"]


def test_people_read_the_critical_class_by_its_name():
    assert classes.CRITICAL_CLASS in classes.MALIGNANT
    assert classes.metric_label("critical_sensitivity") == "melanoma sensitivity"
    assert classes.metric_label("balanced_accuracy") == "balanced accuracy"
