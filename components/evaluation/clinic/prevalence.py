"""What probabilities and predictive values are at another prevalence than that of the dataset.

Throughout: a prevalence is the share of malignant images, above 0 and below 1. The formulas assume that images of a class look alike in
both places (prior shift, Godau et al. 2023, arXiv:2303.12540).
"""

import numpy as np

from components.core.label_set import LabelSet
from components.evaluation.metrics import Floats, Ints


def class_shares(truth: Ints, classes: int) -> Floats:
    """Share of each class, (classes,)."""
    return np.asarray(np.bincount(truth, minlength=classes) / len(truth))


def prevalence_ratios(labels: LabelSet, former: float, new: float) -> Floats:
    """Ratios of class shares, (outputs,), when the prevalence changes and the mix within malignant and within benign classes does not."""
    malignant = np.isin(labels.outputs, labels.malignant)
    return np.where(malignant, new / former, (1 - new) / (1 - former))


def positive_predictive_value(sensitivity: float, specificity: float, prevalence: float) -> float:
    """Share of the flagged images that are malignant, by Bayes' theorem; nan if none is flagged."""
    return _ratio(prevalence * sensitivity, prevalence * sensitivity + (1 - prevalence) * (1 - specificity))


def negative_predictive_value(sensitivity: float, specificity: float, prevalence: float) -> float:
    """Share of the images not flagged that are benign, by Bayes' theorem; nan if all are flagged."""
    return _ratio((1 - prevalence) * specificity, (1 - prevalence) * specificity + prevalence * (1 - sensitivity))


def flagged_per_1000(sensitivity: float, specificity: float, prevalence: float) -> float:
    """Images flagged among 1,000."""
    return 1000 * (prevalence * sensitivity + (1 - prevalence) * (1 - specificity))


def benign_flagged_per_cancer(sensitivity: float, specificity: float, prevalence: float) -> float:
    """Benign images flagged for each malignant image found; nan if none is found."""
    return _ratio((1 - prevalence) * (1 - specificity), prevalence * sensitivity)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
