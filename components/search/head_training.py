"""Trains a head on some of the cached images and predicts others."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.core.label_set import LabelSet
from components.modeling.determinism import seed_everything
from components.runtime.params import Train
from components.search.fold_cache import FoldCache
from components.search.fold_calibration import Trained
from components.search.folds import Parts
from components.training.head import EmbeddedViews, compile_head, training_data
from components.training.loop import EarlyStopping, OnEpochEnd, Silent, best_epoch, train_with_early_stopping

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class HeadSettings:
    """`params`: of the head and its training; `seed`: of weights, dropout and order."""

    params: Train
    seed: int


def train_head(cache: FoldCache, parts: Parts, labels: LabelSet, settings: HeadSettings, on_epoch_end: OnEpochEnd | None = None) -> Trained:
    """Train a head as `fit_head` does, and predict the stopping and the held-out images."""
    import tensorflow as tf

    head, history = fit_head(cache, parts, labels, settings, on_epoch_end)

    def logits(at: NDArray[np.bool_]) -> NDArray[np.float32]:
        return np.asarray(head(tf.constant(cache.clean[at]), training=False))

    return Trained(logits(parts.stopping), logits(parts.held_out), len(history), best_epoch(history)["val_balanced_accuracy"])


def fit_head(
    cache: FoldCache, parts: Parts, labels: LabelSet, settings: HeadSettings, on_epoch_end: OnEpochEnd | None = None
) -> "tuple[keras.Model, pd.DataFrame]":
    """Train a head on the views of the trained images, as the stage `train` does; the stopping images decide when it stops.

    Args:
        cache: features.
        parts: of its images.
        labels: the label set.
        settings: of the head. The same settings and number of threads give the same head.
        on_epoch_end: called with the number and the metrics of each epoch; may raise to end the training.

    Returns:
        The head with the weights of the best epoch, and one row per epoch.
    """
    params = settings.params
    seed_everything(settings.seed)
    diagnoses = cache.images["diagnosis"].to_numpy(dtype=str)
    mine = np.flatnonzero(parts.trained[cache.owners])
    training = EmbeddedViews.weighted(cache.views[mine], diagnoses[cache.owners[mine]].tolist(), labels, params.class_weight_power)
    stopping = EmbeddedViews.weighted(cache.clean[parts.stopping], diagnoses[parts.stopping].tolist(), labels, 1.0)
    head, model = compile_head(params, labels, training)
    data = training_data(training, stopping, params.batch_size, settings.seed)
    return head, train_with_early_stopping(model, data, EarlyStopping(params.epochs, params.patience), Silent(on_epoch_end))
