"""Thresholds on the malignant probability that are chosen on validation.

A group (lesion or patient) counts once: of several images of one group, each counts as a fraction. An image is flagged if its malignant
probability, the sum over the malignant outputs, is at least the threshold.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from components.evaluation.metrics import Floats
from components.evaluation.predictions import CALLED_MALIGNANT_FROM, Predictions

TRIAGE, BALANCED, RULE_IN = "triage", "balanced", "rule_in"
ROUNDING = 1e-9
"""Tolerance when a share of groups is compared with a target, since shares are sums of floating-point numbers."""


def group_weights(groups: NDArray[np.generic]) -> Floats:
    """Weight of each image, (n,), so that every group has the same weight and all weights add up to one."""
    _, number = np.unique(groups, return_inverse=True)
    sizes = np.bincount(number)
    return np.asarray(1 / (sizes[number] * len(sizes)))


def group_share(right: NDArray[np.bool_], groups: NDArray[np.generic]) -> float:
    """Share of the groups that are right: the mean over groups of the share of their images; nan without images."""
    return float(group_weights(groups)[right].sum()) if len(right) else float("nan")


def highest_threshold(scores: Floats, groups: NDArray[np.generic], share: float) -> float:
    """The highest threshold that at least this share of the groups reaches.

    Args:
        scores: float (n,), one or more.
        groups: the group of each image, (n,).
        share: above 0, at most 1.
    """
    order = np.argsort(-scores, kind="stable")
    reached = np.cumsum(group_weights(groups)[order])
    enough = int(np.searchsorted(reached, share - ROUNDING))
    return float(scores[order][min(enough, len(scores) - 1)])


def lowest_threshold(scores: Floats, groups: NDArray[np.generic], share: float) -> float:
    """The lowest threshold that at least this share of the groups stays below: the next floating-point number after a score.

    Arguments as `highest_threshold`.
    """
    return float(np.nextafter(-highest_threshold(-scores, groups, share), np.inf))


def triage_threshold(validation: Predictions, targets: Mapping[str, float]) -> float | None:
    """The highest threshold at which the stated share of each malignant class's groups is flagged; None if no class has images.

    The thresholds of single classes are not used one by one: an image that any of them flags would cost far more specificity.

    Args:
        validation: calibrated predictions on validation.
        targets: share of each malignant class; a class without images sets no limit.
    """
    scores, groups = validation.malignant_probability, validation.images["group"].to_numpy()
    diagnoses = validation.images["diagnosis"].to_numpy(dtype=str)
    members = {name: diagnoses == name for name in targets}
    found = [highest_threshold(scores[inside], groups[inside], targets[name]) for name, inside in members.items() if inside.any()]
    return min(found, default=None)


def rule_in_threshold(validation: Predictions, specificity: float) -> float | None:
    """The lowest threshold that this share of the benign groups stays below; None without benign images."""
    benign = ~validation.malignant
    if not benign.any():
        return None
    return lowest_threshold(validation.malignant_probability[benign], validation.images["group"].to_numpy()[benign], specificity)


def thresholds(validation: Predictions, targets: Mapping[str, float], specificity: float) -> dict[str, float]:
    """The threshold of each operating point that can be chosen on these images, by name."""
    chosen = {
        TRIAGE: triage_threshold(validation, targets),
        BALANCED: CALLED_MALIGNANT_FROM,
        RULE_IN: rule_in_threshold(validation, specificity),
    }
    return {name: threshold for name, threshold in chosen.items() if threshold is not None}
