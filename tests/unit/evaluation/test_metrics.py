import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from components.evaluation import bootstrap, calibration, metrics


def random_predictions(seed: int, images: int = 60, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, classes, images), random.dirichlet(np.ones(classes), images)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_metrics_agree_with_scikit_learn(seed):
    truth, probabilities = random_predictions(seed)
    predicted = probabilities.argmax(axis=1)
    present = np.unique(truth)
    assert metrics.accuracy(truth, predicted) == pytest.approx(accuracy_score(truth, predicted))
    assert metrics.balanced_accuracy(truth, predicted) == pytest.approx(balanced_accuracy_score(truth, predicted))
    areas = [roc_auc_score(truth == number, probabilities[:, number]) for number in present]
    assert metrics.macro_auc(truth, probabilities) == pytest.approx(np.mean(areas))
    assert metrics.macro_f1(truth, predicted) == pytest.approx(f1_score(truth, predicted, labels=present, average="macro", zero_division=0))


def test_confusion_matrix_has_truth_in_rows():
    assert metrics.confusion_matrix(np.array([0, 0, 1]), np.array([1, 0, 1]), 2).tolist() == [[1, 1], [0, 1]]


def test_sensitivity_and_specificity_of_known_table():
    positive = np.array([True, True, True, False, False])
    called = np.array([True, True, False, True, False])
    assert metrics.sensitivity(positive, called) == pytest.approx(2 / 3)
    assert metrics.specificity(positive, called) == pytest.approx(1 / 2)
    assert np.isnan(metrics.sensitivity(~positive & positive, called))


def test_expected_calibration_error_of_known_case():
    probabilities = np.array([[0.8, 0.2]] * 10)
    truth = np.array([0] * 6 + [1] * 4)  # 80 % confidence, 60 % accuracy
    assert metrics.expected_calibration_error(truth, probabilities, 15) == pytest.approx(0.2)


def test_fit_temperature_recovers_scale_of_logits():
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([random.choice(3, p=row) for row in probabilities])

    def probabilities_at(temperature):
        scaled = np.exp(3 * logits / temperature)
        return scaled / scaled.sum(axis=1, keepdims=True)

    assert calibration.fit_temperature(truth, probabilities_at) == pytest.approx(3, rel=0.1)


def test_cluster_bootstrap_keeps_groups_together():
    groups = np.array(["a", "b", "a", "c", "b", "a"])
    for sample in bootstrap.cluster_bootstrap_indices(groups, 50, seed=1):
        counts = np.bincount(sample, minlength=6)
        assert counts[0] == counts[2] == counts[5]
        assert counts[1] == counts[4]
    first, repeated = (bootstrap.cluster_bootstrap_indices(groups, 5, seed=1) for _ in range(2))
    assert all((sample == repeated_sample).all() for sample, repeated_sample in zip(first, repeated, strict=True))


def test_bootstrap_interval_is_wider_for_grouped_images():
    random = np.random.default_rng(3)
    per_lesion = random.random(50) < 0.7
    correct = np.repeat(per_lesion, 6)
    by_image = bootstrap.bootstrap_estimate(
        lambda indices: correct[indices].mean(), bootstrap.cluster_bootstrap_indices(np.arange(300), 500, 0), 300
    )
    by_lesion = bootstrap.bootstrap_estimate(
        lambda indices: correct[indices].mean(), bootstrap.cluster_bootstrap_indices(np.repeat(np.arange(50), 6), 500, 0), 300
    )
    assert by_lesion.high - by_lesion.low > 1.7 * (by_image.high - by_image.low)


def test_bootstrap_interval_contains_calibration_error():
    truth, _ = random_predictions(5, 300, 3)
    probabilities = np.eye(3)[truth] * 0.9 + 0.1 / 3
    estimate = bootstrap.bootstrap_estimate(
        lambda indices: metrics.expected_calibration_error(truth[indices], probabilities[indices], 15),
        bootstrap.cluster_bootstrap_indices(np.arange(300), 200, 0),
        300,
    )
    assert estimate.low <= estimate.value <= estimate.high


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=40), st.floats(0, 1))
def test_required_logit_bias_is_smallest_that_reaches_sensitivity(margins, sensitivity):
    margins = np.array(margins)
    bias = calibration.required_logit_bias(margins, sensitivity)
    assert (margins < bias).mean() >= sensitivity - 1e-9 or sensitivity == 0
    assert bias >= 0
    if bias > 2 * calibration.LOGIT_MARGIN:
        assert (margins < bias - 2 * calibration.LOGIT_MARGIN).mean() < sensitivity


def proportion_of(correct: np.ndarray, groups: np.ndarray) -> bootstrap.Estimate:
    """The proportion of `correct` with its interval, computed as for the reports."""
    resampled = bootstrap.bootstrap_estimate(
        lambda indices: correct[indices].mean(), bootstrap.cluster_bootstrap_indices(groups, 200, 0), len(correct)
    )
    return bootstrap.proportion_estimate(correct, groups, resampled)


def test_proportion_estimate_uses_exact_bound_for_perfect_score():
    estimate = proportion_of(np.ones(17, dtype=bool), np.arange(17))
    assert estimate.value == estimate.high == 1
    assert estimate.low == pytest.approx(0.025 ** (1 / 17))  # Clopper-Pearson bound when all are correct


def test_proportion_estimate_counts_groups_not_images():
    correct = np.ones(60, dtype=bool)
    assert proportion_of(correct, np.arange(60) // 6).low == pytest.approx(0.025 ** (1 / 10))
    assert proportion_of(correct, np.arange(60)).low == pytest.approx(0.025 ** (1 / 60))


def test_proportion_estimate_is_conservative_for_partly_correct_group():
    correct, groups = np.array([True] * 8 + [True, False]), np.array([*range(8), 8, 8])
    estimate = proportion_of(correct, groups)
    assert estimate.low <= binomtest(8, 9).proportion_ci(0.95, "exact").low
    assert estimate.high == 1


def test_proportion_estimate_keeps_bootstrap_interval_for_many_groups():
    correct = np.random.default_rng(0).random(200) < 0.8
    resampled = bootstrap.bootstrap_estimate(
        lambda indices: correct[indices].mean(), bootstrap.cluster_bootstrap_indices(np.arange(200), 200, 0), 200
    )
    assert bootstrap.proportion_estimate(correct, np.arange(200), resampled) == resampled


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 15), st.booleans()), min_size=1, max_size=60))
def test_proportion_estimate_is_never_narrower_than_bootstrap(images):
    groups, correct = (np.array(column) for column in zip(*images, strict=True))
    resampled = bootstrap.bootstrap_estimate(
        lambda indices: correct[indices].mean(), bootstrap.cluster_bootstrap_indices(groups, 50, 0), len(correct)
    )
    estimate = bootstrap.proportion_estimate(correct, groups, resampled)
    assert 0 <= estimate.low <= max(0.0, resampled.low)
    assert 1 >= estimate.high >= min(1.0, resampled.high)
    assert estimate.low <= estimate.value <= estimate.high
