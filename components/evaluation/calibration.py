"""Temperature and operating point, both fitted on validation."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from components.core.classes import CLASSES
from components.evaluation.metrics import Floats, Ints
from components.evaluation.predictions import Scored

LEAD = 1e-4
"""By how much a raised logit leads, so that rounding in an exported model does not undo it."""


def negative_log_likelihood(truth: Ints, probabilities: Floats) -> float:
    """Mean of -log of the true class's probability."""
    return float(-np.log(np.clip(probabilities[np.arange(len(truth)), truth], 1e-12, None)).mean())


def fit_temperature(truth: Ints, at_temperature: Callable[[float], Floats]) -> float:
    """The temperature between 0.05 and 20 that minimises the negative log-likelihood (Guo et al. 2017).

    Args:
        truth: int (n,), of images the model was not trained on.
        at_temperature: the probabilities at a temperature, float (n, classes).
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(truth, at_temperature(float(np.exp(log_temperature))))

    bounds = (float(np.log(0.05)), float(np.log(20)))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def lift_for(behind: Floats, sensitivity: float) -> float:
    """The least that a logit must be raised by, 0 at least, for this share of positive images to be called positive.

    Args:
        behind: float (n,), how far each positive image's logit is behind the largest of the others; negative where it leads.
        sensitivity: share of the images, 0 to 1.
    """
    wanted = int(np.ceil(round(sensitivity * len(behind), 9)))
    return max(0.0, float(np.sort(behind)[wanted - 1]) + LEAD) if wanted else 0.0


def operating_point(scored: Scored, logits: NDArray[np.float32], sensitivity: float) -> NDArray[np.float32]:
    """What to add to each logit so that at least this share of the scored melanomas is called melanoma (binary: malignant).

    A missed melanoma costs more than a false alarm, so its odds are raised, as far as this takes and no further: never lowered.

    Args:
        scored: images of validation.
        logits: float (n, outputs) of the same images.
        sensitivity: 0 to 1; 0 leaves the logits as they are.
    """
    lift = np.zeros(logits.shape[1], dtype=np.float32)
    rivals = logits.copy()
    if scored.task == "multiclass":
        number = CLASSES.index("melanoma")
        rivals[:, number] = -np.inf
        behind = rivals.max(axis=1) - logits[:, number]
    else:
        number, behind = 0, -logits[:, 0]
    lift[number] = lift_for(behind[scored.melanoma], sensitivity)
    return lift
