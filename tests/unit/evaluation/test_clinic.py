from dataclasses import replace

import numpy as np
import pytest

from components.core.reports.clinic import Clinic
from components.evaluation.bootstrap import Resampling
from components.evaluation.clinic import plots
from components.evaluation.clinic.measurement import measure
from components.evaluation.predictions import Predictions
from tests.support.clinic import calibrated_predictions, plan
from tests.support.labels import BENIGN_MALIGNANT, ISIC9, RASH


@pytest.fixture(scope="module")
def both() -> tuple[Predictions, Predictions]:
    """Validation and test."""
    return calibrated_predictions(500, seed=1), calibrated_predictions(600, seed=2, group_size=2)


@pytest.fixture(scope="module")
def clinic(both) -> Clinic:
    return measure(*both, plan())


def test_counts_and_rates_of_operating_points_agree(both, clinic):
    _, test = both
    assert list(clinic.operating_points) == ["triage", "balanced", "rule_in"]
    for point in clinic.operating_points.values():
        malignant = point.true_positives + point.false_negatives
        benign = point.true_negatives + point.false_positives
        assert (malignant, benign) == (test.malignant.sum(), (~test.malignant).sum())
        assert point.sensitivity.value == pytest.approx(point.true_positives / malignant)
        assert point.specificity.value == pytest.approx(point.true_negatives / benign)
        assert point.flagged.value == pytest.approx((point.true_positives + point.false_positives) / 600)
        assert set(point.sensitivity_by_class) == set(ISIC9.malignant)
    assert clinic.operating_points["balanced"].threshold == 0.5
    balanced = clinic.operating_points["balanced"]
    resampling = Resampling.of_groups(test.images["group"].to_numpy(), 100, 0)
    headline = test.estimates(("malignant_sensitivity", "malignant_specificity"), resampling.samples, 15)
    assert [balanced.sensitivity, balanced.specificity] == list(headline.values())


def test_targets_are_met_on_validation_and_roughly_on_test(clinic):
    triage, rule_in = clinic.operating_points["triage"], clinic.operating_points["rule_in"]
    assert triage.targets == dict.fromkeys(ISIC9.malignant, 0.9)
    assert triage.validation_sensitivity >= 0.9
    assert triage.sensitivity.value == pytest.approx(0.93, abs=0.06)
    assert rule_in.validation_specificity >= 0.95
    assert rule_in.specificity.high >= 0.95
    assert rule_in.targets is None
    assert triage.threshold < 0.5 < rule_in.threshold


def test_predictive_values_at_dataset_prevalence_are_those_of_the_counts(clinic):
    for point in clinic.operating_points.values():
        here, low = point.at_prevalence["dataset"], point.at_prevalence["0.05"]
        assert here.prevalence == clinic.malignant_share
        assert low.prevalence == 0.05
        assert here.ppv.value == pytest.approx(point.true_positives / (point.true_positives + point.false_positives))
        assert here.npv.value == pytest.approx(point.true_negatives / (point.true_negatives + point.false_negatives))
        assert here.benign_flagged_per_cancer.value == pytest.approx(point.false_positives / point.true_positives)
        assert here.flagged_per_1000.value == pytest.approx(1000 * point.flagged.value)
        assert low.ppv.value < here.ppv.value
        for row in (*here.figures.values(), *low.figures.values()):
            assert 0 <= row.low < row.value < row.high


def test_calibrated_probabilities_measure_as_calibrated(clinic):
    assert set(clinic.calibration) == {"malignant", "critical"}
    for found in clinic.calibration.values():
        assert found.slope.low < 1 < found.slope.high
        assert found.in_the_large.low < 0 < found.in_the_large.high
        assert sum(row.images for row in found.curve) == 600
        assert sum(row.observed.low <= row.probability <= row.observed.high for row in found.curve) >= len(found.curve) - 2


def test_figures_lie_within_their_intervals(clinic):
    rows = [*clinic.discrimination.figures.values(), *(point.model for point in clinic.net_benefit.points)]
    rows += [row.error_rate for row in clinic.coverage]
    assert len(clinic.discrimination.figures) == 8
    assert all(row.low <= row.value <= row.high for row in rows)
    assert clinic.discrimination.top_2_accuracy.value < clinic.discrimination.top_3_accuracy.value
    assert 0.02 < clinic.discrimination.malignant_partial_auc.value < clinic.discrimination.malignant_partial_auc.high <= 0.2


def test_calibrated_model_has_more_net_benefit_than_referring_all_or_none(clinic):
    assert clinic.net_benefit.prevalence == 0.05
    assert [row.threshold for row in clinic.net_benefit.points][::27] == [0.03, 0.3]
    assert all(row.model.high > max(row.refer_all, row.refer_none) for row in clinic.net_benefit.points)


def test_abstention_lowers_errors_and_counts_malignant_images_both_ways(clinic):
    coverages = [row.coverage for row in clinic.coverage]
    assert coverages[0] == 1
    assert coverages == sorted(coverages, reverse=True)
    assert clinic.coverage[-1].error_rate.value < clinic.coverage[0].error_rate.value
    triage = clinic.operating_points["triage"].sensitivity.value
    for row in clinic.coverage:
        assert row.triage_sensitivity_if_missed <= triage <= row.triage_sensitivity_if_flagged
    assert set(clinic.coverage[0].abstained.values()) == {0.0}


def test_report_is_read_as_written(clinic, tmp_path):
    clinic.write(tmp_path / "clinic.json")
    assert Clinic.read(tmp_path / "clinic.json") == clinic


def test_label_set_without_malignant_classes_has_no_such_figures(tmp_path):
    test = calibrated_predictions(100, RASH)
    found = measure(calibrated_predictions(90, RASH, seed=1), test, plan(RASH, None))
    found.write(tmp_path / "clinic.json")
    assert (found.operating_points, found.calibration) == ({}, {})
    assert not {"malignant_share", "net_benefit", "rewards"} & found.model_fields_set
    assert set(found.discrimination.figures) == {"top_2_accuracy", "top_3_accuracy"}
    assert found.coverage[0].triage_sensitivity_if_missed is None
    plots.draw(found, test, tmp_path / "clinic.png")
    assert "malignant" not in (tmp_path / "clinic.json").read_text().replace('"malignant": []', "")


def test_two_classes_have_no_top_accuracy():
    found = measure(
        calibrated_predictions(200, BENIGN_MALIGNANT), calibrated_predictions(200, BENIGN_MALIGNANT, 1), plan(BENIGN_MALIGNANT, None)
    )
    assert {name for name in found.discrimination.figures if name.startswith("top")} == set()
    assert found.calibration["critical"] == found.calibration["malignant"]


def only(predictions: Predictions, kept: np.ndarray) -> Predictions:
    return Predictions(predictions.images[kept].reset_index(drop=True), predictions.probabilities[kept], predictions.labels)


def test_class_and_malignancy_that_test_does_not_have_are_left_out(both):
    validation, test = both
    without = measure(validation, only(test, test.images["diagnosis"].to_numpy() != "melanoma"), plan(resamples=20))
    assert "melanoma" not in without.operating_points["triage"].sensitivity_by_class
    assert "critical_auc" not in without.discrimination.figures
    assert without.calibration["critical"].slope is None
    benign = measure(validation, only(test, ~test.malignant), plan(resamples=20))
    assert benign.operating_points == {}
    assert benign.net_benefit is None
    assert benign.malignant_share == 0


def test_one_group_and_equal_probabilities_are_measured(both, tmp_path):
    _, test = both
    one = only(test, np.arange(600) < 30)
    one = Predictions(one.images.assign(group=0), np.full_like(one.probabilities, 1 / 9), ISIC9)
    found = measure(one, one, plan(resamples=20))
    assert found.groups == 1
    assert found.operating_points["triage"].flagged.value == 1
    assert found.operating_points["rule_in"].flagged.value == 0
    assert found.operating_points["rule_in"].at_prevalence["0.05"].ppv is None
    assert found.discrimination.malignant_auc.value == pytest.approx(0.5)
    assert [row.coverage for row in found.coverage] == [1.0]
    assert len(found.calibration["malignant"].curve) == 1
    assert found.calibration["malignant"].slope is None
    found.write(tmp_path / "clinic.json")
    plots.draw(found, one, tmp_path / "clinic.png")
    assert (tmp_path / "clinic.png").stat().st_size > 1000


def test_few_perfect_images_have_wide_predictive_values():
    test = calibrated_predictions(40, BENIGN_MALIGNANT)
    perfect = replace(test, probabilities=np.eye(2)[test.truth])
    found = measure(perfect, perfect, plan(BENIGN_MALIGNANT, None)).operating_points["balanced"].at_prevalence["0.05"]
    assert found.ppv.value == 1
    assert found.ppv.low < 0.5


def test_undefined_figures_are_left_out():
    resampling = Resampling.of_groups(np.arange(4), 10, 0)
    assert resampling.estimates(lambda at: {"a": float("nan"), "b": float(len(at))}).keys() == {"b"}
