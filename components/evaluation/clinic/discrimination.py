"""How well a score ranks positive images above negative ones, and whether the true class is among the likeliest.

Throughout: `positive` is bool (n,), `scores` float (n,), and an image is called positive if its score reaches a threshold.
"""

import numpy as np
from numpy.typing import NDArray

from components.evaluation.metrics import Floats, Ints

Bools = NDArray[np.bool_]
MIN_SENSITIVITY = 0.8
"""Sensitivity above which ISIC 2024 measures the area under the ROC curve."""
ROUNDING = 1e-9
"""Tolerance when a rate is compared with a target, since rates are sums of floating-point numbers."""


def roc_points(positive: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """1 - specificity and sensitivity at each threshold, from the highest threshold (0, 0) to the lowest (1, 1).

    The points are those of scikit-learn's `roc_curve`, whose checks of its input take many times as long: too slow for a bootstrap.
    `positive` must hold both values.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_equal = np.append(np.diff(scores[order]) != 0, True)
    found, false = (np.append(0, np.cumsum(chosen[order])[last_of_equal]) for chosen in (positive, ~positive))
    return false / false[-1], found / found[-1]


def area(false_positives: Floats, true_positives: Floats) -> float:
    """Area under the ROC curve."""
    return float(np.trapezoid(true_positives, false_positives))


def partial_area(false_positives: Floats, true_positives: Floats, min_sensitivity: float = MIN_SENSITIVITY) -> float:
    """Area under the ROC curve above a sensitivity, as ISIC 2024 ranked by it: 0 to 1 - min_sensitivity, with 0.2 for a perfect score
    and 0.02 for a random one at the default.

    The official code (ISIC-Research/Challenge-2024-Metrics) flips labels and scores, so that the region becomes 1 - specificity of at
    most 1 - min_sensitivity, interpolates the curve there and integrates by trapezoids. It is not the partial area of scikit-learn's
    `roc_auc_score`, which is standardized (McClish 1989).
    """
    missed, cleared = 1 - true_positives[::-1], 1 - false_positives[::-1]
    limit = 1 - min_sensitivity
    inside = missed <= limit
    edge = np.interp(limit, missed, cleared)
    return float(np.trapezoid(np.append(cleared[inside], edge), np.append(missed[inside], limit)))


def specificity_at(sensitivity: float, false_positives: Floats, true_positives: Floats) -> float:
    """The highest specificity among the thresholds that reach a sensitivity."""
    return float(1 - false_positives[true_positives >= sensitivity - ROUNDING].min())


def sensitivity_at(specificity: float, false_positives: Floats, true_positives: Floats) -> float:
    """The highest sensitivity among the thresholds that reach a specificity."""
    return float(true_positives[false_positives <= 1 - specificity + ROUNDING].max())


def ranking(positive: Bools, scores: Floats) -> dict[str, float]:
    """The figures of a score, by their names in the report; nan unless there are positive and negative images."""
    if positive.all() or not positive.any():
        names = ("auc", "partial_auc", "specificity_at_90_sensitivity", "specificity_at_95_sensitivity", "sensitivity_at_90_specificity")
        return dict.fromkeys(names, float("nan"))
    curve = roc_points(positive, scores)
    return {
        "auc": area(*curve),
        "partial_auc": partial_area(*curve),
        "specificity_at_90_sensitivity": specificity_at(0.9, *curve),
        "specificity_at_95_sensitivity": specificity_at(0.95, *curve),
        "sensitivity_at_90_specificity": sensitivity_at(0.9, *curve),
    }


def among_likeliest(truth: Ints, probabilities: Floats, count: int) -> Bools:
    """Whether the true class of each image is among its `count` likeliest classes, (n,); of equal probabilities the first class counts
    as likelier."""
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    return np.asarray((likeliest == truth[:, None]).any(axis=1))
