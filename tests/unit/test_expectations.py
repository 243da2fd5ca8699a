from components import expectations, validate
from tests.unit.test_validate import LIMITS, cataloged


def test_the_suite_passes_clean_rows_names_what_is_not_met_and_writes_data_docs(tmp_path, make_dataset):
    catalog = cataloged(make_dataset(tmp_path / "data")).reset_index()[list(validate.COLUMNS)]
    classes = validate.count_classes(catalog, "multiclass")
    assert expectations.check(catalog, classes, LIMITS, tmp_path / "docs") == []
    assert (tmp_path / "docs" / "index.html").stat().st_size > 1000

    catalog.loc[0, "pixels_sha256"] = catalog.loc[1, "pixels_sha256"]
    catalog.loc[2, "lesion_id"] = None
    unmet = "\n".join(expectations.check(catalog, classes, LIMITS.model_copy(update={"min_images_per_class": 5}), tmp_path / "again"))
    assert "expect_column_values_to_be_unique on pixels_sha256" in unmet
    assert "expect_column_values_to_not_be_null on lesion_id" in unmet
    assert "expect_column_values_to_be_between on images (min_value=5" in unmet
