"""Fits the temperature and the lift of the critical class on validation."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from components.core import decision
from components.core.label_set import LabelSet
from components.evaluation.metrics import Floats, Ints
from components.evaluation.predictions import Predictions

LOGIT_MARGIN = 1e-4
"""Margin of a raised logit over the others, so that rounding of the probabilities does not reverse their order."""


SMALLEST_PROBABILITY = 1e-12
"""Probability of a true class that is counted in place of a smaller one, whose logarithm would outweigh all others."""


def negative_log_likelihood(truth: Ints, probabilities: Floats) -> float:
    """Mean of -log of the true class's probability."""
    return float(-np.log(np.clip(probabilities[np.arange(len(truth)), truth], SMALLEST_PROBABILITY, None)).mean())


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


def critical_lift(calibrated: Predictions, temperature: float, sensitivity: float) -> float:
    """Amount to add to the critical class's logit so that at least this share of its images is named as it; 0 without a critical class.

    A missed image of this class costs more than a false alarm, so its logit is raised by the smallest sufficient amount, and never lowered.
    It is chosen on the logarithms of the probabilities, which may be means over several views, in units of the logit: the amount that is
    added to the logarithm (`decision_offsets`), times the temperature.

    Args:
        calibrated: validation images with calibrated probabilities.
        temperature: of these probabilities.
        sensitivity: target from 0 to 1; 0 leaves the logit unchanged.
    """
    labels = calibrated.labels
    if labels.critical is None:
        return 0.0
    number = labels.outputs.index(labels.critical)
    logarithms = np.log(np.maximum(calibrated.probabilities, decision.SMALLEST))
    behind = np.delete(logarithms, number, axis=1).max(axis=1) - logarithms[:, number]
    return temperature * required_logit_bias(behind[calibrated.critical], sensitivity)


def decision_offsets(labels: LabelSet, lift: float, temperature: float) -> NDArray[np.float64]:
    """The lift of the critical class's logit as offsets of the logarithms of calibrated probabilities, shape (outputs,)."""
    return np.array([lift / temperature if name == labels.critical else 0.0 for name in labels.outputs])
