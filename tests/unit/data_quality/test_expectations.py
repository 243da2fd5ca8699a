import pandas as pd

from components import validate
from components.core.classes import CLASSES
from components.data_quality import expectations
from tests.support.validation import audit_folder


def test_the_suites_pass_clean_rows_name_what_is_not_met_and_write_data_docs(tmp_path, make_dataset, settings):
    limits = settings.validation.model_copy(update={"min_images_per_class": 2})
    frame, _, _ = audit_folder(make_dataset(tmp_path / "data"), limits)
    catalog = frame.reset_index()
    classes = validate.count_classes(catalog, "multiclass")
    audited = expectations.AuditedCatalog(catalog, classes, {"too_small": {"nevus": 3}})
    assert expectations.check_catalog(audited, limits, tmp_path / "docs") == []
    page = (tmp_path / "docs" / "index.html").read_text()
    assert "All expectations met" in page
    assert "<td>too small</td>" in page

    catalog.loc[0, "pixels_sha256"] = catalog.loc[35, "pixels_sha256"]
    catalog.loc[2, "lesion_id"] = None
    strict = limits.model_copy(update={"min_images_per_class": 5})
    unmet = "\n".join(expectations.check_catalog(expectations.AuditedCatalog(catalog, classes, {}), strict, tmp_path / "again"))
    assert "expect_column_values_to_be_unique on pixels_sha256" in unmet
    assert "expect_column_values_to_be_in_set on classes_of_pixels" in unmet
    assert "expect_column_values_to_not_be_null on lesion_id" in unmet
    assert "expect_column_values_to_be_between on images (min_value=5" in unmet


def test_a_group_or_a_lesion_on_two_sides_and_a_side_without_a_class_are_named(tmp_path):
    rows = [
        (f"{name}/{side}.jpg", name, f"{name}_{side}", f"{name}{side}", number * 3 + at, side)
        for number, name in enumerate(CLASSES)
        for at, side in enumerate(("train", "validation", "test"))
    ]
    splits = pd.DataFrame(rows, columns=["path", "diagnosis", "lesion_id", "pixels_sha256", "group", "side"])
    assert expectations.check_splits(splits, splits["diagnosis"], tmp_path / "docs") == []
    splits.loc[1, "group"] = 0
    splits.loc[4, "lesion_id"] = splits.loc[3, "lesion_id"]
    splits = splits[(splits["diagnosis"] != "melanoma") | (splits["side"] != "test")]
    unmet = "\n".join(expectations.check_splits(splits, splits["diagnosis"], tmp_path / "again"))
    assert "splits_of_group" in unmet
    assert "splits_of_lesion_id" in unmet
    assert "expect_column_values_to_be_between on test" in unmet


def test_an_image_that_a_person_keeps_is_asked_for_no_more_than_it_has(settings):
    limits = settings.validation
    rule = limits.policy.missing_license.model_copy(update={"action": "quarantine"})
    limits = limits.model_copy(update={"policy": limits.policy.model_copy(update={"missing_license": rule})})
    kept = pd.DataFrame({"width": [20], "height": [31], "license": [None]})
    for rows, least, licensed in ((kept, 20, False), (kept.iloc[:0], limits.min_side, True)):
        wanted = expectations._images(limits, rows)
        assert ("ExpectColumnValuesToBeBetween", {"column": "height", "min_value": least}) in wanted
        assert (("ExpectColumnValuesToNotBeNull", {"column": "license"}) in wanted) == licensed
