import re

import pandas as pd

from components.data_quality import expectations, small_classes
from tests.support.labels import CLASSES, ISIC9_DEFINITION
from tests.support.validation import audit_folder


def test_check_catalog_reports_unmet_expectations_and_writes_docs(tmp_path, make_dataset, settings):
    limits = settings.validation.model_copy(update={"min_images_per_class": 2})
    frame, _, _ = audit_folder(make_dataset(tmp_path / "data"), limits)
    catalog = frame.reset_index()
    classes = small_classes.count_classes(catalog, ISIC9_DEFINITION)
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


def test_check_splits_reports_leakage_and_missing_class(tmp_path):
    rows = [
        (f"{name}/{split}.jpg", name, f"{name}_{split}", f"{name}{split}", number * 3 + offset, split)
        for number, name in enumerate(CLASSES)
        for offset, split in enumerate(("train", "validation", "test"))
    ]
    splits = pd.DataFrame(rows, columns=["path", "diagnosis", "lesion_id", "pixels_sha256", "group", "side"]).assign(patient_id=None)
    assert expectations.check_splits(splits, CLASSES, tmp_path / "docs") == []
    splits.loc[1, "group"] = 0
    splits.loc[4, "lesion_id"] = splits.loc[3, "lesion_id"]
    splits = splits[(splits["diagnosis"] != "melanoma") | (splits["side"] != "test")]
    unmet = "\n".join(expectations.check_splits(splits, CLASSES, tmp_path / "again"))
    assert "splits_of_group" in unmet
    assert "splits_of_lesion_id" in unmet
    assert "expect_column_values_to_be_between on test" in unmet


def test_equal_catalogs_make_equal_data_docs(tmp_path, make_dataset, settings):
    frame, _, _ = audit_folder(make_dataset(tmp_path / "data"), settings.validation)
    catalog = frame.reset_index()
    catalog.loc[0, "isic_id"] = " a leading space"  # unmet expectations have a page with more elements
    audited = expectations.AuditedCatalog(catalog, small_classes.count_classes(catalog, ISIC9_DEFINITION), {"too_small": {"nevus": 3}})
    docs = [tmp_path / "first", tmp_path / "second"]
    for folder in docs:
        assert expectations.check_catalog(audited, settings.validation, folder)
    first, second = ({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} for folder in docs)
    assert first == second
    pages = [path for path in first if path.suffix == ".html"]
    assert len(pages) == 5
    assert not any(re.search(rb"20\d\d-?\d\d-?\d\dT", first[path]) for path in pages)
    assert (docs[0] / "index.html").read_text(encoding="utf-8").count('href="validations/') == 2


def test_image_suite_relaxes_limits_for_kept_images(settings):
    limits = settings.validation
    license_policy = limits.policy.missing_license.model_copy(update={"action": "quarantine"})
    limits = limits.model_copy(update={"policy": limits.policy.model_copy(update={"missing_license": license_policy})})
    kept_images = pd.DataFrame({"width": [20], "height": [31], "license": [None]})
    for rows, min_size, licensed in ((kept_images, 20, False), (kept_images.iloc[:0], limits.min_side, True)):
        expected = expectations._images(limits, rows, list(CLASSES))
        assert ("ExpectColumnValuesToBeBetween", {"column": "height", "min_value": min_size}) in expected
        assert (("ExpectColumnValuesToNotBeNull", {"column": "license"}) in expected) == licensed
