"""Decision curve: what a model is worth at the risk from which a clinic refers (Vickers et al. 2019, doi:10.1186/s41512-019-0064-7)."""

import numpy as np
from numpy.typing import NDArray

from components.evaluation.metrics import Floats

THRESHOLDS: tuple[float, ...] = tuple(round(0.01 * percent, 2) for percent in range(3, 31))
"""Probabilities of malignancy from which a clinic may refer."""


def net_benefit(sensitivity: Floats, specificity: Floats, prevalence: float, thresholds: Floats) -> Floats:
    """True positives per image, less false positives weighted by the odds of the threshold.

    NB(t) = prevalence * sensitivity(t) - (1 - prevalence) * (1 - specificity(t)) * t / (1 - t). The dataset is enriched with malignant
    lesions, so the prevalence is stated, and not counted in it (Rousson and Zumbrunn 2011, doi:10.1186/1472-6947-11-45).
    """
    return np.asarray(prevalence * sensitivity - (1 - prevalence) * (1 - specificity) * thresholds / (1 - thresholds))


def refer_all(prevalence: float, thresholds: Floats) -> Floats:
    """Net benefit of referring every lesion. That of referring none is 0."""
    return net_benefit(np.ones_like(thresholds), np.zeros_like(thresholds), prevalence, thresholds)


def model_net_benefit(positive: NDArray[np.bool_], scores: Floats, prevalence: float, thresholds: Floats) -> Floats:
    """Net benefit of referring the lesions whose score reaches the threshold; nan unless there are positive and negative images.

    Args:
        positive: bool (n,).
        scores: float (n,), probabilities at this prevalence (`decision.prior_shifted`).
        prevalence: share of malignant lesions.
        thresholds: float (m,).

    Returns:
        float (m,).
    """
    if positive.all() or not positive.any():
        return np.full(len(thresholds), np.nan)
    found, flagged = (_share_from(scores[chosen], thresholds) for chosen in (positive, ~positive))
    return net_benefit(found, 1 - flagged, prevalence, thresholds)


def _share_from(scores: Floats, thresholds: Floats) -> Floats:
    """Share of the scores that reach each threshold."""
    return np.asarray(1 - np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores))
