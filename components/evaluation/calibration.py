"""Fits the temperature and the operating point on validation."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from components.evaluation.metrics import Floats, Ints
from components.evaluation.predictions import Predictions

LOGIT_MARGIN = 1e-4
"""Margin of a raised logit over the others, so that rounding in an exported model does not reverse their order."""


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


def operating_point(scored: Predictions, logits: NDArray[np.float32], sensitivity: float) -> NDArray[np.float32]:
    """Amount to add to each logit so that at least this share of the critical class's images is predicted as it; zeros without a
    critical class.

    A missed image of this class costs more than a false alarm, so its logit is raised by the smallest sufficient amount, and never lowered.

    Args:
        scored: validation images.
        logits: float (n, outputs) of the same images.
        sensitivity: target from 0 to 1; 0 leaves the logits unchanged.
    """
    lift, labels = np.zeros(logits.shape[1], dtype=np.float32), scored.labels
    if labels.critical is None:
        return lift
    number = labels.outputs.index(labels.critical)
    if labels.logits == 1:
        sign = 1 if number == 1 else -1  # the logit is that of the second output
        lift[0] = sign * required_logit_bias(-sign * logits[scored.critical, 0], sensitivity)
        return lift
    rivals = logits.copy()
    rivals[:, number] = -np.inf
    behind = rivals.max(axis=1) - logits[:, number]
    lift[number] = required_logit_bias(behind[scored.critical], sensitivity)
    return lift
