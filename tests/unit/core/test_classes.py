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
def test_class_of_folder_ignores_case_separators_and_known_misspelling(folder, expected):
    assert class_of_folder(folder) == expected


def test_multiclass_targets_follow_class_order():
    assert encode_targets(CLASSES, "multiclass") == list(range(9))
    assert output_names("multiclass") == CLASSES


def test_binary_targets_mark_four_diagnoses_as_malignant():
    malignant = [name for name, target in zip(CLASSES, encode_targets(CLASSES, "binary"), strict=True) if target]
    assert malignant == ["actinic_keratosis", "basal_cell_carcinoma", "melanoma", "squamous_cell_carcinoma"]


def test_metric_label_names_critical_class():
    assert classes.CRITICAL_CLASS in classes.MALIGNANT
    assert classes.metric_label("critical_sensitivity") == "melanoma sensitivity"
    assert classes.metric_label("balanced_accuracy") == "balanced accuracy"
