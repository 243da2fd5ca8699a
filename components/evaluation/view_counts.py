"""Over how many symmetries of the square probabilities are averaged: fitted for each number of views on validation, and chosen there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.core import decision
from components.core.reports.evaluation import Estimate
from components.evaluation import bootstrap, calibration
from components.evaluation.predictions import Predictions
from components.imaging.symmetries import VIEW_COUNTS
from components.modeling.classifier import probabilities

MOST_VIEWS = max(VIEW_COUNTS)
MAX_CHANGED = 0.05
"""Share of images whose diagnosis may depend on how the image is mirrored or turned, for a number of views to be chosen."""

Logits = NDArray[np.float32]
"""Logits at every view, shape (MOST_VIEWS, n, logits)."""


@dataclass(frozen=True)
class ViewFit:
    """What is fitted for a number of views.

    Attributes:
        count: the number of views.
        temperature: divisor of the logits.
        critical_lift: as `calibration.critical_lift` gives it.
        scored: the images of the fitting half, with calibrated probabilities and the diagnoses that are named.
    """

    count: int
    temperature: float
    critical_lift: float
    scored: Predictions

    @property
    def offsets(self) -> NDArray[np.float64]:
        """What is added to the logarithms of the probabilities where a diagnosis is named, (outputs,)."""
        return calibration.decision_offsets(self.scored.labels, self.critical_lift, self.temperature)

    def predictions(self, images: Predictions, logits: Logits) -> Predictions:
        """The same images with the probabilities and diagnoses of this number of views."""
        found = self.probabilities(logits)
        return replace(images, probabilities=found, named=decision.named_outputs(found, self.offsets))

    def probabilities(self, logits: Logits) -> NDArray[np.float64]:
        """The mean over the views, shape (n, outputs)."""
        return mean_probabilities(logits, self.temperature, self.count)


def mean_probabilities(logits: Logits, temperature: float, count: int) -> NDArray[np.float64]:
    """The mean of the probabilities over the first `count` views, shape (n, outputs)."""
    return np.mean([probabilities(view, temperature) for view in logits[:count]], axis=0)


def fit_views(images: Predictions, logits: Logits, count: int, sensitivity: float) -> ViewFit:
    """Fit temperature and lift so that the mean over the views is calibrated, and reaches the sensitivity.

    Args:
        images: the fitting half of validation.
        logits: of these images.
        count: number of views.
        sensitivity: of the critical class, as in `calibration.critical_lift`.
    """
    temperature = calibration.fit_temperature(images.truth, lambda at: mean_probabilities(logits, at, count))
    calibrated = replace(images, probabilities=mean_probabilities(logits, temperature, count))
    lift = calibration.critical_lift(calibrated, temperature, sensitivity)
    fit = ViewFit(count, temperature, lift, calibrated)
    return replace(fit, scored=fit.predictions(images, logits))


def log_likelihoods(scored: Predictions) -> NDArray[np.float64]:
    """The logarithm of the probability of each image's true class, (n,)."""
    of_truth = scored.probabilities[np.arange(len(scored.truth)), scored.truth]
    return np.log(np.clip(of_truth.astype(np.float64), calibration.SMALLEST_PROBABILITY, None))


def loss_above_most_views(fit: ViewFit, most: ViewFit, resamples: int, seed: int) -> Estimate:
    """Negative log-likelihood above that of MOST_VIEWS views on the same images, with its interval over groups."""
    loss = log_likelihoods(most.scored) - log_likelihoods(fit.scored)
    groups = fit.scored.images["group"].to_numpy()
    samples = bootstrap.cluster_bootstrap_indices(groups, resamples, seed)
    return bootstrap.bootstrap_estimate(lambda at: float(loss[at].mean()), samples, len(loss))


def choose_count(losses: Mapping[int, Estimate], changed: Mapping[int, float]) -> int:
    """The smallest number of views that is good enough.

    Its negative log-likelihood is not surely larger than that of MOST_VIEWS views (the interval of the difference reaches 0), and at most
    MAX_CHANGED of the images change their diagnosis when they are mirrored or turned. MOST_VIEWS views always are good enough.

    Args:
        losses: `loss_above_most_views` by number of views.
        changed: share of the images with more than one diagnosis by number of views.
    """
    good = [count for count in losses if losses[count].low <= 0 and changed[count] <= MAX_CHANGED]
    return min([*good, MOST_VIEWS])
