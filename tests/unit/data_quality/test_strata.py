import pandas as pd

from components.data_quality.strata import find_strata


def rows(groups_of: dict[tuple[str, str], int]) -> pd.DataFrame:
    """Two images in each group of a class and its source's diagnosis."""
    named = [(name, source, f"{source} {group}") for (name, source), count in groups_of.items() for group in range(count) for _ in range(2)]
    return pd.DataFrame(named, columns=["diagnosis", "source_diagnosis", "group"])


def test_class_is_divided_if_each_of_its_diagnoses_has_a_group_for_every_fold():
    images = rows({("malignant", "melanoma"): 5, ("malignant", "bcc"): 6, ("benign", "nevus"): 9, ("benign", "blue nevus"): 4})
    assert set(find_strata(images, 5)) == {"malignant: melanoma", "malignant: bcc", "benign"}
    assert set(find_strata(images, 6)) == {"malignant", "benign"}


def test_class_of_one_diagnosis_is_a_stratum_under_its_own_name():
    images = rows({("melanoma", "Melanoma"): 9, ("melanoma", "melanoma"): 9, ("nevus", "nevi"): 9})
    pd.testing.assert_series_equal(find_strata(images, 5), images["diagnosis"])
