from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from components.core.label_set import LabelSet
from components.core.reports.evaluation import Estimate
from components.evaluation import report, subgroups
from components.evaluation.predictions import Predictions
from tests.support import documents
from tests.support.labels import ISIC9, RASH

METHOD = subgroups.Method(min_groups=20, resamples=100, bins=10, seed=0)
OVERALL = Estimate(0.7, 0.6, 0.8)


def predictions(labels: LabelSet = ISIC9, images: int = 300, wrong: slice = slice(0)) -> Predictions:
    """Correct predictions of images of one group each, except for those in `wrong`."""
    diagnoses = [labels.outputs[number % len(labels.outputs)] for number in range(images)]
    probabilities = np.eye(len(labels.outputs))[labels.encode(diagnoses)]
    probabilities[wrong] = np.roll(probabilities[wrong], 1, axis=1)
    frame = pd.DataFrame({"path": [f"{number}.jpg" for number in range(images)], "diagnosis": diagnoses, "group": range(images)})
    return Predictions(frame, probabilities, labels)


def rows(images: int = 300, **columns: object) -> pd.DataFrame:
    """Rows of build/splits.parquet of which nothing is known but `columns`."""
    nothing = dict.fromkeys(("age_approx", *subgroups.SOURCES.values()))
    frame = pd.DataFrame({**nothing, "width": 600, "height": 450, **columns}, index=range(images))
    return frame.astype({"age_approx": "float64"})


def measure(scored: Predictions, **columns: object) -> dict:
    values = subgroups.subgroup_values(rows(len(scored.images), **columns))
    return subgroups.measure_subgroups(scored, values, METHOD)


@pytest.mark.parametrize(
    ("age", "band"), [(0, "0-29"), (29.5, "0-29"), (30, "30-49"), (50, "50-69"), (69, "50-69"), (70, "70+"), (120, "70+")]
)
def test_age_belongs_to_band(age, band):
    assert subgroups.subgroup_values(rows(1, age_approx=age))["age"].tolist() == [band]


def test_resolution_is_short_side_against_median():
    values = subgroups.subgroup_values(rows(4, width=[300, 9000, 400, 500], height=[900, 200, 400, 500]))
    assert values["resolution"].tolist() == ["below median", "below median", "median or above", "median or above"]


def test_nothing_is_measured_without_metadata_and_with_one_resolution():
    assert measure(predictions()) == {}
    assert subgroups.dimensions_left_out({}) == ["age", "sex", "site", "skin type", "collection", "resolution"]
    assert subgroups.worst_subgroup({}) is None


def test_worst_subgroup_and_figures_with_counts():
    measured = measure(predictions(wrong=slice(150)), sex=["female"] * 150 + ["male"] * 150, collection="only one")
    assert list(measured) == ["sex"]
    female, male = measured["sex"]["female"], measured["sex"]["male"]
    assert (female.balanced_accuracy.value, male.balanced_accuracy.value) == (0, 1)
    assert (male.images, male.groups, male.classes, male.critical_images, male.malignant_images) == (150, 150, 9, 16, 67)
    assert male.malignant_sensitivity.value == male.malignant_specificity.value == male.critical_sensitivity.value == 1
    assert male.critical_sensitivity.low < 0.9
    assert male.calibration_error.value == 0
    worst = subgroups.worst_subgroup(measured)
    assert (worst.dimension, worst.value, worst.name, worst.balanced_accuracy.value) == ("sex", "female", "sex female", 0)


def test_subgroup_with_too_few_groups_has_no_figures_and_is_not_the_worst():
    measured = measure(predictions(wrong=slice(19)), fitzpatrick_skin_type=["VI"] * 19 + ["I"] * 281)
    few = measured["skin_type"]["VI"]
    assert (few.images, few.groups, few.figures, few.classes) == (19, 19, {}, None)
    assert subgroups.worst_subgroup(measured).name == "skin type I"


def test_images_of_one_group_count_once():
    scored = predictions()
    scored.images["group"] = scored.images["group"] // 20
    measured = measure(scored, sex=["female"] * 150 + ["male"] * 150)
    assert [row.figures for row in measured["sex"].values()] == [{}, {}]


def test_figures_that_a_label_set_or_subgroup_does_not_have_are_missing():
    rash = measure(predictions(RASH), sex=["female", "male"] * 150)["sex"]["male"]
    assert rash.figures.keys() == {"balanced_accuracy", "calibration_error"}
    assert (rash.critical_images, rash.malignant_images) == (None, None)
    scored = predictions()
    nevi = ["nevi" if name == "nevus" else "others" for name in scored.images["diagnosis"]]
    only_nevi = measure(scored, anatom_site_general=nevi)["site"]["nevi"]
    assert only_nevi.figures.keys() == {"balanced_accuracy", "calibration_error", "malignant_specificity"}
    assert (only_nevi.critical_images, only_nevi.malignant_images, only_nevi.classes) == (0, 0, 1)


def test_triage_is_measured_in_subgroups_that_have_images_for_it():
    scored = predictions()
    values = subgroups.subgroup_values(rows(sex=["female", "male"] * 150))
    nevi = values.assign(site=["nevi" if name == "nevus" else "others" for name in scored.images["diagnosis"]])
    measured = subgroups.measure_subgroups(scored, nevi, replace(METHOD, triage=0.5))
    male = measured["sex"]["male"]
    assert male.triage_sensitivity == male.malignant_sensitivity
    assert male.triage_specificity == male.malignant_specificity
    assert measured["site"]["nevi"].triage_sensitivity is None
    assert measured["site"]["nevi"].triage_specificity.value == 1
    flagged = subgroups.measure_subgroups(scored, values, replace(METHOD, triage=0.0))["sex"]["male"]
    assert (flagged.triage_sensitivity.value, flagged.triage_specificity.value) == (1, 0)


def test_report_keeps_subgroups(tmp_path):
    measured = measure(predictions(), sex=["female", "male"] * 150, age_approx=[20.0] * 290 + [80.0] * 10)
    evaluation = documents.evaluation(subgroups=measured)
    evaluation.write(tmp_path / "evaluation.json")
    assert type(evaluation).read(tmp_path / "evaluation.json") == evaluation


@pytest.mark.parametrize("known", [True, False])
def test_table_and_picture_are_written(tmp_path, known):
    sites = ["=1+1", "$^$"] * 145 + ["rare"] * 10 if known else None
    report.draw_subgroups(measure(predictions(), anatom_site_general=sites), OVERALL, tmp_path)
    table = pd.read_csv(tmp_path / "subgroups.csv")
    assert table["subgroup"].tolist() == (["$^$", "'=1+1", "rare"] if known else [])
    assert table["too_few"].tolist() == ([False, False, True] if known else [])
    assert (tmp_path / "subgroups.png").stat().st_size > 1000
