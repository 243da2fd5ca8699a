"""The corrected resampled t."""

import numpy as np
import pytest
from scipy import stats

from components.search.statistics import corrected_mean, corrected_standard_error

VALUES = [0.60, 0.64, 0.58, 0.66, 0.62]


def test_without_shared_images_the_error_is_that_of_independent_values():
    assert corrected_standard_error(VALUES, 0.0) == pytest.approx(stats.sem(VALUES))


def test_held_out_share_widens_the_error_as_nadeau_and_bengio_have_it():
    assert corrected_standard_error(VALUES, 1 / 3) == pytest.approx(np.sqrt((1 / 5 + 1 / 3) * 0.001))


def test_interval_is_of_students_t_and_within_0_and_1():
    found = corrected_mean(VALUES, 0.0)

    assert (found.low, found.high) == pytest.approx(stats.ttest_1samp(VALUES, 0).confidence_interval(0.95))
    assert corrected_mean([0.9, 1.0, 1.0], 0.5).high == 1.0


def test_correction_covers_the_truth_where_trainings_share_images():
    """Values of ten folds whose noise is shared as much as the correction supposes: intervals without it cover the mean too seldom."""
    random, share, covered = np.random.default_rng(0), 1 / 9, {"corrected": 0, "independent": 0}
    correlation = share / (1 + share)
    for _ in range(400):
        shared = random.normal(0, np.sqrt(correlation))
        values = 0.5 + 0.02 * (shared + random.normal(0, np.sqrt(1 - correlation), 10))
        for name, held_out in (("corrected", share), ("independent", 0.0)):
            found = corrected_mean(values.tolist(), held_out)
            covered[name] += found.low <= 0.5 <= found.high
    assert covered["corrected"] >= 0.92 * 400
    assert covered["independent"] < 0.87 * 400
