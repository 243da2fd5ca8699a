"""What probabilities and predictive values are at another prevalence than that of the dataset.

Throughout: a prevalence is the share of malignant images, above 0 and below 1. The formulas assume that images of a class look alike in
both places (prior shift, Godau et al. 2023, arXiv:2303.12540).
"""

from collections.abc import Mapping

import numpy as np

from components.core.errors import ParamsError
from components.core.label_set import LabelSet
from components.evaluation.metrics import Floats, Ints

KEY = "params.yaml: serve.prevalence"
TOLERANCE = 1e-3
"""How far the shares of all classes may add up to more or less than 1, since people round them."""


def class_shares(truth: Ints, classes: int) -> Floats:
    """Share of each class, (classes,)."""
    return np.asarray(np.bincount(truth, minlength=classes) / len(truth))


def prevalence_ratios(labels: LabelSet, former: float, new: float) -> Floats:
    """Ratios of class shares, (outputs,), when the prevalence changes and the mix within malignant and within benign classes does not."""
    malignant = np.isin(labels.outputs, labels.malignant)
    return np.where(malignant, new / former, (1 - new) / (1 - former))


def clinic_shares(labels: LabelSet, former: Mapping[str, float], clinic: float | Mapping[str, float] | None) -> dict[str, float]:
    """Share of each output in the clinic; empty if nothing is known of it.

    Args:
        labels: the label set.
        former: share of each output behind the probabilities.
        clinic: `serve.prevalence`: the share of malignant images, where the mix within malignant and within benign outputs does not change,
            or the share of each output.

    Raises:
        ParamsError: the label set does not tell malignant from benign, or the shares are not those of its outputs, or do not add up to 1.
    """
    if clinic is None:
        return {}
    if absent := [name for name in labels.outputs if not former[name]]:
        raise ParamsError(f"{KEY}: cannot be used, since no validation image shows {', '.join(absent)}")
    if isinstance(clinic, float):
        if not labels.separates_malignant:
            raise ParamsError(f"{KEY}: label set {labels.name} does not tell malignant from benign. Give the share of each class.")
        ratios = prevalence_ratios(labels, sum(former[name] for name in labels.malignant), clinic)
        return {name: former[name] * float(ratio) for name, ratio in zip(labels.outputs, ratios, strict=True)}
    if set(clinic) != set(labels.outputs):
        raise ParamsError(f"{KEY}: must have the share of each of {', '.join(labels.outputs)}, and of nothing else")
    if abs(sum(clinic.values()) - 1) > TOLERANCE:
        raise ParamsError(f"{KEY}: the shares add up to {sum(clinic.values()):g}, not to 1")
    return {name: clinic[name] for name in labels.outputs}


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
