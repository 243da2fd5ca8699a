import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import auc, brier_score_loss, roc_auc_score, roc_curve, top_k_accuracy_score

from components.core import decision
from components.core.errors import ParamsError
from components.evaluation.clinic import abstention, discrimination, net_benefit, prevalence, probability_calibration
from tests.support.clinic import calibrated_predictions
from tests.support.labels import ISIC9, RASH

RATES = st.floats(0.01, 0.99)
SEEDS = st.integers(0, 10_000)


def scored(seed: int, images: int = 80, levels: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Positive and negative images with scores of which some are equal."""
    random = np.random.default_rng(seed)
    positive = np.append([True, False], random.random(images - 2) < 0.3)
    return positive, np.round(np.clip(random.normal(0.4 + 0.2 * positive, 0.2), 0, 1) * levels) / levels


def official_partial_area(positive: np.ndarray, scores: np.ndarray) -> float:
    """ISIC 2024's metric with scikit-learn: labels and scores flipped, the curve up to 0.2 with one interpolated point."""
    false, true, _ = roc_curve(~positive, -scores)
    stop = np.searchsorted(false, 0.2, "right")
    edge = np.interp(0.2, false[stop - 1 : stop + 1], true[stop - 1 : stop + 1])
    return float(auc(np.append(false[:stop], 0.2), np.append(true[:stop], edge)))


@settings(deadline=None, max_examples=50)
@given(SEEDS)
def test_areas_agree_with_scikit_learn_and_official_code(seed):
    positive, scores = scored(seed)
    figures = discrimination.ranking(positive, scores)
    assert figures["auc"] == pytest.approx(roc_auc_score(positive, scores))
    assert figures["partial_auc"] == pytest.approx(official_partial_area(positive, scores))


def test_partial_area_of_perfect_random_and_reversed_scores():
    positive = np.arange(1000) % 4 == 0
    assert discrimination.ranking(positive, positive.astype(float))["partial_auc"] == pytest.approx(0.2)
    assert discrimination.ranking(positive, np.full(1000, 0.5))["partial_auc"] == pytest.approx(0.02)
    assert discrimination.ranking(positive, 1.0 - positive)["partial_auc"] == pytest.approx(0.0)
    random = np.random.default_rng(0).random(100_000)
    assert discrimination.ranking(np.arange(100_000) % 4 == 0, random)["partial_auc"] == pytest.approx(0.02, abs=0.002)


def test_rates_on_test_itself():
    positive = np.array([True] * 10 + [False] * 10)
    scores = np.array([1.0] * 8 + [0.6, 0.2] + [0.7] + [0.5] * 4 + [0.1] * 5)
    figures = discrimination.ranking(positive, scores)
    assert figures["specificity_at_90_sensitivity"] == pytest.approx(0.9)
    assert figures["specificity_at_95_sensitivity"] == pytest.approx(0.5)
    assert figures["sensitivity_at_90_specificity"] == pytest.approx(0.9)


def test_ranking_needs_positive_and_negative_images():
    assert np.isnan(list(discrimination.ranking(np.ones(3, dtype=bool), np.arange(3.0)).values())).all()
    assert np.isnan(list(discrimination.ranking(np.zeros(3, dtype=bool), np.arange(3.0)).values())).all()


def test_true_class_among_likeliest():
    predictions = calibrated_predictions(200)
    for count in (2, 3):
        right = discrimination.among_likeliest(predictions.truth, predictions.probabilities, count)
        assert right.mean() == top_k_accuracy_score(predictions.truth, predictions.probabilities, k=count, labels=np.arange(9))
    equal = np.full((9, 9), 1 / 9)
    assert discrimination.among_likeliest(np.arange(9), equal, 2).sum() == 2


def test_calibrated_probabilities_have_slope_one_and_intercept_zero():
    random = np.random.default_rng(1)
    probability = random.beta(0.7, 1.5, 40_000)
    positive = random.random(40_000) < probability
    figures = probability_calibration.calibration_figures(positive, probability)
    assert figures["slope"] == pytest.approx(1, abs=0.04)
    assert figures["intercept"] == pytest.approx(0, abs=0.05)
    assert figures["in_the_large"] == pytest.approx(0, abs=0.05)
    assert figures["brier"] == pytest.approx(brier_score_loss(positive, probability))
    logits = np.log(probability / (1 - probability))
    overconfident = 1 / (1 + np.exp(-(2 * logits + 1)))
    intercept, slope = probability_calibration.calibration_line(positive, overconfident)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert intercept == pytest.approx(-0.5, abs=0.06)
    inflated = 1 / (1 + np.exp(-(logits + 1)))
    assert probability_calibration.calibration_in_the_large(positive, inflated) == pytest.approx(-1, abs=0.05)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_calibration_line_agrees_with_scikit_learn(seed):
    random = np.random.default_rng(seed)
    probability = random.beta(0.3, 0.3, 60)
    positive = np.append([True, False], random.random(58) < 0.5)
    intercept, slope = probability_calibration.calibration_line(positive, probability)
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    logits = np.log(clipped / (1 - clipped))[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(logits, positive)
    assert (intercept, slope) == (pytest.approx(fitted.intercept_[0], abs=1e-3), pytest.approx(fitted.coef_[0, 0], abs=1e-3))


@pytest.mark.parametrize("probability", [[0.1, 0.2, 0.8, 0.9], [0.9, 0.8, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5]])
def test_calibration_line_is_undefined_for_separated_and_equal_probabilities(probability):
    positive = np.array([False, False, True, True])
    assert np.isnan(probability_calibration.calibration_line(positive, np.array(probability))).all()
    assert np.isfinite(probability_calibration.calibration_in_the_large(positive, np.array(probability)))
    assert np.isnan(probability_calibration.calibration_in_the_large(positive | True, np.array(probability)))


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.integers(0, 300), st.sampled_from([3, 20, 1000]))
def test_bins_of_calibration_curve_hold_every_image_once(seed, images, levels):
    probability = np.round(np.random.default_rng(seed).random(images) * levels) / levels
    bins = probability_calibration.equal_count_bins(probability)
    if images < 20:
        assert bins == []
        return
    assert sorted(np.concatenate(bins).tolist()) == list(range(images))
    assert all(len(members) >= 20 for members in bins)
    assert len(bins) <= 10
    highest = [probability[members].max() for members in bins]
    assert all(high < probability[members].min() for high, members in zip(highest, bins[1:], strict=False))


def test_bins_are_of_equal_count_where_probabilities_differ():
    assert [len(members) for members in probability_calibration.equal_count_bins(np.arange(1000) / 1000)] == [100] * 10
    assert [len(members) for members in probability_calibration.equal_count_bins(np.full(500, 0.3))] == [500]


@settings(deadline=None)
@given(RATES, RATES, RATES)
def test_predictive_values_follow_from_counts(sensitivity, specificity, share):
    lesions = 1_000_000
    found, false = lesions * share * sensitivity, lesions * (1 - share) * (1 - specificity)
    missed, cleared = lesions * share - found, lesions * (1 - share) - false
    rates = (sensitivity, specificity, share)
    assert prevalence.positive_predictive_value(*rates) == pytest.approx(found / (found + false))
    assert prevalence.negative_predictive_value(*rates) == pytest.approx(cleared / (cleared + missed))
    assert prevalence.flagged_per_1000(*rates) == pytest.approx((found + false) / 1000)
    ppv = prevalence.positive_predictive_value(*rates)
    assert prevalence.benign_flagged_per_cancer(*rates) == pytest.approx((1 - ppv) / ppv)


def test_predictive_values_of_known_rates():
    rates = (0.9, 0.8, 0.05)
    assert prevalence.positive_predictive_value(*rates) == pytest.approx(45 / 235)
    assert prevalence.negative_predictive_value(*rates) == pytest.approx(760 / 765)
    assert prevalence.flagged_per_1000(*rates) == pytest.approx(235)
    assert prevalence.benign_flagged_per_cancer(*rates) == pytest.approx(190 / 45)


def test_predictive_values_are_undefined_where_nothing_is_flagged_or_cleared():
    assert np.isnan(prevalence.positive_predictive_value(0, 1, 0.2))
    assert np.isnan(prevalence.negative_predictive_value(1, 0, 0.2))
    assert np.isnan(prevalence.benign_flagged_per_cancer(0, 0.5, 0.2))


@settings(deadline=None)
@given(SEEDS, RATES, RATES)
def test_prior_shift_to_same_prevalence_is_identity_and_back_is_inverse(seed, former, new):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(9), 5)
    same = decision.prior_shifted(probabilities, prevalence.prevalence_ratios(ISIC9, former, former))
    assert same == pytest.approx(probabilities)
    there = decision.prior_shifted(probabilities, prevalence.prevalence_ratios(ISIC9, former, new))
    back = decision.prior_shifted(there, prevalence.prevalence_ratios(ISIC9, new, former))
    assert there.sum(axis=1) == pytest.approx(np.ones(5))
    assert back == pytest.approx(probabilities)


def test_prior_shift_multiplies_odds():
    ratios = prevalence.prevalence_ratios(ISIC9, 0.5, 0.1)
    probabilities = np.full((1, 9), 1 / 9)
    malignant = decision.prior_shifted(probabilities, ratios)[0, ISIC9.positions(ISIC9.malignant)].sum()
    assert malignant / (1 - malignant) == pytest.approx(4 / 5 * (0.1 / 0.9) / (0.5 / 0.5))
    assert prevalence.class_shares(np.array([0, 0, 2]), 3).tolist() == pytest.approx([2 / 3, 0, 1 / 3])


def test_net_benefit_by_hand():
    positive = np.array([True, True, False, False, False, False])
    scores = np.array([0.9, 0.1, 0.2, 0.05, 0.05, 0.05])
    found = net_benefit.model_net_benefit(positive, scores, 0.1, np.array([0.1, 0.2, 0.5]))
    expected = [0.1 * 1 - 0.9 * 0.25 / 9, 0.1 * 0.5 - 0.9 * 0.25 / 4, 0.1 * 0.5]
    assert found == pytest.approx(expected)
    assert net_benefit.refer_all(0.1, np.array([0.1, 0.2])) == pytest.approx([0.0, 0.1 - 0.9 / 4])
    assert np.isnan(net_benefit.model_net_benefit(positive | True, scores, 0.1, np.array([0.1]))).all()
    assert (net_benefit.THRESHOLDS[0], net_benefit.THRESHOLDS[-1], len(net_benefit.THRESHOLDS)) == (0.03, 0.3, 28)


def test_net_benefit_of_referring_everything_equals_refer_all():
    positive, scores = scored(0)
    thresholds = np.array(net_benefit.THRESHOLDS)
    assert net_benefit.model_net_benefit(positive, scores + 1, 0.2, thresholds) == pytest.approx(net_benefit.refer_all(0.2, thresholds))


@settings(deadline=None)
@given(SEEDS, st.sampled_from(abstention.COVERAGES), st.sampled_from([3, 1000]))
def test_coverage_threshold_answers_share_and_no_more_than_needed(seed, coverage, levels):
    confidence = np.round(np.random.default_rng(seed).random(37) * levels) / levels
    threshold = abstention.coverage_threshold(confidence, coverage)
    assert (confidence >= threshold).mean() >= coverage - 1e-9
    assert (confidence > threshold).mean() < coverage


def test_risk_curve_by_hand():
    coverage, risk = abstention.risk_curve(np.array([0.9, 0.5, 0.8, 0.5]), np.array([True, False, False, True]))
    assert coverage.tolist() == [0.25, 0.5, 1.0]
    assert risk.tolist() == [0.0, 0.5, 0.5]


def test_shares_of_clinic_keep_mix_within_malignant_and_benign():
    former = dict(zip(ISIC9.outputs, np.full(9, 1 / 9), strict=True))
    found = prevalence.clinic_shares(ISIC9, former, 0.05)
    assert sum(found[name] for name in ISIC9.malignant) == pytest.approx(0.05)
    assert sum(found.values()) == pytest.approx(1)
    assert len({round(found[name], 9) for name in ISIC9.malignant}) == 1
    assert prevalence.clinic_shares(ISIC9, former, None) == {}
    assert prevalence.clinic_shares(ISIC9, former, former) == former


@pytest.mark.parametrize(
    ("labels", "clinic", "message"),
    [
        (RASH, 0.05, "does not tell malignant from benign"),
        (ISIC9, {"melanoma": 1.0}, "the share of each of"),
        (ISIC9, dict.fromkeys(ISIC9.outputs, 0.1), "add up to 0.9, not to 1"),
    ],
)
def test_shares_of_clinic_that_do_not_fit_are_refused(labels, clinic, message):
    with pytest.raises(ParamsError, match=message):
        prevalence.clinic_shares(labels, dict.fromkeys(labels.outputs, 1 / len(labels.outputs)), clinic)


def test_shares_of_clinic_need_every_class_on_validation():
    with pytest.raises(ParamsError, match=f"no validation image shows {ISIC9.outputs[0]}"):
        prevalence.clinic_shares(ISIC9, {**dict.fromkeys(ISIC9.outputs, 0.125), ISIC9.outputs[0]: 0.0}, 0.05)
