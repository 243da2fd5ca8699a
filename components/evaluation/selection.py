"""Chooses phase, number of views and thresholds on the two halves of validation."""

from typing import TYPE_CHECKING

import numpy as np

from components.core.label_set import LabelSet
from components.evaluation import halves, metrics, prediction_sets, repeatability, view_counts
from components.evaluation.measurement import Calibration, Selection
from components.evaluation.predictions import Predictions
from components.evaluation.scoring import predict_logits, predict_split
from components.evaluation.view_counts import MOST_VIEWS, Logits, ViewFit
from components.imaging import symmetries
from components.runtime.params import Settings

if TYPE_CHECKING:
    import keras


def select_phase(classifiers: "dict[str, keras.Model]", labels: LabelSet, seed: int) -> Selection:
    """Score every phase on validation, from one view of each image, and pick one on its fitting half."""
    validation = {name: predict_split(classifier, "validation", labels) for name, classifier in classifiers.items()}
    images = next(iter(validation.values())).images
    fitting = halves.fitting_half(images, seed)
    on_fitting, on_calibration = np.flatnonzero(fitting), np.flatnonzero(~fitting)
    predictions = {name: predicted.where(on_fitting) for name, predicted in validation.items()}
    phase = better_phase(predictions)
    _, logits = predict_logits(classifiers[phase], "validation", MOST_VIEWS)
    return Selection(phase, predictions, logits[:, on_fitting], validation[phase].where(on_calibration), logits[:, on_calibration])


def better_phase(on_validation: dict[str, Predictions]) -> str:
    """The phase with the better balanced accuracy on validation; the frozen one, being simpler, when they are equal."""
    accuracies = {name: metrics.balanced_accuracy(scored.truth, scored.predicted) for name, scored in on_validation.items()}
    return max(accuracies, key=lambda name: (accuracies[name], name == "frozen"))


def calibrate(selection: Selection, settings: Settings) -> Calibration:
    """Fit every number of views and choose one on the fitting half, then the thresholds on the calibration half."""
    params, scored = settings.evaluate, selection.validation[selection.phase]
    fits = {
        count: view_counts.fit_views(scored, selection.logits, count, params.target_critical_sensitivity)
        for count in symmetries.VIEW_COUNTS
    }
    count = choose_views(fits, selection.logits, settings)
    unseen = fits[count].predictions(selection.calibration, selection.calibration_logits)
    return Calibration(fits, count, prediction_sets.calibrate(unseen, params.set_coverage, settings.serve.max_abstention))


def choose_views(fits: dict[int, ViewFit], logits: Logits, settings: Settings) -> int:
    """The number of views of `serve.views`; where it is auto, the smallest that is good enough on the fitting half."""
    if settings.serve.views != "auto":
        return settings.serve.views
    losses = {
        count: view_counts.loss_above_most_views(fit, fits[MOST_VIEWS], settings.evaluate.bootstrap_resamples, settings.seed)
        for count, fit in fits.items()
    }
    return view_counts.choose_count(losses, {count: repeatability.changed_share(fit, logits) for count, fit in fits.items()})
