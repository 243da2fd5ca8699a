import numpy as np
import pandas as pd
import pytest

from components.core.reports.evaluation import Estimate
from components.evaluation import calibration, view_counts
from components.evaluation.predictions import Predictions
from components.modeling.classifier import probabilities
from tests.support.labels import BENIGN_MALIGNANT, ISIC9


def noisy_views(labels=ISIC9, images=300, noise=2.0):
    """Images whose logits are right up to noise of their own at each view, and overconfident."""
    random = np.random.default_rng(0)
    truth = random.integers(len(labels.outputs), size=images)
    clean = 2.0 * np.eye(len(labels.outputs))[truth] if labels.logits > 1 else (2.0 * truth - 1)[:, None]
    logits = (2.5 * (clean + random.normal(size=(8, *clean.shape)) * noise)).astype(np.float32)
    frame = pd.DataFrame({"path": "", "pixels_sha256": "", "diagnosis": np.array(labels.outputs)[truth], "group": np.arange(images) // 2})
    return Predictions(frame, probabilities(logits[0]), labels), logits


@pytest.mark.parametrize("labels", [ISIC9, BENIGN_MALIGNANT], ids=lambda labels: labels.name)
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_temperature_calibrates_the_mean_over_views(labels, count):
    images, logits = noisy_views(labels)
    fit = view_counts.fit_views(images, logits, count, 0.0)
    found = fit.scored.probabilities
    assert found == pytest.approx(np.mean([probabilities(view, fit.temperature) for view in logits[:count]], axis=0))
    loss = calibration.negative_log_likelihood(images.truth, found)
    for factor in (0.95, 1.05):
        other = view_counts.mean_probabilities(logits, fit.temperature * factor, count)
        assert calibration.negative_log_likelihood(images.truth, other) >= loss


def test_fit_names_critical_class_as_often_as_asked():
    images, logits = noisy_views()
    fit = view_counts.fit_views(images, logits, 4, 0.9)
    assert fit.scored.called_critical[images.critical].mean() >= 0.9
    assert np.array_equal(fit.predictions(images, logits).predicted, fit.scored.predicted)


def test_loss_above_eight_views_is_larger_for_fewer_views_and_zero_for_eight():
    images, logits = noisy_views()
    fits = {count: view_counts.fit_views(images, logits, count, 0.0) for count in (1, 2, 8)}
    losses = {count: view_counts.loss_above_most_views(fit, fits[8], 100, seed=0) for count, fit in fits.items()}
    assert losses[1].value > losses[2].value > losses[8].value == 0
    assert losses[1].value == pytest.approx(
        calibration.negative_log_likelihood(images.truth, fits[1].scored.probabilities)
        - calibration.negative_log_likelihood(images.truth, fits[8].scored.probabilities)
    )


LIKE_EIGHT, WORSE = Estimate(0.01, -0.01, 0.03), Estimate(0.02, 0.001, 0.04)
NONE = dict.fromkeys((1, 2, 4, 8), 0.0)


@pytest.mark.parametrize(
    ("losses", "changed", "expected"),
    [
        ({1: LIKE_EIGHT, 2: LIKE_EIGHT, 4: LIKE_EIGHT}, NONE, 1),
        ({1: WORSE, 2: LIKE_EIGHT, 4: LIKE_EIGHT}, NONE, 2),
        ({1: WORSE, 2: WORSE, 4: WORSE}, NONE, 8),
        ({1: LIKE_EIGHT, 2: LIKE_EIGHT, 4: LIKE_EIGHT}, {**NONE, 1: 0.4, 2: 0.2}, 4),
        ({1: LIKE_EIGHT, 2: LIKE_EIGHT, 4: LIKE_EIGHT}, {1: 0.4, 2: 0.3, 4: 0.2, 8: 0.0}, 8),
    ],
)
def test_smallest_number_of_views_that_is_good_enough_is_chosen(losses, changed, expected):
    assert view_counts.choose_count({**losses, 8: Estimate(0.0, 0.0, 0.0)}, changed) == expected
