import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from components.evaluation import bootstrap, calibration, metrics


def drawn(seed: int, images: int = 60, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, classes, images), random.dirichlet(np.ones(classes), images)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_figures_agree_with_scikit_learn(seed):
    truth, probabilities = drawn(seed)
    predicted = probabilities.argmax(axis=1)
    present = np.unique(truth)
    assert metrics.accuracy(truth, probabilities) == pytest.approx(accuracy_score(truth, predicted))
    assert metrics.balanced_accuracy(truth, probabilities) == pytest.approx(balanced_accuracy_score(truth, predicted))
    areas = [roc_auc_score(truth == number, probabilities[:, number]) for number in present]
    assert metrics.macro_auc(truth, probabilities) == pytest.approx(np.mean(areas))
    assert metrics.macro_f1(truth, probabilities) == pytest.approx(
        f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    )


def test_confusion_has_the_truth_in_rows():
    assert metrics.confusion_matrix(np.array([0, 0, 1]), np.array([1, 0, 1]), 2).tolist() == [[1, 1], [0, 1]]


def test_sensitivity_and_specificity_of_a_known_table():
    positive = np.array([True, True, True, False, False])
    called = np.array([True, True, False, True, False])
    assert metrics.sensitivity(positive, called) == pytest.approx(2 / 3)
    assert metrics.specificity(positive, called) == pytest.approx(1 / 2)
    assert np.isnan(metrics.sensitivity(~positive & positive, called))


def test_calibration_error_of_a_known_case():
    probabilities = np.array([[0.8, 0.2]] * 10)
    truth = np.array([0] * 6 + [1] * 4)  # 80 % sure, 60 % right
    assert metrics.expected_calibration_error(truth, probabilities, 15) == pytest.approx(0.2)


def test_temperature_recovers_what_the_logits_were_multiplied_by():
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 3))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([random.choice(3, p=row) for row in shares])

    def at(temperature):
        scaled = np.exp(3 * logits / temperature)
        return scaled / scaled.sum(axis=1, keepdims=True)

    assert calibration.fit_temperature(truth, at) == pytest.approx(3, rel=0.1)


def test_resamples_take_whole_lesions():
    groups = np.array(["a", "b", "a", "c", "b", "a"])
    for sample in bootstrap.cluster_bootstrap_indices(groups, 50, seed=1):
        counts = np.bincount(sample, minlength=6)
        assert counts[0] == counts[2] == counts[5]
        assert counts[1] == counts[4]
    first, again = (bootstrap.cluster_bootstrap_indices(groups, 5, seed=1) for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, again, strict=True))


def test_grouped_images_widen_the_interval():
    random = np.random.default_rng(3)
    per_lesion = random.random(50) < 0.7
    right = np.repeat(per_lesion, 6)
    by_image = bootstrap.bootstrap_estimate(lambda at: right[at].mean(), bootstrap.cluster_bootstrap_indices(np.arange(300), 500, 0), 300)
    by_lesion = bootstrap.bootstrap_estimate(
        lambda at: right[at].mean(), bootstrap.cluster_bootstrap_indices(np.repeat(np.arange(50), 6), 500, 0), 300
    )
    assert by_lesion.high - by_lesion.low > 1.7 * (by_image.high - by_image.low)


def test_the_interval_holds_its_own_value_even_for_the_calibration_error():
    truth, _ = drawn(5, 300, 3)
    probabilities = np.eye(3)[truth] * 0.9 + 0.1 / 3
    found = bootstrap.bootstrap_estimate(
        lambda at: metrics.expected_calibration_error(truth[at], probabilities[at], 15),
        bootstrap.cluster_bootstrap_indices(np.arange(300), 200, 0),
        300,
    )
    assert found.low <= found.value <= found.high


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=40), st.floats(0, 1))
def test_a_lift_finds_the_share_that_was_asked_for_and_is_no_larger_than_it_must_be(behind, sensitivity):
    behind = np.array(behind)
    lift = calibration.required_logit_bias(behind, sensitivity)
    assert (behind < lift).mean() >= sensitivity - 1e-9 or sensitivity == 0
    assert lift >= 0
    if lift > 2 * calibration.LOGIT_MARGIN:
        assert (behind < lift - 2 * calibration.LOGIT_MARGIN).mean() < sensitivity


def share_of(right: np.ndarray, groups: np.ndarray) -> bootstrap.Estimate:
    """The share of `right`, with its interval, as the reports have it."""
    resampled = bootstrap.bootstrap_estimate(lambda at: right[at].mean(), bootstrap.cluster_bootstrap_indices(groups, 200, 0), len(right))
    return bootstrap.proportion_estimate(right, groups, resampled)


def test_seventeen_of_seventeen_leaves_room_for_those_that_would_be_missed():
    found = share_of(np.ones(17, dtype=bool), np.arange(17))
    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 17))  # Clopper and Pearson's bound where all are right


def test_an_exact_interval_counts_groups_and_not_their_images():
    right = np.ones(60, dtype=bool)
    assert share_of(right, np.arange(60) // 6).low == pytest.approx(0.025 ** (1 / 10))
    assert share_of(right, np.arange(60)).low == pytest.approx(0.025 ** (1 / 60))


def test_half_a_group_counts_against_the_lower_bound_and_for_the_upper():
    right, groups = np.array([True] * 8 + [True, False]), np.array([*range(8), 8, 8])
    found = share_of(right, groups)
    assert found.low <= binomtest(8, 9).proportion_ci(0.95, "exact").low
    assert found.high == 1


def test_many_groups_keep_the_interval_of_the_bootstrap():
    right = np.random.default_rng(0).random(200) < 0.8
    resampled = bootstrap.bootstrap_estimate(lambda at: right[at].mean(), bootstrap.cluster_bootstrap_indices(np.arange(200), 200, 0), 200)
    assert bootstrap.proportion_estimate(right, np.arange(200), resampled) == resampled


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 15), st.booleans()), min_size=1, max_size=60))
def test_an_exact_interval_is_never_narrower_than_the_bootstraps(images):
    groups, right = (np.array(column) for column in zip(*images, strict=True))
    resampled = bootstrap.bootstrap_estimate(lambda at: right[at].mean(), bootstrap.cluster_bootstrap_indices(groups, 50, 0), len(right))
    found = bootstrap.proportion_estimate(right, groups, resampled)
    assert 0 <= found.low <= max(0.0, resampled.low)
    assert 1 >= found.high >= min(1.0, resampled.high)
    assert found.low <= found.value <= found.high
