import pandas as pd
import pytest

from components.data_quality import attributes, dataset
from tests.support.labels import ISIC9_DEFINITION

CASES = {
    "age_approx": [("85.0", 85.0), ("0", 0.0), ("120", 120.0), ("121", None), ("-1", None), ("old", None), ("unknown", None), (None, None)],
    "sex": [("MALE", "male"), (" f ", "female"), ("Female", "female"), ("unknown", None), ("other", None), (None, None)],
    "anatom_site_general": [("Head/Neck", "head/neck"), ("unknown", None), ("-", None), ("", None), (None, None)],
    "fitzpatrick_skin_type": [("iv", "IV"), ("1", "I"), ("6.0", "VI"), ("7", None), ("0", None), ("NA", None), (None, None)],
}


@pytest.mark.parametrize("column", CASES)
def test_metadata_is_read_into_values_or_null(column):
    texts, expected = zip(*CASES[column], strict=True)
    paths = [f"nevus/{number}.jpg" for number in range(len(texts))]
    table = pd.DataFrame({column: texts}, index=paths, dtype="str").rename_axis("filename")
    read = dataset.add_labels(pd.DataFrame({"path": paths}), table, ISIC9_DEFINITION)[column]
    assert [None if pd.isna(value) else value for value in read] == list(expected)


def test_columns_are_null_without_metadata():
    frame = dataset.add_labels(pd.DataFrame({"path": ["nevus/a.jpg"]}), None, ISIC9_DEFINITION)
    assert frame[list(attributes.READERS)].isna().all(axis=None)
    assert str(frame["age_approx"].dtype) == "float64"
