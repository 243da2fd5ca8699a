"""Fits the temperature and the lift of the critical class on validation."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from components.core.label_set import LabelSet
from components.evaluation.metrics import Floats, Ints
from components.evaluation.predictions import Predictions

LOGIT_MARGIN = 1e-4
"""Margin of a raised logit over the others, so that rounding of the probabilities does not reverse their order."""


def negative_log_likelihood(truth: Ints, probabilities: Floats) -> float:
    """Mean of -log of the true class's probability."""
    return float(-np.log(np.clip(probabilities[np.arange(len(truth)), truth], 1e-12, None)).mean())


def fit_temperature(truth: Ints, at_temperature: Callable[[float], Floats]) -> float:
    """Fit the temperature between 0.05 and 20 that minimizes the negative log-likelihood (Guo et al. 2017).

    Args:
        truth: int (n,), classes of images that the model was not trained on.
        at_temperature: function from a temperature to probabilities, float (n, classes).
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(truth, at_temperature(float(np.exp(log_temperature))))

    bounds = (float(np.log(0.05)), float(np.log(20)))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def required_logit_bias(behind: Floats, sensitivity: float) -> float:
    """Smallest non-negative amount to add to a logit so that this share of positive images is predicted positive.

    Args:
        behind: float (n,), largest other logit minus the positive logit, for each positive image.
        sensitivity: share of the images, 0 to 1.
    """
    wanted = int(np.ceil(round(sensitivity * len(behind), 9)))
    return max(0.0, float(np.sort(behind)[wanted - 1]) + LOGIT_MARGIN) if wanted else 0.0


def critical_lift(scored: Predictions, logits: NDArray[np.float32], sensitivity: float) -> float:
    """Amount to add to the critical class's logit so that at least this share of its images is named as it; 0 without a critical class.

    A missed image of this class costs more than a false alarm, so its logit is raised by the smallest sufficient amount, and never lowered.

    Args:
        scored: validation images.
        logits: float (n, logits) of the same images.
        sensitivity: target from 0 to 1; 0 leaves the logit unchanged.
    """
    labels = scored.labels
    if labels.critical is None:
        return 0.0
    number = labels.outputs.index(labels.critical)
    by_output = logits if labels.logits > 1 else np.concatenate([np.zeros_like(logits), logits], axis=1)
    behind = np.delete(by_output, number, axis=1).max(axis=1) - by_output[:, number]
    return required_logit_bias(behind[scored.critical], sensitivity)


def decision_offsets(labels: LabelSet, lift: float, temperature: float) -> NDArray[np.float64]:
    """The lift of the critical class's logit as offsets of the logarithms of calibrated probabilities, shape (outputs,)."""
    return np.array([lift / temperature if name == labels.critical else 0.0 for name in labels.outputs])
