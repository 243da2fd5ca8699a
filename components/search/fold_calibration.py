"""What a fold's training gives, and its calibrated predictions."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.core import decision
from components.core.label_set import LabelSet
from components.evaluation.calibration import critical_lift, decision_offsets, fit_temperature
from components.evaluation.predictions import Predictions
from components.modeling.classifier import probabilities
from components.search.fold_cache import FoldCache
from components.search.folds import Parts

COLUMNS = ["path", "pixels_sha256", "diagnosis", "group"]
"""Columns of build/splits.parquet that predictions keep."""


@dataclass(frozen=True)
class Trained:
    """`stopping`, `held_out`: uncalibrated logits of these images, (n, logits); `epochs`: number of epochs trained; `score`: balanced
    accuracy on the stopping images, of the best epoch, whose weights gave the logits."""

    stopping: NDArray[np.float32]
    held_out: NDArray[np.float32]
    epochs: int
    score: float


def calibrated(cache: FoldCache, parts: Parts, labels: LabelSet, trained: Trained, sensitivity: float) -> Predictions:
    """The held-out images with calibrated probabilities and named diagnoses. Temperature and lift are fitted on the stopping images.

    Args:
        cache, parts, labels: of the training.
        trained: its logits.
        sensitivity: `evaluate.target_critical_sensitivity`.
    """
    images = cache.images[COLUMNS]

    def predictions(at: NDArray[np.bool_], logits: NDArray[np.float32], temperature: float) -> Predictions:
        return Predictions(images[at].reset_index(drop=True), probabilities(logits, temperature), labels)

    truth = predictions(parts.stopping, trained.stopping, 1.0).truth
    temperature = fit_temperature(truth, lambda at: probabilities(trained.stopping, at))
    lift = critical_lift(predictions(parts.stopping, trained.stopping, temperature), temperature, sensitivity)
    found = predictions(parts.held_out, trained.held_out, temperature)
    return replace(found, named=decision.named_outputs(found.probabilities, decision_offsets(labels, lift, temperature)))
