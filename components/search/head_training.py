"""Trains a head on some of the cached images and predicts others."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.core import decision
from components.core.label_set import LabelSet
from components.evaluation.calibration import critical_lift, decision_offsets, fit_temperature
from components.evaluation.predictions import Predictions
from components.modeling.classifier import probabilities
from components.modeling.determinism import seed_everything
from components.runtime.params import Train
from components.search.fold_cache import FoldCache
from components.search.folds import Parts
from components.training.head import EmbeddedViews, compile_head, training_data
from components.training.loop import EarlyStopping, OnEpochEnd, Silent, best_epoch, train_with_early_stopping

COLUMNS = ["path", "pixels_sha256", "diagnosis", "group"]
"""Columns of build/splits.parquet that predictions keep."""


@dataclass(frozen=True)
class HeadSettings:
    """`params`: of the head and its training; `seed`: of weights, dropout and order."""

    params: Train
    seed: int


@dataclass(frozen=True)
class TrainedHead:
    """`stopping`, `held_out`: uncalibrated logits of these images, (n, logits); `epochs`: number of epochs trained; `score`: balanced
    accuracy on the stopping images, of the best epoch, whose weights the head has."""

    stopping: NDArray[np.float32]
    held_out: NDArray[np.float32]
    epochs: int
    score: float


def train_head(
    cache: FoldCache, parts: Parts, labels: LabelSet, settings: HeadSettings, on_epoch_end: OnEpochEnd | None = None
) -> TrainedHead:
    """Train a head on the views of the trained images, as the stage `train` does; the stopping images decide when it stops.

    Args:
        cache: features.
        parts: of its images.
        labels: the label set.
        settings: of the head. The same settings and number of threads give the same head.
        on_epoch_end: called with the number and the metrics of each epoch; may raise to end the training.
    """
    import tensorflow as tf

    params = settings.params
    seed_everything(settings.seed)
    diagnoses = cache.images["diagnosis"].to_numpy(dtype=str)
    mine = np.flatnonzero(parts.trained[cache.owners])
    training = EmbeddedViews.weighted(cache.views[mine], diagnoses[cache.owners[mine]].tolist(), labels, params.class_weight_power)
    stopping = EmbeddedViews.weighted(cache.clean[parts.stopping], diagnoses[parts.stopping].tolist(), labels, 1.0)
    _, model = compile_head(params, labels, training, settings.seed)
    data = training_data(training, stopping, params.batch_size, settings.seed)
    history = train_with_early_stopping(model, data, EarlyStopping(params.epochs, params.patience), Silent(on_epoch_end))

    def logits(at: NDArray[np.bool_]) -> NDArray[np.float32]:
        return np.asarray(model(tf.constant(cache.clean[at]), training=False))

    return TrainedHead(logits(parts.stopping), logits(parts.held_out), len(history), best_epoch(history)["val_balanced_accuracy"])


def calibrated(cache: FoldCache, parts: Parts, labels: LabelSet, trained: TrainedHead, sensitivity: float) -> Predictions:
    """The held-out images with calibrated probabilities and named diagnoses. Temperature and lift are fitted on the stopping images.

    Args:
        cache, parts, labels: of the training.
        trained: the head's logits.
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
